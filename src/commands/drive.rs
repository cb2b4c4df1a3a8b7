//! Drives a pipeline from its first event to its last: lock, journal, steps, record, lock back. The lock covers all
//! of it. What is in the pipeline is its caller's business.

mod ended;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use self::ended::Ran;
use super::alive::give_signs_of_life;
use super::identity;
use super::locked;
use super::notices::{Found, Notices, Times};
use super::record::{is_same, kept_references};
use super::reported::ReportPlace;
use super::session::ledger_error;
use super::signals;
use super::unfinished::{refusal, sentence};
use crate::account::Gathered;
use crate::app::App;
use crate::clock::{Clock, timestamp};
use crate::engine::{Engine, EngineErrorKind};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{EntryKind, JOURNAL_FORMAT, Journal, Key, Ledger, Memory, Releases, RunHeader};
use crate::lock::{Holder, Lock, LockError};
use crate::notify::Observed;
use crate::pipeline::{
    self, Context, Event, Events, Interrupt, Listener, Outcome, Reporter, RunReport, RunState, Settings,
    Stage, StepId,
};
use crate::release::{RELEASE_FORMAT, Release, RunId, Sequence, Tag};
use crate::steps::check::code::changes;
use crate::steps::hooks::Hooked;
use crate::steps::migrate::judgement::{self, Judgement};
use crate::steps::monitor::Monitor;
use crate::steps::smoke::Smoke;
use crate::steps::{backup, one_off, retention};

/// Between two tries to take a lock that is waited for.
const LOCK_POLL: Duration = Duration::from_secs(1);

