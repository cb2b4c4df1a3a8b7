//! Files of a backup: written under another name, hashed on the way, synced, hashed again when read back, renamed.
//! Readable by their owner alone, since they hold everything the database holds.
//!
//! What gives a file or folder its name is done here and now rather than on another thread: a call that is still under
//! way there when the step is dropped would make its file after the undo has cleared up.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter, DuplexStream};

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

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
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
    /// Begins `<path>.partial`, or for somebody `<path>.age.partial`, encrypted to them; refuses to overwrite one. The
    /// task is told how far it is, of `expected` bytes where so much is guessed.
    pub(super) fn create_for(
        recipients: Option<&Recipients>,
        path: &Path,
        task: Option<&'a Task>,
        expected: Option<u64>,
    ) -> io::Result<Self> {
        let path = recipients.map_or_else(|| path.to_owned(), |_| with_suffix(path, SUFFIX));
        let partial = with_suffix(&path, ".partial");
        Ok(Self {
            writer: BufWriter::with_capacity(BUFFER, create_private_file(&partial)?),
            path,
            partial,
            digest: Sha256::new(),
            bytes: 0,
            told: 0,
            complaints: Vec::new(),
            sealing: recipients.map(Sealing::begin).transpose()?,
            task,
            expected,
        })
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

/// Work that waits for the disk, begun at once. Where nobody waits for it any more it goes on, and finds its folder gone.
pub(super) fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> {
    let begun = tokio::task::spawn_blocking(work);
    async { begun.await.unwrap_or_else(|error| Err(io::Error::other(error))) }
}

/// Opens what the disk holds: what is kept of it in memory is let go first.
pub(super) fn on_the_disk(path: &Path) -> io::Result<std::fs::File> {
    let file = std::fs::File::open(path)?;
    // Advice: a file system that cannot take it is read all the same.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(file)
}

/// Reads what the disk holds to its end: bytes, and SHA-256 in lower-case hexadecimal.
pub(super) fn digest_of(path: &Path, buffer: &mut [u8]) -> io::Result<(u64, String)> {
    let mut digest = Sha256::new();
    let mut file = on_the_disk(path)?;
    let bytes = copy(&mut file, &mut io::sink(), buffer, |piece| digest.update(piece))?;
    Ok((bytes, hexadecimal(&digest.finalize())))
}

/// The same, of a file that is read once.
pub(super) async fn digest_of_file(path: &Path) -> io::Result<(u64, String)> {
    let path = path.to_owned();
    on_a_thread(move || digest_of(&path, &mut vec![0; BUFFER])).await
}

/// Copies to the end, through this buffer: how many bytes.
pub(super) fn copy(
    from: &mut dyn Read,
    to: &mut dyn Write,
    buffer: &mut [u8],
    mut seen: impl FnMut(&[u8]),
) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let count = from.read(buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok(bytes);
        }
        seen(piece);
        to.write_all(piece)?;
        bytes += piece.len() as u64;
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

/// Writes something that is known about a file or folder, whole or not at all; if it is lost, it is found out again.
pub(in crate::steps) fn write_note(path: &Path, note: &impl serde::Serialize) -> io::Result<()> {
    write_known(path, &serde_json::to_vec_pretty(note)?)
}

/// Writes what can be found out again, whole or not at all.
pub(super) fn write_known(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        create_private_folders(parent)?;
    }
    let partial = with_suffix(path, ".partial");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&partial)?.write_all(content)?;
    std::fs::rename(&partial, path)
}

/// Renames, and syncs the folder, so that the name too survives a power cut.
pub(super) async fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    if let Some(folder) = to.parent() {
        File::open(folder).await?.sync_all().await?;
    }
    Ok(())
}
