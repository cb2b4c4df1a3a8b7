//! What one look at a release that is watched has found, as values: for a screen, a log or a program. Says nothing of how
//! it was found (`steps::monitor`) nor of how it is shown (`ui`). Bounded, whatever goes on: lists are cut, and say so.
//! Nothing in it is a visitor's: pages have no numbers, statements no literals, errors no messages.

use std::time::Duration;

use time::OffsetDateTime;

use super::Verdict;
pub use crate::stack::postgres::activity::{DatabaseActivity, DatabaseSession, LockWait};

/// One look.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub release: String,
    /// As it stands: before the time is over only `Bad` is final.
    pub verdict: Verdict,
    /// Why it is bad, if it is.
    pub findings: Vec<String>,
    /// Since the watch began.
    pub elapsed: Duration,
    /// Until it ends.
    pub left: Duration,
    /// `None` where requests are told by nothing.
    pub requests: Option<Requests>,
    /// By service and name.
    pub containers: Vec<MeasuredContainer>,
    /// New ones first, then those that were last seen.
    pub errors: Vec<LoggedErrors>,
    /// How many kinds of errors there are beside them.
    pub further_errors: u64,
    /// `None` where it is not known, or did not answer.
    pub database: Option<MeasuredDatabase>,
    pub redis: Option<MeasuredRedis>,
    pub queues: Vec<Queue>,
    /// Each file system once.
    pub disks: Vec<Disk>,
    /// What could not be looked at, and why: a line each.
    pub unseen: Vec<String>,
}

/// The requests of the last seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    pub source: RequestsSource,
    /// What the figures below are of.
    pub over: Duration,
    pub per_second: f64,
    /// Of those, answered 5xx, from 0 to 1; `None` where there were none, or the source does not tell.
    pub failed_share: Option<f64>,
    /// Seconds; `None` where too little is known.
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Since the watch began.
    pub total: u64,
    /// Of those, answered 5xx.
    pub failed: u64,
    /// The worst of the last seconds: those that failed most, then the slowest.
    pub pages: Vec<WorstPage>,
}

/// What tells of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestsSource {
    AccessLog,
    Prometheus,
}

impl RequestsSource {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "access_log",
            Self::Prometheus => "prometheus",
        }
    }
}

/// A page, without what differs from one visit to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstPage {
    pub page: String,
    pub requests: u64,
    /// Answered 5xx.
    pub failed: u64,
    /// Seconds.
    pub p95: Option<f64>,
}

/// A container of the release, or of a service that it did not touch.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredContainer {
    pub service: String,
    pub name: String,
    /// Made for the release that is watched.
    pub is_new: bool,
    /// As the engine says: `running`, `exited`…; `gone` where it is no more.
    pub state: &'static str,
    /// `starting`, `healthy`, `unhealthy`; `None` where it has no health test.
    pub health: Option<&'static str>,
    /// By the engine, since it was made.
    pub restarts: u32,
    /// Of them, since the watch began.
    pub restarts_since: u32,
    /// Processor time a second: 1 is one whole core. `None` before the second look, and where it does not run.
    pub cores: Option<f64>,
    /// Bytes that it cannot give back.
    pub memory: Option<u64>,
    /// Bytes that it may use; `None` where it has no limit of its own.
    pub memory_limit: Option<u64>,
    /// Bytes a second over all of its networks.
    pub received: Option<f64>,
    pub sent: Option<f64>,
}

impl MeasuredContainer {
    /// There is none of its name any more.
    pub fn is_gone(&mut self) {
        self.state = "gone";
        self.health = None;
        self.cores = None;
        self.memory = None;
        self.received = None;
        self.sent = None;
    }
}

/// An error that is in the log of a service, by its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedErrors {
    pub service: String,
    pub fingerprint: String,
    /// Since the release was deployed.
    pub count: u64,
    pub first: OffsetDateTime,
    pub last: OffsetDateTime,
    pub news: News,
}

/// Whether an error is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Not in the hour before the deploy; where nothing is left of that, not before the watch began, for which an hour of
    /// its log is there.
    New,
    /// It was there before.
    Known,
    /// There is no log from before that would tell.
    Unclear,
}

impl News {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::Unclear => "unclear",
        }
    }
}

/// PostgreSQL.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredDatabase {
    pub connections: u64,
    /// Those that are kept for superusers left out.
    pub usable: u64,
    /// What its sessions are at; `None` where it did not say.
    pub activity: Option<DatabaseActivity>,
}

/// Redis, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredRedis {
    pub clients: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes that it may use; `None` where it has no limit of its own.
    pub memory_limit: Option<u64>,
}

/// A queue of Celery's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    /// Tasks that wait.
    pub waiting: u64,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What is on it, as in `the engine's data`, `volume viatique_media`.
    pub what: String,
    /// Bytes that are free for a process without privileges.
    pub free: u64,
    /// Bytes.
    pub total: u64,
}
