//! `backup`: the database and the media volume, before anything that could harm them. Every file is written as
//! `.partial`, synced, read back in full and only then given its name; the manifest comes last, so that a folder
//! without a manifest is no backup. A failure removes what it wrote and changes nothing else.
//!
//! A backup is a folder named by its run; what is in the media files stands beside them, once for all backups
//! (`objects`). Copies elsewhere and restoring are left to later work.

pub mod automatic;
pub(super) mod content;
pub mod copies;
mod database;
mod description;
pub mod drill;
mod encryption;
pub(super) mod file;
mod manifest;
mod media;
mod media_archive;
mod media_container;
mod media_list;
mod media_reader;
mod objects;
pub mod prune;
pub(super) mod repository;
pub mod restore;
pub mod retention;
pub(super) mod scratch;
pub mod sets;
pub mod verify;

use std::path::Path;

use async_trait::async_trait;

use self::encryption::{Keys, Recipients};
use self::file::Written;
use self::media::Volume;
use self::objects::Objects;
use self::sets::Sets;
use super::deploy::standing;
use super::one_off;
use crate::clock::timestamp;
use crate::config::DatabaseBackup;
use crate::engine::{Container, ContainerState, Inspect};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};

pub(crate) use self::database::{DUMP, access};
pub use self::manifest::{BackupFile, DatabaseFacts, MANIFEST, MANIFEST_FORMAT, Made, Manifest, MediaFacts};
pub(crate) use self::media_archive::ARCHIVE;

/// The step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// Once the whole run has succeeded, it is copied to `backup.copies`; that this fails is a warning then.
    Copied,
    /// A step of its own sees to that.
    Only,
}

