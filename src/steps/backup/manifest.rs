//! The manifest of a backup, written last: without one, a folder is no backup.

use std::path::Path;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use super::encryption::SUFFIX;
use super::file::{create_private_file, rename_durably};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The on-disk format; a newer one is refused by its readers. 1 had an archive of all media in each backup.
pub const MANIFEST_FORMAT: u32 = 2;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// See [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The tool's version.
    pub written_by: String,
    /// The run's id, and the folder's name.
    pub id: String,
    pub project: String,
    /// The release that served when it was taken.
    pub release: Option<String>,
    /// The release it was taken for.
    pub taken_before: String,
    /// RFC 3339, UTC: what was written to the database later is not in it. From format 2.
    #[serde(default)]
    pub started_at: Option<String>,
    /// RFC 3339, UTC.
    pub completed_at: String,
    pub files: Vec<BackupFile>,
    /// Public keys: who can read it, where it is encrypted. From format 2.
    #[serde(default)]
    pub encrypted_to: Vec<String>,
    /// From format 2.
    #[serde(default)]
    pub database: Option<DatabaseFacts>,
    /// From format 2, where the media are a list of contents and no archive.
    #[serde(default)]
    pub media: Option<MediaFacts>,
    /// How it came to be made: `None` where an older version made it.
    #[serde(default)]
    pub made: Option<Made>,
}

/// How a backup came to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// By `backup`, with nobody there who could be asked: a timer, or a CI job.
    Unattended,
    /// By `backup`, with somebody at a terminal.
    ByHand,
    /// By a run, before what it did.
    ByRun,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BackupFile {
    pub name: String,
    pub bytes: u64,
    /// Of the whole file, lower-case hexadecimal; the file was read back and had it.
    pub sha256: String,
    /// What it is, for people.
    pub about: String,
}

impl BackupFile {
    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.name.ends_with(SUFFIX)
    }

    /// What it is called where it is not encrypted.
    pub fn plain_name(&self) -> &str {
        self.name.strip_suffix(SUFFIX).unwrap_or(&self.name)
    }
}

/// The database as it was when it was dumped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseFacts {
    pub name: String,
    /// As in `170002`.
    pub server_version: String,
    /// What tells one cluster from every other: given when it is made, and kept for its life.
    pub system: String,
    /// What it takes on the server's disk.
    pub bytes: u64,
    /// How many tables it has, and how many rows in all of them: `None` where nobody counted.
    #[serde(default)]
    pub tables: Option<u64>,
    #[serde(default)]
    pub rows: Option<u64>,
}

/// The media volume as it was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MediaFacts {
    /// Its name on the engine.
    pub volume: String,
    /// Among which contents its own are: those that are not encrypted, or those encrypted to the same recipients.
    pub objects: String,
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Contents that no backup before it had, and their bytes.
    pub added_objects: u64,
    pub added_bytes: u64,
    /// Files that were being written all the while: what is kept of them may be no state they ever had.
    pub unstable: u64,
}

impl Manifest {
    /// The file of this name, encrypted or not.
    pub fn file(&self, name: &str) -> Option<&BackupFile> {
        self.files.iter().find(|file| file.plain_name() == name)
    }

    /// Bytes that it takes beside the backups before it.
    pub fn added(&self) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.bytes).sum();
        files + self.media.as_ref().map_or(0, |media| media.added_bytes)
    }

    /// Writes it whole and durably, or not at all.
    pub(super) async fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(MANIFEST);
        let partial = folder.join(format!("{MANIFEST}.partial"));
        let mut content = serde_json::to_vec_pretty(self).context("encoding the manifest")?;
        content.push(b'\n');
        let mut file = create_private_file(&partial)?;
        file.write_all(&content).await?;
        file.sync_all().await?;
        rename_durably(&partial, &path).await?;
        Ok(())
    }
}
