//! What was deployed: the tag, the images, the configuration and what was done to the database. Values only; where
//! they are kept is the ledger's business.

pub mod changes;
pub mod checklist;
pub mod checks;
pub mod dependencies;
pub mod difference;
pub mod rehearsal;
pub mod schema;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use time::OffsetDateTime;

use self::checks::ChecksRecord;
use self::rehearsal::Rehearsal;
use crate::compose::ServiceName;
use crate::engine::ImageId;

/// A release's name: a Docker tag, `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// A text that cannot be a release's tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be a release tag: letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`"
)]
pub struct InvalidTag(String);

impl Tag {
    /// Accepts what an image reference can carry after its colon.
    ///
    /// # Errors
    /// The offending text, in words.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidTag> {
        let text = text.into();
        let mut bytes = text.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if first && rest && text.len() <= 128 {
            Ok(Self(text))
        } else {
            Err(InvalidTag(text))
        }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;
    fn try_from(text: String) -> Result<Self, InvalidTag> {
        Self::new(text)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

/// Names one run of the tool: sorts by time, unique by its random end. `20261123T220848Z-3f9a1c`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    /// Puts an id together from the time and some random bits.
    pub fn new(now: OffsetDateTime, random: u32) -> Self {
        let now = now.to_offset(time::UtcOffset::UTC);
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z-{:06x}",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            random & 0x00ff_ffff
        ))
    }

    /// The random end, for names of short-lived objects.
    pub fn suffix(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or(&self.0)
    }

    /// Whether this may be the random end of one.
    pub fn may_be_suffix(text: &str) -> bool {
        text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position of a release in the project's history, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

/// The on-disk format of [`Release`]. A newer one is refused, naming the tool's version that wrote it.
pub const RELEASE_FORMAT: u32 = 1;

/// The command of a record that was made of what containers and images tell, after the ledger was lost.
pub const REBUILT: &str = "rebuilt";

/// One deployment of a release, as it is recorded.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Release {
    /// See [`RELEASE_FORMAT`].
    pub format: u32,
    /// The tool's version that wrote it.
    pub written_by: String,
    pub sequence: Sequence,
    pub tag: Tag,
    pub run: RunId,
    /// The subcommand: `run`, `deploy` or `rollback`; [`REBUILT`].
    pub command: String,
    /// RFC 3339, UTC: when it was complete. Of a rebuilt record, when the newest container was made of what serves, and
    /// the newest image of another.
    pub deployed_at: String,
    /// `user@host`.
    pub deployed_by: String,
    /// What `rollback` without an argument returns to. After a rollback this is what stood before the release
    /// returned to, so that a second one goes further back and never forward into what was just taken back.
    pub previous: Option<Sequence>,
    pub images: BTreeMap<ServiceName, ReleasedImage>,
    /// The Compose files as they were, before interpolation: they hold no value of a variable. None in a record that
    /// has been shortened.
    pub compose: Vec<RecordedFile>,
    /// The resolved project for people and comparisons; secret values are replaced by fingerprints. `null` in a record
    /// that has been shortened.
    pub project: serde_json::Value,
    /// `None` where the run had no migration step.
    pub migrations: Option<MigrationRecord>,
    /// What came of trying its migrations on a copy, where that was done.
    #[serde(default)]
    pub rehearsal: Option<Rehearsal>,
    /// The backup taken before it.
    pub backup: Option<String>,
    /// What the checks before it came to; `None` where it was made without.
    #[serde(default)]
    pub checks: Option<ChecksRecord>,
    /// The errors in the logs when it had settled, a few hundred at most, by what tells each from others: exceptions and
    /// places in the code, no data. `None` where nobody has watched it.
    #[serde(default)]
    pub known_errors: Option<BTreeSet<String>>,
}

impl Release {
    /// Without how it was made: what stays of a release long past. It cannot be deployed again.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let migrations = self.migrations.as_ref().map(MigrationRecord::shortened);
        Self {
            compose: Vec::new(),
            project: serde_json::Value::Null,
            migrations,
            known_errors: None,
            ..self.clone()
        }
    }

    /// Whether it is made of what containers and images tell.
    pub fn is_rebuilt(&self) -> bool {
        self.command == REBUILT
    }

    /// Whether how it was made has been forgotten.
    pub fn is_shortened(&self) -> bool {
        self.compose.is_empty()
    }
}

/// The image a service runs in a release.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReleasedImage {
    pub id: ImageId,
    /// A reference that was given to it, to find it again.
    pub reference: String,
}

/// A file of the project, recorded whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordedFile {
    /// Relative to the project's folder.
    pub path: std::path::PathBuf,
    pub text: String,
}

/// One Django migration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Migration {
    pub app: String,
    pub name: String,
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// What a migration means for code that does not know it yet, or does not know it any more; in words of Django's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Assessment {
    /// Why such code would fail on the schema after it.
    #[serde(default)]
    pub breaks: Vec<String>,
    /// What it does that nobody can judge from outside.
    #[serde(default)]
    pub unsure: Vec<String>,
    /// What cannot be taken back.
    #[serde(default)]
    pub irreversible: Vec<String>,
    /// What it deletes for good.
    #[serde(default)]
    pub loses: Vec<String>,
}

/// A migration with what it means.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AssessedMigration {
    pub migration: Migration,
    #[serde(flatten)]
    pub assessment: Assessment,
}

impl AssessedMigration {
    /// Each of these with the migration's name before it.
    pub fn of<'a>(&'a self, whys: &'a [String]) -> impl Iterator<Item = String> + 'a {
        whys.iter().map(|why| format!("{}: {why}", self.migration))
    }
}

/// Which migrations stood applied before a release and after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct MigrationRecord {
    pub before: Vec<Migration>,
    pub after: Vec<Migration>,
    /// Of those added.
    #[serde(default)]
    pub assessed: Vec<AssessedMigration>,
}

impl MigrationRecord {
    /// Only what the release added, and what it took back.
    pub(crate) fn shortened(&self) -> Self {
        Self {
            before: self.removed().into_iter().cloned().collect(),
            after: self.added().into_iter().cloned().collect(),
            assessed: self.assessed.clone(),
        }
    }

    /// What the release added, in the order recorded.
    pub fn added(&self) -> Vec<&Migration> {
        self.after
            .iter()
            .filter(|migration| !self.before.contains(migration))
            .collect()
    }

    /// What the release took back, in the order recorded.
    pub fn removed(&self) -> Vec<&Migration> {
        self.before
            .iter()
            .filter(|migration| !self.after.contains(migration))
            .collect()
    }
}
