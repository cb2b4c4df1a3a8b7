//! `hooks`: commands of the operator's own, before and after single steps.

use std::time::Duration;

use super::one_or_many;
use super::quantity::HumanDuration;
use crate::compose::ServiceName;
use crate::pipeline::StepId;

/// How long a hook may take where nothing is said.
const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(300));

/// One entry of the `hooks` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The step before which it is run; this or `after`.
    pub before: Option<StepId>,
    /// The step after which it is run, once that has succeeded.
    pub after: Option<StepId>,
    /// The command, word by word: no shell reads it.
    #[serde(deserialize_with = "one_or_many::command")]
    pub run: Vec<String>,
    /// The service in whose running container it is run; on this machine, in the folder of `deploy.yml`, where `None`.
    pub r#in: Option<ServiceName>,
    /// It is ended after this, and counts as failed: 5m by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
}

const fn timeout() -> HumanDuration {
    TIMEOUT
}
