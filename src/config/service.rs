//! `services`: how single services are replaced.

use std::time::Duration;

use super::one_or_many::optional_command;
use super::quantity::HumanDuration;
use crate::compose::{Service, ServiceName};

/// One service's settings; every key is optional.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// How it goes from one release to the next; chosen by what the service is where absent.
    pub strategy: Option<Strategy>,
    /// Run in the container before a reload; the reload happens only if this succeeds.
    #[serde(deserialize_with = "optional_command")]
    pub test: Option<Vec<String>>,
    /// Run in the container to make it read its configuration again.
    #[serde(deserialize_with = "optional_command")]
    pub reload: Option<Vec<String>>,
    /// How long a new container may take to become healthy: 2 minutes by default.
    pub health_timeout: HumanDuration,
    /// How long what an old container has in flight may take before it is stopped, and a Celery worker its running
    /// task. The Compose file's `stop_grace_period` by default, at least 30 s for rolling services.
    pub drain: Option<HumanDuration>,
    /// How many containers may stand beyond `replicas` while they are replaced: 1 by default.
    pub max_surge: u32,
    /// How many of `replicas` may be missing while they are replaced: none by default.
    pub max_unavailable: u32,
    /// An HTTP path through the proxy that reaches this service; begins with `/`.
    #[serde(deserialize_with = "path")]
    pub probe: Option<String>,
    /// Services that call this one by its name, beside the proxy.
    pub callers: Vec<ServiceName>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            strategy: None,
            test: None,
            reload: None,
            health_timeout: HumanDuration(Duration::from_secs(120)),
            drain: None,
            max_surge: 1,
            max_unavailable: 0,
            probe: None,
            callers: Vec::new(),
        }
    }
}

/// How a service goes from one release to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The new container starts beside the old one, which leaves when the new one is healthy.
    Rolling,
    /// The old container is stopped, then the new one is started.
    Recreate,
    /// As `recreate`, and never two at once, not even for a moment: Celery's beat.
    Singleton,
    /// The container stays and reads its configuration again: nginx.
    Reload,
    /// Left as it is: a database.
    Untouched,
    /// Runs to its end, and what depends on it waits for that.
    OneShot,
}

impl Strategy {
    /// As `deploy.yml` writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Recreate => "recreate",
            Self::Singleton => "singleton",
            Self::Reload => "reload",
            Self::Untouched => "untouched",
            Self::OneShot => "oneshot",
        }
    }
}

/// A path as a request line takes it.
fn path<'de, D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    if text.starts_with('/') && text.chars().all(fits) {
        Ok(Some(text))
    } else {
        Err(serde::de::Error::custom(format_args!(
            "`{text}` is not a path: it begins with `/`, and what is no plain ASCII in it is written `%…`"
        )))
    }
}

/// The commands that test and reload a service: those written, else nginx's own where it looks like one.
pub(super) fn reload_commands(
    settings: &ServiceSettings,
    service: &Service,
) -> Option<(Option<Vec<String>>, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match (&settings.reload, looks_like_nginx(service)) {
        (Some(reload), false) => Some((settings.test.clone(), reload.clone())),
        (Some(reload), true) => Some((
            settings.test.clone().or_else(|| Some(words(&["nginx", "-t"]))),
            reload.clone(),
        )),
        (None, true) => Some((
            settings.test.clone().or_else(|| Some(words(&["nginx", "-t"]))),
            words(&["nginx", "-s", "reload"]),
        )),
        (None, false) => None,
    }
}

/// By its name or by its image's.
pub(super) fn looks_like_nginx(service: &Service) -> bool {
    let image = service.image.as_deref().unwrap_or_default();
    service.name.as_str().contains("nginx") || image.contains("nginx")
}
