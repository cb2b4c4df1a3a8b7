//! `smoke`: scenarios that are played through the deployed site, as its users would. How they are played is `steps::smoke`'s
//! business; what a step expects is in `expect.rs`.

mod before_switch;
mod command;
mod expect;
mod json_path;
mod names;
mod step;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};

pub use before_switch::BeforeSwitch;
pub use command::SmokeCommand;
pub use expect::{Expectation, ExpectedHeader};
pub use json_path::JsonPath;
pub use step::{
    Capture, CaptureFrom, SmokeBody, SmokeFile, SmokeFileContent, SmokeMethod, SmokeRepeat, SmokeStep,
};
pub use template::{JsonTemplate, Template, TemplatePart};

use super::health::http_url;
use super::quantity::{ByteSize, HumanDuration};
use super::validate::mark_of;
use super::{Config, ConfigError, Health};
use crate::yaml::{self, Node};

/// The `smoke` section.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// Where the requests go; that of `health.url` where `None`, without its path.
    #[serde(default, deserialize_with = "optional_http_url")]
    pub url: Option<String>,
    /// The `Host` header; that of `health` where `None`.
    pub host: Option<String>,
    /// Headers of every request; those of `health` where `None`.
    pub headers: Option<BTreeMap<String, Template>>,
    /// How long one request may take: 10 s by default.
    #[serde(default = "request_timeout")]
    pub request_timeout: HumanDuration,
    /// How long the body of one answer may be: 16 MiB by default. A longer one fails its step.
    #[serde(default = "max_response")]
    pub max_response: ByteSize,
    /// What `${name}` stands for in every scenario.
    #[serde(default)]
    pub variables: Variables,
    /// Commands before the first scenario, in their order.
    #[serde(default)]
    pub before: Vec<SmokeCommand>,
    /// Commands after the last one, whatever happened.
    #[serde(default)]
    pub after: Vec<SmokeCommand>,
    /// Which scenarios a new container is tried with before visitors are led to it; none where `None`.
    #[serde(default, deserialize_with = "before_switch::read")]
    pub before_switch: Option<BeforeSwitch>,
    /// In the order in which they are played.
    #[serde(deserialize_with = "at_least_one")]
    pub scenarios: Vec<SmokeScenario>,
}

/// What one user does.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeScenario {
    #[serde(deserialize_with = "filled")]
    pub name: String,
    /// Scenarios above, without whose success this one is not played; what they captured is known here.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What `${name}` stands for in this one alone.
    #[serde(default)]
    pub variables: Variables,
    #[serde(deserialize_with = "at_least_one")]
    pub steps: Vec<SmokeStep>,
    /// Asked at the end, whatever happened; one that needs what was never captured is left out.
    #[serde(default)]
    pub cleanup: Vec<SmokeStep>,
}

/// What names stand for.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Variables(pub BTreeMap<VariableName, SmokeVariable>);

/// The name of a variable or of a capture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct VariableName(String);

impl VariableName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VariableName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if super::secrets::is_variable(&name) {
            Ok(Self(name))
        } else {
            Err(format!(
                "`{name}` is no variable's name: letters, digits and `_`, not beginning with a digit"
            ))
        }
    }
}

/// What one name stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum SmokeVariable {
    /// As written.
    Plain(serde_json::Value),
    /// A secret: the variable of this name, from where `${…}` of the Compose files come from.
    Environment(String),
    /// A secret that is made anew for each run: so many letters and digits.
    Random(u32),
}

