//! `rollback`: a deploy of a recorded release, with its images and its Compose files, through the same code. Builds
//! and migrates nothing.

use std::sync::Arc;

use super::releases::{listed, no_release, whole};
use super::restore::{self, Looking, agreed, preview};
use super::reversing::Back;
use super::session::Session;
use super::steps::Chosen;
use super::unfinished::sentence;
use crate::cli::{GlobalOptions, RollbackArgs};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{Memory, Releases};
use crate::pipeline::{Event, Settings};
use crate::release::Release;
use crate::release::difference::differences;
use crate::release::schema::{Fit, fit, since};
use crate::steps::backup::Manifest;
use crate::steps::backup::restore::Restore;
use crate::steps::backup::restore::loss::Preview;
use crate::steps::backup::sets::Sets;
use crate::ui::{self, OutputOptions};

/// Goes back to a release.
///
/// # Errors
/// Whatever is wrong before the first step: no such release, images that are gone.
pub(super) async fn rollback(
    global: &GlobalOptions,
    arguments: &RollbackArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(global)?;
    session.report = arguments.report.report.clone();
    let memory = session.memory(global).await?;
    let target = target(&memory, arguments.to.as_deref())?;
    let releases = &memory.releases;
    let current = releases.current();
    let mut settings = session.recorded_settings(target, current.cloned()).await?;
    settings.skip_smoke = arguments.skip_smoke;
    settings.assume_manual = arguments.assume_manual;
    let reporter = ui::reporter(output);
    let asks = !global.dry_run && output.asks;
    if arguments.to.is_none()
        && let Some(half) = memory
            .unfinished
            .as_ref()
            .filter(|run| run.header.reverses.is_some())
    {
        return Err(Failure::message(
            FailureKind::Locked,
            format!(
                "{}, and may have taken migrations back that the release before needs",
                sentence(half)
            ),
        )
        .hint("to finish it, or to have it put back by itself what it took: viatique-deploy resume"));
    }
    if let Some(half) = memory
        .unfinished
        .as_ref()
        .filter(|run| run.header.restores.is_some())
    {
        reporter.event(&Event::Warning {
            message: format!(
                "{}, and may have let another database serve already",
                half.stopped_at()
            ),
            hint: Some("viatique-deploy backup restore --undo puts the one from before back".to_owned()),
        });
    }
    if let Some(half) = memory
        .unfinished
        .as_ref()
        .filter(|run| run.header.maintenance && arguments.restore_db.is_none())
    {
        reporter.event(&Event::Warning {
            message: format!(
                "{}; it had closed the site, and may have migrated what the release before cannot bear",
                half.stopped_at()
            ),
            hint: Some(
                "with the data of then, since which nobody has written: viatique-deploy rollback --restore-db"
                    .to_owned(),
            ),
        });
    }
    // Before the question: what it is about.
    if arguments.restore_db.is_none() && !arguments.reverse_migrations {
        for warning in warnings(releases, target, &settings) {
            reporter.event(&warning);
        }
    }
    if let Some(current) = current.filter(|current| current.sequence != target.sequence)
        && (asks || global.dry_run)
    {
        let changes = differences(current, target);
        let json = serde_json::json!({
            "schema": 1,
            "event": "differences",
            "from": current.tag,
            "to": target.tag,
            "changes": changes,
        });
        ui::data(output, &listed(&current.tag, &target.tag, &changes), &json);
    }
    let chosen = match &arguments.restore_db {
        _ if arguments.reverse_migrations => {
            let back = Back {
                session: &session,
                memory: &memory,
                target,
                global,
                arguments,
                output,
            };
            return back.with_its_migrations(&mut settings, reporter).await;
        }
        None => {
            if asks && !ui::confirm(&question(session.project(), &memory, target)) {
                return Err(Failure::message(
                    FailureKind::Failed,
                    "not confirmed; nothing was changed",
                ));
            }
            Chosen::rollback(target)
        }
        Some(id) => {
            let folder = &settings.backup_directory;
            let sets = Sets::read(folder, session.project()).await?;
            let backup = backup_of(
                &sets,
                releases,
                target,
                Some(id.as_str()).filter(|id| !id.is_empty()),
            )?;
            let restore = Restore::with_its_code(backup.id.clone());
            let what = Some(&restore);
            let looking = Looking::new(Arc::clone(&reporter))?;
            let preview = preview(&looking, &session, &settings, what, output).await?;
            if !global.dry_run {
                let loses = preview.as_ref().is_some_and(Preview::loses);
                let question = restore::question(preview.as_ref());
                agreed(session.project(), &question, loses, global, arguments.accept_loss)?;
            }
            // Its code comes with it.
            settings.allow_incompatible = true;
            settings.restores = restore.id.clone();
            Chosen::rollback_restoring(target, restore)
        }
    };
    chosen.drive(&session, &mut settings, global, reporter).await
}

