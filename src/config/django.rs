//! `django`: the service that holds the Django application.

use super::quantity::HumanDuration;
use crate::compose::ServiceName;

/// The `django` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Django {
    /// The service whose image holds the application.
    pub service: ServiceName,
    /// How `manage.py` is called in it: `[python, manage.py]` by default.
    #[serde(default = "manage", deserialize_with = "super::one_or_many::command")]
    pub manage: Vec<String>,
    /// Whether `run` tries the migrations on a restored copy of the data before it applies them: `false` by default.
    #[serde(default)]
    pub rehearse: bool,
    /// How long all pending migrations together may take. By default three times as long as in a rehearsal, a minute at
    /// least; without a rehearsal as long as they like.
    #[serde(default)]
    pub migrate_within: Option<HumanDuration>,
}

fn manage() -> Vec<String> {
    vec!["python".to_owned(), "manage.py".to_owned()]
}
