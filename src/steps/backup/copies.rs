//! Copies of backups in other places: whatever of the folder here a place lacks is sent there, under the same names, read
//! back from there, and only then the manifest, so that a place too is a folder of backups. Objects that a place has are
//! not sent again. Afterwards the same backups go there as here.
//!
//! After a crash: a place may have files without a manifest, which are no backup; the next copy goes on there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::database::enough_room;
use super::file::create_private_folders;
use super::media_list::{MEDIA_DIGESTS, parse_digests};
use super::objects::{OBJECTS, Objects, PLAIN};
use super::retention::{expendable, needed};
use super::sets::{Sets, completed};
use super::{MANIFEST, MANIFEST_FORMAT, Manifest, size};
use crate::config::BackupCopy;
use crate::error::{Failure, FailureKind};
use crate::ledger;
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Task, Undone, Unit, View,
};
use crate::storage::{Digest, Storage};

/// Small files that are sent at once.
const AT_ONCE: usize = 4;

/// `backup copy`: the step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copy;

#[async_trait]
impl Step for Copy {
    fn id(&self) -> StepId {
        StepId::Copy
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let copies = view.settings.config.backup.copies.iter();
        Ok(copies
            .map(|copy| Change {
                kind: ChangeKind::Write,
                target: copy.to.to_string(),
                detail: "the backups that it lacks".to_owned(),
            })
            .collect())
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let done = copy_everywhere(context, StepId::Copy).await?;
        Ok(match done.iter().any(|one| one.backups > 0) {
            true => Receipt::changed(told(&done), Fact::Nothing),
            false if done.is_empty() => Receipt::unchanged("no copies are configured", Fact::Nothing),
            false => Receipt::unchanged(told(&done), Fact::Nothing),
        })
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::LeftInPlace {
            why: "what is copied stays, and the next copy goes on from there".to_owned(),
        })
    }
}

/// What a place has got.
pub(super) struct Copied {
    place: String,
    backups: usize,
    bytes: u64,
}

