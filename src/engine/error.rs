//! What can go wrong at the engine. The kind comes from status codes and types, never from message text.

use std::fmt;

/// A call to the engine that failed: what was being done, to what, and why.
#[derive(Debug)]
pub struct EngineError {
    /// What was being done, as in "starting container".
    pub operation: &'static str,
    /// To what: a name, a reference, an address.
    pub target: String,
    /// What a caller can branch on.
    pub kind: EngineErrorKind,
    /// The engine's own words, one line where possible.
    pub message: String,
    /// Lines that show why: what a failed build step wrote last. Mostly empty.
    pub detail: Vec<String>,
}

/// What a caller can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// Nothing answers at the address, or the Docker context cannot be used.
    Unreachable,
    /// The object does not exist.
    NotFound,
    /// Another object has the name.
    NameTaken,
    /// The object's state does not allow it.
    Conflict,
    /// The engine refused the request as malformed.
    Invalid,
    /// The image's build ended with an error.
    BuildFailed,
    /// The container could not be started (missing command, port taken, bad mount).
    StartFailed,
    /// The registry asks for credentials, or refuses those given.
    Unauthorized,
    /// No answer in time: the engine may or may not have done it.
    TimedOut,
    /// The connection broke: the engine may or may not have done it.
    ConnectionLost,
    /// The receiver of the output failed (a full disk, a closed file), or the giver of the input.
    Sink,
    /// Anything else the engine reports.
    Other,
}

impl EngineError {
    /// Puts an error together.
    pub fn new(
        operation: &'static str,
        target: impl Into<String>,
        kind: EngineErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            target: target.into(),
            kind,
            message: message.into(),
            detail: Vec::new(),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.target, self.message)
    }
}

impl std::error::Error for EngineError {}
