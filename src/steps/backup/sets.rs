//! What backups stand in a folder. Only what has a manifest of the project, under its own id, is a backup of it;
//! everything else is left alone. Nothing here changes anything.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{MANIFEST, MANIFEST_FORMAT, Manifest, is_absent};
use crate::error::{Failure, FailureKind};

/// What stands there.
#[derive(Debug, Default)]
pub struct Sets {
    /// Of this project, the oldest first.
    pub backups: Vec<Manifest>,
    /// Folders without a manifest, by name: whose they are is not known.
    pub(super) unfinished: Vec<String>,
    /// Folders with a manifest that cannot be read: of a newer version, or damaged. Whose they are is not known either.
    pub(crate) unreadable: Vec<PathBuf>,
}

impl Sets {
    /// Reads the manifests below a folder. One that does not stand yet holds none.
    ///
    /// # Errors
    /// A folder or manifest that cannot be read.
    pub async fn read(folder: &Path, project: &str) -> Result<Self, Failure> {
        Self::found(folder, project).await.map_err(|error| {
            Failure::from(anyhow::Error::new(error))
                .context(format!("reading the backups in {}", folder.display()))
        })
    }

    async fn found(folder: &Path, project: &str) -> std::io::Result<Self> {
        let mut found = Self::default();
        let mut entries = match tokio::fs::read_dir(folder).await {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(found),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !entry.file_type().await?.is_dir() {
                continue;
            }
            match read(&entry.path()).await? {
                Content::Backup(manifest) if manifest.project == project && manifest.id == name => {
                    found.backups.push(*manifest);
                }
                Content::Backup(_) => {}
                Content::Unfinished => found.unfinished.push(name),
                Content::Unreadable => found.unreadable.push(entry.path()),
            }
        }
        found
            .backups
            .sort_by_cached_key(|backup| (completed(backup), backup.id.clone()));
        Ok(found)
    }

    /// The one that was completed last.
    pub fn newest(&self) -> Option<&Manifest> {
        self.backups.last()
    }

    /// The one of this id, or of which that is the beginning; without one the newest.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn named(&self, id: Option<&str>) -> Result<&Manifest, Failure> {
        let refuse = |why: String| {
            Failure::message(FailureKind::Configuration, why).hint("viatique-deploy backup list")
        };
        let Some(id) = id else {
            return self
                .newest()
                .ok_or_else(|| refuse("there is no backup yet".to_owned()));
        };
        if let Some(exact) = self.backups.iter().find(|backup| backup.id == id) {
            return Ok(exact);
        }
        let mut found = self.backups.iter().filter(|backup| backup.id.starts_with(id));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(refuse(format!("there is no backup {id}"))),
            (Some(one), Some(other)) => Err(refuse(format!("{id} may be {} or {}", one.id, other.id))),
        }
    }
}

/// When it was completed, if it says so.
pub fn completed(backup: &Manifest) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&backup.completed_at, &Rfc3339).ok()
}

enum Content {
    Backup(Box<Manifest>),
    Unfinished,
    Unreadable,
}

async fn read(folder: &Path) -> std::io::Result<Content> {
    let content = match tokio::fs::read(folder.join(MANIFEST)).await {
        Ok(content) => content,
        Err(error) if is_absent(&error) => return Ok(Content::Unfinished),
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice::<Manifest>(&content) {
        Ok(manifest) if manifest.format <= MANIFEST_FORMAT => Content::Backup(Box::new(manifest)),
        Ok(_) | Err(_) => Content::Unreadable,
    })
}