fn told(copied: &[Copied]) -> String {
    let each = copied.iter().map(|one| match one.backups {
        0 => format!("{} has every backup", one.place),
        1 => format!("{} has got 1 backup, {}", one.place, size(one.bytes)),
        many => format!("{} has got {many} backups, {}", one.place, size(one.bytes)),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Copies to every place. One that fails does not keep the others from theirs.
///
/// # Errors
/// The first place that failed, the others beside it.
pub(super) async fn copy_everywhere(context: Context<'_>, step: StepId) -> Result<Vec<Copied>, Failure> {
    let backup = &context.settings.config.backup;
    if !backup.copies.is_empty() && backup.encrypt_to.is_empty() {
        context.warn(
            "copies of backups leave this machine unencrypted: who can read them can read every pupil's paper",
            Some("backup.encrypt_to in deploy.yml names who may".to_owned()),
        );
    }
    let (mut done, mut failed): (Vec<Copied>, Option<Failure>) = (Vec::new(), None);
    for copy in &backup.copies {
        let place = copy.to.to_string();
        let task = context.task(step, place.clone(), format!("copying backups to {place}"));
        let copied = copy_to(context, copy, &task).await.map_err(|failure| {
            failure
                .context(format!("copying backups to {place}"))
                .hint("the backup here is whole; to copy it again: viatique-deploy backup copy")
        });
        let concluded = task.conclude(copied, |copied| {
            (StepResult::Succeeded, told(std::slice::from_ref(copied)))
        });
        match (concluded, &mut failed) {
            (Ok(copied), _) => done.push(copied),
            (Err(failure), None) => failed = Some(failure),
            (Err(failure), Some(first)) => first.hints.push(format!("and: {:#}", failure.error)),
        }
    }
    match failed {
        None => Ok(done),
        Some(failure) => Err(failure),
    }
}

async fn copy_to(context: Context<'_>, copy: &BackupCopy, task: &Task) -> Result<Copied, Failure> {
    let settings = context.settings;
    let storage = open(copy, settings)?;
    let here = Sets::read(&settings.backup_directory, &settings.project.name).await?;
    let At {
        backups: mut there,
        unreadable,
    } = At::of(&storage, &settings.project.name).await?;
    let has: BTreeSet<String> = there.iter().map(|backup| backup.id.clone()).collect();
    let mut copied = Copied {
        place: copy.to.to_string(),
        backups: 0,
        bytes: 0,
    };
    let mut objects = ObjectsThere::default();
    // The newest first: it is what would be missed.
    for backup in here
        .backups
        .iter()
        .rev()
        .filter(|backup| !has.contains(&backup.id))
    {
        let sending = Sending {
            settings,
            storage: &storage,
            backup,
            task,
        };
        copied.bytes += sending.send(&mut objects).await?;
        copied.backups += 1;
        there.push(backup.clone());
    }
    let memory = ledger::read(context.engine, &settings.project.name).await;
    let memory = memory.map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    let keep = needed(&memory.releases, settings);
    let gone = expendable(&there, &settings.config.backup.keep, &keep);
    if !gone.is_empty() {
        task.progress("removing backups that are kept no longer");
        let (goes, stays): (Vec<Manifest>, Vec<Manifest>) =
            there.into_iter().partition(|backup| gone.contains(&backup.id));
        remove_backups(&storage, &goes).await?;
        // No content may go that a backup may list which cannot be read.
        if !unreadable {
            remove_contents(&storage, &settings.project.name, &goes, &stays).await?;
        }
    }
    Ok(copied)
}

fn open(copy: &BackupCopy, settings: &Settings) -> Result<Storage, Failure> {
    let opened = Storage::open(copy, settings.config.directory());
    opened.map_err(|error| Failure::from(error).hint("backup.copies in deploy.yml says where copies go"))
}

/// What a place has.
struct At {
    /// Those of the project that are whole, the oldest first.
    backups: Vec<Manifest>,
    /// There is one that cannot be read: of a newer version, or of something else. It is left alone.
    unreadable: bool,
}

impl At {
    async fn of(storage: &Storage, project: &str) -> Result<Self, Failure> {
        let mut at = Self {
            backups: Vec::new(),
            unreadable: false,
        };
        for folder in storage.folders().await? {
            let Some(content) = storage.read(&format!("{folder}/{MANIFEST}")).await? else {
                continue;
            };
            match serde_json::from_slice::<Manifest>(&content) {
                Ok(manifest) if manifest.format > MANIFEST_FORMAT => at.unreadable = true,
                Ok(manifest) if manifest.project == project && manifest.id == folder => {
                    at.backups.push(manifest);
                }
                Ok(_) => {}
                Err(_) => at.unreadable = true,
            }
        }
        at.backups
            .sort_by_cached_key(|backup| (completed(backup), backup.id.clone()));
        Ok(at)
    }
}

/// Where the objects of a space stand, here and there.
fn space_of(project: &str, space: &str) -> String {
    format!("{}/{project}/{space}", OBJECTS)
}

/// Which objects a place has, by space: asked once.
#[derive(Default)]
struct ObjectsThere(BTreeMap<String, HashSet<String>>);

impl ObjectsThere {
    async fn of(&mut self, storage: &Storage, folder: &str) -> Result<&mut HashSet<String>, Failure> {
        if !self.0.contains_key(folder) {
            let names = storage.names(folder).await?.into_iter();
            let digests = names.map(|name| name.replace('/', "")).collect();
            self.0.insert(folder.to_owned(), digests);
        }
        Ok(self.0.entry(folder.to_owned()).or_default())
    }
}

/// One backup on its way to one place.
struct Sending<'a> {
    settings: &'a Settings,
    storage: &'a Storage,
    backup: &'a Manifest,
    task: &'a Task,
}

impl Sending<'_> {
    /// Bytes that were sent.
    async fn send(&self, there: &mut ObjectsThere) -> Result<u64, Failure> {
        let Self { settings, backup, .. } = self;
        let folder = settings.backup_directory.join(&backup.id);
        let mut sent = self.objects(&folder, there).await?;
        let total = backup.files.iter().map(|file| file.bytes).sum();
        let mut done = 0;
        for file in &backup.files {
            self.task.progress(format!("{} of {}", file.name, backup.id));
            let name = format!("{}/{}", backup.id, file.name);
            let told = |bytes| {
                done += bytes;
                self.task.amount(done, Some(total), Unit::Bytes);
            };
            let uploaded = self.storage.upload(&folder.join(&file.name), &name, told).await?;
            if uploaded != (file.bytes, file.sha256.clone()) {
                self.storage.remove(&name).await?;
                return Err(damaged_here(&folder.join(&file.name)));
            }
            reads_back(self.storage, &name, &uploaded).await?;
            sent += uploaded.0;
        }
        let name = format!("{}/{MANIFEST}", backup.id);
        let uploaded = self.storage.upload(&folder.join(MANIFEST), &name, |_| ()).await?;
        reads_back(self.storage, &name, &uploaded).await?;
        Ok(sent + uploaded.0)
    }

    /// The contents of its media files that the place does not have yet.
    async fn objects(&self, folder: &Path, there: &mut ObjectsThere) -> Result<u64, Failure> {
        let Some(media) = &self.backup.media else {
            return Ok(0);
        };
        let project = &self.backup.project;
        let space = space_of(project, &media.objects);
        let there = there.of(self.storage, &space).await?;
        let digests = read_digests(&folder.join(MEDIA_DIGESTS))?;
        let missing: Vec<String> = digests
            .into_iter()
            .filter(|digest| !there.contains(digest))
            .collect();
        let own = Objects::of(&self.settings.backup_directory, project, &media.objects);
        let (total, mut count, mut sent) = (missing.len() as u64, 0, 0);
        let sending: Vec<_> = missing
            .iter()
            .map(|digest| {
                let name = format!("{space}/{}", Objects::name(digest));
                // Where it is not encrypted, its name says what it has to be.
                let expected = (media.objects == PLAIN).then(|| digest.clone());
                send_object(self.storage.clone(), own.path(digest), name, expected)
            })
            .collect();
        let mut sending = stream::iter(sending).buffer_unordered(AT_ONCE);
        while let Some(bytes) = sending.try_next().await? {
            sent += bytes;
            count += 1;
            self.task.amount(count, Some(total), Unit::Steps);
        }
        there.extend(missing);
        Ok(sent)
    }
}

/// Bytes that were sent.
async fn send_object(
    storage: Storage,
    path: PathBuf,
    name: String,
    expected: Option<String>,
) -> Result<u64, Failure> {
    let uploaded = storage.upload(&path, &name, |_| ()).await?;
    if expected.is_some_and(|digest| digest != uploaded.1) {
        storage.remove(&name).await?;
        return Err(damaged_here(&path));
    }
    reads_back(&storage, &name, &uploaded).await?;
    Ok(uploaded.0)
}

/// What was sent is what the place gives.
async fn reads_back(storage: &Storage, name: &str, sent: &Digest) -> Result<(), Failure> {
    if storage.digest(name).await? == *sent {
        return Ok(());
    }
    // It has a name, and is not what it says: the next copy sends it anew.
    storage.remove(name).await?;
    Err(Failure::message(
        FailureKind::Failed,
        format!("{name} reads back differently from what was sent"),
    ))
}

fn damaged_here(path: &Path) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!("{} is damaged: it is not what was written", path.display()),
    )
    .hint("viatique-deploy backup verify looks at all of it")
}

