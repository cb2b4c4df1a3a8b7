//! What the shell gets back. Each code means one thing; CI jobs and on-call scripts branch on them.

/// The exit codes of `viatique-deploy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(into = "u8")]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or nothing had to be done.
    Done = 0,
    /// Failed; production is untouched or fully unwound.
    Failed = 1,
    /// The command line could not be understood.
    Usage = 2,
    /// `deploy.yml`, a Compose file or the environment is invalid, or the engine cannot be reached. Nothing was
    /// touched.
    Configuration = 3,
    /// Another run holds the lock, or an unfinished run stands.
    Locked = 4,
    /// A gate said no: `health`, `smoke`, a migration that the running release would fail on, or a line of `checklist`.
    Gate = 5,
    /// Deployed, then rolled back by itself.
    RolledBack = 6,
    /// Stuck: a person is needed; the message says what stands where.
    Stuck = 7,
    /// A bug in this program.
    Bug = 70,
    /// Interrupted by the operator, and unwound.
    Interrupted = 130,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as Self
    }
}