#[async_trait]
impl Step for Backup {
    fn id(&self) -> StepId {
        StepId::Backup
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        let folder = view.settings.backup_directory.display();
        let write = |target: String, detail: String| Change {
            kind: ChangeKind::Write,
            target,
            detail,
        };
        if let Some(database) = &view.settings.config.backup.database {
            changes.push(match database_container(view.inspect, view, database).await? {
                Some(container) => write(
                    format!("database of {}", container.name),
                    format!("dumped to a new folder in {folder}"),
                ),
                None => nothing(format!("database of {}", database.service), "it does not run yet"),
            });
        }
        if let Some(volume) = media_volume(view) {
            changes.push(match view.inspect.volume(&volume.name).await? {
                Some(_) => write(
                    format!("volume {}", volume.name),
                    format!("what is new in it, to {folder}"),
                ),
                None => nothing(format!("volume {}", volume.key), "it does not exist yet"),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        // What runs beside it is sent off first: that waits for the engine alone, this for the disk too. So the order
        // of the calls does not depend on how fast the disk is, and a simulation of it repeats itself.
        tokio::task::yield_now().await;
        let view = context.view();
        let configured = &context.settings.config.backup;
        let database = match &configured.database {
            Some(database) => database_container(context.engine, view, database)
                .await?
                .map(|one| (database, one)),
            None => None,
        };
        let volume = match media_volume(view) {
            Some(volume) => context.engine.volume(&volume.name).await?.map(|_| volume),
            None => None,
        };
        if database.is_none() && volume.is_none() {
            return Ok(Receipt::unchanged(
                "there is nothing to back up yet",
                Fact::Nothing,
            ));
        }
        let folder = context.settings.backup_directory.join(&context.run.0);
        let result = write(context, &folder, self.made(context), database, volume.as_ref()).await;
        match result {
            Ok(manifest) => {
                let message = format!("{} ({})", folder.display(), size(manifest.added()));
                Ok(Receipt::changed(message, Fact::Backup(manifest.id)))
            }
            Err(failure) => Err(remove_unfinished(context, &folder, failure).await),
        }
    }

    async fn settle(&self, context: Context<'_>) -> Result<(), Failure> {
        match self {
            Self::Copied => {
                if let Err(failure) = copies::copy_everywhere(context, StepId::Backup).await {
                    let hints = failure.hints.join("; ");
                    context.warn(
                        format!("{:#}", failure.error),
                        Some(hints).filter(|hints| !hints.is_empty()),
                    );
                }
            }
            Self::Only => {}
        }
        Ok(())
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        let folder = context.settings.backup_directory.join(&context.run.0);
        let stands = tokio::fs::try_exists(folder.join(MANIFEST))
            .await
            .unwrap_or(false);
        if context.state.backup.is_some() || stands {
            return Ok(Undone::LeftInPlace {
                why: format!("backup {}", folder.display()),
            });
        }
        let reverted = Undone::Reverted {
            message: format!("removed the unfinished {}", folder.display()),
            restored_previous: false,
        };
        match clear(context, &folder).await {
            Ok(false) => Ok(Undone::NothingToDo),
            Ok(true) => {
                if let Some(configured) = &context.settings.config.backup.database
                    && let Ok(Some(container)) =
                        database_container(context.engine, context.view(), configured).await
                {
                    database::end_dump(context, configured, &container).await;
                }
                Ok(reverted)
            }
            // It has no manifest, and production does not depend on it.
            Err(error) => Ok(Undone::LeftInPlace {
                why: format!(
                    "the unfinished {} could not be removed: {error}",
                    folder.display()
                ),
            }),
        }
    }
}

impl Backup {
    /// How what it makes comes to be made.
    fn made(self, context: Context<'_>) -> Made {
        match self {
            Self::Copied => Made::ByRun,
            Self::Only if context.events.asks() => Made::ByHand,
            Self::Only => Made::Unattended,
        }
    }
}

/// Removes what this run has written, if it has: its folder, and what came in of the media.
async fn clear(context: Context<'_>, folder: &Path) -> std::io::Result<bool> {
    let objects = Objects::to_add(context.settings);
    let mut any = false;
    for folder in [objects.incoming(context.run), folder.to_owned()] {
        match tokio::fs::remove_dir_all(&folder).await {
            Ok(()) => any = true,
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(any)
}

fn nothing(target: String, why: &str) -> Change {
    Change {
        kind: ChangeKind::Keep,
        target,
        detail: format!("nothing to back up: {why}"),
    }
}

/// The running container of the database service.
async fn database_container(
    inspect: &dyn Inspect,
    view: View<'_>,
    database: &DatabaseBackup,
) -> Result<Option<Container>, Failure> {
    let mut standing = standing(inspect, &view.settings.project.name).await?;
    let containers = standing.remove(database.service.as_str()).unwrap_or_default();
    let stopped = containers.first().map(|container| container.name.clone());
    let running = containers
        .into_iter()
        .find(|container| container.state == ContainerState::Running);
    match (running, stopped) {
        (Some(container), _) => Ok(Some(container)),
        (None, None) => Ok(None),
        // It has data, and they cannot be read: going on would mean to go on without a backup.
        (None, Some(name)) => Err(Failure::message(
            FailureKind::Failed,
            format!("the database cannot be backed up: {name} does not run"),
        )
        .hint(format!("docker start {name}"))),
    }
}

fn media_volume(view: View<'_>) -> Option<Volume> {
    let key = &view.settings.config.backup.media.as_ref()?.volume;
    let volume = view.settings.project.volumes.get(key)?;
    Some(Volume {
        key: key.clone(),
        name: volume.name.clone(),
    })
}

async fn write(
    context: Context<'_>,
    folder: &Path,
    made: Made,
    database: Option<(&DatabaseBackup, Container)>,
    volume: Option<&Volume>,
) -> Result<Manifest, Failure> {
    let settings = context.settings;
    let started_at = timestamp(context.clock.now());
    let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
    file::create_private_folder(folder).map_err(|error| {
        Failure::from(anyhow::Error::new(error))
            .context(format!("creating the backup folder {}", folder.display()))
            .hint("backup.directory in deploy.yml says where backups are written")
    })?;
    let recipients = Recipients::of(&settings.config.backup);
    the_key_fits(context, recipients.as_ref());
    let mut manifest = Manifest {
        format: MANIFEST_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        id: context.run.0.clone(),
        project: settings.project.name.clone(),
        release: settings.current.as_ref().map(|release| release.tag.to_string()),
        taken_before: settings.tag.to_string(),
        started_at: Some(started_at),
        completed_at: String::new(),
        files: Vec::new(),
        encrypted_to: recipients.as_ref().map(Recipients::names).unwrap_or_default(),
        database: None,
        media: None,
        made: Some(made),
    };
    // The database first: Django writes a file before its row, so that a later copy of the media lacks nothing.
    if let Some((configured, container)) = database {
        let title = format!("dumping the database of {}", container.name);
        let task = context.task(StepId::Backup, "database", title);
        let dumped = database::dump(context, configured, &container, folder, sets.newest(), &task).await;
        let dumped = task.conclude(dumped, |dumped| {
            let what = dumped.files.first().map(described).unwrap_or_default();
            (StepResult::Succeeded, what)
        })?;
        manifest.files.extend(dumped.files);
        manifest.database = Some(dumped.facts);
    }
    if let Some(volume) = volume {
        let title = format!("saving volume {}", volume.name);
        let task = context.task(StepId::Backup, "media", title);
        let saved = media::save(context, volume, folder, &task).await;
        let saved = task.conclude(saved, |saved| {
            let what = match &saved.facts {
                None => saved.files.first().map(described).unwrap_or_default(),
                Some(facts) => format!(
                    "{} files, {}; {} new contents, {}, verified",
                    facts.files,
                    size(facts.bytes),
                    facts.added_objects,
                    size(facts.added_bytes)
                ),
            };
            (StepResult::Succeeded, what)
        })?;
        manifest.files.extend(saved.files);
        manifest.media = saved.facts;
    }
    manifest.completed_at = timestamp(context.clock.now());
    manifest.write(folder).await.map_err(|error| {
        Failure::from(error).context(format!("writing the manifest of {}", folder.display()))
    })?;
    Ok(manifest)
}

fn described(file: &BackupFile) -> String {
    format!("{}, {}, verified", file.name, size(file.bytes))
}

/// A key that is at hand and is nobody's to whom backups are encrypted would be found out when it is needed.
fn the_key_fits(context: Context<'_>, recipients: Option<&Recipients>) {
    let path = context.settings.config.backup_identity();
    let (Some(recipients), Some(path)) = (recipients, path) else {
        return;
    };
    match Keys::read(&path) {
        Ok(keys) if keys.open_for(recipients) => {}
        Ok(_) => context.warn(
            format!(
                "the key in {} is none of those that backups are encrypted to: it will not open this one",
                path.display()
            ),
            Some("backup.encrypt_to in deploy.yml names their public halves".to_owned()),
        ),
        Err(failure) => context.warn(format!("{:#}", failure.error), failure.hints.into_iter().next()),
    }
}

/// Reads back from the disk what was written, and gives it its name if it is the same.
async fn keep(written: Written) -> Result<BackupFile, Failure> {
    let path = &written.path;
    let read = file::digest_of_file(&written.partial).await;
    let read = read.map_err(|error| at("reading the backup back", error))?;
    if read != (written.bytes, written.sha256.clone()) {
        return Err(reads_back_differently(path));
    }
    file::rename_durably(&written.partial, path)
        .await
        .map_err(|error| at("naming the backup", error))?;
    Ok(BackupFile {
        name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        bytes: written.bytes,
        sha256: written.sha256,
        about: String::new(),
    })
}

fn reads_back_differently(path: &Path) -> Failure {
    let what = format!(
        "{} reads back differently from what was written: is the disk sound?",
        path.display()
    );
    Failure::message(FailureKind::Failed, what)
}

/// What to look at where a backup could not be written.
const IS_THERE_ROOM: &str = "is there room where backup.directory in deploy.yml points? see: df -h";

pub(super) fn at(what: &str, error: std::io::Error) -> Failure {
    let failure = Failure::from(anyhow::Error::new(error)).context(what.to_owned());
    failure.hint(IS_THERE_ROOM)
}

/// There is no such folder, or the one above it is none.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

/// A folder without a manifest is no backup, and must not look like one.
async fn remove_unfinished(context: Context<'_>, folder: &Path, failure: Failure) -> Failure {
    match clear(context, folder).await {
        Ok(_) => failure,
        Err(error) => failure.hint(format!(
            "the unfinished {} could not be removed: {error}",
            folder.display()
        )),
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}
