//! Reads what is new in the media volume, and writes it where objects come in.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::io::SyncIoBridge;

use super::at;
use super::file::on_a_thread;
use super::media_container::{FOLDER, MediaContainer, failed};
use super::objects::{Incoming, Objects, Received};
use crate::engine::{Captured, EngineErrorKind, ExecSpec, OutputSink, OutputStream};
use crate::error::Failure;
use crate::pipeline::{Task, Unit};
use crate::stack::media::{self, Listed, MediaPath, ReadFile};

/// Bytes of the archive that may wait for the disk.
const AHEAD: usize = 1 << 20;
/// Progress is told at most once for this many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// The changed files as they came in, and where.
pub(super) struct Came {
    pub files: BTreeMap<MediaPath, ReadFile<Received>>,
    pub incoming: Incoming,
}

impl MediaContainer<'_> {
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
