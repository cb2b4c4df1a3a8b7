//! `django`: the service that holds the Django application.

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
}

fn manage() -> Vec<String> {
    vec!["python".to_owned(), "manage.py".to_owned()]
}
