//! The container that sees the media volume and may only read it: made from the application's image, because that has
//! Python, for a script of ours and nothing else. What is read is `media`'s business.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::io::SyncIoBridge;

use super::at;
use super::file::on_a_thread;
use super::media::Volume;
use super::objects::{Incoming, Objects, Received};
use crate::compose::{Mount, MountKind, NetworkMode};
use crate::engine::{Captured, ContainerId, EngineErrorKind, ExecSpec, OutputSink, OutputStream, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task, Unit};
use crate::stack::media::{self, Listed, Listing, MediaPath, ReadFile};
use crate::stack::python;
use crate::steps::application::{Interpreter, NOT_THERE};
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::standing;
use crate::steps::deploy::target::{Purpose, container_spec};

/// Where the volume is in the container.
const FOLDER: &str = "/media";
/// Bytes: some megabytes for Python, the rest for a folder of very many files.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Bytes of the archive that may wait for the disk.
const AHEAD: usize = 1 << 20;
/// Progress is told at most once for this many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// A container that sees the volume.
pub(super) struct Reader<'a> {
    context: Context<'a>,
    pub volume: &'a Volume,
    pub container: ContainerId,
    python: String,
}

impl<'a> Reader<'a> {
    /// From the image that the application runs; `None` where there is none, or it does not start.
    pub(super) async fn open(context: Context<'a>, volume: &'a Volume) -> Result<Option<Self>, Failure> {
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
                context,
                volume,
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

    /// What is in the volume; `None` where there is no such Python in the image.
    pub(super) async fn list(&self) -> Result<Option<Vec<Listed>>, Failure> {
        let what = format!("listing volume {}", self.volume.name);
        let command = ExecSpec {
            command: media::list(&self.python, FOLDER),
            ..ExecSpec::default()
        };
        let mut sink = ListingSink::default();
        let exit = self
            .context
            .engine
            .exec(&self.container, &command, None, &mut sink)
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

    /// Has the changed files read, and writes them where objects come in.
    pub(super) async fn receive(
        &self,
        objects: &Objects,
        changed: &[Listed],
        task: &Task,
    ) -> Result<Came, Failure> {
        let what = format!("reading volume {}", self.volume.name);
        let mut incoming = objects
            .receive(self.context.run)
            .map_err(|error| at(&what, error))?;
        let (pieces, taken) = tokio::io::duplex(AHEAD);
        let taken = SyncIoBridge::new(taken);
        let taking = on_a_thread(move || {
            let archive = io::BufReader::with_capacity(1 << 16, taken);
            let files = media::unpack(archive, |content| incoming.take(content))?;
            Ok(Came { files, incoming })
        });
        let mut paths = String::new();
        for file in changed {
            paths.push_str(&file.path.0);
            paths.push('\n');
        }
        let command = ExecSpec {
            command: media::read(&self.python, FOLDER),
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
        let exit = self
            .context
            .engine
            .exec(&self.container, &command, Some(&mut input), &mut sink)
            .await;
        let ArchiveSink {
            pieces, complaints, ..
        } = sink;
        drop(pieces);
        let taken = taking.await;
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
}

pub(super) fn container_name(context: Context<'_>) -> String {
    let project = &context.settings.project.name;
    format!("viatique-deploy-backup-{project}-{}", context.run.suffix())
}

/// The changed files as they came in, and where.
pub(super) struct Came {
    pub files: BTreeMap<MediaPath, ReadFile<Received>>,
    pub incoming: Incoming,
}

fn failed(what: &str, code: i64, output: &Captured) -> Failure {
    let lines = output.stderr_text().lines().map(ToOwned::to_owned).collect();
    Failure::message(FailureKind::Failed, format!("{what} (exit code {code})"))
        .evidence("what the script wrote", lines)
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

/// Hands the archive to the thread that takes it apart.
struct ArchiveSink<'a> {
    pieces: DuplexStream,
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
                self.pieces.write_all(bytes).await
            }
            OutputStream::Stderr => self.complaints.write(stream, bytes).await,
        }
    }
}
