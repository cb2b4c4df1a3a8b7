//! `backup`: what is saved before a deploy, and where.

use std::path::PathBuf;
use std::time::Duration;

use super::quantity::HumanDuration;
use crate::compose::{EnvironmentValue, Service, ServiceName};
use crate::yaml::HINT_FOLLOWS;

/// The `backup` section.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// As written; see [`Config::backup_directory`](super::Config::backup_directory).
    pub directory: PathBuf,
    pub database: Option<DatabaseBackup>,
    pub media: Option<MediaBackup>,
    /// What another tool saves already, and how old that is stands in for a backup.
    pub repository: Option<BackupRepository>,
    pub keep: BackupKeep,
    /// Who can read the backups; everybody who can read the files where nobody is named.
    pub encrypt_to: Vec<AgeRecipient>,
    /// A file with a key that decrypts them, as `age-keygen` writes it; as written, see
    /// [`Config::backup_identity`](super::Config::backup_identity). Needed to verify and to restore, not to make them.
    pub identity: Option<PathBuf>,
    /// The newest backup is too old after this: 24h by default.
    pub max_age: HumanDuration,
    /// Where each backup is copied to, beside the folder where it is made.
    pub copies: Vec<BackupCopy>,
    /// A database that a restore replaced is dropped after this: 168h (a week) by default.
    pub keep_replaced: HumanDuration,
}

/// The repository of another tool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRepository {
    pub tool: BackupTool,
    /// The service in whose container the tool is.
    pub service: ServiceName,
    /// What has it say in JSON what there is; by default the tool's usual words.
    #[serde(default, deserialize_with = "super::one_or_many::optional_command")]
    pub command: Option<Vec<String>>,
}

/// Whose repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupTool {
    Pgbackrest,
    WalG,
    Restic,
}

/// A place for copies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupCopy {
    pub to: CopyPlace,
    /// Of S3-compatible storage that is not Amazon's, as in `https://s3.example.com`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// A file of variables, as written: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; those of the environment where
    /// there is none.
    pub credentials: Option<PathBuf>,
}

/// Where copies go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// As written: another disk, a share of another machine.
    Folder(PathBuf),
    Bucket {
        bucket: String,
        /// Below which all of it stands; may be empty.
        prefix: String,
    },
}

impl std::fmt::Display for CopyPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl std::str::FromStr for CopyPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no place for copies{HINT_FOLLOWS}s3://bucket/prefix, or a folder");
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.is_empty() || text.contains("://") {
                return Err(wrong());
            }
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }
}

impl<'de> serde::Deserialize<'de> for CopyPlace {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Somebody's public key, `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct AgeRecipient(age::x25519::Recipient);

impl AgeRecipient {
    /// As the library knows it.
    pub const fn recipient(&self) -> &age::x25519::Recipient {
        &self.0
    }
}

impl std::fmt::Debug for AgeRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> serde::Deserialize<'de> for AgeRecipient {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Not shown: somebody may have written the secret one here.
        text.parse().map(Self).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "this is no age recipient{HINT_FOLLOWS}a public key as age-keygen prints it: age1…"
            ))
        })
    }
}

/// Which backups stay, beside the newest and those of kept releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupKeep {
    /// The newest so many.
    pub newest: u32,
    /// The last one of each of so many days (UTC) on which there was one.
    pub days: u32,
    /// And of so many weeks, which begin on Monday.
    pub weeks: u32,
    /// And of so many months.
    pub months: u32,
}

impl Default for BackupKeep {
    fn default() -> Self {
        Self {
            newest: 10,
            days: 7,
            weeks: 5,
            months: 12,
        }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("backups"),
            database: None,
            media: None,
            repository: None,
            keep: BackupKeep::default(),
            encrypt_to: Vec::new(),
            identity: None,
            copies: Vec::new(),
            max_age: HumanDuration(Duration::from_secs(24 * 60 * 60)),
            keep_replaced: HumanDuration(Duration::from_secs(7 * 24 * 60 * 60)),
        }
    }
}

/// The PostgreSQL database that is dumped.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseBackup {
    /// The service that runs PostgreSQL.
    pub service: ServiceName,
    /// The role that dumps; see [`DatabaseBackup::user_in`].
    pub user: Option<String>,
    /// The database; see [`DatabaseBackup::name_in`].
    pub name: Option<String>,
    /// The system identifier of the server that is meant, as in `7301846290123456789`: another one is refused.
    pub system: Option<String>,
}

impl DatabaseBackup {
    /// The role: as written, else the service's `POSTGRES_USER`, else PostgreSQL's own `postgres`.
    pub fn user_in(&self, service: &Service) -> String {
        self.user
            .clone()
            .or_else(|| environment(service, "POSTGRES_USER"))
            .unwrap_or_else(|| "postgres".to_owned())
    }

    /// The database: as written, else the service's `POSTGRES_DB`, else the one named as the role is.
    pub fn name_in(&self, service: &Service) -> String {
        self.name
            .clone()
            .or_else(|| environment(service, "POSTGRES_DB"))
            .unwrap_or_else(|| self.user_in(service))
    }
}

/// The official image takes an empty variable for an absent one.
fn environment(service: &Service, key: &str) -> Option<String> {
    service
        .environment
        .get(key)
        .and_then(EnvironmentValue::reveal)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

/// The volume of uploaded files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaBackup {
    /// The volume's key in the Compose files.
    pub volume: String,
}
