//! Encryption of backups with age, to recipients: who can read them needs one of their keys, and the machine that makes
//! them needs none. The format is age's own (age-encryption.org/v1), so that `age --decrypt` reads every file too.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::{StreamReader, StreamWriter};
use age::x25519::{Identity, Recipient};
use sha2::{Digest as _, Sha256};

use crate::config::Backup;
use crate::digest::hexadecimal;
use crate::error::{Failure, FailureKind};

/// What an encrypted file's name ends with.
pub(super) const SUFFIX: &str = ".age";

/// To whom backups are encrypted: at least one.
#[derive(Clone)]
pub(super) struct Recipients(Arc<Vec<Recipient>>);

impl Recipients {
    /// Those of `deploy.yml`, if it names any.
    pub(super) fn of(config: &Backup) -> Option<Self> {
        let named: Vec<Recipient> = config
            .encrypt_to
            .iter()
            .map(|one| one.recipient().clone())
            .collect();
        (!named.is_empty()).then(|| Self(Arc::new(named)))
    }

    /// As they are written.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    /// Short, and another one for other recipients.
    pub(super) fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.names().join(" "));
        hexadecimal(digest.get(..8).unwrap_or(&digest))
    }

    /// What is written to it is encrypted on the way to `output`; its end must be said ([`StreamWriter::finish`]).
    pub(super) fn seal<W: Write>(&self, output: W) -> io::Result<StreamWriter<W>> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        encryptor.wrap_output(output)
    }
}

/// What is encrypted piece by piece, for who cannot wait for a file.
pub(super) struct Sealing {
    writer: StreamWriter<Pieces>,
    pieces: Pieces,
}

#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<u8>>>);

impl Pieces {
    fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sealing {
    pub(super) fn begin(recipients: &Recipients) -> io::Result<Self> {
        let pieces = Pieces::default();
        Ok(Self {
            writer: recipients.seal(pieces.clone())?,
            pieces,
        })
    }

    /// What of the encrypted stream is there once this is in it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.writer.write_all(bytes)?;
        Ok(self.pieces.taken())
    }

    /// Its last piece.
    pub(super) fn end(self) -> io::Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(self.pieces.taken())
    }
}

/// Keys that may decrypt.
#[derive(Clone)]
pub(super) struct Keys(Arc<Vec<Identity>>);

impl Keys {
    /// Reads an identity file, as `age-keygen` writes it.
    ///
    /// # Errors
    /// A file that cannot be read, or has no such key. No line of it is ever shown.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| {
            let what = format!(
                "the key of the backups, {}, cannot be used: {why}",
                path.display()
            );
            Failure::message(FailureKind::Configuration, what).hint("backup.identity in deploy.yml names it")
        };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let parsed = lines.map(str::parse::<Identity>);
        let keys: Result<Vec<Identity>, &str> = parsed.collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self(Arc::new(keys))),
            Ok(_) => Err(refuse("there is none in it".to_owned())),
            Err(_) => Err(refuse("a line of it is no AGE-SECRET-KEY".to_owned())),
        }
    }

    /// Whether one of them is a recipient's.
    pub(super) fn open_for(&self, recipients: &Recipients) -> bool {
        let names = recipients.names();
        let mut own = self.0.iter().map(|key| key.to_public().to_string());
        own.any(|own| names.contains(&own))
    }

    /// Decrypts what is read. A key that does not fit and a stream that was changed are errors.
    pub(super) fn open<R: Read>(&self, sealed: R) -> io::Result<StreamReader<R>> {
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let decryptor = age::Decryptor::new(sealed).map_err(invalid)?;
        decryptor.decrypt(keys).map_err(invalid)
    }
}
