//! `run`, and the subcommands that are one of its steps.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::drive::{Drive, Effect, ReturnsTo};
use super::notices::Notices;
use super::session::Session;
use super::unfinished::refusal;
use crate::app::http::HttpApp;
use crate::cli::{BuildArgs, GlobalOptions, RunArgs};
use crate::clock::SystemClock;
use crate::compose::{Project, ServiceName};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::Memory;
use crate::lock;
use crate::pipeline::{self, Event, Reporter, Settings, Stage, Step, StepId};
use crate::release::Release;
use crate::steps::application::Preparation;
use crate::steps::backup::Backup;
use crate::steps::backup::copies::Copy;
use crate::steps::backup::drill::Drill;
use crate::steps::backup::prune::Prune;
use crate::steps::backup::restore::Restore;
use crate::steps::backup::restore::undo::UndoRestore;
use crate::steps::backup::verify::Verify;
use crate::steps::build::Build;
use crate::steps::check::{Check, Gate, Selection};
use crate::steps::collectstatic::Collectstatic;
use crate::steps::deploy::Deploy;
use crate::steps::fetch::Fetch;
use crate::steps::health::Health;
use crate::steps::maintenance::Close;
use crate::steps::migrate::Migrate;
use crate::steps::monitor::Monitor;
use crate::steps::rehearse::Rehearse;
use crate::steps::reverse::Reverse;
use crate::steps::smoke::Smoke;
use crate::ui::{self, OutputOptions};
use crate::yaml::nearest;

/// What was asked for beside the command.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// Names of services.
    pub replace: &'a [String],
    pub allow_incompatible: bool,
    pub maintenance: bool,
    pub skip_smoke: bool,
    pub assume_manual: bool,
    /// Where the report is wanted.
    pub report: Option<&'a Path>,
}

/// Whether a run tries its migrations on a copy before it applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsing {
    First,
    Not,
}

/// Drives the steps of a subcommand.
///
/// # Errors
/// Whatever is wrong before the first step.
pub(super) async fn steps(
    global: &GlobalOptions,
    chosen: Chosen,
    asked: Asked<'_>,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    drive_with(session, global, chosen, asked, ui::reporter(output)).await
}

/// `run`: with a rehearsal, where `deploy.yml` wants one and nobody says otherwise.
///
/// # Errors
/// Whatever is wrong before the first step.
pub(super) async fn run(
    global: &GlobalOptions,
    arguments: &RunArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let wanted = session
        .config
        .django
        .as_ref()
        .is_some_and(|django| django.rehearse);
    let rehearsal = if wanted && !arguments.skip_rehearsal {
        Rehearsing::First
    } else {
        Rehearsing::Not
    };
    let selection = Selection::without("--skip-check", &arguments.skip_check)?;
    let chosen = if arguments.maintenance {
        Chosen::run_in_maintenance(arguments.build, rehearsal, selection)
    } else {
        Chosen::run_with(arguments.build, rehearsal, selection)
    };
    let asked = Asked {
        replace: &arguments.replace.replace,
        // Nobody is served meanwhile who could be failed.
        allow_incompatible: arguments.migrate.allow_breaking || arguments.maintenance,
        maintenance: arguments.maintenance,
        skip_smoke: arguments.skip_smoke,
        assume_manual: arguments.assume_manual,
        report: arguments.report.report.as_deref(),
    };
    drive_with(session, global, chosen, asked, ui::reporter(output)).await
}

/// Drives the steps, in front of this reporter.
///
/// # Errors
/// Whatever is wrong before the first step.
pub(super) async fn drive_with(
    mut session: Session,
    global: &GlobalOptions,
    chosen: Chosen,
    asked: Asked<'_>,
    reporter: Arc<dyn Reporter>,
) -> Result<ExitCode, Failure> {
    session.report = asked.report.map(ToOwned::to_owned);
    // A release to be made is read from its files before the engine is asked anything.
    let mut settings = if chosen.concerns_what_serves {
        let releases = session.releases(global).await?;
        let tag = session.serving_tag(global, &releases).await?;
        session.settings(tag, releases.current().cloned()).await?
    } else {
        let mut settings = session.settings(session.new_tag(global).await?, None).await?;
        settings.replace = asked_for(&settings.project, asked.replace)?;
        settings.allow_incompatible = asked.allow_incompatible;
        settings.maintenance = asked.maintenance;
        settings.skip_smoke = asked.skip_smoke;
        settings.assume_manual = asked.assume_manual;
        let memory = session.memory(global).await?;
        if global.dry_run && pipeline::changes_what_serves(&chosen.stages) {
            refuse_where_unfinished(&session, &memory).await?;
        }
        settings.current = memory.releases.current().cloned();
        settings
    };
    chosen.drive(&session, &mut settings, global, reporter).await
}

