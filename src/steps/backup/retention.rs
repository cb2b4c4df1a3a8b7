//! Which backups stay, and which go. The newest stays, and every one that a kept release was preceded by; of the others
//! as many as `backup.keep` says: the newest ones, and the last one of each of so many days, weeks and months in which
//! there was any. Only what has a manifest of this project is a backup; everything else in the folder is left alone, but
//! for what a run of this ledger has left unfinished.
//!
//! The manifest goes first: after a crash half a backup is none, and the next run removes the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{MANIFEST, MANIFEST_FORMAT, Manifest, size};
use crate::config::BackupKeep;
use crate::error::Failure;
use crate::ledger::{Memory, Releases};
use crate::pipeline::{Context, StepId, StepResult};
use crate::steps::retention::kept;

/// The ids of those that go.
pub fn expendable(backups: &[Manifest], keep: &BackupKeep, needed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut newest_first: Vec<(Option<OffsetDateTime>, &Manifest)> = backups
        .iter()
        .map(|backup| (OffsetDateTime::parse(&backup.completed_at, &Rfc3339).ok(), backup))
        .collect();
    newest_first.sort_by(|one, other| (other.0, &other.1.id).cmp(&(one.0, &one.1.id)));
    let mut stays: BTreeSet<&str> = needed.iter().map(String::as_str).collect();
    let newest = newest_first.iter().take((keep.newest as usize).max(1));
    stays.extend(newest.map(|(_, backup)| backup.id.as_str()));
    // One that does not say when it was made is not judged by its age.
    let undated = newest_first.iter().filter(|(at, _)| at.is_none());
    stays.extend(undated.map(|(_, backup)| backup.id.as_str()));
    let day = |at: OffsetDateTime| (at.year(), i32::from(at.ordinal()));
    let week = |at: OffsetDateTime| {
        let (year, week, _) = at.to_iso_week_date();
        (year, i32::from(week))
    };
    let month = |at: OffsetDateTime| (at.year(), i32::from(u8::from(at.month())));
    for (count, period) in [
        (keep.days, &day as &dyn Fn(OffsetDateTime) -> (i32, i32)),
        (keep.weeks, &week),
        (keep.months, &month),
    ] {
        let mut seen = BTreeSet::new();
        for (at, backup) in &newest_first {
            let Some(at) = at else { continue };
            if seen.len() < count as usize && seen.insert(period(at.to_offset(time::UtcOffset::UTC))) {
                stays.insert(&backup.id);
            }
        }
    }
    let all = backups.iter().map(|backup| backup.id.clone());
    all.filter(|id| !stays.contains(id.as_str())).collect()
}

/// Removes what goes.
///
/// # Errors
/// A folder that cannot be read or removed; what is left is removed another time.
pub(crate) async fn prune(context: Context<'_>, memory: &Memory, releases: &Releases) -> Result<(), Failure> {
    let settings = context.settings;
    let folder = &settings.backup_directory;
    let found = found(folder, &settings.project.name).await.map_err(|error| {
        Failure::from(anyhow::Error::new(error))
            .context(format!("reading the backups in {}", folder.display()))
    })?;
    let keep = &settings.config.backup.keep;
    let needed = kept(releases, settings.config.release.keep).into_iter();
    let needed: BTreeSet<String> = needed.filter_map(|release| release.backup.clone()).collect();
    let expendable = expendable(&found.backups, keep, &needed);
    // Of runs that are over: this one holds the lock.
    let over = memory.runs.iter().map(|run| &run.header.run.0);
    let over: BTreeSet<&String> = over.filter(|run| **run != context.run.0).collect();
    let unfinished = found.unfinished.iter().filter(|id| over.contains(id));
    let gone: Vec<&String> = expendable.iter().chain(unfinished).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let task = context.task(StepId::Backup, "retention", "removing old backups");
    let bytes: u64 = found
        .backups
        .iter()
        .filter(|backup| expendable.contains(&backup.id))
        .flat_map(|backup| backup.files.iter().map(|file| file.bytes))
        .sum();
    let removed = async {
        for id in &gone {
            remove(&folder.join(id)).await.map_err(|error| {
                Failure::from(anyhow::Error::new(error))
                    .context(format!("removing {}", folder.join(id).display()))
            })?;
        }
        Ok(())
    };
    task.conclude(removed.await, |()| {
        let many = if gone.len() == 1 { "backup" } else { "backups" };
        let what = format!(
            "{} {many} removed, {} of the disk are free again",
            gone.len(),
            size(bytes)
        );
        (StepResult::Succeeded, what)
    })
}

struct Found {
    backups: Vec<Manifest>,
    /// Folders without a manifest, by name.
    unfinished: Vec<String>,
}

async fn found(folder: &Path, project: &str) -> std::io::Result<Found> {
    let mut found = Found {
        backups: Vec::new(),
        unfinished: Vec::new(),
    };
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if super::is_absent(&error) => return Ok(found),
        Err(error) => return Err(error),
    };
    while let Some(entry) = entries.next_entry().await? {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !entry.file_type().await?.is_dir() {
            continue;
        }
        match read(&entry.path()).await? {
            Content::Backup(manifest) if manifest.project == project && manifest.id == name => {
                found.backups.push(*manifest);
            }
            Content::Unfinished => found.unfinished.push(name),
            Content::Backup(_) | Content::Foreign => {}
        }
    }
    Ok(found)
}

enum Content {
    Backup(Box<Manifest>),
    Unfinished,
    /// Of a newer version, damaged, or somebody else's: not ours to judge.
    Foreign,
}

async fn read(folder: &Path) -> std::io::Result<Content> {
    let manifest: PathBuf = folder.join(MANIFEST);
    let content = match tokio::fs::read(&manifest).await {
        Ok(content) => content,
        Err(error) if super::is_absent(&error) => return Ok(Content::Unfinished),
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice::<Manifest>(&content) {
        Ok(manifest) if manifest.format <= MANIFEST_FORMAT => Content::Backup(Box::new(manifest)),
        Ok(_) | Err(_) => Content::Foreign,
    })
}

async fn remove(folder: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_file(folder.join(MANIFEST)).await {
        Err(error) if !super::is_absent(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tokio::fs::remove_dir_all(folder).await
}
