//! `monitor`: how long a release is watched after its deploy, and what it is judged by.

use std::time::Duration;

use serde::de::{Deserializer, Error};

use super::count;
use super::quantity::HumanDuration;
use crate::compose::ServiceName;
use crate::stack::nginx::LogFormat;

/// The `monitor` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// How long: 10 s to 24 h.
    #[serde(deserialize_with = "watch")]
    pub r#for: HumanDuration,
    /// What becomes of a release that is found bad: it is taken back by default.
    #[serde(default)]
    pub on_bad: OnBad,
    /// What an error means that was not in the log before: `bad` by default.
    #[serde(default)]
    pub new_errors: NewErrors,
    /// Where the requests are logged.
    #[serde(default)]
    pub access_log: AccessLog,
    /// What tells of requests in place of the access log.
    #[serde(default)]
    pub prometheus: Option<Prometheus>,
    /// Statements, and idle transactions, of the database that go on for longer are shown: 1 s by default.
    #[serde(default = "slow_queries")]
    pub slow_queries: HumanDuration,
    /// Paths, below the address in `health.url`, that are asked for by the tool itself, with the stylesheets and scripts
    /// that those pages load.
    #[serde(default, deserialize_with = "paths")]
    pub probes: Vec<String>,
    /// Celery's queues: `celery` by default.
    #[serde(default = "queues")]
    pub queues: Vec<String>,
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// What becomes of a release that is found bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    #[default]
    RollBack,
    /// It is said, and the release stays.
    Warn,
}

/// What a new error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewErrors {
    #[default]
    Bad,
    /// It is said.
    Warn,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// Whose log it is: by default the service that nginx runs in and that publishes a port.
    pub service: Option<ServiceName>,
    /// `combined` by default.
    #[serde(deserialize_with = "format")]
    pub format: LogFormat,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            service: None,
            format: LogFormat::combined(),
        }
    }
}

/// An endpoint in Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// `http://` or `https://`, as reached from the machine that runs the tool.
    #[serde(deserialize_with = "super::health::http_url")]
    pub url: String,
    /// The `Host` header, where it is not the URL's own.
    #[serde(default)]
    pub host: Option<String>,
    /// The counter of requests, with a label `status` or `code`: by default that of django-prometheus, nginx-module-vts or
    /// nginx-prometheus-exporter.
    #[serde(default, deserialize_with = "metric")]
    pub requests: Option<String>,
    /// The histogram of how many seconds they took, without `_bucket`: by default the one beside the counter.
    #[serde(default, deserialize_with = "metric")]
    pub durations: Option<String>,
}

/// What a release is judged by. What the numbers mean is said in `steps::monitor::judgement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Fewer requests than this are next to no traffic: 50 by default.
    #[serde(deserialize_with = "count::from_one_to::<1_000_000, _>")]
    pub requests: u32,
    /// How many answers 5xx one page must give before it is judged: 3 by default.
    #[serde(deserialize_with = "count::from_one_to::<1000, _>")]
    pub failures: u32,
    /// How many times as long as before an answer may take: 2 by default.
    #[serde(deserialize_with = "count::from_one_to::<100, _>")]
    pub times_slower: u32,
    /// And by how much longer at least, to matter to anybody: 50 ms by default.
    pub slower_by: HumanDuration,
    /// Per cent of a container's memory limit: 90 by default.
    #[serde(deserialize_with = "count::from_one_to::<100, _>")]
    pub memory: u32,
    /// Per cent of the connections that the database allows: 90 by default.
    #[serde(deserialize_with = "count::from_one_to::<100, _>")]
    pub connections: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            requests: 50,
            failures: 3,
            times_slower: 2,
            slower_by: HumanDuration(Duration::from_millis(50)),
            memory: 90,
            connections: 90,
        }
    }
}

impl Default for Monitor {
    /// Of a watch by hand, where the section is left out: 10 minutes.
    fn default() -> Self {
        Self {
            r#for: HumanDuration(Duration::from_secs(600)),
            on_bad: OnBad::default(),
            new_errors: NewErrors::default(),
            access_log: AccessLog::default(),
            prometheus: None,
            slow_queries: slow_queries(),
            probes: Vec::new(),
            queues: queues(),
            thresholds: Thresholds::default(),
        }
    }
}

/// The shortest watch from which anything can be told, and the longest.
const WATCH: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);

/// Whether a release can be watched for so long.
pub const fn is_watch(duration: Duration) -> bool {
    WATCH.start().as_nanos() <= duration.as_nanos() && duration.as_nanos() <= WATCH.end().as_nanos()
}

fn watch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
    let duration: HumanDuration = serde::Deserialize::deserialize(deserializer)?;
    if is_watch(duration.0) {
        Ok(duration)
    } else {
        Err(D::Error::custom("a release is watched for 10s to 24h"))
    }
}

fn queues() -> Vec<String> {
    vec!["celery".to_owned()]
}

const fn slow_queries() -> HumanDuration {
    HumanDuration(Duration::from_secs(1))
}

fn metric<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name: String = serde::Deserialize::deserialize(deserializer)?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    if is_name {
        Ok(Some(name))
    } else {
        Err(D::Error::custom(format_args!(
            "`{name}` is no name of a metric: letters, digits, `_` and `:`"
        )))
    }
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    LogFormat::parse(&text).map_err(D::Error::custom)
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let paths: Vec<String> = serde::Deserialize::deserialize(deserializer)?;
    match paths
        .iter()
        .find(|path| !path.starts_with('/') || path.contains(char::is_whitespace))
    {
        None => Ok(paths),
        Some(path) => Err(D::Error::custom(format_args!(
            "`{path}` is no path that begins with `/`"
        ))),
    }
}
