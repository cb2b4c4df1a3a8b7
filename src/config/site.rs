//! `checks.site`: the public name, as visitors type it, and how it is reached and judged from here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::de::{Deserializer, Error};
use url::{Host, Url};

/// The `checks.site` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The public address, `https://`; a page below it reaches the application.
    #[serde(deserialize_with = "https_url")]
    pub url: Url,
    /// Further names that the certificate and DNS must serve.
    #[serde(default, deserialize_with = "names")]
    pub names: Vec<String>,
    /// What every name must resolve to; any address will do where it is empty.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Where https is asked, instead of where DNS points.
    pub connect: Option<SocketAddr>,
    /// Where http is asked, instead of port 80 where DNS points.
    pub http_connect: Option<SocketAddr>,
    /// Authorities that are believed beside the system's, as written.
    pub ca_file: Option<PathBuf>,
    /// When a certificate must be renewed.
    #[serde(default)]
    pub days: SiteDays,
}

/// How many days a certificate must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SiteDays {
    /// Fewer stop a deploy: 7 by default.
    pub block: u32,
    /// Fewer are told: 21 by default.
    pub warn: u32,
}

impl Default for SiteDays {
    fn default() -> Self {
        Self { block: 7, warn: 21 }
    }
}

impl Site {
    /// The site at this address with nothing else said; `None` where that is no public one.
    pub(super) fn at(url: &str) -> Option<Self> {
        Some(Self {
            url: public(url)?,
            names: Vec::new(),
            addresses: Vec::new(),
            connect: None,
            http_connect: None,
            ca_file: None,
            days: SiteDays::default(),
        })
    }

    /// Every name once, that of the address first.
    pub fn all_names(&self) -> Vec<String> {
        let mut all: Vec<String> = self.url.host_str().map(str::to_owned).into_iter().collect();
        for name in &self.names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// The port of https.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }
}

/// Of a name: neither a certificate nor DNS has anything to say of a bare address.
fn public(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_named = match url.host()? {
        Host::Domain(_) => true,
        Host::Ipv4(_) | Host::Ipv6(_) => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && is_named && is_plain).then_some(url)
}

fn https_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    // What is refused may hold a password.
    public(&text).ok_or_else(|| {
        D::Error::custom("it is not the `https://` address of a name, such as https://viatique.example.com/")
    })
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names: Vec<String> = serde::Deserialize::deserialize(deserializer)?;
    names
        .into_iter()
        .map(|name| {
            // As it is written in an address: `é` and capitals become what DNS and certificates carry.
            let url = public(&format!("https://{name}/"));
            let url =
                url.filter(|url| url.path() == "/" && url.port().is_none() && !name.contains(['*', '/']));
            url.as_ref()
                .and_then(Url::host_str)
                .map(str::to_owned)
                .ok_or_else(|| {
                    D::Error::custom(format_args!(
                        "`{name}` is no name, such as www.viatique.example.com"
                    ))
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_https_address_of_a_name_is_a_public_one() {
        for (url, is_public) in [
            ("https://viatique.example.com/health/", true),
            ("https://viatique.example.com:8443/", true),
            ("http://viatique.example.com/", false),
            ("https://127.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://somebody:something@viatique.example.com/", false),
            ("viatique.example.com", false),
        ] {
            assert_eq!(Site::at(url).is_some(), is_public, "{url}");
        }
    }
}
