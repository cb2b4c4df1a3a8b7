//! Which backups stay, and which go. The newest stays, and every one that a kept release was preceded by; of the others
//! as many as `backup.keep` says: the newest ones, and the last one of each of so many days, weeks and months in which
//! there was any. Only what has a manifest of this project is a backup; everything else in the folder is left alone, but
//! for what a run of this ledger has left unfinished.
//!
//! The manifest goes first: after a crash half a backup is none, and the next run removes the rest. Contents of media
//! files go last, once no backup that is left lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::file::on_a_thread;
use super::media_list::{MEDIA_DIGESTS, parse_digests};
use super::objects::Objects;
use super::restore::kept;
use super::sets::{Sets, completed};
use super::{MANIFEST, Manifest, size};
use crate::config::BackupKeep;
use crate::error::Failure;
use crate::ledger::{Memory, Releases};
use crate::pipeline::{Context, Settings, StepId, StepResult};
use crate::release::RunId;
use crate::steps::retention::kept;

/// The ids of those that go.
pub fn expendable(backups: &[Manifest], keep: &BackupKeep, needed: &BTreeSet<String>) -> BTreeSet<String> {
    let mut newest_first: Vec<(Option<OffsetDateTime>, &Manifest)> =
        backups.iter().map(|backup| (completed(backup), backup)).collect();
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

/// What goes, and what stays.
#[derive(Debug)]
pub(super) struct Going {
    pub backups: Vec<Manifest>,
    /// Folders of runs that are over and left no manifest.
    pub unfinished: Vec<String>,
    stays: Vec<Manifest>,
    /// No content may go that a folder may list which cannot be read.
    unreadable: bool,
}

/// The backups that kept releases were preceded by.
pub(super) fn needed(releases: &Releases, settings: &Settings) -> BTreeSet<String> {
    let kept = kept(releases, settings.config.release.keep).into_iter();
    kept.filter_map(|release| release.backup.clone()).collect()
}

/// Chooses what goes. `run` is under way.
///
/// # Errors
/// A folder that cannot be read.
pub(super) async fn going(
    settings: &Settings,
    run: Option<&RunId>,
    memory: &Memory,
    releases: &Releases,
) -> Result<Going, Failure> {
    let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
    let needed = needed(releases, settings);
    let gone = expendable(&sets.backups, &settings.config.backup.keep, &needed);
    // Of runs that are over: this one holds the lock.
    let over = memory.runs.iter().map(|past| &past.header.run);
    let over: BTreeSet<&str> = over
        .filter(|past| Some(*past) != run)
        .map(|past| past.0.as_str())
        .collect();
    let unfinished = sets.unfinished.into_iter();
    let (backups, stays) = sets
        .backups
        .into_iter()
        .partition(|backup| gone.contains(&backup.id));
    Ok(Going {
        backups,
        unfinished: unfinished.filter(|id| over.contains(id.as_str())).collect(),
        stays,
        unreadable: !sets.unreadable.is_empty(),
    })
}

/// Removes what goes, if anything does.
///
/// # Errors
/// A folder that cannot be read or removed; what is left is removed another time.
pub(crate) async fn prune(context: Context<'_>, memory: &Memory, releases: &Releases) -> Result<(), Failure> {
    let going = going(context.settings, Some(context.run), memory, releases).await?;
    if !going.is_nothing() {
        let task = context.task(StepId::Backup, "retention", "removing old backups");
        let removed = going.remove(context.settings).await;
        task.conclude(removed, |bytes| (StepResult::Succeeded, going.removed(*bytes)))?;
    }
    kept::drop_old(context, StepId::Backup).await?;
    Ok(())
}

impl Going {
    /// Whether everything stays.
    pub(super) const fn is_nothing(&self) -> bool {
        self.backups.is_empty() && self.unfinished.is_empty()
    }

    /// That they are gone, in words.
    pub(super) fn removed(&self, bytes: u64) -> String {
        let count = self.backups.len() + self.unfinished.len();
        let many = if count == 1 { "backup" } else { "backups" };
        format!(
            "{count} {many} removed, {} of the disk are free again",
            size(bytes)
        )
    }

    /// Removes them: bytes that came free.
    pub(super) async fn remove(&self, settings: &Settings) -> Result<u64, Failure> {
        let folder = &settings.backup_directory;
        let own = self.backups.iter().flat_map(|backup| &backup.files);
        let own: u64 = own.map(|file| file.bytes).sum();
        let ids = self.backups.iter().map(|backup| &backup.id);
        for id in ids.chain(&self.unfinished) {
            remove(&folder.join(id)).await.map_err(|error| {
                Failure::from(anyhow::Error::new(error))
                    .context(format!("removing {}", folder.join(id).display()))
            })?;
        }
        if self.unreadable {
            return Ok(own);
        }
        let needed = self.stays.iter().filter_map(|backup| {
            let space = backup.media.as_ref()?.objects.clone();
            Some((space, folder.join(&backup.id).join(MEDIA_DIGESTS)))
        });
        let needed: Vec<(String, PathBuf)> = needed.collect();
        let (folder, project) = (folder.clone(), settings.project.name.clone());
        let contents = on_a_thread(move || {
            let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (space, digests) in needed {
                let digests = parse_digests(&std::fs::read(digests)?)?;
                listed.entry(space).or_default().extend(digests);
            }
            let mut freed = 0;
            for objects in Objects::spaces(&folder, &project)? {
                freed += objects.retain(listed.get(&objects.space()).unwrap_or(&BTreeSet::new()))?;
            }
            Ok(freed)
        });
        let contents = contents.await.map_err(|error| {
            Failure::from(anyhow::Error::new(error))
                .context("removing contents of media files that no backup has")
        })?;
        Ok(own + contents)
    }
}

async fn remove(folder: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_file(folder.join(MANIFEST)).await {
        Err(error) if !super::is_absent(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tokio::fs::remove_dir_all(folder).await
}
