//! `release`: how a release is named, and how many are kept.

use serde::de::{Deserialize, Deserializer, Error};

use super::count;
use crate::release::Tag;

/// The `release` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    /// Where the tag comes from.
    pub tag: TagSource,
    /// How many releases stay on the engine for rollbacks, the current one included: 1 to 1000.
    #[serde(deserialize_with = "count::from_one_to::<1000, _>")]
    pub keep: u32,
}

impl Default for Release {
    fn default() -> Self {
        Self {
            tag: TagSource::Git,
            keep: 5,
        }
    }
}

/// Where a release's tag comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSource {
    /// `git`: what `git describe` says.
    Git,
    /// A tag written out.
    Literal(String),
}

impl<'de> Deserialize<'de> for TagSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "git" {
            return Ok(Self::Git);
        }
        if Tag::new(text.clone()).is_ok() {
            return Ok(Self::Literal(text));
        }
        Err(D::Error::custom(format_args!(
            "`{text}` is not a valid image tag: up to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` \
             or `-`"
        )))
    }
}
