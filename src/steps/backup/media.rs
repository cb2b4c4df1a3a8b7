//! The media's part of a backup: a list of the volume, and the contents that no backup has yet. A file that is as it was
//! when the last backup was taken is not read again. The volume is read, and only read, by a script in a container of
//! the application's image; without such an image all of it is archived each time.
//!
//! After a crash: the container is found by its label, and what has come in goes with the folder it came into.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::database::enough_room;
use super::file::{HashedFile, write_whole};
use super::manifest::{BackupFile, Manifest, MediaFacts};
use super::media_list::{self, MEDIA_LIST, MediaEntry, What};
use super::objects::{Added, Incoming, Objects, Received};
use super::{at, keep, size};
use crate::compose::{Mount, MountKind, NetworkMode};
use crate::engine::{Captured, ContainerId, EngineErrorKind, ExecSpec, OutputSink, OutputStream, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task, Unit};
use crate::stack::media::{self, Kind, Listed, Listing, MediaPath, ReadFile};
use crate::stack::python;
use crate::steps::application::{Interpreter, NOT_THERE};
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::standing;
use crate::steps::deploy::target::{Purpose, container_spec};

/// The archive's file name, where all of the volume is archived.
pub(crate) const ARCHIVE: &str = "media.tar";
/// Where the volume is in the container that reads it.
const FOLDER: &str = "/media";
/// Bytes: some megabytes for Python, the rest for a folder of very many files.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Pieces of the archive that may wait for the disk.
const AHEAD: usize = 16;
/// Progress is told at most once for this many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// The media's file, and what is known of them.
pub(super) struct Saved {
    pub file: BackupFile,
    /// `None` for an archive.
    pub facts: Option<MediaFacts>,
}

/// The volume: its key in the Compose files, and its name on the engine.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub key: String,
    pub name: String,
}

/// Saves the volume. `backups` are those of the project, the oldest first.
pub(super) async fn save(
    context: Context<'_>,
    volume: &Volume,
    folder: &Path,
    backups: &[Manifest],
    task: &Task,
) -> Result<Saved, Failure> {
    let Some(reader) = Reader::open(context, volume).await? else {
        return archive(context, volume, folder, task).await;
    };
    let seen = see(context, &reader, volume, folder, backups, task).await;
    // While what was read is written down.
    let closing = context.engine.remove_container(&reader.container);
    let (closed, saved) = match seen {
        Ok(Some(seen)) => {
            let (closed, saved) = tokio::join!(closing, write_down(context, seen, volume, folder, task));
            (closed, saved.map(Some))
        }
        Ok(None) => (closing.await, Ok(None)),
        Err(failure) => (closing.await, Err(failure)),
    };
    let saved = saved?;
    closed?;
    match saved {
        Some(saved) => Ok(saved),
        None => archive(context, volume, folder, task).await,
    }
}

/// The volume as it was seen: what is known of it already, and what came in.
struct Seen {
    compared: Compared,
    objects: Objects,
    came: Option<Came>,
}

/// A container that sees the volume.
struct Reader {
    container: ContainerId,
    python: String,
}

impl Reader {
    /// From the image that the application runs; `None` where there is none, or it does not start.
    async fn open(context: Context<'_>, volume: &Volume) -> Result<Option<Self>, Failure> {
        let Context {
            engine,
            settings,
            run,
            ..
        } = context;
        let Some(interpreter) = Interpreter::of(settings) else {
            return Ok(None);
        };
        let standing = standing(engine, &settings.project.name).await?;
        let containers = standing.get(interpreter.application().as_str());
        let Some(container) = containers.and_then(|containers| containers.first()) else {
            return Ok(None);
        };
        // To read what others own; nothing else.
        let command = python::waiting(&interpreter.python);
        let mut service = interpreter.service(command, "DAC_READ_SEARCH", MEMORY);
        service.network_mode = Some(NetworkMode::None);
        service.mounts = vec![Mount {
            target: FOLDER.to_owned(),
            read_only: true,
            kind: MountKind::Volume {
                key: volume.key.clone(),
                nocopy: true,
                subpath: None,
            },
        }];
        let name = container_name(context);
        let purpose = Purpose {
            role: labels::Role::Backup,
            number: 1,
            name: &name,
            tag: &settings.tag,
            run,
        };
        let spec = container_spec(
            &settings.project,
            &service,
            &container.image,
            &NetworkIds::new(),
            None,
            purpose,
        )?;
        let what = format!("opening volume {}", volume.name);
        let container = engine.create_container(&spec).await;
        let container = container.map_err(|error| Failure::from(error).context(what.clone()))?;
        match engine.start(&container).await {
            Ok(()) => Ok(Some(Self {
                container,
                python: interpreter.python,
            })),
            Err(error) if error.kind == EngineErrorKind::StartFailed => {
                engine.remove_container(&container).await?;
                Ok(None)
            }
            Err(error) => Err(Failure::from(error).context(what)),
        }
    }
}

