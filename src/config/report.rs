//! `report`: where the reports of runs are written. What is in one is not this file's business.

use std::path::PathBuf;

/// The `report` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// The folder, as written; see [`Config::report_directory`](super::Config::report_directory).
    pub directory: PathBuf,
    /// Whether every run that deploys writes one: yes by default.
    pub automatic: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("reports"),
            automatic: true,
        }
    }
}
