//! The manifest of a backup, written last: without one, a folder is no backup.

use std::path::Path;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use super::file::{create_private_file, rename_durably};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The on-disk format; a newer one is refused by its readers.
pub const MANIFEST_FORMAT: u32 = 1;

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
    /// RFC 3339, UTC.
    pub completed_at: String,
    pub files: Vec<BackupFile>,
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

impl Manifest {
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
