//! Drives a pipeline from its first event to its last: lock, journal, steps, record, lock back. The lock covers all
//! of it. What is in the pipeline is its caller's business.

use std::sync::Arc;

use tokio::time::Instant;

use super::identity;
use super::session::ledger_error;
use super::{exit_code, signals};
use crate::app::App;
use crate::clock::{Clock, timestamp};
use crate::digest::hexadecimal;
use crate::engine::{Engine, EngineErrorKind};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{EntryKind, JOURNAL_FORMAT, Journal, Ledger, Releases, RunHeader};
use crate::lock::{Lock, LockError};
use crate::pipeline::{
    self, Context, Event, Events, Interrupt, Outcome, Reporter, RunReport, RunState, Settings, Stage, StepId,
    StepResult, StepSummary,
};
use crate::release::{RELEASE_FORMAT, Release, ReleasedImage, RunId, Sequence, Tag};
use crate::steps::one_off;

/// What a pipeline works on.
pub struct Drive<'a> {
    /// The subcommand.
    pub command: &'static str,
    pub engine: &'a dyn Engine,
    pub app: &'a dyn App,
    pub clock: &'a dyn Clock,
    pub settings: &'a mut Settings,
    pub stages: Vec<Stage>,
    pub effect: Effect,
    pub dry_run: bool,
}

/// What a pipeline does to the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Looks only: needs no lock and writes no journal.
    Looks,
    /// Changes something, but not what serves.
    Prepares,
    /// Makes a release serve, which is recorded.
    Deploys(ReturnsTo),
}

/// What a rollback from the release being made goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnsTo {
    /// What serves now, unless that is the same tag deployed again, whose own predecessor it then is.
    WhatServes,
    /// What stood before the release that is being returned to.
    Recorded(Option<Sequence>),
}

impl ReturnsTo {
    fn sequence(self, releases: &Releases, tag: &Tag) -> Option<Sequence> {
        match self {
            Self::Recorded(sequence) => sequence,
            Self::WhatServes => {
                let current = releases.current()?;
                if current.tag == *tag {
                    current.previous
                } else {
                    Some(current.sequence)
                }
            }
        }
    }
}

impl<'a> Drive<'a> {
    /// Runs it, from `RunStarted` to `Finished`.
    pub(super) async fn run(self, reporter: Arc<dyn Reporter>) -> ExitCode {
        let run = RunId::new(self.clock.now(), identity::random());
        self.run_as(run, &signals::listen(), reporter).await
    }

    /// Runs it under this name, until it ends or is interrupted. With ports that are simulated, this is a whole
    /// command: the tests drive it.
    pub async fn run_as(
        mut self,
        run: RunId,
        interrupt: &Interrupt,
        reporter: Arc<dyn Reporter>,
    ) -> ExitCode {
        let began = Instant::now();
        let events = Events::new(reporter);
        events.emit(Event::RunStarted {
            run: run.to_string(),
            command: self.command.to_owned(),
            project: self.settings.project.name.clone(),
            release: Some(self.settings.tag.to_string()),
            steps: self.step_ids(),
            dry_run: self.dry_run,
        });
        let report = if self.dry_run {
            self.plan(&run, &events).await
        } else if self.effect == Effect::Looks {
            let state = RunState::default();
            pipeline::apply(&self.stages, self.context(&run, &events, &state), None, interrupt).await
        } else if let Err(failure) = unless_interrupted(interrupt, self.preflight(&run, &events)).await {
            // Nothing stands on the engine yet, not even the lock.
            not_begun(failure)
        } else {
            self.under_lock(&run, &events, interrupt).await
        };
        let reached: Vec<StepId> = report.steps.iter().map(|summary| summary.step).collect();
        let mut steps = report.steps;
        steps.extend(
            self.step_ids()
                .into_iter()
                .filter(|step| !reached.contains(step))
                .map(|step| StepSummary {
                    step,
                    result: StepResult::NotRun,
                    duration: std::time::Duration::ZERO,
                }),
        );
        let code = exit_code(
            report.outcome,
            report.failure.as_ref().map(|failure| failure.kind),
        );
        let serves = self
            .settings
            .current
            .as_ref()
            .map(|release| release.tag.to_string());
        events.emit(Event::Finished {
            outcome: report.outcome,
            exit_code: code,
            release: serves,
            duration: began.elapsed(),
            steps,
            error: report.failure.map(|failure| failure.report()),
        });
        code
    }

    fn step_ids(&self) -> Vec<StepId> {
        pipeline::steps(&self.stages).map(|step| step.id()).collect()
    }

