//! Which engine is meant: `DOCKER_HOST`, else the Docker context in force, else the local socket, as the `docker`
//! command decides it. A context that is named but cannot be used is refused, never replaced by the local socket:
//! a deploy on the wrong host is worse than none. Reads files, opens no connection.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;
use crate::engine::{EngineError, EngineErrorKind, Result};

const LOCAL_SOCKET: &str = "/var/run/docker.sock";

/// The variables that decide which engine is spoken to. A value, so that nothing below reads the process's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEnvironment {
    /// `DOCKER_HOST`; stands over any context.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`; stands over the configuration file's `currentContext`.
    pub docker_context: Option<String>,
    /// `DOCKER_TLS_VERIFY`: any text but the empty one asks for TLS.
    pub tls_verify: Option<String>,
    /// `DOCKER_TLS`: TLS without verification, which is refused.
    pub tls_unverified: Option<String>,
    /// `DOCKER_CERT_PATH`; the configuration folder where absent.
    pub certificate_folder: Option<PathBuf>,
    /// `DOCKER_CONFIG`; `.docker` in the home folder where absent.
    pub configuration_folder: Option<PathBuf>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
}

/// Where the engine is, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As in `unix:///var/run/docker.sock`.
    pub(super) address: String,
    pub(super) transport: Transport,
    /// The Docker context that named it, if one did.
    pub(super) context: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    Unix { path: String },
    Plain { authority: String },
    Tls { authority: String, files: TlsFiles },
}

/// Certificate of the authority, and the client's own certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Endpoint {
    /// The address, with the context that named it.
    pub(super) fn shown(&self) -> String {
        match &self.context {
            Some(context) => format!("{} (Docker context `{context}`)", self.address),
            None => self.address.clone(),
        }
    }
}

impl EngineEnvironment {
    /// As this process was started.
    pub fn of_process() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            tls_verify: text("DOCKER_TLS_VERIFY"),
            tls_unverified: text("DOCKER_TLS"),
            certificate_folder: path("DOCKER_CERT_PATH"),
            configuration_folder: path("DOCKER_CONFIG"),
            home: env::home_dir(),
        }
    }

    /// The folder of `config.json` and the contexts, where one can be told.
    pub(super) fn configuration_folder(&self) -> Option<PathBuf> {
        self.configuration_folder
            .clone()
            .or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }

    /// The endpoint in force.
    pub(super) fn endpoint(&self) -> Result<Endpoint> {
        if let Some(host) = set(self.docker_host.as_ref()) {
            let files = self.tls_files(host)?;
            return Ok(Endpoint {
                transport: transport(host, files).map_err(|why| refused(host, why))?,
                address: host.to_owned(),
                context: None,
            });
        }
        match self.context_in_force()? {
            Some((name, said_by)) => self.endpoint_of_context(&name, &said_by),
            None => Ok(Endpoint {
                address: format!("unix://{LOCAL_SOCKET}"),
                transport: Transport::Unix {
                    path: LOCAL_SOCKET.to_owned(),
                },
                context: None,
            }),
        }
    }

    fn tls_files(&self, host: &str) -> Result<Option<TlsFiles>> {
        let over_network = !host.starts_with("unix://");
        let verified = set(self.tls_verify.as_ref()).is_some() || host.starts_with("https://");
        if over_network && !verified && set(self.tls_unverified.as_ref()).is_some() {
            return Err(refused(
                host,
                "DOCKER_TLS asks for TLS without verification; set DOCKER_TLS_VERIFY=1",
            ));
        }
        if !over_network || !verified {
            return Ok(None);
        }
        let folder = self
            .certificate_folder
            .clone()
            .or_else(|| self.configuration_folder())
            .ok_or_else(|| {
                refused(
                    host,
                    "TLS is asked for, but neither DOCKER_CERT_PATH nor a home folder is known",
                )
            })?;
        Ok(Some(TlsFiles::in_folder(&folder)))
    }

    /// The context's name and who names it; `None` for the local socket.
    fn context_in_force(&self) -> Result<Option<(String, String)>> {
        if let Some(name) = set(self.docker_context.as_ref()) {
            return Ok(named(name, "DOCKER_CONTEXT"));
        }
        let Some(folder) = self.configuration_folder() else {
            return Ok(None);
        };
        let file = folder.join("config.json");
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // Unreadable is not absent: it may name another host.
            Err(error) => return Err(refused(&file.display().to_string(), &error.to_string())),
        };
        let configuration: ConfigurationFile = serde_json::from_slice(&text)
            .map_err(|error| refused(&file.display().to_string(), &error.to_string()))?;
        Ok(configuration
            .current_context
            .and_then(|name| named(&name, &file.display().to_string())))
    }

    fn endpoint_of_context(&self, name: &str, said_by: &str) -> Result<Endpoint> {
        let label = format!("Docker context `{name}`");
        let folder = self.configuration_folder().ok_or_else(|| {
            refused(
                &label,
                &format!("named by {said_by}, but there is no configuration folder"),
            )
        })?;
        let digest = hexadecimal(&Sha256::digest(name.as_bytes()));
        let file = folder.join("contexts/meta").join(&digest).join("meta.json");
        let refuse = |why: &str| {
            refused(
                &label,
                &format!("named by {said_by}, but {}: {why}", file.display()),
            )
        };
        let text = std::fs::read(&file).map_err(|error| refuse(&error.to_string()))?;
        let meta: ContextFile = serde_json::from_slice(&text).map_err(|error| refuse(&error.to_string()))?;
        let endpoint = meta
            .endpoints
            .get("docker")
            .ok_or_else(|| refuse("it has no `docker` endpoint"))?;
        if endpoint.skip_tls_verify {
            return Err(refuse(
                "it switches off the verification of the host's certificate",
            ));
        }
        let host = endpoint.host.as_deref().unwrap_or_default();
        let material = folder.join("contexts/tls").join(&digest).join("docker");
        let files =
            (material.is_dir() || host.starts_with("https://")).then(|| TlsFiles::in_folder(&material));
        Ok(Endpoint {
            transport: transport(host, files)
                .map_err(|why| refuse(&format!("its endpoint `{host}`: {why}")))?,
            address: host.to_owned(),
            context: Some(name.to_owned()),
        })
    }
}

