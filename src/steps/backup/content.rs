//! What is in the files of a backup: opened, decrypted, and held against the digests of its manifest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::io::DuplexStream;
use tokio_util::io::SyncIoBridge;

use super::encryption::Keys;
use super::file::on_a_thread;
use super::manifest::{BackupFile, Manifest};
use crate::digest::hexadecimal;
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;

/// Bytes that may wait between who reads the file and who takes its content.
const AHEAD: usize = 1 << 18;

/// Opens a file when it is called: what is in it, decrypted.
pub(super) type Opening = Box<dyn FnOnce() -> io::Result<Box<dyn Read>> + Send>;

/// The files of one backup, with the keys that open them.
#[derive(Clone)]
pub(in crate::steps) struct Contents {
    folder: PathBuf,
    keys: Option<Keys>,
}

/// What became of a file that was streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streamed {
    /// Every byte was what the manifest says.
    Whole,
    Damaged,
}

impl Contents {
    /// Reads the key that `deploy.yml` names, where one is needed.
    ///
    /// # Errors
    /// A key that cannot be read.
    pub(in crate::steps) fn of(settings: &Settings, manifest: &Manifest) -> Result<Self, Failure> {
        let encrypted = manifest.files.iter().any(BackupFile::is_encrypted);
        Ok(Self {
            folder: settings.backup_directory.join(&manifest.id),
            keys: match settings.config.backup_identity() {
                Some(path) if encrypted => Some(Keys::read(&path)?),
                Some(_) | None => None,
            },
        })
    }

    pub(super) fn path(&self, file: &BackupFile) -> PathBuf {
        self.folder.join(&file.name)
    }

    /// The keys that a file needs: none where it is not encrypted.
    ///
    /// # Errors
    /// Where it needs one, and none is at hand.
    pub(super) fn keys_for(&self, file: &BackupFile) -> Result<Option<Keys>, Failure> {
        match (&self.keys, file.is_encrypted()) {
            (_, false) => Ok(None),
            (Some(keys), true) => Ok(Some(keys.clone())),
            (None, true) => Err(Failure::message(
                FailureKind::Failed,
                "it is encrypted, and no key is at hand that could open it",
            )
            .context(format!("opening {}", self.path(file).display()))
            .hint("backup.identity in deploy.yml names the file with the key, as age-keygen writes it")),
        }
    }

    /// What is in a file, decrypted; that nothing of it was changed is for its caller to know.
    ///
    /// # Errors
    /// As [`Contents::keys_for`].
    pub(super) fn open(&self, file: &BackupFile) -> Result<Opening, Failure> {
        let keys = self.keys_for(file)?;
        let path = self.path(file);
        Ok(Box::new(move || decrypted(File::open(path)?, keys)))
    }

    /// All of a small file.
    ///
    /// # Errors
    /// One that is not what was written, and as [`Contents::keys_for`].
    pub(super) async fn whole(&self, file: &BackupFile) -> Result<Vec<u8>, Failure> {
        let keys = self.keys_for(file)?;
        let path = self.path(file);
        let content = tokio::fs::read(&path)
            .await
            .map_err(|error| unreadable(&path, &error))?;
        if hexadecimal(&Sha256::digest(&content)) != file.sha256 {
            return Err(damaged(&path));
        }
        let mut whole = Vec::new();
        decrypted(io::Cursor::new(content), keys)
            .and_then(|mut content| content.read_to_end(&mut whole))
            .map_err(|error| unreadable(&path, &error))?;
        Ok(whole)
    }

    /// Streams what is in a file, decrypted, and says afterwards whether the file was what the manifest says: until then
    /// nothing of it may count. Who takes it may stop when they have had enough.
    ///
    /// # Errors
    /// As [`Contents::keys_for`]; and then a file that cannot be read.
    pub(super) fn stream(
        &self,
        file: &BackupFile,
        to: DuplexStream,
    ) -> Result<impl Future<Output = Result<Streamed, Failure>> + use<>, Failure> {
        let keys = self.keys_for(file)?;
        let (path, sha256) = (self.path(file), file.sha256.clone());
        let mut to = SyncIoBridge::new(to);
        let opened = path.clone();
        let streaming = on_a_thread(move || {
            let mut hashed = Hashed {
                file: File::open(opened)?,
                digest: Sha256::new(),
            };
            let mut content = decrypted(&mut hashed, keys)?;
            match io::copy(&mut content, &mut to) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                copied => copied.and_then(|_| to.shutdown())?,
            }
            drop(content);
            // The reader may have stopped before the end.
            io::copy(&mut hashed, &mut io::sink())?;
            Ok(if hexadecimal(&hashed.digest.finalize()) == sha256 {
                Streamed::Whole
            } else {
                Streamed::Damaged
            })
        });
        Ok(async move { streaming.await.map_err(|error| unreadable(&path, &error)) })
    }
}

/// What is decrypted of it, as it is read.
fn decrypted<'a>(file: impl Read + 'a, keys: Option<Keys>) -> io::Result<Box<dyn Read + 'a>> {
    let file = io::BufReader::with_capacity(AHEAD, file);
    Ok(match keys {
        Some(keys) => Box::new(keys.open(file)?),
        None => Box::new(file),
    })
}

/// Knows what was read of the file.
struct Hashed {
    file: File,
    digest: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

pub(super) fn damaged(path: &Path) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!("{} is damaged: it is not what was written", path.display()),
    )
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!("{} cannot be read: {error}", path.display()),
    )
}
