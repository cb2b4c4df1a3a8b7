//! What a step is: it plans against a read-only view, applies through the full port, and undoes what it did, found
//! by label rather than by memory. Nothing else is reachable from a step than what its view or context holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::event::{Change, Event, Events, StepId, StepResult, TaskId, Unit};
use crate::app::App;
use crate::clock::Clock;
use crate::compose::{Project, ServiceName};
use crate::config::Config;
use crate::engine::{ContainerId, Engine, Inspect};
use crate::error::Failure;
use crate::release::changes::Changes;
use crate::release::checks::ChecksRecord;
use crate::release::rehearsal::Rehearsal;
use crate::release::{Migration, MigrationRecord, RecordedFile, Release, ReleasedImage, RunId, Tag};
use crate::secret::Secret;

/// Everything that was decided before the first step.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub project: Project,
    /// The Compose files the project was read from, for the release's record.
    pub sources: Vec<RecordedFile>,
    pub tag: Tag,
    /// Where backups are written: absolute.
    pub backup_directory: PathBuf,
    /// The staging stack of the same release, where there is one.
    pub staging: Option<Box<Self>>,
    /// Images that are given and must not be looked up by reference: those of a recorded release. Empty otherwise.
    pub images: BTreeMap<ServiceName, ReleasedImage>,
    /// The release that serves now.
    pub current: Option<Release>,
    /// Services that are replaced in this run although a deploy otherwise leaves them alone.
    pub replace: BTreeSet<ServiceName>,
    /// Migrations are applied although the release that serves fails on what they make.
    pub allow_incompatible: bool,
    /// The site is closed while migrations are applied that the release that serves fails on.
    pub maintenance: bool,
    /// The backup that a rollback takes back with the release.
    pub restores: Option<String>,
    /// How a rollback takes migrations back.
    pub reverses: Option<Reversal>,
    /// The variables that `smoke` asks for, as far as they are set: from where `${…}` of the Compose files come from.
    pub smoke_variables: BTreeMap<String, Secret<String>>,
    /// The scenarios of `smoke` are not played at the end of this run.
    pub skip_smoke: bool,
    /// Nobody is asked what only a person can tell of the release: that is not verified then.
    pub assume_manual: bool,
}

/// How a rollback takes migrations back. Stored in the journal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reversal {
    pub order: ReversalOrder,
    /// The release whose code does it; `None`: the last recorded one that applied any.
    pub with: Option<Tag>,
}

/// Which of its halves comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReversalOrder {
    /// The schema, while the newer code serves: where it fails, what was taken back is applied again.
    SchemaFirst,
    /// The code, which fits either schema and serves already: where it fails, what stands is left.
    CodeFirst,
}

/// What the steps so far found out; later steps read it.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    /// The release that served when the run had taken the lock.
    pub served: Option<Tag>,
    /// By service: what `build` made or found.
    pub images: BTreeMap<ServiceName, ReleasedImage>,
    /// A build is planned before this step, so that image ids are not known yet.
    pub build_planned: bool,
    pub backup: Option<String>,
    /// What the checks came to.
    pub checks: Option<ChecksRecord>,
    pub migrations: Option<MigrationRecord>,
    /// In a dry run: what is known of the migrations, line by line.
    pub judged: Vec<Change>,
    /// In a dry run: what the release would change against the one that serves, each line with its heading.
    pub changed: Vec<(String, String)>,
    /// What stands, where it was asked just now and nothing is pending.
    pub nothing_pending: Option<Vec<Migration>>,
    /// What came of trying the migrations on a copy.
    pub rehearsal: Option<Rehearsal>,
    /// Since when `deploy` has known its containers to be well: their health test has passed, or without one they have
    /// run.
    pub well_since: BTreeMap<ContainerId, Instant>,
    /// The errors in the logs when the release had settled, by their fingerprints; `None` where nobody has watched.
    pub known_errors: Option<BTreeSet<String>>,
    /// What the release changes, for the run's account: known once the run is over.
    pub changes: Option<Changes>,
    /// The commit that the release is made of; likewise.
    pub commit: Option<String>,
}

impl RunState {
    fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Nothing => {}
            Fact::Checked {
                record,
                nothing_pending,
            } => {
                self.checks = Some(record.clone());
                if nothing_pending.is_some() {
                    self.nothing_pending.clone_from(nothing_pending);
                }
            }
            Fact::Backup(id) => self.backup = Some(id.clone()),
            Fact::Images(images) => self.images.clone_from(images),
            Fact::Migrations(record) => self.migrations = Some(record.clone()),
            Fact::NothingPending(applied) => self.nothing_pending = Some(applied.clone()),
            Fact::Settled { known_errors } => self.known_errors = Some(known_errors.clone()),
            Fact::Rehearsed(rehearsal) => self.rehearsal = Some((**rehearsal).clone()),
            Fact::Deployed { images, well_since } => {
                self.images.clone_from(images);
                self.well_since.clone_from(well_since);
            }
        }
    }

    /// Adds what a finished step found out.
    pub(super) fn fold(&mut self, receipt: &Receipt) {
        self.take(&receipt.fact);
    }
}

/// What planning may use. Nothing here can change the engine.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub inspect: &'a dyn Inspect,
    pub clock: &'a dyn Clock,
    pub settings: &'a Settings,
    pub state: &'a RunState,
}

/// What applying may use.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub engine: &'a dyn Engine,
    pub app: &'a dyn App,
    pub clock: &'a dyn Clock,
    pub settings: &'a Settings,
    pub state: &'a RunState,
    pub events: &'a Events,
    pub run: &'a RunId,
}