    fn context<'b>(&'b self, run: &'b RunId, events: &'b Events, state: &'b RunState) -> Context<'b> {
        Context {
            engine: self.engine,
            app: self.app,
            clock: self.clock,
            settings: self.settings,
            state,
            events,
            run,
        }
    }

    async fn plan(&self, run: &RunId, events: &Events) -> RunReport {
        let state = RunState::default();
        match pipeline::plan(&self.stages, self.context(run, events, &state)).await {
            Ok(()) => ended(Outcome::Succeeded, None),
            Err(failure) => ended(Outcome::Failed, Some(failure)),
        }
    }

    /// What would stop the first step is said before anything is touched.
    async fn preflight(&self, run: &RunId, events: &Events) -> Result<(), Failure> {
        let state = RunState::default();
        match pipeline::steps(&self.stages).next() {
            Some(step) => step
                .plan(self.context(run, events, &state).view())
                .await
                .map(|_| ()),
            None => Ok(()),
        }
    }

    async fn under_lock(&mut self, run: &RunId, events: &Events, interrupt: &Interrupt) -> RunReport {
        let project = self.settings.project.name.clone();
        let holder = identity::holder(self.command, run, timestamp(self.clock.now()));
        let lock = match Lock::acquire(self.engine, &project, &holder).await {
            Ok(lock) => lock,
            Err(error) => return ended(Outcome::Failed, Some(not_locked(error))),
        };
        if let Some(dead) = &lock.taken_over_from {
            events.emit(Event::Warning {
                message: format!(
                    "took the lock over from {} (process {}), which is gone",
                    dead.command, dead.process
                ),
                hint: None,
            });
        }
        let mut report = match self.journalled(run, events, interrupt).await {
            Ok(report) => report,
            Err(failure) => not_begun(failure),
        };
        if let Err(error) = lock.release(self.engine).await {
            let message = format!("the lock could not be given back: {error}");
            let hint = format!("docker rm {}", crate::lock::object_name(&project));
            // Beside the run's own result, never instead of it.
            match &mut report.failure {
                Some(failure) => failure.hints.push(format!("{message}; {hint}")),
                None => events.emit(Event::Warning {
                    message,
                    hint: Some(hint),
                }),
            }
        }
        report
    }

    /// Everything between taking the lock and giving it back.
    async fn journalled(
        &mut self,
        run: &RunId,
        events: &Events,
        interrupt: &Interrupt,
    ) -> Result<RunReport, Failure> {
        let state = RunState::default();
        let (releases, ledger) = unless_interrupted(interrupt, self.prepare(run, events)).await?;
        self.settings.current = releases.current().cloned();
        let mut journal = ledger.begin(self.header(run)).map_err(ledger_error)?;
        let context = self.context(run, events, &state);
        let mut report = pipeline::apply(&self.stages, context, Some(&mut journal), interrupt).await;
        if report.outcome == Outcome::Succeeded {
            if let Effect::Deploys(returns_to) = self.effect {
                let release = self.release(&releases, run, &report.state, returns_to);
                let recorded = match releases.current() {
                    Some(current) if is_same(current, &release) => Ok(()),
                    Some(_) | None => journal.record(&release).await.map_err(ledger_error),
                };
                self.settings.current = Some(release);
                if let Err(failure) = recorded {
                    report.outcome = Outcome::Stuck;
                    report.failure = Some(
                        failure
                            .with_kind(FailureKind::Stuck)
                            .context(format!(
                                "release {} serves, but it could not be recorded",
                                self.settings.tag
                            ))
                            .hint(
                                "run the same command again: it changes nothing that stands, and records it",
                            ),
                    );
                }
            }
            pipeline::settle(&self.stages, self.context(run, events, &report.state)).await;
        }
        self.close(&mut journal, events, report.outcome).await;
        Ok(report)
    }

    /// Reads what others left, clears it away, and opens the ledger.
    async fn prepare(&self, run: &RunId, events: &Events) -> Result<(Releases, Ledger<'a>), Failure> {
        let project = &self.settings.project.name;
        // Opened before it is read: with its container pruned there would seem to be no releases. And read only now:
        // what was read before the lock was taken may have been changed by who held it.
        let ledger = Ledger::open(self.engine, project).await.map_err(ledger_error)?;
        let (releases, unfinished) = ledger.read().await.map_err(ledger_error)?;
        if let Some(unfinished) = unfinished {
            let step = unfinished.stopped_at();
            events.emit(Event::Warning {
                message: format!(
                    "run {} ({}) by {} stopped at {step} and never finished; what it left is brought to {}",
                    unfinished.header.run,
                    unfinished.header.command,
                    unfinished.header.started_by,
                    self.settings.tag
                ),
                hint: None,
            });
        }
        one_off::sweep(self.engine, project, run, true).await?;
        Ok((releases, ledger))
    }

