//! The words of the port for the site as its visitors reach it: by a public name, encrypted or not. Says nothing of what
//! is well; that is for the checks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;

/// How a public name is reached, and whom its certificate must be signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Instead of where DNS points.
    pub connect: Option<SocketAddr>,
    /// A PEM file of authorities that are believed beside the system's.
    pub authorities: Option<PathBuf>,
    /// What certificates are held against.
    pub now: OffsetDateTime,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// What was answered under a public name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most the first 64 KiB.
    pub body: String,
}

impl Page {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(theirs, _)| theirs == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The certificate that was served under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// As people know it: its common name, else all of its name.
    pub issuer: String,
    /// Whoever it is for has signed it.
    pub self_signed: bool,
    /// Whom it is for.
    pub names: Vec<String>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// Why a visitor's program refuses it; `None` where it does not.
    pub refused: Option<Refused>,
}

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It, or one above it, is no longer valid.
    Expired,
    /// It, or one above it, is not valid yet.
    NotYetValid,
    /// It is for other names.
    OtherName,
    /// No known authority stands above it, or one between is not served.
    UnknownIssuer,
    Revoked,
    Other(String),
}

/// Nothing could be learnt under a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {message}")]
pub struct EdgeError {
    pub kind: EdgeErrorKind,
    /// The address or name.
    pub target: String,
    pub message: String,
}

/// How far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeErrorKind {
    /// Nobody listens there.
    Refused,
    /// Nothing came in time.
    Silent,
    /// Somebody answers, and encryption is not agreed on.
    Tls,
    /// Whatever else is in the way: the name, the network, an answer that is none.
    Unreachable,
    /// It is on our side: no authorities can be read.
    Here,
}