impl<'a> Context<'a> {
    /// The read-only part.
    pub fn view(&self) -> View<'a> {
        View {
            inspect: self.engine,
            clock: self.clock,
            settings: self.settings,
            state: self.state,
        }
    }

    /// Announces a part of a step; the returned task reports how it goes.
    pub fn task(&self, step: StepId, name: impl Into<String>, title: impl Into<String>) -> Task {
        let task = TaskId(name.into());
        self.events.emit(Event::TaskStarted {
            step,
            task: task.clone(),
            title: title.into(),
        });
        Task {
            events: self.events.clone(),
            step,
            task,
            started: Instant::now(),
            is_over: false,
        }
    }

    /// Something the operator should know, though it stops nothing.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        self.events.emit(Event::Warning {
            message: message.into(),
            hint,
        });
    }
}

/// A part of a step, under way. Its end is said by one of the consuming calls; one that is dropped was interrupted.
pub struct Task {
    events: Events,
    step: StepId,
    task: TaskId,
    started: Instant,
    is_over: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end(StepResult::Interrupted, String::new());
    }
}

impl Task {
    /// Where it stands.
    pub fn progress(&self, message: impl Into<String>) {
        self.events.emit(Event::TaskProgress {
            step: self.step,
            task: self.task.clone(),
            message: message.into(),
        });
    }

    /// How far it is.
    pub fn amount(&self, done: u64, total: Option<u64>, unit: Unit) {
        self.events.emit(Event::TaskAmount {
            step: self.step,
            task: self.task.clone(),
            done,
            total,
            unit,
        });
    }

    /// A line that a process wrote.
    pub fn output(&self, line: impl Into<String>) {
        self.events.emit(Event::TaskOutput {
            step: self.step,
            task: self.task.clone(),
            line: line.into(),
        });
    }

    /// How long it has been going.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// It is over.
    pub fn finish(mut self, result: StepResult, message: impl Into<String>) {
        self.end(result, message.into());
    }

    fn end(&mut self, result: StepResult, message: String) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.events.emit(Event::TaskFinished {
            step: self.step,
            task: self.task.clone(),
            result,
            message,
            duration: self.started.elapsed(),
        });
    }

    /// Says how it ended, by the result it gave, and hands that on.
    pub fn conclude<T>(
        self,
        result: Result<T, Failure>,
        message: impl FnOnce(&T) -> (StepResult, String),
    ) -> Result<T, Failure> {
        match &result {
            Ok(value) => {
                let (result, message) = message(value);
                self.finish(result, message);
            }
            Err(failure) => self.finish(StepResult::Failed, failure.error.root_cause().to_string()),
        }
        result
    }
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// One line for people.
    pub message: String,
    /// Whether anything was changed.
    pub changed: bool,
    /// What later steps and the release's record need.
    pub fact: Fact,
}

impl Receipt {
    /// Something was done.
    pub fn changed(message: impl Into<String>, fact: Fact) -> Self {
        Self {
            message: message.into(),
            changed: true,
            fact,
        }
    }

    /// Nothing had to be done.
    pub fn unchanged(message: impl Into<String>, fact: Fact) -> Self {
        Self {
            message: message.into(),
            changed: false,
            fact,
        }
    }
}

/// What a step found out.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Nothing,
    /// What the checks came to, all of the run so far.
    Checked {
        record: ChecksRecord,
        /// What stands, where they have asked, and nothing is pending.
        nothing_pending: Option<Vec<Migration>>,
    },
    Backup(String),
    Images(BTreeMap<ServiceName, ReleasedImage>),
    Migrations(MigrationRecord),
    /// What stands.
    NothingPending(Vec<Migration>),
    Rehearsed(Box<Rehearsal>),
    /// See [`RunState::known_errors`].
    Settled {
        known_errors: BTreeSet<String>,
    },
    Deployed {
        images: BTreeMap<ServiceName, ReleasedImage>,
        /// See [`RunState::well_since`].
        well_since: BTreeMap<ContainerId, Instant>,
    },
}

/// How an undo ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// What was changed is as it was.
    Reverted {
        message: String,
        /// Something had stood before, and stands again.
        restored_previous: bool,
    },
    /// Nothing had been changed.
    NothingToDo,
    /// Left on purpose.
    LeftInPlace { why: String },
}

/// What becomes of a step under way when one beside it fails. An operator who interrupts stops either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAnotherFails {
    /// It is dropped at once, and undone.
    Stops,
    /// Half of it would be worse than all of it: it runs to its end, and is undone then.
    FinishesFirst,
}

/// One step of a run.
#[async_trait]
pub trait Step: Send + Sync {
    /// Which one.
    fn id(&self) -> StepId;

    /// What it would do. Changes nothing, by type.
    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure>;

    /// Does it. May be dropped at any await when the operator interrupts, or when a step beside it fails (see
    /// [`Step::when_another_fails`]); `undo` then cleans up.
    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure>;

    /// What becomes of it when a step beside it fails.
    fn when_another_fails(&self) -> WhenAnotherFails {
        WhenAnotherFails::Stops
    }

    /// Takes back what it did or began, found by label: it may have failed, or been dropped, at any point.
    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure>;

    /// Whether what it will need is there, as far as that can be told from here: asked of every step before the first one
    /// begins. Talks to nobody.
    ///
    /// # Errors
    /// What is missing.
    fn require(&self, _settings: &Settings) -> Result<(), Failure> {
        Ok(())
    }

    /// Clears away what was kept only for the way back, once every step has succeeded.
    async fn settle(&self, _context: Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
}
