//! How the images and commands of a simulated engine behave: scripts, written by the test.

use std::collections::BTreeMap;
use std::time::Duration;

use viatique_deploy::engine::{ImageId, OutputStream};

/// What a container of an image does when it is started.
#[derive(Debug, Clone)]
pub(crate) struct ImageBehaviour {
    pub(super) life: Life,
    pub(super) health: HealthScript,
    /// Written at each start.
    pub(super) log: Vec<String>,
    /// Bytes that it uses while it runs.
    pub(super) memory: u64,
    /// Its processes' titles while it runs; a main process and an nginx worker where empty.
    pub(super) processes: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Life {
    Runs,
    Exits(i64),
    CrashLoops(i64),
    CannotStart(String),
}

#[derive(Debug, Clone)]
pub(super) enum HealthScript {
    /// The image has no health test; one of the service passes at once.
    None,
    AfterInspections(u32),
    After(Duration),
    Never(String),
}

const KILLED_FOR_MEMORY: i64 = 137;

impl ImageBehaviour {
    fn new(life: Life, health: HealthScript) -> Self {
        Self {
            life,
            health,
            log: Vec::new(),
            memory: 50 << 20,
            processes: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
        }
    }

    /// Runs, and has no health test.
    pub(crate) fn running() -> Self {
        Self::new(Life::Runs, HealthScript::None)
    }

    /// Runs, and is healthy when it is first looked at.
    pub(crate) fn healthy() -> Self {
        Self::healthy_after_inspections(1)
    }

    /// Runs, and is healthy the n-th time it is looked at.
    pub(crate) fn healthy_after_inspections(times: u32) -> Self {
        Self::new(Life::Runs, HealthScript::AfterInspections(times))
    }

    /// Runs, and is healthy after this long, in tokio's time.
    pub(crate) fn healthy_after(duration: Duration) -> Self {
        Self::new(Life::Runs, HealthScript::After(duration))
    }

    /// Runs, and its health test fails with this output.
    pub(crate) fn never_healthy(output: &str) -> Self {
        Self::new(Life::Runs, HealthScript::Never(output.to_owned()))
    }

    /// Ends at once.
    pub(crate) fn exits(code: i64) -> Self {
        Self::new(Life::Exits(code), HealthScript::None)
    }

    /// Ends at once, each time it is started again; one restart per look, as far as its restart policy goes.
    pub(crate) fn crash_loops(code: i64) -> Self {
        Self::new(Life::CrashLoops(code), HealthScript::None)
    }

    /// As [`Self::crash_loops`], because the kernel kills it for want of memory.
    pub(crate) fn out_of_memory() -> Self {
        Self::crash_loops(KILLED_FOR_MEMORY)
    }

    pub(super) fn is_killed_for_memory(&self) -> bool {
        match self.life {
            Life::CrashLoops(code) => code == KILLED_FOR_MEMORY,
            Life::Runs | Life::Exits(_) | Life::CannotStart(_) => false,
        }
    }

    /// The engine cannot start it.
    pub(crate) fn cannot_start(message: &str) -> Self {
        Self::new(Life::CannotStart(message.to_owned()), HealthScript::None)
    }

    /// Whether its process is over as soon as it is started.
    pub(super) fn ends_at_once(&self) -> bool {
        match self.life {
            Life::Exits(_) | Life::CrashLoops(_) => true,
            Life::Runs | Life::CannotStart(_) => false,
        }
    }

    /// Uses this many bytes while it runs.
    #[must_use]
    pub(crate) fn using(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Shows processes of these titles while it runs.
    #[must_use]
    pub(crate) fn showing(mut self, titles: &[&str]) -> Self {
        self.processes = titles.iter().map(|title| (*title).to_owned()).collect();
        self
    }

    /// The image's own entry point and command.
    #[must_use]
    pub(crate) fn starting_with(mut self, entrypoint: &[&str], command: &[&str]) -> Self {
        self.entrypoint = entrypoint.iter().map(|word| (*word).to_owned()).collect();
        self.command = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Writes these lines at each start.
    #[must_use]
    pub(crate) fn logging(mut self, lines: &[&str]) -> Self {
        self.log.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }
}

/// A command to be run in a container, as the script sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FakeCommand {
    pub(crate) kind: CommandKind,
    /// The service of the container; empty for a marker.
    pub(crate) service: String,
    pub(crate) container: String,
    pub(crate) image: ImageId,
    pub(crate) words: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) privileged: bool,
    /// Everything it was given on its standard input.
    pub(crate) input: Vec<u8>,
    /// The files of the volumes that its container sees, by absolute path.
    pub(crate) mounted: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandKind {
    OneOff,
    Exec,
}

impl FakeCommand {
    /// Whether it collects the static files, as `stack::django` has it done.
    pub(crate) fn collects_static_files(&self) -> bool {
        self.line().contains("call_command(\"collectstatic\"")
    }

    /// Whether it gives this order to the script about migrations of `stack::django`.
    pub(crate) fn orders(&self, order: &str) -> bool {
        self.line().contains(&format!("\nrun(\"{order}\""))
    }

    /// Whether it asks Django of itself.
    pub(crate) fn asks_for_production(&self) -> bool {
        self.line().contains("\nlook(")
    }

    /// The words as one line.
    pub(crate) fn line(&self) -> String {
        self.words.join(" ")
    }
}

/// What a command does.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeOutput {
    pub(super) pieces: Vec<(OutputStream, Vec<u8>)>,
    pub(super) code: i64,
    pub(super) out_of_memory: bool,
    pub(super) missing: bool,
    pub(super) takes: Duration,
}

impl FakeOutput {
    /// Ends with 0 and says nothing.
    pub(crate) fn silent() -> Self {
        Self::default()
    }

    /// Ends with 0 after writing this.
    pub(crate) fn stdout(text: impl Into<Vec<u8>>) -> Self {
        let mut output = Self::default();
        output.pieces.push((OutputStream::Stdout, text.into()));
        output
    }

    /// Writes this to its standard error.
    #[must_use]
    pub(crate) fn and_stderr(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.pieces.push((OutputStream::Stderr, text.into()));
        self
    }

    /// Ends with this code.
    #[must_use]
    pub(crate) fn exits(mut self, code: i64) -> Self {
        self.code = code;
        self
    }

    /// Is ended by the kernel for want of memory.
    pub(crate) fn out_of_memory() -> Self {
        Self {
            code: 137,
            out_of_memory: true,
            ..Self::default()
        }
    }

    /// Is ended by the kernel for want of memory after writing this.
    pub(crate) fn out_of_memory_after(text: impl Into<Vec<u8>>) -> Self {
        Self {
            code: 137,
            out_of_memory: true,
            ..Self::stdout(text)
        }
    }

    /// There is no such command.
    pub(crate) fn missing() -> Self {
        Self {
            missing: true,
            ..Self::default()
        }
    }

    /// Takes this long, in tokio's time.
    #[must_use]
    pub(crate) fn taking(mut self, duration: Duration) -> Self {
        self.takes = duration;
        self
    }
}
