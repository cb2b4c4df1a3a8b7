//! The contents of media files, each kept once under its SHA-256, whichever backups and paths have it:
//! `<backups>/media-objects/<project>/ab/cdef…`. What is new is written beside them, synced, read back, and only then
//! given its name; so what has a name is whole.
//!
//! After a crash: a folder `new-<run>` may stand, and objects that no backup lists; pruning removes both.
//!
//! All of it waits for the disk: for a thread of its own.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::file::create_private_folders;
use crate::digest::hexadecimal;
use crate::release::RunId;

/// In which folder, beside the backups.
pub(super) const OBJECTS: &str = "media-objects";
const INCOMING: &str = "new-";
const PIECE: usize = 1 << 18;

/// The objects of a project.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    folder: PathBuf,
}

/// A content that has no name yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    partial: PathBuf,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What was not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Added {
    pub objects: u64,
    pub bytes: u64,
}

impl Objects {
    /// Those of a project whose backups stand in this folder.
    pub(super) fn of(backups: &Path, project: &str) -> Self {
        Self {
            folder: backups.join(OBJECTS).join(project),
        }
    }

    /// Where the object of this digest is.
    pub(super) fn path(&self, sha256: &str) -> PathBuf {
        let (first, rest) = sha256.split_at_checked(2).unwrap_or(("", sha256));
        self.folder.join(first).join(rest)
    }

    /// The digests of all that are there: a call for each folder of them, not for each of them. What is in one is for
    /// [`Objects::is_whole`].
    pub(super) fn digests(&self) -> io::Result<HashSet<String>> {
        let mut found = HashSet::new();
        for folder in folders(&self.folder)? {
            let name = name_of(&folder);
            if !name.starts_with(INCOMING) {
                for object in fs::read_dir(&folder)? {
                    let object = object?.file_name();
                    found.insert(format!("{name}{}", object.to_string_lossy()));
                }
            }
        }
        Ok(found)
    }

    /// Reads it to its end: whether it is what its name says.
    pub(super) fn is_whole(&self, sha256: &str) -> io::Result<bool> {
        Ok(digest_of(&self.path(sha256), &mut vec![0; PIECE])?.1 == sha256)
    }

    /// Where the contents of a run come in.
    pub(super) fn incoming(&self, run: &RunId) -> PathBuf {
        self.folder.join(format!("{INCOMING}{run}"))
    }

    /// Makes that folder.
    pub(super) fn receive(&self, run: &RunId) -> io::Result<Incoming> {
        let folder = self.incoming(run);
        create_private_folders(&folder)?;
        Ok(Incoming {
            folder,
            count: 0,
            buffer: vec![0; PIECE],
        })
    }

    /// Has everything that came in on the disk, reads it back from there, and gives it its name. `Ok(Err)` names one
    /// that reads back differently.
    pub(super) fn settle(
        &self,
        received: &[&Received],
        mut incoming: Incoming,
    ) -> io::Result<Result<Added, PathBuf>> {
        let mut added = Added::default();
        sync(&self.folder)?;
        for one in received {
            let (bytes, sha256) = digest_of(&one.partial, &mut incoming.buffer)?;
            if (bytes, &sha256) != (one.bytes, &one.sha256) {
                return Ok(Err(one.partial.clone()));
            }
        }
        for one in received {
            // The same content twice, or one that another file has already.
            let path = self.path(&one.sha256);
            if path.try_exists()? {
                continue;
            }
            if let Some(parent) = path.parent() {
                create_private_folders(parent)?;
            }
            fs::rename(&one.partial, &path)?;
            added.objects += 1;
            added.bytes += one.bytes;
        }
        fs::remove_dir_all(&incoming.folder)?;
        sync(&self.folder)?;
        Ok(Ok(added))
    }

    /// Removes every object that is not among these, and what runs have left that were stopped. Bytes that came free.
    pub(super) fn retain(&self, listed: &BTreeSet<String>) -> io::Result<u64> {
        let mut freed = 0;
        for folder in folders(&self.folder)? {
            let name = name_of(&folder);
            if name.starts_with(INCOMING) {
                fs::remove_dir_all(&folder)?;
                continue;
            }
            for object in fs::read_dir(&folder)? {
                let object = object?;
                let digest = format!("{name}{}", object.file_name().to_string_lossy());
                if !listed.contains(&digest) {
                    freed += object.metadata()?.len();
                    fs::remove_file(object.path())?;
                }
            }
        }
        Ok(freed)
    }
}

/// Contents that come in.
pub(super) struct Incoming {
    folder: PathBuf,
    count: u64,
    buffer: Vec<u8>,
}

impl Incoming {
    /// Writes one content to its end. The folder is never made again here: where it is gone, the run is over.
    pub(super) fn take(&mut self, content: &mut dyn Read) -> io::Result<Received> {
        self.count += 1;
        let partial = self.folder.join(format!("{}.partial", self.count));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&partial)?;
        let mut digest = Sha256::new();
        let mut bytes = 0;
        loop {
            let count = content.read(&mut self.buffer)?;
            let piece = self.buffer.get(..count).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            bytes += piece.len() as u64;
            file.write_all(piece)?;
        }
        Ok(Received {
            partial,
            bytes,
            sha256: hexadecimal(&digest.finalize()),
        })
    }
}

/// Everything that was written to the file system of this folder is on its disk: one call for thousands of files.
fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Bytes and SHA-256 of what the disk holds: what is kept of it in memory is let go first.
fn digest_of(path: &Path, buffer: &mut [u8]) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    // Advice: a file system that cannot take it is read all the same.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let mut digest = Sha256::new();
    let mut bytes = 0;
    loop {
        let count = file.read(buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok((bytes, hexadecimal(&digest.finalize())));
        }
        digest.update(piece);
        bytes += piece.len() as u64;
    }
}

fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if super::is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
