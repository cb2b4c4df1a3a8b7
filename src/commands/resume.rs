//! `resume`: finishes a run that stopped half-way, forward: the same command again, for the same release. Every step
//! brings what stands to what should stand, so it does not matter where the run stopped.

use super::session::Session;
use super::steps::{Chosen, Rehearsing, asked_for};
use super::unfinished::sentence;
use crate::cli::{BuildArgs, GlobalOptions};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{Releases, UnfinishedRun};
use crate::pipeline::{Reversal, Settings};
use crate::release::{Release, Tag};
use crate::steps::backup::restore::Restore;
use crate::steps::check::Selection;
use crate::steps::reverse::{Newer, Reverse};
use crate::ui::{self, OutputOptions};

/// Finishes the unfinished run, if there is one.
///
/// # Errors
/// Whatever is wrong before the first step: a release that cannot be read any more.
pub(super) async fn resume(global: &GlobalOptions, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let memory = session.memory(global).await?;
    let Some(run) = &memory.unfinished else {
        let nothing =
            serde_json::json!({ "schema": 1, "project": session.project(), "unfinished_run": null });
        ui::data(
            output,
            "no run stands unfinished; there is nothing to resume",
            &nothing,
        );
        return Ok(ExitCode::Done);
    };
    let current = memory.releases.current().cloned();
    let asked = global
        .tag
        .clone()
        .map(Tag::new)
        .transpose()
        .map_err(super::configuration)?;
    let resumed = Resumed::of(&memory.releases, run, asked)?;
    let mut settings = match &resumed {
        Resumed::Made { tag, .. } => session.settings(tag.clone(), current).await?,
        Resumed::Recorded { release, .. } => session.recorded_settings(release, current).await?,
    };
    settings.maintenance = run.header.maintenance;
    settings.skip_smoke = run.header.skip_smoke;
    settings.restores = run.header.restores.clone();
    settings.reverses = run.header.reverses.clone();
    settings.replace = asked_for(&settings.project, &run.header.replace)?;
    settings.allow_incompatible = run.header.allow_incompatible;
    let settings_of = |newer: Newer<'_>| newer.settings(&session);
    resumed
        .chosen(&memory.releases, settings_of)?
        .drive(&session, &mut settings, global, ui::reporter(output))
        .await
}

/// What an unfinished run was about.
#[derive(Debug, Clone, PartialEq)]
pub enum Resumed {
    /// A release made from the files beside `deploy.yml`.
    Made {
        command: String,
        tag: Tag,
        /// The site is closed.
        maintenance: bool,
    },
    /// A rollback to this one.
    Recorded { release: Box<Release>, with: With },
}

/// What goes back with the code.
#[derive(Debug, Clone, PartialEq)]
pub enum With {
    Nothing,
    /// The database and the media.
    Data(Restore),
    /// The migrations that were applied since.
    Migrations(Reversal),
}

impl Resumed {
    /// Reads it from the run's header; for another release where that is asked for.
    ///
    /// # Errors
    /// Where it is a rollback to a release that is not recorded any more, or was written by something else.
    pub fn of(releases: &Releases, run: &UnfinishedRun, asked: Option<Tag>) -> Result<Self, Failure> {
        let cannot = |why: String| {
            Failure::message(FailureKind::Failed, format!("{}; {why}", sentence(run)))
                .hint("to take it back: viatique-deploy rollback")
        };
        let Some(tag) = asked.or_else(|| run.header.release.clone()) else {
            return Err(cannot("it does not say which release it was about".to_owned()));
        };
        if run.header.command == "rollback" {
            let release = releases
                .tagged(&tag)
                .ok_or_else(|| cannot(format!("release {tag} is not recorded any more")))?;
            let with = match (&run.header.restores, &run.header.reverses) {
                (Some(id), _) => {
                    With::Data(Restore::with_its_code(id.clone()).resuming(run.header.run.clone()))
                }
                (None, Some(reversal)) => With::Migrations(reversal.clone()),
                (None, None) => With::Nothing,
            };
            return Ok(Self::Recorded {
                release: Box::new(release.clone()),
                with,
            });
        }
        let command = run.header.command.clone();
        match Chosen::named(&command) {
            Some(_) => Ok(Self::Made {
                command,
                tag,
                maintenance: run.header.maintenance,
            }),
            None => Err(cannot("this version has no such command".to_owned())),
        }
    }

    /// The command's steps. `settings_of` reads another release than its own.
    ///
    /// # Errors
    /// Where it is not known any more what was to be taken back.
    pub fn chosen(
        &self,
        releases: &Releases,
        settings_of: impl FnOnce(Newer<'_>) -> Result<Settings, Failure>,
    ) -> Result<Chosen, Failure> {
        let chosen = match self {
            Self::Made {
                maintenance: true, ..
            } => Chosen::run_in_maintenance(BuildArgs::default(), Rehearsing::Not, Selection::All),
            Self::Made { command, .. } => Chosen::named(command).unwrap_or_else(Chosen::run),
            Self::Recorded { release, with } => match with {
                With::Nothing => Chosen::rollback(release),
                With::Data(restore) => Chosen::rollback_restoring(release, restore.clone()),
                With::Migrations(reversal) => match Reverse::to(releases, release, reversal, settings_of)? {
                    None => Chosen::rollback(release),
                    Some(reverse) => Chosen::reversing(release, reverse),
                },
            },
        };
        Ok(chosen.finishing())
    }
}
