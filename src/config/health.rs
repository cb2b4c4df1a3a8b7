//! `health`: how the deployed application is asked whether it is well.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Deserializer, Error};

use super::count;
use super::quantity::HumanDuration;

/// The `health` section.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `http://` or `https://`, as reached from the machine that runs the tool.
    #[serde(deserialize_with = "http_url")]
    pub url: String,
    /// The `Host` header, where it is not the URL's own.
    pub host: Option<String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long the application, and every container, may take to become well: 60 s by default.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
    /// How many good answers in a row are wanted: 1 to 100, 3 by default.
    #[serde(default = "successes", deserialize_with = "count::from_one_to::<100, _>")]
    pub successes: u32,
    /// How long one request may take: 5 s by default.
    #[serde(default = "request_timeout")]
    pub request_timeout: HumanDuration,
    /// The field of the JSON answer that names the release, which must be the one that serves: an answer of a container
    /// that was replaced is none.
    pub release: Option<String>,
    /// Fields of the JSON answer that must have these values.
    #[serde(default)]
    pub expect: BTreeMap<String, serde_json::Value>,
}

/// The default of [`Health::timeout`].
pub(super) const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(60));

const fn timeout() -> HumanDuration {
    TIMEOUT
}

const fn request_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

const fn successes() -> u32 {
    3
}

pub(super) fn http_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => {
            Ok(text)
        }
        Some(_) | None => Err(D::Error::custom(format_args!(
            "`{text}` is not an `http://` or `https://` address"
        ))),
    }
}
