//! The Compose project's name, as Compose takes it.

use std::fmt;

/// `[a-z0-9][a-z0-9_-]*`: part of every container's, network's and volume's name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ProjectName(String);

impl ProjectName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if crate::compose::is_project_name(&text) {
            Ok(Self(text))
        } else {
            Err(format!(
                "`{text}` is not a valid project name: lower-case letters, digits, `_` and `-`, beginning with a \
                 letter or a digit"
            ))
        }
    }
}
