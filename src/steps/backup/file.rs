//! Files of a backup: written under another name, hashed on the way, synced, hashed again when read back, renamed.
//! Readable by their owner alone, since they hold everything the database holds.
//!
//! What gives a file or folder its name is done here and now rather than on another thread: a call that is still under
//! way there when the step is dropped would make its file after the undo has cleared up.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter, DuplexStream, ReadBuf,
};

use super::encryption::{Recipients, SUFFIX, Sealing};
use crate::digest::hexadecimal;
use crate::engine::{OutputSink, OutputStream};
use crate::pipeline::{Task, Unit};

/// Writes in pieces of this size reach the disk at about its own speed.
const BUFFER: usize = 1 << 18;
/// Progress is told at most once for this many bytes.
const TOLD_EVERY: u64 = 1 << 20;

/// A file being written from a process's standard output.
pub(super) struct HashedFile<'a> {
    writer: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    digest: Sha256,
    bytes: u64,
    told: u64,
    complaints: Vec<u8>,
    sealing: Option<Sealing>,
    task: Option<&'a Task>,
    expected: Option<u64>,
}

/// A file that is written and synced, not yet read back.
#[derive(Debug)]
pub(super) struct Written {
    pub partial: PathBuf,
    /// Where it belongs.
    pub path: PathBuf,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What a file is called that is encrypted.
fn sealed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    PathBuf::from(name)
}

/// The file of a backup that is written in one go.
pub(super) async fn write_whole(
    recipients: Option<&Recipients>,
    path: &Path,
    content: &[u8],
) -> io::Result<Written> {
    let mut file = HashedFile::create_for(recipients, path, None, None)?;
    file.write(OutputStream::Stdout, content).await?;
    file.finish().await
}

impl<'a> HashedFile<'a> {
    /// Begins `<path>.partial`; refuses to overwrite one. The task is told how far it is, of `expected` bytes where so
    /// much is guessed.
    pub(super) fn create(path: &Path, task: Option<&'a Task>, expected: Option<u64>) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = create_private_file(&partial)?;
        Ok(Self {
            writer: BufWriter::with_capacity(BUFFER, file),
            path: path.to_owned(),
            partial,
            digest: Sha256::new(),
            bytes: 0,
            told: 0,
            complaints: Vec::new(),
            sealing: None,
            task,
            expected,
        })
    }

    /// The same, encrypted to these, and called so.
    pub(super) fn create_for(
        recipients: Option<&Recipients>,
        path: &Path,
        task: Option<&'a Task>,
        expected: Option<u64>,
    ) -> io::Result<Self> {
        let Some(recipients) = recipients else {
            return Self::create(path, task, expected);
        };
        let mut file = Self::create(&sealed(path), task, expected)?;
        file.sealing = Some(Sealing::begin(recipients)?);
        Ok(file)
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).await
    }

    /// What the process wrote on standard error.
    pub(super) fn complaints(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.complaints)
            .lines()
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Everything is on the disk when this returns.
    pub(super) async fn finish(mut self) -> io::Result<Written> {
        if let Some(sealing) = self.sealing.take() {
            self.put(&sealing.end()?).await?;
        }
        self.writer.flush().await?;
        self.writer.get_ref().sync_all().await?;
        Ok(Written {
            partial: self.partial,
            path: self.path,
            bytes: self.bytes,
            sha256: hexadecimal(&self.digest.finalize()),
        })
    }
}

#[async_trait]
impl OutputSink for HashedFile<'_> {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                match &mut self.sealing {
                    Some(sealing) => {
                        let pieces = sealing.push(bytes)?;
                        self.put(&pieces).await?;
                    }
                    None => self.put(bytes).await?,
                }
                if let Some(task) = self.task
                    && self.bytes - self.told >= TOLD_EVERY
                {
                    self.told = self.bytes;
                    let expected = self.expected.filter(|expected| *expected > self.bytes);
                    task.amount(self.bytes, expected, Unit::Bytes);
                }
            }
            // Bounded: it is shown, never parsed.
            OutputStream::Stderr if self.complaints.len() < 1 << 16 => {
                self.complaints.extend_from_slice(bytes)
            }
            OutputStream::Stderr => {}
        }
        Ok(())
    }
}

/// Writes to the file, and hands the same bytes to who proves them. That may stop reading when it wants to: how it ends
/// tells whether the dump is good.
pub(super) struct Proven<'a> {
    pub file: HashedFile<'a>,
    pub prover: Option<DuplexStream>,
}

#[async_trait]
impl OutputSink for Proven<'_> {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        self.file.write(stream, bytes).await?;
        if stream == OutputStream::Stdout
            && let Some(prover) = &mut self.prover
            && prover.write_all(bytes).await.is_err()
        {
            self.prover = None;
        }
        Ok(())
    }
}

/// A file being read back, hashed on the way.
pub(super) struct HashedReader {
    reader: BufReader<File>,
    digest: Sha256,
    bytes: u64,
}

impl HashedReader {
    /// Opens what the disk holds: what is kept of it in memory is let go first.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        // Advice: a file system that cannot take it is read all the same.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Self {
            reader,
            digest: Sha256::new(),
            bytes: 0,
        })
    }

    /// Reads it to its end.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer).await? > 0 {}
        Ok(())
    }

    /// Bytes read, and their SHA-256 in lower-case hexadecimal.
    pub(super) fn digest(self) -> (u64, String) {
        (self.bytes, hexadecimal(&self.digest.finalize()))
    }
}

impl AsyncRead for HashedReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let poll = Pin::new(&mut this.reader).poll_read(cx, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.digest.update(read);
        this.bytes += read.len() as u64;
        poll
    }
}

/// Creates a folder that only its owner can enter, and the folders above it; refuses to take one that stands.
pub(super) fn create_private_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        create_private_folders(parent)?;
    }
    DirBuilder::new().mode(0o700).create(folder)
}

/// Creates a folder that only its owner can enter, and the folders above it, where they do not stand yet.
pub(super) fn create_private_folders(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Bytes that its owner can still write where this folder is, or will be.
pub(super) fn room(folder: &Path) -> io::Result<u64> {
    let standing = folder.ancestors().find(|folder| folder.is_dir());
    let seen = rustix::fs::statvfs(standing.unwrap_or(folder))?;
    Ok(seen.f_bavail.saturating_mul(seen.f_frsize))
}

/// Creates a file that only its owner can read; refuses to overwrite one.
pub(super) fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map(File::from_std)
}

/// Renames, and syncs the folder, so that the name too survives a power cut.
pub(super) async fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    if let Some(folder) = to.parent() {
        File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}
