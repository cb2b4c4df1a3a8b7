//! `backup`: the database and the media volume, before anything that could harm them. Every file is written as
//! `.partial`, synced, read back in full and only then given its name; the manifest comes last, so that a folder
//! without a manifest is no backup. A failure removes what it wrote and changes nothing else.
//!
//! Encryption, copies elsewhere and restoring are left to later work.

mod file;
mod manifest;
pub mod retention;

use std::path::Path;

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;

use self::file::{HashedFile, HashedReader};
use super::deploy::standing;
use super::one_off;
use crate::clock::timestamp;
use crate::config::DatabaseBackup;
use crate::engine::{Captured, Container, ContainerState, Inspect, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, View,
};
use crate::stack::{media, postgres};

pub use self::manifest::{BackupFile, MANIFEST, MANIFEST_FORMAT, Manifest};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backup;

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
        if let Some((key, name)) = media_volume(view) {
            changes.push(match view.inspect.volume(&name).await? {
                Some(_) => write(
                    format!("volume {name}"),
                    format!("archived to a new folder in {folder}"),
                ),
                None => nothing(format!("volume {key}"), "it does not exist yet"),
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
            Some((_, name)) => context.engine.volume(&name).await?.map(|volume| volume.name),
            None => None,
        };
        if database.is_none() && volume.is_none() {
            return Ok(Receipt::unchanged(
                "there is nothing to back up yet",
                Fact::Nothing,
            ));
        }
        let folder = context.settings.backup_directory.join(&context.run.0);
        let result = write(context, &folder, database, volume.as_deref()).await;
        match result {
            Ok(manifest) => {
                let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
                let message = format!("{} ({})", folder.display(), size(bytes));
                Ok(Receipt::changed(message, Fact::Backup(manifest.id)))
            }
            Err(failure) => Err(remove_unfinished(&folder, failure).await),
        }
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        match &context.state.backup {
            Some(id) => Ok(Undone::LeftInPlace {
                why: format!("backup {}", context.settings.backup_directory.join(id).display()),
            }),
            None => {
                let folder = context.settings.backup_directory.join(&context.run.0);
                if tokio::fs::try_exists(folder.join(MANIFEST))
                    .await
                    .unwrap_or(false)
                {
                    return Ok(Undone::LeftInPlace {
                        why: format!("backup {}", folder.display()),
                    });
                }
                match tokio::fs::remove_dir_all(&folder).await {
                    Ok(()) => Ok(Undone::Reverted {
                        message: format!("removed the unfinished {}", folder.display()),
                        restored_previous: false,
                    }),
                    Err(error) if is_absent(&error) => Ok(Undone::NothingToDo),
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
    }
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

/// The media volume: its key, and its name on the engine.
fn media_volume(view: View<'_>) -> Option<(String, String)> {
    let key = &view.settings.config.backup.media.as_ref()?.volume;
    let volume = view.settings.project.volumes.get(key)?;
    Some((key.clone(), volume.name.clone()))
}

async fn write(
    context: Context<'_>,
    folder: &Path,
    database: Option<(&DatabaseBackup, Container)>,
    volume: Option<&str>,
) -> Result<Manifest, Failure> {
    file::create_private_folder(folder).map_err(|error| {
        Failure::from(anyhow::Error::new(error))
            .context(format!("creating the backup folder {}", folder.display()))
            .hint("backup.directory in deploy.yml says where backups are written")
    })?;
    let mut files = Vec::new();
    // The database first: Django writes a file before its row, so that a later copy of the media lacks nothing.
    if let Some((configured, container)) = database {
        let task = context.task(
            StepId::Backup,
            "database",
            format!("dumping the database of {}", container.name),
        );
        let dumped = dump_database(context, configured, &container, folder, &task).await;
        files.push(task.conclude(dumped, |file| (StepResult::Succeeded, described(file)))?);
    }
    if let Some(volume) = volume {
        let task = context.task(StepId::Backup, "media", format!("archiving volume {volume}"));
        let archived = archive_volume(context, volume, folder, &task).await;
        files.push(task.conclude(archived, |file| (StepResult::Succeeded, described(file)))?);
    }
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        id: context.run.0.clone(),
        project: context.settings.project.name.clone(),
        release: context
            .settings
            .current
            .as_ref()
            .map(|release| release.tag.to_string()),
        taken_before: context.settings.tag.to_string(),
        completed_at: timestamp(context.clock.now()),
        files,
    };
    manifest.write(folder).await.map_err(|error| {
        Failure::from(error).context(format!("writing the manifest of {}", folder.display()))
    })?;
    Ok(manifest)
}

fn described(file: &BackupFile) -> String {
    format!("{}, {}, verified", file.name, size(file.bytes))
}

async fn dump_database(
    context: Context<'_>,
    configured: &DatabaseBackup,
    container: &Container,
    folder: &Path,
    task: &Task,
) -> Result<BackupFile, Failure> {
    let service = context
        .settings
        .project
        .services
        .get(&configured.service)
        .ok_or_else(|| {
            Failure::message(
                FailureKind::Configuration,
                format!("there is no service {}", configured.service),
            )
        })?;
    let access = postgres::DatabaseAccess {
        user: configured.user_in(service),
        name: configured.name_in(service),
    };
    let what = format!("dumping database {} as {}", access.name, access.user);
    let path = folder.join("database.dump");
    let mut file = HashedFile::create(&path, Some(task)).map_err(|error| at(&what, error))?;
    let dumped = context
        .engine
        .exec(&container.id, &postgres::dump(&access), None, &mut file)
        .await;
    let exit = dumped.map_err(|error| Failure::from(error).context(what.clone()))?;
    if !exit.success() {
        return Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: pg_dump ended with exit code {}", exit.code),
        )
        .evidence("what pg_dump wrote", file.complaints()));
    }
    let written = file.finish().await.map_err(|error| at(&what, error))?;
    task.progress("reading it back");
    let mut reader = HashedReader::open(&written.partial)
        .await
        .map_err(|error| at("reading the dump back", error))?;
    let mut output = Captured::default();
    let read = context
        .engine
        .exec(
            &container.id,
            &postgres::read_back(),
            Some(&mut reader),
            &mut output,
        )
        .await;
    let exit = read.map_err(|error| Failure::from(error).context("reading the dump back"))?;
    if !exit.success() {
        return Err(Failure::message(
            FailureKind::Failed,
            format!(
                "the dump cannot be read back: pg_restore ended with exit code {}",
                exit.code
            ),
        )
        .evidence(
            "what pg_restore wrote",
            output.stderr_text().lines().map(ToOwned::to_owned).collect(),
        ));
    }
    let version = database_version(context, container, &access).await?;
    let file = confirm(written, reader, &path).await?;
    Ok(BackupFile {
        about: format!("pg_dump -Fc of {} at server version {version}", access.name),
        ..file
    })
}

async fn database_version(
    context: Context<'_>,
    container: &Container,
    access: &postgres::DatabaseAccess,
) -> Result<String, Failure> {
    let mut output = Captured::default();
    let exit = context
        .engine
        .exec(&container.id, &postgres::version(access), None, &mut output)
        .await?;
    if !exit.success() {
        return Err(
            Failure::message(FailureKind::Failed, "asking the database for its version").evidence(
                "what psql wrote",
                output.stderr_text().lines().map(ToOwned::to_owned).collect(),
            ),
        );
    }
    Ok(output.stdout_text().trim().to_owned())
}

async fn archive_volume(
    context: Context<'_>,
    volume: &str,
    folder: &Path,
    task: &Task,
) -> Result<BackupFile, Failure> {
    let project = &context.settings.project.name;
    let what = format!("archiving volume {volume}");
    let labels = [
        (labels::PROJECT, project.as_str()),
        (labels::ROLE, labels::Role::Backup.as_str()),
        (labels::RUN, context.run.0.as_str()),
    ];
    let labels = labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let name = format!("viatique-deploy-backup-{project}-{}", context.run.suffix());
    // Never started: it only opens the volume, and runs no code on it.
    let opener = context.engine.create_marker(&name, &labels, Some(volume)).await?;
    let path = folder.join("media.tar");
    let mut file = HashedFile::create(&path, Some(task)).map_err(|error| at(&what, error))?;
    let archived = context
        .engine
        .archive(&opener, crate::ledger::DATA, &mut file)
        .await;
    let removed = context.engine.remove_container(&opener).await;
    archived.map_err(|error| Failure::from(error).context(what.clone()))?;
    removed?;
    let written = file.finish().await.map_err(|error| at(&what, error))?;
    task.progress("reading it back");
    let partial = written.partial.clone();
    let contents = tokio::task::spawn_blocking(move || {
        media::read_back(std::io::BufReader::with_capacity(
            1 << 16,
            std::fs::File::open(partial)?,
        ))
    })
    .await
    .map_err(|error| Failure::from(anyhow::Error::new(error)))?
    .map_err(|error| at("reading the archive back", error))?;
    let mut reader = HashedReader::open(&written.partial)
        .await
        .map_err(|error| at("reading the archive back", error))?;
    let mut buffer = vec![0; 1 << 16];
    while reader
        .read(&mut buffer)
        .await
        .map_err(|error| at("reading the archive back", error))?
        > 0
    {}
    let file = confirm(written, reader, &path).await?;
    Ok(BackupFile {
        about: format!(
            "volume {volume}: {} files, {} bytes",
            contents.files, contents.bytes
        ),
        ..file
    })
}

/// What was read back is what was written; only then does the file get its name.
async fn confirm(written: file::Written, reader: HashedReader, path: &Path) -> Result<BackupFile, Failure> {
    let read = reader.digest();
    if read != (written.bytes, written.sha256.clone()) {
        return Err(Failure::message(
            FailureKind::Failed,
            format!(
                "{} reads back differently from what was written: is the disk sound?",
                path.display()
            ),
        ));
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

fn at(what: &str, error: std::io::Error) -> Failure {
    let failure = Failure::from(anyhow::Error::new(error)).context(what.to_owned());
    failure.hint("is there room where backup.directory in deploy.yml points? see: df -h")
}

/// There is no such folder, or the one above it is none.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

/// A folder without a manifest is no backup, and must not look like one.
async fn remove_unfinished(folder: &Path, failure: Failure) -> Failure {
    match tokio::fs::remove_dir_all(folder).await {
        Ok(()) => failure,
        Err(error) if is_absent(&error) => failure,
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