fn read_digests(path: &Path) -> Result<Vec<String>, Failure> {
    let content = std::fs::read(path).and_then(|content| parse_digests(&content));
    content.map_err(|error| {
        Failure::from(anyhow::Error::new(error)).context(format!("reading {}", path.display()))
    })
}

/// The manifest first: half of one is none.
async fn remove_backups(storage: &Storage, goes: &[Manifest]) -> Result<(), Failure> {
    for backup in goes {
        storage.remove(&format!("{}/{MANIFEST}", backup.id)).await?;
        for name in storage.names(&backup.id).await? {
            storage.remove(&format!("{}/{name}", backup.id)).await?;
        }
    }
    Ok(())
}

/// Contents that no backup lists which stays.
async fn remove_contents(
    storage: &Storage,
    project: &str,
    goes: &[Manifest],
    stays: &[Manifest],
) -> Result<(), Failure> {
    let mut listed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for backup in goes.iter().chain(stays) {
        if let Some(media) = &backup.media {
            listed.entry(&media.objects).or_default();
        }
    }
    for backup in stays {
        let Some(media) = &backup.media else { continue };
        let name = format!("{}/{MEDIA_DIGESTS}", backup.id);
        let content = storage
            .read(&name)
            .await?
            .ok_or_else(|| Failure::message(FailureKind::Failed, format!("{name} is missing there")))?;
        let digests = parse_digests(&content).map_err(|error| Failure::from(anyhow::Error::new(error)))?;
        listed.entry(&media.objects).or_default().extend(digests);
    }
    for (space, listed) in listed {
        let folder = space_of(project, space);
        for name in storage.names(&folder).await? {
            if !listed.contains(&name.replace('/', "")) {
                storage.remove(&format!("{folder}/{name}")).await?;
            }
        }
    }
    Ok(())
}

