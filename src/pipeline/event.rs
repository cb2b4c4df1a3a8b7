//! What happens during a command, as values. Steps emit them; reporters (terminal, plain lines, JSON) show them.
//! Nothing here can print, and a reporter cannot stop a run: it returns nothing.

use std::sync::Arc;
use std::time::Duration;

use super::Measured;
use crate::clock::seconds;
use crate::config::Moment;
use crate::exit_code::ExitCode;
use crate::notify::What;
use crate::release::checklist::Checklist;
use crate::release::checks::CheckOutcome;
use crate::release::traffic::TrafficSeries;

/// The steps of a run. Closed: stored in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepId {
    Check,
    Backup,
    /// Of backups: `backup verify`.
    Verify,
    /// Of backups: `backup copy`.
    Copy,
    /// Of backups: `backup prune`.
    Prune,
    /// Of backups: `backup restore`.
    Restore,
    /// The same, of which a release is the other half: `rollback --restore-db`.
    RestoreWithCode,
    /// Of backups: `backup drill`.
    Drill,
    Build,
    Fetch,
    Rehearse,
    /// The last look before anything is changed that serves, and the question.
    Gate,
    Migrate,
    /// Of migrations: `rollback --reverse-migrations`.
    Reverse,
    /// Of the site, for a migration: `run --maintenance`.
    Close,
    Collectstatic,
    Deploy,
    Health,
    Smoke,
    Monitor,
}

impl StepId {
    /// As the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Copy => "copy",
            Self::Prune => "prune",
            Self::Restore | Self::RestoreWithCode => "restore",
            Self::Drill => "drill",
            Self::Build => "build",
            Self::Fetch => "fetch",
            Self::Rehearse => "rehearse",
            Self::Gate => "gate",
            Self::Migrate => "migrate",
            Self::Reverse => "reverse",
            Self::Close => "close",
            Self::Collectstatic => "collectstatic",
            Self::Deploy => "deploy",
            Self::Health => "health",
            Self::Smoke => "smoke",
            Self::Monitor => "monitor",
        }
    }

    /// Whether it only looks: then it is no news that nothing was changed.
    pub const fn only_looks(self) -> bool {
        match self {
            Self::Check
            | Self::Verify
            | Self::Drill
            | Self::Gate
            | Self::Health
            | Self::Smoke
            | Self::Monitor => true,
            Self::Backup
            | Self::Copy
            | Self::Prune
            | Self::Restore
            | Self::RestoreWithCode
            | Self::Build
            | Self::Fetch
            | Self::Rehearse
            | Self::Migrate
            | Self::Reverse
            | Self::Close
            | Self::Collectstatic
            | Self::Deploy => false,
        }
    }

    /// Whether it changes what serves, or what that stands on: once it has begun, a run that stops is neither at the old
    /// release nor at the new one until somebody finishes it.
    pub const fn changes_what_serves(self) -> bool {
        match self {
            Self::RestoreWithCode
            | Self::Migrate
            | Self::Reverse
            | Self::Close
            | Self::Collectstatic
            | Self::Deploy => true,
            Self::Check
            | Self::Backup
            | Self::Verify
            | Self::Copy
            | Self::Prune
            | Self::Restore
            | Self::Drill
            | Self::Build
            | Self::Fetch
            | Self::Rehearse
            | Self::Gate
            | Self::Health
            | Self::Smoke
            | Self::Monitor => false,
        }
    }
}

/// Names one task within a step, e.g. `backend` within `deploy`. Stable within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct TaskId(pub String);

/// How a step or a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Succeeded,
    Failed,
    /// Nothing had to be done.
    Unchanged,
    /// Not reached, because a step before it failed.
    NotRun,
    /// Stopped by the operator.
    Interrupted,
    /// Of a check: something is not well, and stops nothing.
    Warned,
    /// Of a check: it could not be looked at.
    NotVerified,
}

