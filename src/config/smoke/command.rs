//! Commands before and after the scenarios: they make and remove what the scenarios need.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{JsonPath, Template, VariableName};
use crate::compose::ServiceName;
use crate::config::one_or_many;
use crate::config::quantity::HumanDuration;

/// One entry of `smoke.before` or `smoke.after`: a command in a service's running container.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeCommand {
    /// Word by word: no shell reads it.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// In whose running container; `django.service` where `None`.
    pub r#in: Option<ServiceName>,
    /// What it finds in its environment, beside what hooks find there.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// It is not waited for any longer than this, and counts as failed: 1m by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
    /// Names for what stands in the last line of its output, which is JSON then.
    #[serde(default)]
    pub capture: BTreeMap<VariableName, JsonPath>,
}

const fn timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}
