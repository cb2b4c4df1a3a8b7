//! `backup verify`: reads a backup to its last byte. Each file has the digest that its manifest says, PostgreSQL's own
//! program reads the dump to its end, and every content that the list of the media names is whole. What could not be
//! looked at is not verified, and that counts as failed.
//!
//! Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use super::database::{DUMP, readable};
use super::file::HashedReader;
use super::media::on_a_thread;
use super::media_list::{self, MEDIA_LIST, What};
use super::objects::Objects;
use super::sets::Sets;
use super::{BackupFile, Manifest, database_container, size};
use crate::engine::Captured;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, Unit, View,
};
use crate::stack::postgres;

/// How many damaged files are named.
const NAMED: usize = 20;

/// The step, for the backup of this id, or the newest.
#[derive(Debug, Clone, Default)]
pub struct Verify {
    pub id: Option<String>,
}

#[async_trait]
impl Step for Verify {
    fn id(&self) -> StepId {
        StepId::Verify
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let (sets, folder) = (sets(view).await?, &view.settings.backup_directory);
        let manifest = sets.named(self.id.as_deref())?;
        Ok(vec![Change {
            kind: ChangeKind::Keep,
            target: folder.join(&manifest.id).display().to_string(),
            detail: "read to its end".to_owned(),
        }])
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let sets = sets(context.view()).await?;
        let manifest = sets.named(self.id.as_deref())?;
        let folder = context.settings.backup_directory.join(&manifest.id);
        let mut problems = Vec::new();
        for file in &manifest.files {
            let title = format!("reading {}", file.about);
            let task = context.task(StepId::Verify, file.name.clone(), title);
            let looked = look(context, manifest, &folder, file, &task).await;
            match task.conclude(looked, |done| (StepResult::Succeeded, done.clone())) {
                Ok(_) => {}
                Err(failure) if failure.kind == FailureKind::Gate => problems.push(failure),
                Err(failure) => return Err(failure),
            }
        }
        let mut problems = problems.into_iter();
        let Some(mut first) = problems.next() else {
            let whole = format!("backup {} of {} is whole", manifest.id, manifest.completed_at);
            return Ok(Receipt::changed(whole, Fact::Nothing));
        };
        for other in problems {
            first.evidence.extend(other.evidence);
            first.hints.push(format!("and: {:#}", other.error));
        }
        Err(first.context(format!("backup {} is not verified", manifest.id)))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::NothingToDo)
    }
}

async fn sets(view: View<'_>) -> Result<Sets, Failure> {
    let settings = view.settings;
    Sets::read(&settings.backup_directory, &settings.project.name).await
}

fn gate(why: String) -> Failure {
    Failure::message(FailureKind::Gate, why)
}

/// One file, and what it stands for.
async fn look(
    context: Context<'_>,
    manifest: &Manifest,
    folder: &Path,
    file: &BackupFile,
    task: &Task,
) -> Result<String, Failure> {
    let path = folder.join(&file.name);
    let read = async {
        let mut reader = HashedReader::open(&path).await?;
        reader.drain().await?;
        Ok::<_, std::io::Error>(reader.digest())
    };
    let cannot = |error: std::io::Error| gate(format!("{} cannot be read: {error}", path.display()));
    if read.await.map_err(cannot)? != (file.bytes, file.sha256.clone()) {
        return Err(gate(format!(
            "{} is damaged: it is not what was written",
            path.display()
        )));
    }
    if file.name == DUMP {
        dump(context, &path, task).await?;
    } else if file.name == MEDIA_LIST {
        return media(context, manifest, folder, task).await;
    }
    Ok(format!("{}, whole", size(file.bytes)))
}

/// By the program that a restore would use.
async fn dump(context: Context<'_>, path: &Path, task: &Task) -> Result<(), Failure> {
    let configured = context.settings.config.backup.database.as_ref();
    let container = match configured {
        Some(configured) => database_container(context.engine, context.view(), configured)
            .await
            .map_err(|failure| failure.with_kind(FailureKind::Gate))?,
        None => None,
    };
    let Some(container) = container else {
        return Err(gate(format!(
            "{} is what was written, but no database runs whose pg_restore could read it",
            path.display()
        )));
    };
    task.progress(format!("pg_restore in {} reads it", container.name));
    let cannot = |error: std::io::Error| gate(format!("{} cannot be read: {error}", path.display()));
    let mut reader = HashedReader::open(path).await.map_err(cannot)?;
    let mut output = Captured::default();
    let command = postgres::read_back();
    let exit = context
        .engine
        .exec(&container.id, &command, Some(&mut reader), &mut output)
        .await?;
    readable(exit, &output).map_err(|failure| failure.with_kind(FailureKind::Gate))
}

/// Every content that the list names, once.
async fn media(
    context: Context<'_>,
    manifest: &Manifest,
    folder: &Path,
    task: &Task,
) -> Result<String, Failure> {
    let objects = Objects::of(&context.settings.backup_directory, &manifest.project);
    let list = folder.to_owned();
    let listed = on_a_thread(move || {
        let mut contents: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let mut files: u64 = 0;
        media_list::read(&list, |entry| {
            match entry.what {
                What::File { state, sha256, .. } => {
                    files += 1;
                    contents
                        .entry(sha256)
                        .or_insert_with(|| (state.size, entry.path.to_string()));
                }
                What::Folder | What::Link { .. } => {}
            }
            Ok(())
        })?;
        Ok((files, contents))
    });
    let (files, contents) = listed
        .await
        .map_err(|error| gate(format!("the list of the media cannot be read: {error}")))?;
    let total: u64 = contents.values().map(|(bytes, _)| bytes).sum();
    let (mut done, mut damaged) = (0, Vec::new());
    for (sha256, (bytes, path)) in contents {
        let own = objects.clone();
        let digest = sha256.clone();
        let whole = on_a_thread(move || own.is_whole(&digest)).await;
        let why = match whole {
            Ok(true) => None,
            Ok(false) => Some("its content is not what was written".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            damaged.push(format!("{path}: {why} ({})", objects.path(&sha256).display()));
        }
        done += bytes;
        task.amount(done, Some(total), Unit::Bytes);
    }
    if damaged.is_empty() {
        return Ok(format!("{files} files, {}, whole", size(total)));
    }
    let count = damaged.len();
    damaged.truncate(NAMED);
    Err(gate(format!("{count} media files of the backup are damaged"))
        .evidence("damaged", damaged)
        .hint(
            "remove the damaged contents: the next backup saves these files anew, if they are still in the volume",
        ))
}