/// A dry run says so without the lock: what the run itself would say once it has it.
async fn refuse_where_unfinished(session: &Session, memory: &Memory) -> Result<(), Failure> {
    let Some(unfinished) = &memory.unfinished else {
        return Ok(());
    };
    let (engine, project) = (&session.engine, session.project());
    // Under way, and not left behind.
    if lock::holder(engine, project).await?.is_some() {
        return Ok(());
    }
    let serves = memory.releases.current().map(|release| release.tag.as_str());
    Err(refusal(engine, project, unfinished, serves).await?)
}

/// The services that `--replace` names.
///
/// # Errors
/// One that the Compose files do not have; the known ones are named.
pub fn asked_for(project: &Project, names: &[String]) -> Result<BTreeSet<ServiceName>, Failure> {
    let find = |name: &String| {
        let known = || project.services.keys().map(ServiceName::as_str);
        project
            .services
            .keys()
            .find(|service| service.as_str() == name)
            .cloned()
            .ok_or_else(|| {
                let suggestion = nearest(name, known())
                    .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
                Failure::message(
                    FailureKind::Configuration,
                    format!("--replace: the Compose files have no service `{name}`{suggestion}"),
                )
                .hint(format!(
                    "services there: {}",
                    known().collect::<Vec<_>>().join(", ")
                ))
            })
    };
    names.iter().map(find).collect()
}

/// What a subcommand does, in stages.
pub struct Chosen {
    /// As the command line names it.
    pub name: &'static str,
    pub stages: Vec<Stage>,
    pub effect: Effect,
    /// Rather than a release to be made.
    concerns_what_serves: bool,
    /// Also where another run has stopped half-way: this one is its end.
    pub finishes: bool,
}

impl Chosen {
    fn one(name: &'static str, step: impl Step + 'static, effect: Effect) -> Self {
        Self {
            name,
            stages: vec![Stage::of(step)],
            effect,
            concerns_what_serves: false,
            finishes: false,
        }
    }

