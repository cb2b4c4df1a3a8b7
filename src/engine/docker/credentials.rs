//! Credentials for registries, from the Docker configuration as `docker login` wrote it: the file itself, identity
//! tokens, and credential helpers. None where none are configured. Values go to the engine and nowhere else.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;

use super::names::registry;
use crate::engine::{EngineError, EngineErrorKind, Result};

/// Docker Hub's name in the configuration file.
const HUB: &str = "https://index.docker.io/v1/";

/// Where the credentials are written.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    file: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RegistryNames {
    auths: HashMap<String, serde::de::IgnoredAny>,
    cred_helpers: HashMap<String, serde::de::IgnoredAny>,
}

impl Credentials {
    pub(super) fn new(configuration_folder: Option<PathBuf>) -> Self {
        Self {
            file: configuration_folder.map(|folder| folder.join("config.json")),
        }
    }

    /// Those for the registry of an image.
    pub(super) async fn for_reference(&self, reference: &str) -> Result<Option<DockerCredentials>> {
        self.of_server(registry(reference).unwrap_or(HUB)).await
    }

    /// Those of every configured registry that a build's inputs speak of, and of Docker Hub, which they need not
    /// name. Others stay unasked: a helper may open a dialogue.
    pub(super) async fn for_build(&self, inputs: &[String]) -> Result<HashMap<String, DockerCredentials>> {
        let mut found = HashMap::new();
        for server in self.configured_servers()? {
            let host = server
                .trim_start_matches("https://")
                .trim_start_matches("http://")
                .split('/')
                .next()
                .unwrap_or_default();
            let hub = server == HUB;
            if (hub || inputs.iter().any(|input| input.contains(host)))
                && let Some(credentials) = self.of_server(&server).await?
            {
                found.insert(if hub { server } else { host.to_owned() }, credentials);
            }
        }
        Ok(found)
    }

    fn configured_servers(&self) -> Result<BTreeSet<String>> {
        let Some(text) = self.text()? else {
            return Ok(BTreeSet::new());
        };
        let names: RegistryNames =
            serde_json::from_slice(&text).map_err(|error| self.unusable(HUB, &error.to_string()))?;
        Ok(names
            .auths
            .into_keys()
            .chain(names.cred_helpers.into_keys())
            .collect())
    }

    fn text(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        match std::fs::read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable("any registry", &error.to_string())),
        }
    }

    async fn of_server(&self, server: &str) -> Result<Option<DockerCredentials>> {
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        let asked = server.to_owned();
        // A helper is a process of its own.
        let answer = tokio::task::spawn_blocking(move || {
            docker_credential::get_credential_from_reader(text.as_slice(), &asked)
        })
        .await
        .map_err(|error| self.unusable(server, &error.to_string()))?;
        let (username, password, identitytoken) = match answer {
            Ok(DockerCredential::UsernamePassword(name, password)) => (Some(name), Some(password), None),
            Ok(DockerCredential::IdentityToken(token)) => (None, None, Some(token)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => return Ok(None),
            // A helper answers so for a registry that nobody has logged in to. Its output is not shown: what a
            // helper prints is not ours to judge.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                tracing::debug!(helper, server, "no credentials from the helper");
                return Ok(None);
            }
            Err(
                error @ (CredentialRetrievalError::HelperCommunicationError
                | CredentialRetrievalError::MalformedHelperResponse
                | CredentialRetrievalError::CredentialDecodingError
                | CredentialRetrievalError::CredentialMismatchError
                | CredentialRetrievalError::ConfigNotFound
                | CredentialRetrievalError::ConfigReadError),
            ) => return Err(self.unusable(server, &error.to_string())),
        };
        Ok(Some(DockerCredentials {
            username,
            password,
            identitytoken,
            serveraddress: Some(server.to_owned()),
            ..DockerCredentials::default()
        }))
    }

    fn unusable(&self, server: &str, why: &str) -> EngineError {
        let file = self
            .file
            .as_ref()
            .map(|file| format!("{}: ", file.display()))
            .unwrap_or_default();
        EngineError::new(
            "reading credentials for",
            server,
            EngineErrorKind::Unauthorized,
            format!("{file}{why}"),
        )
    }
}
