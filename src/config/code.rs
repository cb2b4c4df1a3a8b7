//! `checks.code`: how it is known that what is built has been tested.

use serde::de::{Deserialize, Deserializer, Error};

/// The `checks.code` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Code {
    /// A command of this machine that ends with 0 where the commit whose name follows was tested.
    #[serde(deserialize_with = "command")]
    pub tested: Option<Vec<String>>,
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if words.first().is_none_or(String::is_empty) {
        return Err(D::Error::custom("it must name a program"));
    }
    Ok(Some(words))
}
