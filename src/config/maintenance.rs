//! `maintenance`: what visitors see while the site is closed, and what is stopped meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use super::quantity::HumanDuration;
use crate::compose::ServiceName;

/// The `maintenance` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Maintenance {
    /// A file of HTML, as written; see [`Config::maintenance_page`](super::Config::maintenance_page). A plain page by
    /// default.
    pub page: Option<PathBuf>,
    /// What visitors' programs are told of when to come again: 2m by default.
    pub retry_after: HumanDuration,
    /// Services that write to the database, beside Celery and what runs the application's own image.
    pub stop: Vec<ServiceName>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            page: None,
            retry_after: HumanDuration(Duration::from_secs(120)),
            stop: Vec::new(),
        }
    }
}
