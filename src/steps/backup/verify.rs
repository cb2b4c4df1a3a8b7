//! `backup verify`: reads a backup to its last byte. Each file has the digest that its manifest says, PostgreSQL's own
//! program reads the dump to its end, and every content that the list of the media names is whole. What could not be
//! looked at is not verified, and that counts as failed.
//!
//! Changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use async_trait::async_trait;

use super::content::{Contents, Streamed, damaged, unreadable};
use super::database::{DUMP, prove, readable};
use super::file::{digest_of_file, on_a_thread};
use super::media_list::{self, MEDIA_LIST, What};
use super::objects::Objects;
use super::sets::Sets;
use super::{BackupFile, Manifest, database_container, size};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, Unit, View,
};

/// Bytes that may wait between who decrypts and who reads.
const AHEAD: usize = 1 << 18;
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
        let looking = Looking {
            context,
            manifest,
            contents: Contents::of(context.settings, manifest).map_err(into_gate)?,
        };
        let mut problems = Vec::new();
        for file in &manifest.files {
            let title = format!("reading {}", file.about);
            let task = context.task(StepId::Verify, file.name.clone(), title);
            let looked = looking.at(file, &task).await;
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

/// What is wrong with a backup is what was asked.
const fn into_gate(failure: Failure) -> Failure {
    failure.with_kind(FailureKind::Gate)
}

/// A backup that is looked at.
struct Looking<'a> {
    context: Context<'a>,
    manifest: &'a Manifest,
    contents: Contents,
}

impl Looking<'_> {
    /// One file, and what it stands for.
    async fn at(&self, file: &BackupFile, task: &Task) -> Result<String, Failure> {
        let path = self.contents.path(file);
        let read = digest_of_file(&path).await;
        let read = read.map_err(|error| into_gate(unreadable(&path, &error)))?;
        if read != (file.bytes, file.sha256.clone()) {
            return Err(into_gate(damaged(&path)));
        }
        let content = self.contents.open(file).map_err(into_gate)?;
        match file.plain_name() {
            DUMP => self.dump(&path, file, task).await?,
            MEDIA_LIST => return self.media(&path, file, task).await,
            _ => {
                let read = on_a_thread(move || io::copy(&mut content()?, &mut io::sink()));
                read.await.map_err(|error| into_gate(unreadable(&path, &error)))?;
            }
        }
        let opened = if file.is_encrypted() { ", decrypted" } else { "" };
        Ok(format!("{}, whole{opened}", size(file.bytes)))
    }

    /// By the program that a restore would use.
    async fn dump(&self, path: &Path, file: &BackupFile, task: &Task) -> Result<(), Failure> {
        let context = self.context;
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
        let (to, from) = tokio::io::duplex(AHEAD);
        let streaming = self.contents.stream(file, to).map_err(into_gate)?;
        let proving = prove(context, &container.id, from);
        let (streamed, proven) = tokio::join!(streaming, proving);
        if streamed.map_err(into_gate)? == Streamed::Damaged {
            return Err(into_gate(damaged(path)));
        }
        readable(proven?).map_err(into_gate)
    }

    /// Every content that the list names, once.
    async fn media(&self, path: &Path, file: &BackupFile, task: &Task) -> Result<String, Failure> {
        let space = self.manifest.media.as_ref().map(|media| media.objects.as_str());
        let objects = Objects::of(
            &self.context.settings.backup_directory,
            &self.manifest.project,
            space.unwrap_or_default(),
        );
        let content = self.contents.open(file).map_err(into_gate)?;
        let keys = self.contents.keys_for(file).map_err(into_gate)?;
        let listed = on_a_thread(move || {
            let mut contents: BTreeMap<String, (u64, String)> = BTreeMap::new();
            let mut files: u64 = 0;
            media_list::read(content()?, |entry| {
                match entry.what {
                    What::File { state, sha256, .. } => {
                        files += 1;
                        let path = entry.path.to_string();
                        contents.entry(sha256).or_insert((state.size, path));
                    }
                    What::Folder | What::Link { .. } => {}
                }
                Ok(())
            })?;
            Ok((files, contents))
        });
        let (files, contents) = listed
            .await
            .map_err(|error| into_gate(unreadable(path, &error)))?;
        let total: u64 = contents.values().map(|(bytes, _)| bytes).sum();
        let (mut done, mut damaged) = (0, Vec::new());
        for (sha256, (bytes, path)) in contents {
            let (own, digest, keys) = (objects.clone(), sha256.clone(), keys.clone());
            let whole = on_a_thread(move || own.length_if_whole(&digest, keys.as_ref())).await;
            let why = match whole {
                Ok(Some(_)) => None,
                Ok(None) => Some("its content is not what was written".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                damaged.push(format!("{path}: {why} ({})", objects.path(&sha256).display()));
            }
            done += bytes;
            task.amount(done, Some(total), Unit::Bytes);
        }
        if damaged.is_empty() {
            let opened = if file.is_encrypted() { ", decrypted" } else { "" };
            return Ok(format!("{files} files, {}, whole{opened}", size(total)));
        }
        let count = damaged.len();
        damaged.truncate(NAMED);
        Err(gate(format!("{count} media files of the backup are damaged"))
            .evidence("damaged", damaged)
            .hint(
                "remove the damaged contents: the next backup saves these files anew, if they are still in the volume",
            ))
    }
}
