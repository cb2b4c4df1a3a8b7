//! What is remembered of each request. Times are seconds since the load began, on the client's own clock.

use std::fmt;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `/health/`: Django, the database and Redis.
    Health,
    /// `/`: the frontend.
    Page,
    /// `/release.json`: the frontend, and which release of it.
    Release,
    /// A static file with a hash in its name, as the first release's pages name it.
    Asset,
    /// An annotation: Django writes a row and queues a task.
    Post,
    /// A scan whose bytes take seconds to send.
    Upload,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Health,
        Self::Page,
        Self::Release,
        Self::Asset,
        Self::Post,
        Self::Upload,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Health => "GET health",
            Self::Page => "GET page",
            Self::Release => "GET release",
            Self::Asset => "GET asset",
            Self::Post => "POST",
            Self::Upload => "upload",
        }
    }
}

/// Why a request counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    /// No connection.
    Refused,
    /// The connection ended before the answer did.
    CutOff,
    /// No full answer within the client's patience.
    TimedOut,
    /// Another status than the one expected.
    Status(u16),
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => formatter.write_str("refused"),
            Self::CutOff => formatter.write_str("cut off"),
            Self::TimedOut => formatter.write_str("timed out"),
            Self::Status(status) => write!(formatter, "{status}"),
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// When it was to start; what made it start later counts as latency.
    pub(crate) at: f64,
    pub(crate) kind: Kind,
    /// From `at` to the answer's last byte, or to the failure.
    pub(crate) latency: f64,
    /// The release that answered, where the answer tells.
    pub(crate) outcome: Result<Option<String>, Problem>,
}

impl Record {
    pub(crate) fn ended(&self) -> f64 {
        self.at + self.latency
    }
}
