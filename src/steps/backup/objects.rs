//! The contents of media files, each kept once under its SHA-256, whichever backups and paths have it:
//! `<backups>/media-objects/<project>/plain/ab/cdef…`. What is encrypted stands in a space of its own for each set of
//! recipients, `to-<fingerprint>`, under the SHA-256 of what it is before: so that with a new recipient everything is
//! encrypted anew, and to an old one nothing more.
//!
//! What is new is written beside the others, synced, read back, and only then given its name; so what has a name is whole.
//!
//! After a crash: a folder `new-<run>` may stand, and objects that no backup lists; pruning removes both.
//!
//! All of it waits for the disk: for a thread of its own.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::encryption::{Keys, Recipients};
use super::file::{copy, create_private_folders, digest_of, on_the_disk};
use crate::digest::hexadecimal;
use crate::pipeline::Settings;
use crate::release::RunId;

/// In which folder, beside the backups.
pub(super) const OBJECTS: &str = "media-objects";
const INCOMING: &str = "new-";
const PIECE: usize = 1 << 18;

/// What is not encrypted.
pub(super) const PLAIN: &str = "plain";

/// One space of a project's objects.
#[derive(Clone)]
pub(super) struct Objects {
    folder: PathBuf,
    recipients: Option<Recipients>,
}

/// A content that has no name yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    partial: PathBuf,
    /// Of the content; lower-case hexadecimal.
    pub sha256: String,
    /// Bytes and SHA-256 of what was written: the same, or what it is encrypted.
    stored: (u64, String),
}

/// What was not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Added {
    pub objects: u64,
    pub bytes: u64,
}

impl Objects {
    /// Where new ones of a project go.
    pub(super) fn to_add(settings: &Settings) -> Self {
        let recipients = Recipients::of(&settings.config.backup);
        let space = recipients
            .as_ref()
            .map_or_else(|| PLAIN.to_owned(), |to| format!("to-{}", to.fingerprint()));
        Self {
            recipients,
            ..Self::of(&settings.backup_directory, &settings.project.name, &space)
        }
    }

    /// Those of a space, to look at.
    pub(super) fn of(backups: &Path, project: &str, space: &str) -> Self {
        Self {
            folder: backups.join(OBJECTS).join(project).join(space),
            recipients: None,
        }
    }

    /// Every space of a project.
    pub(super) fn spaces(backups: &Path, project: &str) -> io::Result<Vec<Self>> {
        let spaces = folders(&backups.join(OBJECTS).join(project))?.into_iter();
        let all = spaces.map(|folder| Self {
            folder,
            recipients: None,
        });
        Ok(all.collect())
    }

    /// The space's name.
    pub(super) fn space(&self) -> String {
        name_of(&self.folder)
    }

    /// Where it is noted how the files of a volume stood when they were last saved here. Not encrypted: it says nothing
    /// that the volume beside it does not. Without it everything is read again.
    pub(super) fn known(&self, volume: &str) -> PathBuf {
        self.folder.join(format!("known-{volume}.jsonl.gz"))
    }

    /// The name of the object of this digest, from its space.
    pub(super) fn name(sha256: &str) -> String {
        let (first, rest) = sha256.split_at_checked(2).unwrap_or(("", sha256));
        format!("{first}/{rest}")
    }

    /// Where the object of this digest is.
    pub(super) fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(Self::name(sha256))
    }

    /// The digests of all that are there: a call for each folder of them, not for each of them. What is in one is for
    /// [`Objects::length_if_whole`].
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

    /// Reads it to its end, from the disk: how many bytes its content has, if it is what its name says.
    ///
    /// # Errors
    /// One that cannot be read, and one that is encrypted and not to these keys.
    pub(super) fn length_if_whole(&self, sha256: &str, keys: Option<&Keys>) -> io::Result<Option<u64>> {
        let mut content = content(on_the_disk(&self.path(sha256))?, keys)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let bytes = copy(&mut content, &mut io::sink(), &mut buffer, |piece| {
            digest.update(piece)
        })?;
        Ok((hexadecimal(&digest.finalize()) == sha256).then_some(bytes))
    }

    /// Opens it: its content.
    ///
    /// # Errors
    /// As [`Objects::length_if_whole`].
    pub(super) fn open(&self, sha256: &str, keys: Option<&Keys>) -> io::Result<Box<dyn Read>> {
        content(File::open(self.path(sha256))?, keys)
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
            recipients: self.recipients.clone(),
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
            if digest_of(&one.partial, &mut incoming.buffer)? != one.stored {
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
            added.bytes += one.stored.0;
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

fn content(file: File, keys: Option<&Keys>) -> io::Result<Box<dyn Read>> {
    Ok(match keys {
        Some(keys) => Box::new(keys.open(file)?),
        None => Box::new(file),
    })
}

/// Contents that come in.
pub(super) struct Incoming {
    folder: PathBuf,
    recipients: Option<Recipients>,
    count: u64,
    buffer: Vec<u8>,
}

/// A file that knows what was written to it.
struct HashingWriter {
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digest.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Incoming {
    /// Writes one content to its end. The folder is never made again here: where it is gone, the run is over.
    pub(super) fn take(&mut self, content: &mut dyn Read) -> io::Result<Received> {
        self.count += 1;
        let partial = self.folder.join(format!("{}.partial", self.count));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&partial)?;
        let mut stored = HashingWriter {
            file,
            digest: Sha256::new(),
            bytes: 0,
        };
        let Some(recipients) = &self.recipients else {
            let bytes = copy(content, &mut stored, &mut self.buffer, |_| ())?;
            let sha256 = hexadecimal(&stored.digest.finalize());
            return Ok(Received {
                partial,
                stored: (bytes, sha256.clone()),
                sha256,
            });
        };
        let mut digest = Sha256::new();
        let mut sealed = recipients.seal(stored)?;
        copy(content, &mut sealed, &mut self.buffer, |piece| {
            digest.update(piece)
        })?;
        let stored = sealed.finish()?;
        Ok(Received {
            partial,
            sha256: hexadecimal(&digest.finalize()),
            stored: (stored.bytes, hexadecimal(&stored.digest.finalize())),
        })
    }
}

/// Everything that was written to the file system of this folder is on its disk: one call for thousands of files.
fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
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
