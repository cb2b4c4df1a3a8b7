//! `release`: how a release is named, and how many are kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::release::Tag;

/// The `release` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    /// Where the tag comes from.
    pub tag: TagSource,
    /// How many releases stay on the engine for rollbacks, the current one included: 1 to 1000.
    #[serde(deserialize_with = "keep")]
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

fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Keep;
    impl Visitor<'_> for Keep {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 1 to 1000")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number)
                .ok()
                .filter(|number| (1..=1000).contains(number))
                .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
        }
    }
    deserializer.deserialize_u32(Keep)
}
