//! `checks.environment`: which variables the services must have, and which they must not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::compose::ServiceName;

/// The `checks.environment` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeclaredEnvironment {
    /// Whose variables: by default those of `django.service` and of every service of the same image.
    pub service: Option<ServiceName>,
    /// Variables that must be set, and of what type.
    pub required: BTreeMap<String, VariableKind>,
    /// Variables that must not be set.
    pub forbidden: Vec<String>,
    /// A file of variables without their values, as written; see
    /// [`Config::environment_sample`](super::Config::environment_sample).
    pub sample: Option<PathBuf>,
}

/// What a variable's value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableKind {
    /// Not empty, like all of them.
    Text,
    Integer,
    Boolean,
    Url,
    Email,
    Host,
    /// A number of seconds, or `1m30s`.
    Duration,
    /// 16 characters or more, and no placeholder.
    Secret,
    OneOf(Vec<String>),
}

impl fmt::Display for VariableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Url => "an address with a scheme and a host",
            Self::Email => "a mail address",
            Self::Host => "a host name",
            Self::Duration => "a duration",
            Self::Secret => "a secret",
            Self::OneOf(values) => {
                let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
                return write!(f, "one of {}", values.join(", "));
            }
        })
    }
}

impl<'de> serde::Deserialize<'de> for VariableKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Kind)
    }
}

struct Kind;

impl<'de> Visitor<'de> for Kind {
    type Value = VariableKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<VariableKind, E> {
        Ok(match text {
            "text" => VariableKind::Text,
            "integer" => VariableKind::Integer,
            "boolean" => VariableKind::Boolean,
            "url" => VariableKind::Url,
            "email" => VariableKind::Email,
            "host" => VariableKind::Host,
            "duration" => VariableKind::Duration,
            "secret" => VariableKind::Secret,
            other => {
                return Err(E::custom(format_args!(
                    "`{other}` is no type; write text, integer, boolean, url, email, host, duration, secret, or a list \
                     of values"
                )));
            }
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<VariableKind, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element::<String>()? {
            values.push(value);
        }
        if values.is_empty() {
            return Err(A::Error::custom("a list of values needs at least one"));
        }
        Ok(VariableKind::OneOf(values))
    }
}