/// How putting a step back ended. A reporter must not tick off an undo that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnwindResult {
    Reverted,
    NothingToDo,
    /// On purpose; the message says what stands and why (an applied migration).
    LeftInPlace,
    /// A person is needed.
    Failed,
}

/// How the whole command ended; decides the exit code together with the error's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// Failed; production is as it was.
    Failed,
    /// The new release failed and the previous one was put back.
    RolledBack,
    /// Failed, and so did the way back: a person is needed.
    Stuck,
    /// Stopped by the operator; production is as it was.
    Interrupted,
}

/// What a release that was watched is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    Bad,
    /// There was too little to see, or too little could be looked at. Never counted as good.
    Inconclusive,
}

impl Verdict {
    /// As it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What a verdict on a release rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Looked {
    /// What was looked at, and how much of it: `412 requests of visitors`.
    pub at: Vec<String>,
    /// Different errors in the logs that were not there before, those that visitors bring about left out.
    pub new_errors: u64,
    /// And those of which no log tells whether they are new.
    pub other_errors: u64,
}

/// What one planned change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Create,
    /// Beside the old one: no gap.
    Replace,
    /// After the old one: a short gap.
    ReplaceWithGap,
    Reload,
    Remove,
    Run,
    Write,
    /// Looked at, and left as it is.
    Keep,
    /// Nothing is changed; something would go wrong.
    Warn,
}

/// One planned change, for people and for machines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// What is changed: `backend`, `image viatique-backend:v2`.
    pub target: String,
    /// Why and how, in one line.
    pub detail: String,
}

/// How one step went, for the closing summary.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StepSummary {
    pub step: StepId,
    pub result: StepResult,
    /// Zero where it was not run.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub duration: Duration,
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(seconds(*duration))
}

/// An error as a reporter shows it: the chain from what was being done to why it failed, what to run next, and
/// evidence (log lines, health output).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ErrorReport {
    /// What was being done, then each cause. Never empty.
    pub chain: Vec<String>,
    /// What to run, or to look at.
    pub hints: Vec<String>,
    /// Titled blocks of lines, as in ("last log lines of viatique-backend-2", …).
    pub evidence: Vec<Evidence>,
}

/// Lines that show why something failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    pub title: String,
    pub lines: Vec<String>,
}

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First event of every command that drives steps.
    RunStarted {
        run: String,
        command: String,
        project: String,
        release: Option<String>,
        steps: Vec<StepId>,
        dry_run: bool,
    },
    StepStarted {
        step: StepId,
    },
    /// A part of a step began: a service being replaced, a file being dumped, an image being built.
    TaskStarted {
        step: StepId,
        task: TaskId,
        title: String,
    },
    /// Where it stands now: "waiting until healthy (3 s)".
    TaskProgress {
        step: StepId,
        task: TaskId,
        message: String,
    },
    /// How far it is: bytes or build steps. `total` where it is known.
    TaskAmount {
        step: StepId,
        task: TaskId,
        done: u64,
        total: Option<u64>,
        unit: Unit,
    },
    /// A line that a process wrote on the task's behalf.
    TaskOutput {
        step: StepId,
        task: TaskId,
        line: String,
    },
    TaskFinished {
        step: StepId,
        task: TaskId,
        result: StepResult,
        message: String,
        duration: Duration,
    },
    StepFinished {
        step: StepId,
        result: StepResult,
        message: String,
        duration: Duration,
    },
    /// The previous release is being put back, because of this step.
    UnwindStarted {
        step: StepId,
        reason: String,
    },
    UnwindFinished {
        step: StepId,
        result: UnwindResult,
        message: String,
    },
    /// How a check went.
    Checked {
        step: StepId,
        outcome: CheckOutcome,
    },
    /// What one look at a release that is watched has found.
    Measured {
        step: StepId,
        measured: Box<Measured>,
    },
    /// What watching a release came to.
    Settled {
        step: StepId,
        verdict: Verdict,
        /// Why, where it is bad: a line each.
        findings: Vec<String>,
        /// What was seen beside that, and what could not be looked at.
        remarks: Vec<String>,
        looked: Looked,
        /// The requests around the deploy; `None` where no log of them is known.
        traffic: Option<Box<TrafficSeries>>,
    },
    /// `--dry-run`: what a step would do.
    Planned {
        step: StepId,
        changes: Vec<Change>,
    },
    Warning {
        message: String,
        hint: Option<String>,
    },
    /// `--dry-run`: who would be told of the run.
    NoticePlanned {
        target: String,
        /// Scheme and host, and nothing secret.
        place: String,
        moments: Vec<Moment>,
    },
    /// Somebody has got a notice, or has not: which stops nothing.
    Notified {
        target: String,
        /// Scheme and host, and nothing secret.
        place: String,
        what: What,
        /// `None` where it was got.
        why_not: Option<String>,
        tries: u32,
        duration: Duration,
    },
    /// What is known of a release that a run has made serve, once everybody was asked who is there to be asked.
    Checklist {
        checklist: Checklist,
    },
    /// The report of the run stands in this file.
    Reported {
        file: String,
    },
    /// Last event of every command that drives steps.
    Finished {
        outcome: Outcome,
        exit_code: ExitCode,
        /// The release that serves now.
        release: Option<String>,
        duration: Duration,
        steps: Vec<StepSummary>,
        error: Option<ErrorReport>,
    },
}

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    Steps,
}