fn container_name(context: Context<'_>) -> String {
    let project = &context.settings.project.name;
    format!("viatique-deploy-backup-{project}-{}", context.run.suffix())
}

/// `None` where there is no such Python in the image.
async fn see(
    context: Context<'_>,
    reader: &Reader,
    volume: &Volume,
    folder: &Path,
    backups: &[Manifest],
    task: &Task,
) -> Result<Option<Seen>, Failure> {
    let backups_folder = folder.parent().unwrap_or(folder);
    let objects = Objects::of(backups_folder, &context.settings.project.name);
    let Some(listed) = list(context, reader, volume).await? else {
        return Ok(None);
    };
    let before = backups.iter().rev().find(|backup| {
        let media = backup.media.as_ref();
        media.is_some_and(|media| media.volume == volume.name)
    });
    let before = before.map(|backup| backups_folder.join(&backup.id));
    let known = objects.clone();
    let compared = on_a_thread(move || compare(listed, before.as_deref(), &known)).await;
    let compared = compared.map_err(|error| at("comparing the volume with the last backup", error))?;
    let bytes: u64 = compared.changed.iter().map(|file| file.state.size).sum();
    enough_room(folder, bytes + bytes / 20, "the new media files")?;
    let came = if compared.changed.is_empty() {
        None
    } else {
        Some(receive(context, reader, volume, &objects, &compared.changed, task).await?)
    };
    Ok(Some(Seen {
        compared,
        objects,
        came,
    }))
}

/// Gives what came in its names, and writes the list.
async fn write_down(
    context: Context<'_>,
    seen: Seen,
    volume: &Volume,
    folder: &Path,
    task: &Task,
) -> Result<Saved, Failure> {
    let Seen {
        mut compared,
        objects,
        came,
    } = seen;
    let added = match came {
        None => Added::default(),
        Some(came) => {
            task.progress("reading the new files back from the disk");
            let (added, came) = settle(objects, came).await?;
            compared.take(came);
            added
        }
    };
    let mut entries = compared.entries;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut facts = MediaFacts {
        volume: volume.name.clone(),
        files: 0,
        bytes: 0,
        added_objects: added.objects,
        added_bytes: added.bytes,
        unstable: 0,
    };
    for entry in &entries {
        match &entry.what {
            What::File { state, unstable, .. } => {
                facts.files += 1;
                facts.bytes += state.size;
                facts.unstable += u64::from(*unstable);
            }
            What::Folder | What::Link { .. } => {}
        }
    }
    if facts.unstable > 0 {
        context.warn(
            format!(
                "{} of the media files were being written all the while: what is saved of them may be no state they \
                 ever had",
                facts.unstable
            ),
            Some("another backup has them whole, once they are: viatique-deploy backup".to_owned()),
        );
    }
    if compared.others > 0 {
        context.warn(
            format!(
                "{} entries of volume {} are neither file, folder nor link, and are not saved",
                compared.others, volume.name
            ),
            None,
        );
    }
    let path = folder.join(MEDIA_LIST);
    let writing = "writing the list of the media";
    let encoded = on_a_thread(move || media_list::encode(&entries)).await;
    let encoded = encoded.map_err(|error| at(writing, error))?;
    let written = write_whole(&path, &encoded)
        .await
        .map_err(|error| at(writing, error))?;
    let file = keep(written, &path).await?;
    Ok(Saved {
        file: BackupFile {
            about: format!(
                "volume {}: {} files, {}; {} new, {}",
                volume.name,
                facts.files,
                size(facts.bytes),
                facts.added_objects,
                size(facts.added_bytes)
            ),
            ..file
        },
        facts: Some(facts),
    })
}

/// Work that waits for the disk. What it does when it is dropped goes on, and finds its folder gone.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}

#[derive(Default)]
struct ListingSink {
    listing: Listing,
    /// What is not understood; the engine's own word that there is no such program is none of ours.
    problem: Option<anyhow::Error>,
    complaints: Captured,
}

#[async_trait]
impl OutputSink for ListingSink {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                if self.problem.is_none() {
                    self.problem = self.listing.push(bytes).err();
                }
                Ok(())
            }
            OutputStream::Stderr => self.complaints.write(stream, bytes).await,
        }
    }
}