    /// A run that is stuck stays unfinished in the journal, for the next command to find.
    async fn close(&self, journal: &mut Journal<'_>, events: &Events, outcome: Outcome) {
        let closed = if outcome == Outcome::Stuck {
            journal.flush().await.map_err(anyhow::Error::from)
        } else {
            let at = timestamp(self.clock.now());
            journal.write(at, EntryKind::Finished { outcome }).await
        };
        if let Err(error) = closed {
            events.emit(Event::Warning {
                message: format!("the journal could not be closed: {error:#}"),
                hint: None,
            });
        }
    }

    fn header(&self, run: &RunId) -> RunHeader {
        RunHeader {
            format: JOURNAL_FORMAT,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.clone(),
            command: self.command.to_owned(),
            release: Some(self.settings.tag.clone()),
            started_at: timestamp(self.clock.now()),
            started_by: identity::deployed_by(),
            steps: self.step_ids(),
        }
    }

    fn release(&self, releases: &Releases, run: &RunId, state: &RunState, returns_to: ReturnsTo) -> Release {
        let settings = &*self.settings;
        Release {
            format: RELEASE_FORMAT,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            sequence: releases.next_sequence(),
            tag: settings.tag.clone(),
            run: run.clone(),
            command: self.command.to_owned(),
            deployed_at: timestamp(self.clock.now()),
            deployed_by: identity::deployed_by(),
            previous: returns_to.sequence(releases, &settings.tag),
            images: kept_references(settings, state),
            compose: settings.sources.clone(),
            project: settings
                .project
                .without_secrets(&fingerprint(&settings.project.name)),
            migrations: state.migrations.clone(),
            backup: state.backup.clone(),
        }
    }
}

/// The same thing deployed again is no new release.
fn is_same(current: &Release, new: &Release) -> bool {
    let added_nothing = new
        .migrations
        .as_ref()
        .is_none_or(|record| record.added().is_empty());
    current.tag == new.tag
        && current.images == new.images
        && current.compose == new.compose
        && current.project == new.project
        && added_nothing
}

/// By the reference that stays with the release.
fn kept_references(
    settings: &Settings,
    state: &RunState,
) -> std::collections::BTreeMap<crate::compose::ServiceName, ReleasedImage> {
    let mut images = state.images.clone();
    for (name, image) in &mut images {
        if let Some(service) = settings
            .project
            .services
            .get(name)
            .filter(|service| service.build.is_some())
        {
            image.reference = crate::steps::release_reference(&settings.project, service, &settings.tag);
        }
    }
    images
}

/// Replaces a secret value in the record, so that a change can be seen and the value cannot.
fn fingerprint(project: &str) -> impl Fn(&str) -> String {
    use sha2::{Digest as _, Sha256};
    let key = format!("viatique-deploy {project}");
    move |value| {
        let digest = Sha256::new()
            .chain_update(&key)
            .chain_update([0])
            .chain_update(value)
            .finalize();
        // 64 bits are enough to tell two values apart.
        hexadecimal(digest.get(..8).unwrap_or(&digest))
    }
}

fn ended(outcome: Outcome, failure: Option<Failure>) -> RunReport {
    RunReport {
        outcome,
        failure,
        steps: Vec::new(),
        state: RunState::default(),
    }
}

/// Stopped before its first step: production is untouched.
fn not_begun(failure: Failure) -> RunReport {
    let outcome = if failure.kind == FailureKind::Interrupted {
        Outcome::Interrupted
    } else {
        Outcome::Failed
    };
    ended(outcome, Some(failure))
}

/// What comes before the first step has nothing to undo: it is dropped where it stands.
async fn unless_interrupted<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = interrupt.asked(1) => {
            Err(Failure::message(FailureKind::Interrupted, "interrupted before the first step"))
        }
        result = work => result,
    }
}

fn not_locked(error: LockError) -> Failure {
    match error {
        LockError::Engine(error) if error.kind == EngineErrorKind::Unreachable => Failure::from(error),
        LockError::Engine(error) => Failure::from(error).context("taking the project's lock"),
        LockError::Held { ref container, .. } => {
            let hint = format!("wait for it; if it is certainly dead: docker rm {container}");
            Failure::new(FailureKind::Locked, error).hint(hint)
        }
    }
}
