//! `checks`: what is looked at before a deploy beyond what always is, and what somebody answers for.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use time::macros::format_description;

use super::code::Code;
use super::environment::DeclaredEnvironment;
use super::quantity::HumanDuration;
use super::scanners::Scanners;
use super::site::Site;
use super::team::Team;
use super::tests_of_the_code::TestsOfTheCode;

/// The `checks` section.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// How long one check may take that has no limit of its own: 60 s by default.
    pub timeout: HumanDuration,
    /// How it is known that what is built has been tested.
    pub code: Code,
    /// What the services' variables are held against.
    pub environment: DeclaredEnvironment,
    /// The public name; see [`super::Config::site`].
    pub site: Option<Site>,
    /// Problems that somebody answers for until a day.
    pub waivers: Vec<Waiver>,
    /// The tests of the code.
    pub tests: Option<TestsOfTheCode>,
    /// What looks for known vulnerabilities.
    pub scanners: Scanners,
    /// What knows whether the team has been told.
    pub team: Option<Team>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            timeout: HumanDuration(Duration::from_secs(60)),
            code: Code::default(),
            environment: DeclaredEnvironment::default(),
            site: None,
            waivers: Vec::new(),
            tests: None,
            scanners: Scanners::default(),
            team: None,
        }
    }
}

/// One entry of `checks.waivers`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The check's id.
    pub check: String,
    /// The name of one problem of it, as it is told; every one of them where `None`.
    pub problem: Option<String>,
    /// Why it is accepted.
    #[serde(deserialize_with = "filled")]
    pub reason: String,
    /// Who answers for it.
    #[serde(deserialize_with = "filled")]
    pub owner: String,
    /// The last day on which it holds.
    pub until: Day,
}

/// A day, UTC: `2026-12-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub time::Date);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}",
            self.0.year(),
            u8::from(self.0.month()),
            self.0.day()
        )
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::Date::parse(&text, format_description!("[year]-[month]-[day]"))
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("`{text}` is no day; write it as 2026-12-31")))
    }
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(D::Error::custom("it must not be empty"));
    }
    Ok(text)
}