/// What is in the volume.
async fn list(
    context: Context<'_>,
    reader: &Reader,
    volume: &Volume,
) -> Result<Option<Vec<Listed>>, Failure> {
    let what = format!("listing volume {}", volume.name);
    let command = ExecSpec {
        command: media::list(&reader.python, FOLDER),
        ..ExecSpec::default()
    };
    let mut sink = ListingSink::default();
    let exit = context
        .engine
        .exec(&reader.container, &command, None, &mut sink)
        .await;
    let exit = exit.map_err(|error| Failure::from(error).context(what.clone()))?;
    if NOT_THERE.contains(&exit.code) {
        return Ok(None);
    }
    if !exit.success() {
        return Err(failed(&what, exit.code, &sink.complaints));
    }
    let listed = match sink.problem {
        None => sink.listing.finish(),
        Some(error) => Err(error),
    };
    listed
        .map(Some)
        .map_err(|error| Failure::from(error).context(what))
}

fn failed(what: &str, code: i64, output: &Captured) -> Failure {
    let lines = output.stderr_text().lines().map(ToOwned::to_owned).collect();
    Failure::message(FailureKind::Failed, format!("{what} (exit code {code})"))
        .evidence("what the script wrote", lines)
}

/// The volume beside the last backup.
struct Compared {
    /// What is known already: folders, links, files as they were.
    entries: Vec<MediaEntry>,
    /// Files that must be read.
    changed: Vec<Listed>,
    /// What is no file, folder or link.
    others: u64,
}

impl Compared {
    /// What was read of the changed ones; those that are gone by now are left out.
    fn take(&mut self, mut came: HashMap<MediaPath, (String, ReadFile<u64>)>) {
        for file in std::mem::take(&mut self.changed) {
            if let Some((sha256, read)) = came.remove(&file.path) {
                self.entries.push(entry(
                    &file,
                    What::File {
                        state: read.state,
                        sha256,
                        unstable: read.unstable,
                    },
                ));
            }
        }
    }
}

fn entry(listed: &Listed, what: What) -> MediaEntry {
    MediaEntry {
        path: listed.path.clone(),
        mode: listed.mode,
        owner: listed.owner,
        group: listed.group,
        what,
    }
}

/// A last backup that cannot be read is none: everything is read again.
fn compare(listed: Vec<Listed>, before: Option<&Path>, objects: &Objects) -> io::Result<Compared> {
    let kept = objects.digests()?;
    let mut known = HashMap::new();
    if let Some(folder) = before {
        let read = media_list::read(folder, |entry| {
            if let What::File {
                state,
                sha256,
                unstable: false,
            } = entry.what
            {
                known.insert(entry.path, (state, sha256));
            }
            Ok(())
        });
        if let Err(error) = read {
            tracing::debug!(%error, "the list of the last backup cannot be read");
            known.clear();
        }
    }
    let mut compared = Compared {
        entries: Vec::new(),
        changed: Vec::new(),
        others: 0,
    };
    for one in listed {
        match &one.kind {
            Kind::Folder => compared.entries.push(entry(&one, What::Folder)),
            Kind::Link(target) => {
                let target = target.clone();
                compared.entries.push(entry(&one, What::Link { target }));
            }
            Kind::Other => compared.others += 1,
            Kind::File => match known.remove(&one.path) {
                Some((state, sha256)) if state == one.state && kept.contains(&sha256) => {
                    let what = What::File {
                        state,
                        sha256,
                        unstable: false,
                    };
                    compared.entries.push(entry(&one, what));
                }
                Some(_) | None => compared.changed.push(one),
            },
        }
    }
    Ok(compared)
}

/// The changed files as they came in, and where.
struct Came {
    files: std::collections::BTreeMap<MediaPath, ReadFile<Received>>,
    incoming: Incoming,
}

