//! Durations and sizes in `deploy.yml`, as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::compose::{QuantityError, parse_bytes, parse_duration};
use crate::yaml::HINT_FOLLOWS;

/// A duration such as `10m`, `1h30m` or `500ms`. A number without a unit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes such as `512m` or `2GB`; a kilobyte is 1024 bytes, as in Compose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Quantity("a duration such as `10m`"))?;
        parse_duration(&text).map(Self).map_err(|error| with_hint(&error))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Quantity("a size such as `512m`"))?;
        parse_bytes(&text).map(Self).map_err(|error| with_hint(&error))
    }
}

fn with_hint<E: Error>(error: &QuantityError) -> E {
    match &error.hint {
        Some(hint) => E::custom(format_args!("{error}{HINT_FOLLOWS}{hint}")),
        None => E::custom(error),
    }
}

/// The text of the scalar, numbers included; holds what was expected.
struct Quantity(&'static str);

impl Visitor<'_> for Quantity {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