/// Shows events. Called from one task at a time; must not block for long and cannot fail.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);

    /// Whether there is somebody who can be asked.
    fn asks(&self) -> bool {
        false
    }

    /// Asks, and waits for the answer: anything but a clear yes is no.
    fn ask(&self, _question: &Question) -> bool {
        false
    }

    /// Asks what only a person can tell, and waits for the answer.
    fn reply(&self, _question: &Question) -> Reply {
        Reply::Gone
    }
}

/// What a person says who was asked how something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Yes,
    No,
    /// They do not know, or will say it later.
    Later,
    /// Nobody is there, or not any more.
    Gone,
}

/// A question with the whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about, each line with its heading.
    pub lines: Vec<(String, String)>,
    pub question: String,
}

/// Learns of every event, before it is shown. Called from one task at a time; must not block for long and cannot fail.
pub trait Listener: Send + Sync {
    /// Takes one event.
    fn hear(&self, event: &Event);
}

/// Where steps put their events. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    reporter: Arc<dyn Reporter>,
    listeners: Vec<Arc<dyn Listener>>,
}

impl Events {
    /// Sends everything to this reporter.
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            listeners: Vec::new(),
        }
    }

    /// The same, of which this one learns, too.
    #[must_use]
    pub fn heard_by(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sends one event.
    pub fn emit(&self, event: Event) {
        for listener in &self.listeners {
            listener.hear(&event);
        }
        self.reporter.event(&event);
    }

    /// Whether there is somebody who can be asked.
    pub fn asks(&self) -> bool {
        self.reporter.asks()
    }

    /// Asks, on a thread of its own: an operator who interrupts instead of answering is not waited for.
    pub async fn ask(&self, question: Question) -> bool {
        let asked = self.on_a_thread(move |reporter| reporter.ask(&question)).await;
        asked.unwrap_or(false)
    }

    /// The same, of what only a person can tell.
    pub async fn reply(&self, question: Question) -> Reply {
        let asked = self.on_a_thread(move |reporter| reporter.reply(&question)).await;
        asked.unwrap_or(Reply::Gone)
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Reporter) -> T + Send + 'static,
    ) -> Option<T> {
        let reporter = Arc::clone(&self.reporter);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asking = std::thread::Builder::new()
            .name("question".to_owned())
            .spawn(move || answer.send(ask(&*reporter)));
        match asking {
            Ok(_) => answered.await.ok(),
            Err(_) => None,
        }
    }
}