    /// The command of this name, of those that make a release from files, without its flags.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "run" => Some(Self::run()),
            "deploy" => Some(Self::deploy()),
            "migrate" => Some(Self::migrate()),
            "collectstatic" => Some(Self::collectstatic()),
            _ => None,
        }
    }

    /// As the end of a run that has stopped half-way: looks only at what would make it fail, and asks nothing. What
    /// stands between two releases is worse than what a check protects from.
    #[must_use]
    pub fn finishing(mut self) -> Self {
        self.finishes = true;
        let stages = self.stages.into_iter();
        self.stages = stages
            .filter(|stage| stage.steps().all(|step| step.id() != StepId::Gate))
            .map(|stage| {
                stage.map(|step| {
                    if step.id() == StepId::Check {
                        Box::new(Check::first(Selection::Essentials))
                    } else {
                        step
                    }
                })
            })
            .collect();
        self
    }

    /// Drives the steps on the real engine and app.
    ///
    /// # Errors
    /// Where no connection to an app can be prepared.
    pub(super) async fn drive(
        self,
        session: &Session,
        settings: &mut Settings,
        global: &GlobalOptions,
        reporter: Arc<dyn Reporter>,
    ) -> Result<ExitCode, Failure> {
        let notices = self.notices(session, settings, &reporter)?;
        let app = HttpApp::new().map_err(|error| Failure::from(anyhow::Error::new(error)))?;
        let drive = Drive {
            command: self.name,
            engine: &session.engine,
            app: &app,
            clock: &SystemClock,
            settings,
            stages: self.stages,
            effect: self.effect,
            finishes: self.finishes,
            rebuilt: session.rebuilt(),
            lock_wait: global.lock_wait.unwrap_or_default(),
            notices,
            report: session.report_place(),
            dry_run: global.dry_run,
        };
        Ok(drive.run(reporter).await)
    }

    /// Whether anybody is told of it: where it makes a release serve.
    pub const fn tells(&self) -> bool {
        match self.effect {
            Effect::Deploys(_) => true,
            Effect::Looks | Effect::Prepares => false,
        }
    }

    /// Who is told: of what makes a release serve. `check` looks whether they could be.
    ///
    /// # Errors
    /// Whatever is wrong with them once the variables are in them; of what goes back or ends a run only a warning, because
    /// nobody waits for that.
    fn notices(
        &self,
        session: &Session,
        settings: &Settings,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Option<Notices>, Failure> {
        let tells = self.tells();
        if session.config.notify.is_empty() || !(tells || self.name == "check") {
            return Ok(None);
        }
        match session.notices(Some(&settings.project)) {
            Ok(notices) => Ok(Some(notices).filter(|_| tells)),
            Err(failure) if self.finishes => {
                reporter.event(&Event::Warning {
                    message: format!("nobody is notified: {:#}", failure.error),
                    hint: failure.hints.first().cloned(),
                });
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// `check`
    pub fn check() -> Self {
        Self::check_with(Selection::All)
    }

    /// `check`, of some of them.
    pub fn check_with(selection: Selection) -> Self {
        Self::one("check", Check::alone(selection), Effect::Looks)
    }

    /// `backup`: and its copies, without which it has failed.
    pub fn backup() -> Self {
        Self {
            name: "backup",
            stages: vec![Stage::of(Backup::Only), Stage::of(Copy)],
            ..Self::copy()
        }
    }

    /// `backup copy`
    pub fn copy() -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("backup copy", Copy, Effect::Prepares)
        }
    }

    /// `backup verify`, of the backup of this id, or the newest.
    pub fn verify(id: Option<String>) -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("backup verify", Verify { id }, Effect::Looks)
        }
    }

    /// `backup prune`
    pub fn prune() -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("backup prune", Prune, Effect::Prepares)
        }
    }

    /// `backup drill`, of the backup of this id, or the newest.
    pub fn drill(id: Option<String>) -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("backup drill", Drill { id }, Effect::Prepares)
        }
    }

    /// `backup restore`: a backup of what is there first, unless none can be made.
    pub fn restore(restore: Restore, backup: bool) -> Self {
        let first = backup.then(|| Stage::of(Backup::Copied));
        Self {
            name: "backup restore",
            stages: first
                .into_iter()
                .chain([Stage::of(restore), Stage::of(Health)])
                .collect(),
            effect: Effect::Prepares,
            concerns_what_serves: true,
            finishes: false,
        }
    }

    /// `backup restore --undo`
    pub fn undo_restore() -> Self {
        Self {
            name: "backup restore",
            stages: vec![Stage::of(UndoRestore::default()), Stage::of(Health)],
            effect: Effect::Prepares,
            concerns_what_serves: true,
            finishes: false,
        }
    }

    /// `build`
    pub fn build() -> Self {
        Self::build_with(BuildArgs::default())
    }

    /// `build`, with its flags.
    pub fn build_with(flags: BuildArgs) -> Self {
        Self::one("build", build_step(flags), Effect::Prepares)
    }

    /// `rehearse`, on the backup of this id, or the newest.
    pub fn rehearse(backup: Option<String>) -> Self {
        Self::one("rehearse", Rehearse::on(backup), Effect::Prepares)
    }

    /// `migrate`
    pub fn migrate() -> Self {
        Self::one("migrate", Migrate::default(), Effect::Prepares)
    }

    /// `collectstatic`
    pub fn collectstatic() -> Self {
        Self::one("collectstatic", Collectstatic::default(), Effect::Prepares)
    }

    /// `deploy`
    pub fn deploy() -> Self {
        Self::one(
            "deploy",
            Deploy::default(),
            Effect::Deploys(ReturnsTo::WhatServes),
        )
    }

    /// `health`
    pub fn health() -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("health", Health, Effect::Looks)
        }
    }

    /// `smoke`, of the scenarios of these names, or all. It makes test data, so two at once would be in each other's way.
    pub fn smoke(only: Vec<String>) -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("smoke", Smoke::only(only), Effect::Prepares)
        }
    }

    /// `monitor`, for this long or as `deploy.yml` says.
    pub fn monitor(r#for: Option<Duration>) -> Self {
        Self {
            concerns_what_serves: true,
            ..Self::one("monitor", Monitor::ByHand { r#for }, Effect::Looks)
        }
    }

    /// `rollback`: the same deploy, of a release that is recorded.
    pub fn rollback(target: &Release) -> Self {
        Self {
            name: "rollback",
            // Its static files again, or rather their manifest: its pages would look theirs up in the newer one's.
            stages: vec![
                Stage::of(Fetch),
                Stage::of(Collectstatic::sharing(Preparation::default())),
                Stage::of(Deploy::default()),
                Stage::of(Health),
            ],
            effect: Effect::Deploys(ReturnsTo::Recorded(target.previous)),
            concerns_what_serves: false,
            finishes: true,
        }
    }

    /// `rollback --restore-db`: the database as it was with that release, too. From the swap to the last replaced service
    /// code and schema are of two releases.
    pub fn rollback_restoring(target: &Release, restore: Restore) -> Self {
        Self {
            stages: vec![
                Stage::of(Fetch),
                Stage::of(Backup::Copied),
                Stage::of(restore),
                Stage::of(Collectstatic::sharing(Preparation::default())),
                Stage::of(Deploy::default()),
                Stage::of(Health),
            ],
            ..Self::rollback(target)
        }
    }

    /// `rollback --reverse-migrations`, or its second half where the earlier release's code serves already: that is
    /// recorded as a rollback of its own, so that nothing of the first half is taken back where it fails. Where the schema
    /// goes first, code and schema are of two releases from there to the last replaced service.
    pub fn reversing(target: &Release, reverse: Reverse) -> Self {
        Self {
            stages: vec![
                Stage::of(Fetch),
                Stage::of(Backup::Copied),
                Stage::of(reverse),
                Stage::of(Collectstatic::sharing(Preparation::default())),
                Stage::of(Deploy::default()),
                Stage::of(Health),
            ],
            ..Self::rollback(target)
        }
    }

    /// `run`
    pub fn run() -> Self {
        Self::run_with(BuildArgs::default(), Rehearsing::Not, Selection::All)
    }

    /// `run --maintenance`: the backup is made once nobody writes any more, so that it is the last word. A rehearsal takes
    /// the one before it, and is over before the site is closed.
    pub fn run_in_maintenance(flags: BuildArgs, rehearsing: Rehearsing, selection: Selection) -> Self {
        let preparation = Preparation::default();
        let mut stages = vec![
            Stage::of(Check::first(selection.clone())),
            Stage::of(build_step(flags)),
        ];
        match rehearsing {
            Rehearsing::First => stages.push(Stage::of(Rehearse::sharing(preparation.clone()))),
            Rehearsing::Not => {}
        }
        stages.extend([
            Stage::of(Gate::new(selection)),
            Stage::of(Close),
            Stage::of(Backup::Copied),
            Stage::of(Migrate::sharing(preparation.clone())).beside(Collectstatic::sharing(preparation)),
            Stage::of(Deploy::default()),
            Stage::of(Health),
        ]);
        Self {
            stages,
            ..Self::run()
        }
    }

    /// `run`, with its flags: all of it. A migration needs the backup whole and the images built; static files need
    /// the images.
    pub fn run_with(flags: BuildArgs, rehearsing: Rehearsing, selection: Selection) -> Self {
        let preparation = Preparation::default();
        let mut stages = vec![
            Stage::of(Check::first(selection.clone())),
            Stage::of(Backup::Copied).beside(build_step(flags)),
        ];
        // By itself: until it has gone well, nothing that serves is changed.
        match rehearsing {
            Rehearsing::First => stages.push(Stage::of(Rehearse::sharing(preparation.clone()))),
            Rehearsing::Not => {}
        }
        stages.extend([
            Stage::of(Gate::new(selection)),
            Stage::of(Migrate::sharing(preparation.clone())).beside(Collectstatic::sharing(preparation)),
            Stage::of(Deploy::default()),
            Stage::of(Health),
        ]);
        Self {
            name: "run",
            stages,
            effect: Effect::Deploys(ReturnsTo::WhatServes),
            concerns_what_serves: false,
            finishes: false,
        }
    }
}

const fn build_step(BuildArgs { no_cache, pull }: BuildArgs) -> Build {
    Build { no_cache, pull }
}