impl TlsFiles {
    fn in_folder(folder: &Path) -> Self {
        Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigurationFile {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    #[serde(default)]
    endpoints: BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    host: Option<String>,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

fn set(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|text| !text.is_empty())
}

/// `default` is the `docker` command's word for the local socket.
fn named(name: &str, said_by: &str) -> Option<(String, String)> {
    (!name.is_empty() && name != "default").then(|| (name.to_owned(), said_by.to_owned()))
}

fn transport(host: &str, files: Option<TlsFiles>) -> std::result::Result<Transport, &'static str> {
    let Some((scheme, rest)) = host.split_once("://") else {
        return Err("an address begins with unix://, tcp://, http:// or https://");
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Transport::Unix {
            path: rest.to_owned(),
        }),
        "unix" => Err("a socket's path is absolute"),
        "tcp" | "http" | "https" => {
            let authority = rest.trim_end_matches('/');
            if authority.is_empty() || authority.contains('/') {
                return Err("a host and a port are wanted, without a path");
            }
            let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
            let authority = match (after_brackets.contains(':'), &files) {
                (true, _) => authority.to_owned(),
                (false, Some(_)) => format!("{authority}:2376"),
                (false, None) => format!("{authority}:2375"),
            };
            Ok(match files {
                Some(files) => Transport::Tls { authority, files },
                None => Transport::Plain { authority },
            })
        }
        "ssh" => Err(
            "ssh is not supported; forward the socket (`ssh -L /tmp/engine.sock:/var/run/docker.sock HOST`) and set DOCKER_HOST",
        ),
        _ => Err("only unix://, tcp://, http:// and https:// are supported"),
    }
}

pub(super) fn refused(target: &str, why: &str) -> EngineError {
    EngineError::new("using", target, EngineErrorKind::Unreachable, why)
}
