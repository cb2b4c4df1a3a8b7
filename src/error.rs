//! Why a command failed: the cause chain, what kind of failure it is (which decides the exit code), what to run
//! next, and evidence. How it is shown is `ui`'s business.

use crate::engine::{EngineError, EngineErrorKind};
use crate::pipeline::{ErrorReport, Evidence};

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line asks for something that does not make sense.
    Usage,
    /// `deploy.yml`, a Compose file, the environment or the engine's address is wrong; nothing was touched.
    Configuration,
    /// Another run holds the lock, or one has stopped half-way.
    Locked,
    /// A gate said no.
    Gate,
    /// Anything else that failed.
    Failed,
    /// The operator stopped it.
    Interrupted,
    /// The way back failed too.
    Stuck,
}

/// A failure with everything a person needs.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub error: anyhow::Error,
    pub hints: Vec<String>,
    pub evidence: Vec<Evidence>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            hints: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// A failure of this kind, said in words.
    pub fn message(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::new(kind, anyhow::Error::msg(message.into()))
    }

    /// Adds what to run or look at.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds lines that show why. Empty blocks are left away.
    #[must_use]
    pub fn evidence(mut self, title: impl Into<String>, lines: Vec<String>) -> Self {
        if !lines.is_empty() {
            self.evidence.push(Evidence {
                title: title.into(),
                lines,
            });
        }
        self
    }

    /// Says what was being done, before the cause.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        self.error = self.error.context(what.into());
        self
    }

    /// The same failure as another kind.
    #[must_use]
    pub const fn with_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// What the engine said, where it is the cause.
    pub(crate) fn of_engine(&self) -> Option<&EngineError> {
        self.error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// As a reporter shows it.
    pub fn report(&self) -> ErrorReport {
        ErrorReport {
            chain: self.error.chain().map(ToString::to_string).collect(),
            hints: self.hints.clone(),
            evidence: self.evidence.clone(),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FailureKind::Failed, error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let unreachable = error.kind == EngineErrorKind::Unreachable;
        let failure = Self::new(
            if unreachable {
                FailureKind::Configuration
            } else {
                FailureKind::Failed
            },
            error,
        );
        if unreachable {
            failure.hint("is the Docker Engine running, and may this user talk to it? try: docker version")
        } else {
            failure
        }
    }
}
