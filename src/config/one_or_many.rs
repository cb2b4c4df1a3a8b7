//! Keys that take one path or a list of paths.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A path, or a list of paths.
pub(super) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    deserializer.deserialize_any(Paths { at_least_one: false })
}

/// A path, or a list of at least one.
pub(super) fn at_least_one_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<PathBuf>, D::Error> {
    deserializer.deserialize_any(Paths { at_least_one: true })
}

/// A command: a list of at least one word.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words: Vec<String> = serde::Deserialize::deserialize(deserializer)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        Some(_) | None => Err(D::Error::custom("a command needs at least one word")),
    }
}

/// A command, or nothing.
pub(super) fn optional_command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    command(deserializer).map(Some)
}

struct Paths {
    at_least_one: bool,
}

impl<'de> Visitor<'de> for Paths {
    type Value = Vec<PathBuf>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or a list of paths")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<PathBuf>, E> {
        if self.at_least_one {
            Err(E::custom("at least one path is needed"))
        } else {
            Ok(Vec::new())
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<PathBuf>, E> {
        if text.is_empty() {
            Err(E::custom("a path cannot be empty"))
        } else {
            Ok(vec![PathBuf::from(text)])
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<PathBuf>, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = items.next_element::<PathText>()? {
            paths.push(PathBuf::from(path.0));
        }
        if self.at_least_one && paths.is_empty() {
            return Err(A::Error::custom("at least one path is needed"));
        }
        Ok(paths)
    }
}

/// Refuses an empty path where it stands in the list.
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct PathText(String);

impl TryFrom<String> for PathText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("a path cannot be empty")
        } else {
            Ok(Self(text))
        }
    }
}