/// Fetches a backup from a place into the folder here, the manifest last: the one of this id, or the newest. What stands
/// here already is not fetched again. Its id.
///
/// # Errors
/// No such backup there, what cannot be read or is damaged there, and a disk that is full.
pub async fn fetch(context: Context<'_>, copy: &BackupCopy, id: Option<&str>) -> Result<String, Failure> {
    let place = copy.to.to_string();
    let task = context.task(
        StepId::Fetch,
        place.clone(),
        format!("fetching a backup from {place}"),
    );
    let fetched = fetch_from(context.settings, copy, id, &task).await;
    let fetched = fetched.map_err(|failure| failure.context(format!("fetching a backup from {place}")));
    task.conclude(fetched, |id| (StepResult::Succeeded, id.clone()))
}

async fn fetch_from(
    settings: &Settings,
    copy: &BackupCopy,
    id: Option<&str>,
    task: &Task,
) -> Result<String, Failure> {
    let storage = open(copy, settings)?;
    let project = &settings.project.name;
    let there = Sets {
        backups: At::of(&storage, project).await?.backups,
        ..Sets::default()
    };
    let backup = there.named(id)?;
    let here = Sets::read(&settings.backup_directory, project).await?;
    if here.backups.iter().any(|one| one.id == backup.id) {
        return Ok(backup.id.clone());
    }
    let folder = settings.backup_directory.join(&backup.id);
    let failed = |error: std::io::Error| {
        Failure::from(anyhow::Error::new(error)).context(format!("writing below {}", folder.display()))
    };
    create_private_folders(&folder).map_err(failed)?;
    let total = backup.files.iter().map(|file| file.bytes).sum();
    enough_room(&folder, total, "the backup")?;
    let mut done = 0;
    for file in &backup.files {
        task.progress(format!("{} of {}", file.name, backup.id));
        let name = format!("{}/{}", backup.id, file.name);
        let fetched = storage.fetch(&name, &folder.join(&file.name)).await?;
        if fetched != (file.bytes, file.sha256.clone()) {
            return Err(damaged_there(&name));
        }
        done += fetched.0;
        task.amount(done, Some(total), Unit::Bytes);
    }
    if let Some(media) = &backup.media {
        let own = Objects::of(&settings.backup_directory, project, &media.objects);
        let space = space_of(project, &media.objects);
        let digests = read_digests(&folder.join(MEDIA_DIGESTS))?;
        let missing = digests.into_iter().filter(|digest| !own.path(digest).exists());
        let fetching: Vec<_> = missing
            .map(|digest| {
                let name = format!("{space}/{}", Objects::name(&digest));
                let path = own.path(&digest);
                fetch_object(
                    storage.clone(),
                    path,
                    name,
                    (media.objects == PLAIN).then_some(digest),
                )
            })
            .collect();
        let (total, mut count) = (fetching.len() as u64, 0);
        let mut fetching = stream::iter(fetching).buffer_unordered(AT_ONCE);
        while fetching.try_next().await?.is_some() {
            count += 1;
            task.amount(count, Some(total), Unit::Steps);
        }
    }
    backup.write(&folder).await?;
    Ok(backup.id.clone())
}

async fn fetch_object(
    storage: Storage,
    path: PathBuf,
    name: String,
    expected: Option<String>,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::from(anyhow::Error::new(error)).context(format!("writing {}", path.display()))
    };
    if let Some(parent) = path.parent() {
        create_private_folders(parent).map_err(failed)?;
    }
    let partial = path.with_extension("partial");
    let fetched = storage.fetch(&name, &partial).await?;
    if expected.is_some_and(|digest| digest != fetched.1) {
        return Err(damaged_there(&name));
    }
    std::fs::rename(&partial, &path).map_err(failed)
}

fn damaged_there(name: &str) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!("{name} is damaged there: it is not what was written"),
    )
}