impl<'de> Deserialize<'de> for SmokeVariable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            env: Option<VariableName>,
            random: Option<u32>,
        }

        impl<'de> Visitor<'de> for Read {
            type Value = SmokeVariable;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value, `{ env: NAME }` or `{ random: 24 }`")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<SmokeVariable, E> {
                Ok(SmokeVariable::Plain(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<SmokeVariable, E> {
                Ok(SmokeVariable::Plain(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<SmokeVariable, E> {
                Ok(SmokeVariable::Plain(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<SmokeVariable, E> {
                Ok(SmokeVariable::Plain(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<SmokeVariable, E> {
                Ok(SmokeVariable::Plain(value.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SmokeVariable, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                match (written.env, written.random) {
                    (Some(name), None) => Ok(SmokeVariable::Environment(name.0)),
                    (None, Some(length)) if (16..=128).contains(&length) => Ok(SmokeVariable::Random(length)),
                    (None, Some(length)) => Err(A::Error::custom(format_args!(
                        "`random` is a length from 16 to 128, and not {length}"
                    ))),
                    (Some(_), Some(_)) | (None, None) => {
                        Err(A::Error::custom("write one of `env` and `random`"))
                    }
                }
            }
        }

        deserializer.deserialize_any(Read)
    }
}

const fn request_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

const fn max_response() -> ByteSize {
    ByteSize(16 * 1024 * 1024)
}

fn optional_http_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url = http_url(deserializer)?;
    let has_more = url::Url::parse(&url).is_ok_and(|url| url.query().is_some() || url.fragment().is_some());
    if has_more {
        return Err(D::Error::custom("only scheme, host, port and a path are meant"));
    }
    Ok(Some(url))
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(D::Error::custom("a name cannot be empty"));
    }
    Ok(text)
}

fn at_least_one<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom("at least one is needed"));
    }
    Ok(list)
}

/// A text, or something written as a mapping.
struct TextOr<T>(std::marker::PhantomData<T>, &'static str);

impl<'de, T: Deserialize<'de> + From<Template>> Visitor<'de> for TextOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let text: StrDeserializer<'_, E> = text.into_deserializer();
        Template::deserialize(text).map(T::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// What no single value of the section can tell.
///
/// # Errors
/// No address to ask at, and whatever [`names::first_unknown`] finds.
pub(super) fn checked(config: &Config, document: &Node) -> Result<(), yaml::Error> {
    let (Some(smoke), Some(node)) = (
        &config.smoke,
        document.as_mapping().and_then(|all| all.get("smoke")),
    ) else {
        return Ok(());
    };
    if smoke.target(config.health.as_ref()).is_none() {
        return Err(yaml::Error {
            kind: yaml::ErrorKind::Invalid {
                message: "nothing says where the site is asked".to_owned(),
                hint: Some("write `smoke.url`, or `health.url`, whose address is taken then".to_owned()),
            },
            mark: Some(mark_of(document, &["smoke"])),
            path: "smoke".to_owned(),
        });
    }
    if smoke.before_switch.is_some() && config.django.is_none() {
        return Err(yaml::Error {
            kind: yaml::ErrorKind::Invalid {
                message: "nothing says which service's new container is asked before the switch".to_owned(),
                hint: Some("write `django: { service: <name> }`".to_owned()),
            },
            mark: Some(mark_of(document, &["smoke", "before_switch"])),
            path: "smoke.before_switch".to_owned(),
        });
    }
    names::first_unknown(node)
}

/// Where the requests of the scenarios go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmokeTarget {
    /// `http://127.0.0.1:8080`, and perhaps a path below which the site stands: without a `/` at its end.
    pub base: String,
    /// The `Host` header, where it is not the URL's own.
    pub host: Option<String>,
    /// Of every request, where a step has none of the same name.
    pub headers: BTreeMap<String, Template>,
}

impl Smoke {
    /// Where the requests go: what is not written is as `health` has it. `None` where neither names an address.
    pub fn target(&self, health: Option<&Health>) -> Option<SmokeTarget> {
        let base = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let url = url::Url::parse(&health?.url).ok()?;
                url.origin().ascii_serialization()
            }
        };
        let host = self.host.clone().or_else(|| health?.host.clone());
        let of_health = || {
            let plain = |text: &String| Template::plain(text.clone());
            let headers = health.iter().flat_map(|health| &health.headers);
            headers
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect()
        };
        Some(SmokeTarget {
            base,
            host,
            headers: self.headers.clone().unwrap_or_else(of_health),
        })
    }

    /// Which scenarios are played of these names, with those that they need: their positions, in order. All of them where no
    /// name is given.
    pub fn chosen(&self, names: &[String]) -> Vec<usize> {
        if names.is_empty() {
            return (0..self.scenarios.len()).collect();
        }
        let mut wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut chosen = Vec::new();
        // What is needed stands above.
        for (index, scenario) in self.scenarios.iter().enumerate().rev() {
            if wanted.contains(scenario.name.as_str()) {
                wanted.extend(scenario.needs.iter().map(String::as_str));
                chosen.push(index);
            }
        }
        chosen.reverse();
        chosen
    }

    /// The names of the environment's variables that it asks for.
    pub fn environment(&self) -> impl Iterator<Item = (Vec<String>, &str)> {
        let own = self
            .variables
            .0
            .iter()
            .map(|(name, variable)| (vec!["variables".to_owned(), name.0.clone()], variable));
        let theirs = self.scenarios.iter().enumerate().flat_map(|(index, scenario)| {
            let place = move |name: &VariableName| {
                vec![
                    "scenarios".to_owned(),
                    format!("[{index}]"),
                    "variables".to_owned(),
                    name.0.clone(),
                ]
            };
            scenario
                .variables
                .0
                .iter()
                .map(move |(name, variable)| (place(name), variable))
        });
        own.chain(theirs).filter_map(|(place, variable)| match variable {
            SmokeVariable::Environment(name) => Some((place, name.as_str())),
            SmokeVariable::Plain(_) | SmokeVariable::Random(_) => None,
        })
    }
}

impl Config {
    /// Something wrong with what `smoke` needs from outside, at this place in it.
    pub fn wrong_smoke(&self, place: &[String], message: &str, hint: Option<String>) -> ConfigError {
        let steps: Vec<&str> = std::iter::once("smoke")
            .chain(place.iter().map(String::as_str))
            .collect();
        let document = self.origin.document.as_ref();
        let mark = document.map(|root| mark_of(root, &steps)).unwrap_or_default();
        let path = steps.join(".").replace(".[", "[");
        let message = format!("`{path}`: {message}");
        ConfigError::at(self.path(), mark, path, message, hint)
    }
}