/// How much longer a run that is over may find out what it was about, for its notices.
const LATE: Duration = Duration::from_secs(2);

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
    /// Whether it may take up where another run has stopped half-way.
    pub finishes: bool,
    /// The releases, where the ledger was lost; none where it was not.
    pub rebuilt: Releases,
    /// How long to wait for the lock; not at all by default.
    pub lock_wait: Duration,
    /// Who is told of it; nobody where `None`.
    pub notices: Option<Notices>,
    /// Where its report is written; nowhere where `None`.
    pub report: Option<ReportPlace>,
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
        let (began, started) = (Instant::now(), self.clock.now());
        let services = self.settings.project.services.keys();
        let observed = Arc::new(Observed::of(services.map(ToString::to_string)));
        let gathered = Arc::new(Gathered::from_now());
        let events = Events::new(reporter)
            .heard_by(Arc::clone(&observed) as Arc<dyn Listener>)
            .heard_by(Arc::clone(&gathered) as Arc<dyn Listener>);
        if let Some(notices) = &self.notices {
            notices.serving(self.settings);
        }
        if self.is_followed_by_smoke() {
            self.stages.push(Stage::of(Smoke::all()));
        }
        if self.command == "run" && self.settings.config.monitor.is_some() {
            self.stages.push(Stage::of(Monitor::OfRun));
        }
        let hooks = &self.settings.config.hooks;
        let stages = std::mem::take(&mut self.stages).into_iter();
        self.stages = stages
            .map(|stage| stage.map(|step| Hooked::by(step, hooks)))
            .collect();
        events.emit(Event::RunStarted {
            run: run.to_string(),
            command: self.command.to_owned(),
            project: self.settings.project.name.clone(),
            release: Some(self.settings.tag.to_string()),
            steps: self.step_ids(),
            dry_run: self.dry_run,
        });
        let required = pipeline::steps(&self.stages).try_for_each(|step| step.require(self.settings));
        let report = if let Err(failure) = required {
            not_begun(failure)
        } else if self.dry_run {
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
        let ran = Ran {
            run: &run,
            started,
            took: began.elapsed(),
            observed: &observed,
            gathered: &gathered,
        };
        self.end(report, &ran, &events, interrupt).await
    }

    /// Whether an account of it is kept: it makes a release serve, or changes what one stands on.
    fn is_accounted_for(&self) -> bool {
        let deploys = match self.effect {
            Effect::Deploys(_) => true,
            Effect::Prepares => pipeline::changes_what_serves(&self.stages),
            Effect::Looks => false,
        };
        deploys && !self.dry_run
    }

    /// Whether the scenarios of `deploy.yml` are played at its end: wherever a release has been made to serve, and been
    /// asked whether it is well.
    fn is_followed_by_smoke(&self) -> bool {
        self.makes_serve()
            && !self.settings.skip_smoke
            && self.settings.config.smoke.is_some()
            && self.step_ids().contains(&StepId::Health)
    }

    const fn makes_serve(&self) -> bool {
        match self.effect {
            Effect::Deploys(_) => true,
            Effect::Looks | Effect::Prepares => false,
        }
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

    /// Nothing is changed. Where migrations are planned, a container of the release that is removed again says what they
    /// mean.
    async fn plan(&self, run: &RunId, events: &Events) -> RunReport {
        let mut state = RunState::default();
        if self.step_ids().contains(&StepId::Migrate) {
            let judged = judgement::judge(self.context(run, events, &state)).await;
            // One that cannot be asked may be built anew by the very run that is planned.
            let judged =
                judged.unwrap_or_else(|failure| Some(Judgement::NotYet(format!("{:#}", failure.error))));
            state.judged = judged.iter().flat_map(judgement::lines).collect();
        }
        if self.step_ids().contains(&StepId::Gate) {
            let changes = changes::gather(self.context(run, events, &state)).await;
            state.changed = changes.map(|changes| changes.in_words()).unwrap_or_default();
        }
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
        let holder = identity::holder(self.command, run, timestamp(self.clock.now()));
        let lock = match self.lock(&holder, events, interrupt).await {
            Ok(lock) => lock,
            Err(failure) => return not_begun(failure),
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
        let mut report = match self.journalled(run, events, interrupt, &lock).await {
            Ok(report) => report,
            Err(failure) => not_begun(failure),
        };
        if let Err(error) = lock.release(self.engine).await {
            let message = format!("the lock could not be given back: {error}");
            let hint = "viatique-deploy unlock".to_owned();
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

    /// Takes the lock, once whoever holds it has given it back, if it is to be waited for. A try is never dropped: whether
    /// the lock is ours must be known.
    async fn lock(&self, holder: &Holder, events: &Events, interrupt: &Interrupt) -> Result<Lock, Failure> {
        let project = &self.settings.project.name;
        let began = Instant::now();
        let mut told = false;
        loop {
            match Lock::acquire(self.engine, project, holder).await {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held { .. }) if began.elapsed() < self.lock_wait => {
                    if !told {
                        let held = locked::held(self.engine, project, holder).await?;
                        events.emit(Event::Warning {
                            message: format!(
                                "waiting up to {} s for the lock: {:#}",
                                self.lock_wait.as_secs(),
                                held.error
                            ),
                            hint: None,
                        });
                    }
                    told = true;
                    unless_interrupted(interrupt, async {
                        tokio::time::sleep(LOCK_POLL).await;
                        Ok(())
                    })
                    .await?;
                }
                Err(LockError::Held { .. }) => return Err(locked::held(self.engine, project, holder).await?),
                Err(LockError::Engine(error)) if error.kind == EngineErrorKind::Unreachable => {
                    return Err(Failure::from(error));
                }
                Err(LockError::Engine(error)) => {
                    return Err(Failure::from(error).context("taking the project's lock"));
                }
            }
        }
    }

    /// Everything between taking the lock and giving it back. All the while the run gives signs of life; where its lock
    /// has been taken away, it stops where it stands.
    async fn journalled(
        &mut self,
        run: &RunId,
        events: &Events,
        interrupt: &Interrupt,
        lock: &Lock,
    ) -> Result<RunReport, Failure> {
        let (memory, ledger) = unless_interrupted(interrupt, self.prepare(run, events)).await?;
        let engine = self.engine;
        let (forbid, forbidden) = watch::channel(false);
        let interrupt = interrupt.or_forbidden(forbidden);
        let work = self.worked(run, events, &interrupt, (memory, &ledger), lock);
        let mut report = tokio::select! {
            biased;
            report = work => report?,
            never = give_signs_of_life(engine, &ledger, lock, run, &forbid, events) => match never {},
        };
        if *forbid.borrow() && report.outcome != Outcome::Succeeded {
            report.outcome = Outcome::Stuck;
            report.failure = Some(taken_away());
        }
        Ok(report)
    }

    async fn worked(
        &mut self,
        run: &RunId,
        events: &Events,
        interrupt: &Interrupt,
        (memory, ledger): (Memory, &Ledger<'_>),
        lock: &Lock,
    ) -> Result<RunReport, Failure> {
        let releases = &memory.releases;
        self.settings.current = releases.current().cloned();
        let state = RunState {
            served: releases.current().map(|release| release.tag.clone()),
            ..RunState::default()
        };
        let header = self.header(run, memory.next_run());
        let mut journal = ledger.begin(header).map_err(ledger_error)?;
        let context = self.context(run, events, &state);
        let applied = pipeline::apply(&self.stages, context, Some(&mut journal), interrupt);
        let is_told = self.notices.is_some() || self.is_accounted_for();
        let found = OnceCell::new();
        let mut report = if is_told {
            beside(applied, self.begin(context, &found)).await
        } else {
            applied.await
        };
        let found = found.into_inner().unwrap_or_default();
        report.state.commit = found.commit.map(|commit| commit.now);
        report.state.changes = match (found.changes, releases.current()) {
            (Some(mut changes), Some(before)) if self.is_accounted_for() => {
                let images = changes::images(self.context(run, events, &report.state), before);
                let again = interrupt.times() + 1;
                changes.images = tokio::select! {
                    biased;
                    images = images => images,
                    () = interrupt.asked(again) => Vec::new(),
                };
                Some(changes)
            }
            (changes, _) => changes,
        };
        let mut deployed = None;
        // What cannot be found out is not held against it.
        let lost = async {
            tokio::select! {
                biased;
                ours = lock.is_ours(self.engine) => matches!(ours, Ok(false)),
                () = interrupt.asked(1) => false,
            }
        };
        if report.outcome == Outcome::Succeeded && lost.await {
            report.outcome = Outcome::Stuck;
            report.failure = Some(taken_away());
        }
        if report.outcome == Outcome::Succeeded {
            if let Effect::Deploys(returns_to) = self.effect {
                let release = self.release(&memory, run, &report.state, returns_to);
                let same = releases.current().filter(|current| is_same(current, &release));
                let recorded = match same {
                    Some(_) => Ok(()),
                    None => journal.record(&release).await.map_err(ledger_error),
                };
                deployed = match recorded {
                    Ok(()) => Some(releases.with(&release)),
                    Err(_) => None,
                };
                self.settings.current = Some(same.cloned().unwrap_or(release));
                if let Err(failure) = recorded {
                    report.outcome = Outcome::Stuck;
                    report.failure = Some(
                        failure
                            .with_kind(FailureKind::Stuck)
                            .context(format!(
                                "release {} serves, but it could not be recorded",
                                self.settings.tag
                            ))
                            .hint("viatique-deploy resume changes nothing that stands, and records it"),
                    );
                }
            }
            let context = self.context(run, events, &report.state);
            pipeline::settle(&self.stages, context).await;
            if let Some(releases) = &deployed
                && let Err(failure) = retention::prune(context, &memory, releases).await
            {
                context.warn(
                    format!("removing the images of old releases: {:#}", failure.error),
                    None,
                );
            }
        }
        if report.outcome == Outcome::Succeeded && self.step_ids().contains(&StepId::Backup) {
            let context = self.context(run, events, &report.state);
            let releases = deployed.as_ref().unwrap_or(releases);
            if let Err(failure) = backup::retention::prune(context, &memory, releases).await {
                context.warn(format!("removing old backups: {:#}", failure.error), None);
            }
        }
        self.close(&mut journal, events, report.outcome).await;
        if report.outcome != Outcome::Stuck
            && let Err(error) = ledger.forget(&memory, self.settings.config.release.keep).await
        {
            events.emit(Event::Warning {
                message: format!("removing what is old from the ledger: {error}"),
                hint: None,
            });
        }
        Ok(report)
    }

    /// Finds out what the run is about, and tells that it has begun.
    async fn begin(&self, context: Context<'_>, found: &OnceCell<Found>) {
        let times = Times {
            started: self.clock.now(),
            elapsed: Duration::ZERO,
        };
        let known = found.get_or_init(|| Found::out(context.settings)).await;
        if let Some(notices) = &self.notices {
            notices.begin(context, self.command, times, known.clone()).await;
        }
    }

    /// Reads what others left, clears it away, and opens the ledger.
    async fn prepare(&self, run: &RunId, events: &Events) -> Result<(Memory, Ledger<'a>), Failure> {
        let project = &self.settings.project.name;
        // Opened before it is read: with its container pruned there would seem to be no releases. And read only now:
        // what was read before the lock was taken may have been changed by who held it.
        let ledger = Ledger::open(self.engine, project).await.map_err(ledger_error)?;
        let mut memory = ledger.read().await.map_err(ledger_error)?;
        if let Some(current) = self.rebuilt.current().filter(|_| memory.is_blank()) {
            events.emit(Event::Warning {
                message: format!(
                    "the ledger of {project} was lost, and is made anew of what containers and images tell: {} serves; {}",
                    current.tag,
                    self.rebuilt.known()
                ),
                hint: None,
            });
            ledger.keep_releases(&self.rebuilt).await.map_err(ledger_error)?;
            memory.releases = self.rebuilt.clone();
        }
        if let Some(unfinished) = memory
            .unfinished
            .as_ref()
            .filter(|_| pipeline::changes_what_serves(&self.stages))
        {
            if !self.finishes {
                let serves = memory.releases.current().map(|release| release.tag.as_str());
                return Err(refusal(self.engine, project, unfinished, serves).await?);
            }
            events.emit(Event::Warning {
                message: format!(
                    "{}; what it left is brought to {}",
                    sentence(unfinished),
                    self.settings.tag
                ),
                hint: None,
            });
        }
        one_off::sweep(self.engine, project, run, true).await?;
        if let Some(staging) = &self.settings.staging {
            one_off::sweep(self.engine, &staging.project.name, run, true).await?;
        }
        if memory.key.is_none() {
            let key = Key::new(&identity::random_bytes().context("making a key for fingerprints")?);
            ledger.keep_key(&key).await.map_err(ledger_error)?;
            memory.key = Some(key);
        }
        Ok((memory, ledger))
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

    fn header(&self, run: &RunId, number: u64) -> RunHeader {
        RunHeader {
            format: JOURNAL_FORMAT,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.clone(),
            number,
            command: self.command.to_owned(),
            release: Some(self.settings.tag.clone()),
            started_at: timestamp(self.clock.now()),
            started_by: identity::deployed_by(),
            steps: self.step_ids(),
            replace: self.settings.replace.iter().map(ToString::to_string).collect(),
            allow_incompatible: self.settings.allow_incompatible,
            maintenance: self.settings.maintenance,
            skip_smoke: self.settings.skip_smoke,
            restores: self.settings.restores.clone(),
            reverses: self.settings.reverses.clone(),
        }
    }

    fn release(&self, memory: &Memory, run: &RunId, state: &RunState, returns_to: ReturnsTo) -> Release {
        let settings = &*self.settings;
        let releases = &memory.releases;
        // Made before the first step; where it were missing, nothing would be told of a value.
        let fingerprint = |value: &str| {
            let key = memory.key.as_ref();
            key.map_or_else(String::new, |key| key.fingerprint(value))
        };
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
            project: settings.project.without_secrets(&fingerprint),
            migrations: state.migrations.clone(),
            rehearsal: state.rehearsal.clone(),
            known_errors: state.known_errors.clone(),
            backup: state.backup.clone(),
            checks: state.checks.clone(),
        }
    }
}

/// The work; what runs beside it is waited for no longer than [`LATE`] when the work is done.
async fn beside<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    tokio::pin!(work, other);
    tokio::select! {
        biased;
        done = &mut work => {
            // A run that fails at once has begun all the same.
            let _ = tokio::time::timeout(LATE, other).await;
            return done;
        }
        () = &mut other => {}
    }
    work.await
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

fn taken_away() -> Failure {
    Failure::message(
        FailureKind::Stuck,
        "the project's lock was taken away from this run, which stopped where it stood",
    )
    .hint("look at what stands: viatique-deploy status")
}