/// The backup that goes with a release: the one of this id, else the last one of the time in which it served, which the
/// run that replaced it has made.
///
/// # Errors
/// Where there is none, or it is of another release.
pub fn backup_of<'a>(
    sets: &'a Sets,
    releases: &Releases,
    target: &Release,
    asked: Option<&str>,
) -> Result<&'a Manifest, Failure> {
    let of_it = |backup: &&Manifest| backup.release.as_deref() == Some(target.tag.as_str());
    let Some(id) = asked else {
        let recorded = later(releases, target)
            .next()
            .and_then(|next| next.backup.as_deref());
        let recorded = recorded.and_then(|id| sets.backups.iter().find(|backup| backup.id == id));
        let last = || sets.backups.iter().rev().find(of_it);
        return recorded.filter(of_it).or_else(last).ok_or_else(|| {
            Failure::message(
                FailureKind::Configuration,
                format!("there is no backup of the time in which {} served", target.tag),
            )
            .hint("viatique-deploy backup list")
        });
    };
    let backup = sets.named(Some(id))?;
    if of_it(&backup) {
        return Ok(backup);
    }
    let of = backup.release.as_deref().unwrap_or("no release");
    Err(Failure::message(
        FailureKind::Configuration,
        format!("backup {} is of {of}, and not of {}", backup.id, target.tag),
    )
    .hint("viatique-deploy backup list"))
}

pub(super) fn question(project: &str, memory: &Memory, target: &Release) -> String {
    let from = match (&memory.unfinished, memory.releases.current()) {
        (Some(unfinished), _) => format!("a run that stopped at {}", unfinished.stopped_at()),
        (None, Some(release)) => release.tag.to_string(),
        (None, None) => "what runs".to_owned(),
    };
    format!("Roll {project} back from {from} to {}?", target.tag)
}

/// The release that was asked for; else, where a run has stopped half-way, the one that served before it; else the one
/// before the current.
///
/// # Errors
/// Where there is none; the known ones are named.
pub fn target<'a>(memory: &'a Memory, asked: Option<&str>) -> Result<&'a Release, Failure> {
    let releases = &memory.releases;
    match asked {
        Some(text) => whole(releases, text),
        None => match (releases.current(), releases.previous()) {
            (Some(current), _) if memory.unfinished.is_some() => Ok(current),
            (_, Some(previous)) => Ok(previous),
            (None, None) if memory.unfinished.is_some() => Err(Failure::message(
                FailureKind::Configuration,
                "the first deploy has stopped half-way: there is no release to go back to",
            )
            .hint("to finish it: viatique-deploy resume")),
            (None, None) => Err(no_release(format!(
                "there is nothing to go back to: {}",
                releases.known()
            ))),
            (Some(current), None) if current.is_rebuilt() => Err(no_release(format!(
                "the ledger was lost, and which release came before {} is not known; {}",
                current.tag,
                releases.known()
            ))
            .hint("viatique-deploy rollback --to <TAG>")),
            (Some(current), None) => Err(no_release(format!(
                "there is no release before {} to go back to; {}",
                current.tag,
                releases.known()
            ))),
        },
    }
}

/// What an operator must know before the code goes back and the schema does not.
pub fn warnings(releases: &Releases, target: &Release, settings: &Settings) -> Vec<Event> {
    let since = since(later(releases, target));
    let fits = match fit(&since) {
        Fit::Same => return Vec::new(),
        Fit::Adds => "they only add to the schema, and its code fits it".to_owned(),
        Fit::CannotTell(why) => format!(
            "whether its code fits their schema cannot be told: {}",
            why.join("; ")
        ),
        Fit::Breaks(why) => format!("its code does not fit their schema: {}", why.join("; ")),
    };
    let names: Vec<String> = since.applied.iter().map(|(one, _)| one.to_string()).collect();
    let stay = if names.is_empty() {
        "no migration is applied again".to_owned()
    } else {
        format!(
            "migrations applied since {} stay applied ({})",
            settings.tag,
            names.join(", ")
        )
    };
    let hint = (!names.is_empty())
        .then(|| "--reverse-migrations takes them back, --restore-db restores the data too".to_owned());
    vec![Event::Warning {
        message: format!("{stay}; {fits}"),
        hint,
    }]
}

/// What was deployed after it, the oldest first.
pub(super) fn later<'a>(releases: &'a Releases, target: &Release) -> impl Iterator<Item = &'a Release> {
    let sequence = target.sequence;
    releases
        .all()
        .iter()
        .filter(move |release| release.sequence > sequence)
}
