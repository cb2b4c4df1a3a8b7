//! `releases`: what was deployed, and can be gone back to.

use std::collections::BTreeSet;

use super::session::Session;
use crate::cli::GlobalOptions;
use crate::engine::{ImageId, Inspect};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::release::Release;
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
                if is_complete(release) { "yes" } else { "gone" }.to_owned(),
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
