//! `backup verify`: reads a backup to its last byte. Each file has the digest that its manifest says, PostgreSQL's own
//! program reads the dump to its end, and every content that the list of the media names is whole. What could not be
//! looked at is not verified, and that counts as failed.
//!
//! Changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio_util::io::SyncIoBridge;

use super::database::{DUMP, prove, readable};
use super::encryption::Keys;
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
        let folder = context.settings.backup_directory.join(&manifest.id);
        let encrypted = manifest.files.iter().any(BackupFile::is_encrypted);
        let looking = Looking {
            context,
            manifest,
            folder,
            keys: match context.settings.config.backup_identity() {
                Some(path) if encrypted => {
                    Some(Keys::read(&path).map_err(|failure| failure.with_kind(FailureKind::Gate))?)
                }
                Some(_) | None => None,
            },
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

/// A backup that is looked at, with keys for what is encrypted.
struct Looking<'a> {
    context: Context<'a>,
    manifest: &'a Manifest,
    folder: PathBuf,
    keys: Option<Keys>,
}

impl Looking<'_> {
    /// One file, and what it stands for.
    async fn at(&self, file: &BackupFile, task: &Task) -> Result<String, Failure> {
        let path = self.folder.join(&file.name);
        let read = digest_of_file(&path).await;
        if read.map_err(|error| unreadable(&path, &error))? != (file.bytes, file.sha256.clone()) {
            return Err(gate(format!(
                "{} is damaged: it is not what was written",
                path.display()
            )));
        }
        if file.is_encrypted() && self.keys.is_none() {
            return Err(gate(format!(
                "{} is what was written, but it is encrypted, and no key is at hand that could open it",
                path.display()
            ))
            .hint("backup.identity in deploy.yml names the file with the key, as age-keygen writes it"));
        }
        match file.plain_name() {
            DUMP => self.dump(&path, file, task).await?,
            MEDIA_LIST => return self.media(&path, file, task).await,
            _ => {
                let content = self.content(&path, file);
                let read = on_a_thread(move || io::copy(&mut content()?, &mut io::sink()));
                read.await.map_err(|error| unreadable(&path, &error))?;
            }
        }
        let opened = if file.is_encrypted() { ", decrypted" } else { "" };
        Ok(format!("{}, whole{opened}", size(file.bytes)))
    }

    /// What is in a file, decrypted.
    fn content(
        &self,
        path: &Path,
        file: &BackupFile,
    ) -> impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static {
        let keys = self.keys.clone().filter(|_| file.is_encrypted());
        let path = path.to_owned();
        move || {
            let file = io::BufReader::with_capacity(AHEAD, File::open(path)?);
            Ok(match keys {
                Some(keys) => Box::new(keys.open(file)?),
                None => Box::new(file),
            })
        }
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
        let mut to = SyncIoBridge::new(to);
        let content = self.content(path, file);
        let reading = on_a_thread(move || {
            let mut content = content()?;
            // Who reads it may have had enough: how that ends tells whether it is good.
            match io::copy(&mut content, &mut to) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                copied => copied.and_then(|_| to.shutdown()),
            }
        });
        let proving = prove(context, &container.id, from);
        let (read, proven) = tokio::join!(reading, proving);
        read.map_err(|error| unreadable(path, &error))?;
        readable(proven?).map_err(|failure| failure.with_kind(FailureKind::Gate))
    }

    /// Every content that the list names, once.
    async fn media(&self, path: &Path, file: &BackupFile, task: &Task) -> Result<String, Failure> {
        let space = self.manifest.media.as_ref().map(|media| media.objects.as_str());
        let objects = Objects::of(
            &self.context.settings.backup_directory,
            &self.manifest.project,
            space.unwrap_or_default(),
        );
        let content = self.content(path, file);
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
        let (files, contents) = listed.await.map_err(|error| unreadable(path, &error))?;
        let total: u64 = contents.values().map(|(bytes, _)| bytes).sum();
        let (mut done, mut damaged) = (0, Vec::new());
        for (sha256, (bytes, path)) in contents {
            let (own, digest) = (objects.clone(), sha256.clone());
            let keys = self.keys.clone().filter(|_| file.is_encrypted());
            let whole = on_a_thread(move || own.is_whole(&digest, keys.as_ref())).await;
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

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    gate(format!("{} cannot be read: {error}", path.display()))
}
