//! `checks.team`: what knows whether the team has been told.

use std::time::Duration;

use super::one_or_many;
use super::quantity::HumanDuration;

/// The `checks.team` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// A command on this machine that tells nobody anything: it ends with 0 where the team knows.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// How long it may take: 30s by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
}

const fn timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}