/// Has the changed files read, and writes them where objects come in.
async fn receive(
    context: Context<'_>,
    reader: &Reader,
    volume: &Volume,
    objects: &Objects,
    changed: &[Listed],
    task: &Task,
) -> Result<Came, Failure> {
    let what = format!("reading volume {}", volume.name);
    let mut incoming = objects.receive(context.run).map_err(|error| at(&what, error))?;
    let (pieces, taken) = mpsc::channel(AHEAD);
    let taking = tokio::task::spawn_blocking(move || {
        let archive = Pieces {
            taken,
            piece: Vec::new(),
            at: 0,
        };
        let files = media::unpack(archive, |content| incoming.take(content))?;
        Ok::<_, io::Error>(Came { files, incoming })
    });
    let mut paths = String::new();
    for file in changed {
        paths.push_str(&file.path.0);
        paths.push('\n');
    }
    let command = ExecSpec {
        command: media::read(&reader.python, FOLDER),
        ..ExecSpec::default()
    };
    let mut sink = ArchiveSink {
        pieces,
        bytes: 0,
        told: 0,
        total: changed.iter().map(|file| file.state.size).sum(),
        complaints: Captured::default(),
        task,
    };
    let mut input = paths.as_bytes();
    let exit = context
        .engine
        .exec(&reader.container, &command, Some(&mut input), &mut sink)
        .await;
    let ArchiveSink {
        pieces, complaints, ..
    } = sink;
    drop(pieces);
    let taken = match taking.await {
        Ok(taken) => taken,
        Err(error) => Err(io::Error::other(error)),
    };
    let exit = match exit {
        Ok(exit) => exit,
        Err(error) => {
            // Whoever took it has stopped, and says why.
            let taken = taken.err().filter(|_| error.kind == EngineErrorKind::Sink);
            return Err(match taken {
                Some(error) => at(&what, error),
                None => Failure::from(error).context(what),
            });
        }
    };
    if !exit.success() {
        return Err(failed(&what, exit.code, &complaints));
    }
    taken.map_err(|error| at(&what, error))
}

/// Gives what came in its names.
async fn settle(
    objects: Objects,
    came: Came,
) -> Result<(Added, HashMap<MediaPath, (String, ReadFile<u64>)>), Failure> {
    let settled = on_a_thread(move || {
        let received: Vec<&Received> = came.files.values().map(|file| &file.content).collect();
        let settled = objects.settle(&received, came.incoming)?;
        let files = came.files.into_iter().map(|(path, file)| {
            let read = ReadFile {
                content: file.content.bytes,
                state: file.state,
                unstable: file.unstable,
            };
            (path, (file.content.sha256, read))
        });
        Ok(settled.map(|added| (added, files.collect())))
    });
    match settled.await {
        Ok(Ok(settled)) => Ok(settled),
        Ok(Err(path)) => Err(super::reads_back_differently(&path)),
        Err(error) => Err(at("reading the media files back", error)),
    }
}

/// Hands the archive to the thread that takes it apart.
struct ArchiveSink<'a> {
    pieces: mpsc::Sender<Vec<u8>>,
    bytes: u64,
    told: u64,
    total: u64,
    complaints: Captured,
    task: &'a Task,
}

#[async_trait]
impl OutputSink for ArchiveSink<'_> {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                self.bytes += bytes.len() as u64;
                if self.bytes - self.told >= TOLD_EVERY {
                    self.told = self.bytes;
                    // With what the archive puts around them it may be a little more than the files.
                    let done = self.bytes.min(self.total);
                    self.task.amount(done, Some(self.total), Unit::Bytes);
                }
                let sent = self.pieces.send(bytes.to_vec()).await;
                sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            }
            OutputStream::Stderr => self.complaints.write(stream, bytes).await,
        }
    }
}

/// The archive as the thread reads it.
struct Pieces {
    taken: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.taken.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// Without a script: all of the volume, by the engine's own call.
async fn archive(
    context: Context<'_>,
    volume: &Volume,
    folder: &Path,
    task: &Task,
) -> Result<Saved, Failure> {
    let project = &context.settings.project.name;
    let what = format!("archiving volume {}", volume.name);
    let labels = [
        (labels::PROJECT, project.as_str()),
        (labels::ROLE, labels::Role::Backup.as_str()),
        (labels::RUN, context.run.0.as_str()),
    ];
    let labels = labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Never started: it only opens the volume, and runs no code on it.
    let opener = context
        .engine
        .create_marker(&container_name(context), &labels, Some(&volume.name))
        .await?;
    let path = folder.join(ARCHIVE);
    let mut file = HashedFile::create(&path, Some(task), None).map_err(|error| at(&what, error))?;
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
    let contents = on_a_thread(move || {
        let file = std::fs::File::open(partial)?;
        media::read_back(io::BufReader::with_capacity(1 << 16, file))
    });
    let contents = contents
        .await
        .map_err(|error| at("reading the archive back", error))?;
    let file = keep(written, &path).await?;
    Ok(Saved {
        file: BackupFile {
            about: format!(
                "volume {}: {} files, {} bytes",
                volume.name, contents.files, contents.bytes
            ),
            ..file
        },
        facts: None,
    })
}
