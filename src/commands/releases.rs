//! `releases`: what was deployed, and can be gone back to; one release, and what differs between two.

use std::collections::BTreeSet;

use super::checklist;
use super::session::{Session, ledger_error};
use crate::cli::GlobalOptions;
use crate::engine::{ImageId, Inspect};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{KeptChecklist, Releases};
use crate::release::checks::ChecksRecord;
use crate::release::difference::{Difference, differences};
use crate::release::{Release, Tag};
use crate::ui::{self, OutputOptions};

/// Lists the releases, the newest first.
///
/// # Errors
/// Whatever is wrong with the configuration, the engine or the ledger.
pub(super) async fn releases(global: &GlobalOptions, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let releases = session.releases(global).await?;
    let current = releases.current().map(|release| release.sequence);
    let previous = releases.previous().map(|release| release.sequence);
    let newest_first: Vec<&Release> = releases.all().iter().rev().collect();
    let missing = missing_images(&session.engine, releases.all()).await?;
    let is_complete = |release: &Release| release.images.values().all(|image| !missing.contains(&image.id));
    let json = serde_json::json!({
        "schema": 1,
        "project": session.project(),
        "releases": newest_first.iter().map(|release| serde_json::json!({
            "sequence": release.sequence,
            "tag": release.tag,
            "current": Some(release.sequence) == current,
            "rollback_target": Some(release.sequence) == previous,
            "command": release.command,
            "run": release.run,
            "deployed_at": release.deployed_at,
            "deployed_by": release.deployed_by,
            "images": release.images,
            "images_are_there": is_complete(release),
            "shortened": release.is_shortened(),
            "migrations": release.migrations.as_ref().map(|record| record.added()),
            "backup": release.backup,
        })).collect::<Vec<_>>(),
    });
    let rows: Vec<Vec<String>> = newest_first
        .iter()
        .map(|release| {
            let standing = if Some(release.sequence) == current {
                "current"
            } else if Some(release.sequence) == previous {
                "previous"
            } else {
                ""
            };
            let migrations = release
                .migrations
                .as_ref()
                .map_or(0, |record| record.added().len());
            vec![
                release.tag.to_string(),
                standing.to_owned(),
                release.deployed_at.clone(),
                release.deployed_by.clone(),
                release.command.clone(),
                match (is_complete(release), release.is_shortened()) {
                    (_, true) => "too old",
                    (true, false) => "yes",
                    (false, false) => "gone",
                }
                .to_owned(),
                if migrations == 0 {
                    String::new()
                } else {
                    migrations.to_string()
                },
                release.backup.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let human = if rows.is_empty() {
        format!("no release of {} is recorded yet", session.project())
    } else {
        ui::table(
            &[
                "TAG",
                "",
                "DEPLOYED",
                "BY",
                "COMMAND",
                "IMAGES",
                "MIGRATIONS",
                "BACKUP",
            ],
            &rows,
            output.columns,
        )
    };
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}

/// Shows one release: the latest deployment of its tag.
///
/// # Errors
/// No such release; whatever is wrong with the configuration, the engine or the ledger.
pub(super) async fn show(
    global: &GlobalOptions,
    tag: &str,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let memory = session.memory(global).await?;
    let releases = &memory.releases;
    let release = tagged(releases, tag)?;
    let kept = memory.checklists.get(&release.sequence);
    let checklist = kept.map(KeptChecklist::read).transpose().map_err(ledger_error)?;
    let before = releases
        .all()
        .iter()
        .rev()
        .find(|other| other.sequence < release.sequence)
        .filter(|before| !before.is_shortened() && !release.is_shortened());
    let changes = before
        .map(|before| differences(before, release))
        .unwrap_or_default();
    let missing = missing_images(&session.engine, std::slice::from_ref(release)).await?;
    let added = release
        .migrations
        .as_ref()
        .map(|record| record.added())
        .unwrap_or_default();
    let json = serde_json::json!({
        "schema": 1,
        "project": session.project(),
        "sequence": release.sequence,
        "tag": release.tag,
        "command": release.command,
        "run": release.run,
        "deployed_at": release.deployed_at,
        "deployed_by": release.deployed_by,
        "images": release.images,
        "images_missing": missing,
        "migrations": added,
        "checks": release.checks,
        "rehearsal": release.rehearsal,
        "backup": release.backup,
        "checklist": checklist.as_ref().map(checklist::for_programs),
        "changes": changes,
    });
    let mut human = format!(
        "{}: release {} (number {}), by `{}`, deployed {} by {}\n",
        session.project(),
        release.tag,
        release.sequence.0,
        release.command,
        release.deployed_at,
        release.deployed_by
    );
    let migrations: Vec<String> = added.iter().map(ToString::to_string).collect();
    if !migrations.is_empty() {
        human.push_str(&format!("migrations: {}\n", migrations.join(", ")));
    }
    if let Some(checks) = &release.checks {
        human.push_str(&checks_listed(checks, output.columns));
    }
    if let Some(rehearsal) = &release.rehearsal {
        human.push_str(&format!("rehearsed: {}\n", rehearsal.in_words()));
    }
    if let Some(backup) = &release.backup {
        human.push_str(&format!("backup: {backup}\n"));
    }
    human.push_str(&match &checklist {
        Some(checklist) => format!("\n{}", checklist::for_people(checklist, output.columns)),
        None => "checklist: none is kept\n".to_owned(),
    });
    let rows: Vec<Vec<String>> = release
        .images
        .iter()
        .map(|(service, image)| {
            let there = if missing.contains(&image.id) { "gone" } else { "" };
            vec![
                service.to_string(),
                image.reference.clone(),
                image.id.short().to_owned(),
                there.to_owned(),
            ]
        })
        .collect();
    human.push_str(&format!(
        "\n{}",
        ui::table(&["SERVICE", "IMAGE", "ID", ""], &rows, output.columns)
    ));
    if let Some(before) = before {
        human.push_str(&format!("\n{}", listed(&before.tag, &release.tag, &changes)));
    }
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}

/// Shows what differs between two releases.
///
/// # Errors
/// As [`show`].
pub(super) async fn diff(
    global: &GlobalOptions,
    from: &str,
    to: &str,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let releases = session.releases(global).await?;
    let (from, to) = (whole(&releases, from)?, whole(&releases, to)?);
    let changes = differences(from, to);
    let json = serde_json::json!({
        "schema": 1,
        "project": session.project(),
        "from": from.tag,
        "to": to.tag,
        "changes": changes,
    });
    ui::data(output, &listed(&from.tag, &to.tag, &changes), &json);
    Ok(ExitCode::Done)
}

/// How many checks passed, and each that did not, with its line.
fn checks_listed(checks: &ChecksRecord, columns: usize) -> String {
    let rows: Vec<Vec<String>> = checks
        .others
        .iter()
        .map(|one| vec![one.check.clone(), one.line.clone()])
        .collect();
    format!(
        "checks: {}\n{}",
        checks.in_words(),
        ui::wrapped_table(&rows, columns)
    )
}

/// A line for each difference.
pub(super) fn listed(from: &Tag, to: &Tag, changes: &[Difference]) -> String {
    if changes.is_empty() {
        return format!("nothing differs between {from} and {to}\n");
    }
    let lines: Vec<String> = changes.iter().map(|change| format!("  {change}\n")).collect();
    format!("from {from} to {to}:\n{}", lines.concat())
}

/// The latest deployment of a tag.
///
/// # Errors
/// Where there is none; the known ones are named.
pub(super) fn tagged<'a>(releases: &'a Releases, tag: &str) -> Result<&'a Release, Failure> {
    let tag = Tag::new(tag).map_err(super::configuration)?;
    let found = releases.tagged(&tag);
    found.ok_or_else(|| no_release(format!("there is no release {tag}; {}", releases.known())))
}

/// The same, where how it was made is still remembered.
///
/// # Errors
/// As [`tagged`], and of a release so old that it is not.
pub(super) fn whole<'a>(releases: &'a Releases, tag: &str) -> Result<&'a Release, Failure> {
    let release = tagged(releases, tag)?;
    if release.is_shortened() {
        return Err(no_release(format!(
            "of release {tag}, deployed {}, only the images are remembered, not how it was made; {}",
            release.deployed_at,
            releases.known()
        )));
    }
    Ok(release)
}

pub(super) fn no_release(message: String) -> Failure {
    Failure::message(FailureKind::Configuration, message).hint("viatique-deploy releases")
}

/// Images of recorded releases that are not on the engine any more: those releases cannot be gone back to.
async fn missing_images(inspect: &dyn Inspect, releases: &[Release]) -> Result<BTreeSet<ImageId>, Failure> {
    let recorded: BTreeSet<&ImageId> = releases
        .iter()
        .flat_map(|release| release.images.values())
        .map(|image| &image.id)
        .collect();
    let mut missing = BTreeSet::new();
    for id in recorded {
        if inspect.image(&id.0).await?.is_none() {
            missing.insert(id.clone());
        }
    }
    Ok(missing)
}
