//! What came of trying a release's migrations on a copy of the data, before they are applied. Values only.

use std::time::Duration;

use super::Migration;
use crate::engine::ImageId;

/// One rehearsal, which has gone well as far as applying goes: what fails is no rehearsal but an error.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rehearsal {
    /// RFC 3339, UTC: when it was complete.
    pub at: String,
    /// The backup that the copy was made from.
    pub backup: String,
    /// Whose code migrated.
    pub image: ImageId,
    /// As in `170002`.
    pub server_version: String,
    /// What restoring the copy took.
    pub restored_in_milliseconds: u64,
    /// In the order in which they were applied.
    pub migrations: Vec<TimedMigration>,
    pub way_back: WayBack,
    /// What was applied on the staging stack, where there is one; nothing where they stood there already.
    #[serde(default)]
    pub staging: Option<Vec<Migration>>,
}

/// How long a migration took.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimedMigration {
    pub migration: Migration,
    pub milliseconds: u64,
    /// What it locked so that others wait, where that was watched; what was held for less than a twentieth of a second
    /// may be missing.
    #[serde(default)]
    pub locks: Vec<HeldLock>,
}

/// A table that was locked so that others wait.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeldLock {
    pub table: String,
    /// PostgreSQL's name of it: `AccessExclusiveLock`.
    pub mode: String,
    pub milliseconds: u64,
}

impl HeldLock {
    /// Whether it holds up those who only read, too.
    pub fn is_exclusive(&self) -> bool {
        self.mode == "AccessExclusiveLock"
    }
}

/// What came of taking the migrations back again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayBack {
    /// The schema was the one before, column by column.
    Exact { milliseconds: u64 },
    /// It was another one: statements that are only on one side.
    Differs { statements: Vec<String> },
    /// Why it was not tried: what cannot be taken back.
    Irreversible { why: Vec<String> },
    /// It was tried.
    Failed { why: String },
}

impl Rehearsal {
    /// What applying all of them took.
    pub fn milliseconds(&self) -> u64 {
        self.migrations.iter().map(|one| one.milliseconds).sum()
    }

    /// The longest time that nobody could even read a table, and which migration did that.
    pub fn longest_exclusive_lock(&self) -> Option<(&TimedMigration, &HeldLock)> {
        let locks = self
            .migrations
            .iter()
            .flat_map(|one| one.locks.iter().map(move |lock| (one, lock)));
        locks
            .filter(|(_, lock)| lock.is_exclusive())
            .max_by_key(|(_, lock)| lock.milliseconds)
    }

    /// In one line.
    pub fn in_words(&self) -> String {
        let count = self.migrations.len();
        let many = if count == 1 { "migration" } else { "migrations" };
        let lock = match self.longest_exclusive_lock() {
            Some((_, lock)) => format!(
                "nobody could use {} for {}",
                lock.table,
                seconds(lock.milliseconds)
            ),
            None => "no table was locked for longer than 0.05 s".to_owned(),
        };
        let staging = match self.staging.as_deref() {
            None => String::new(),
            Some([]) => "; they stand on staging".to_owned(),
            Some(applied) => format!("; {} applied on staging", applied.len()),
        };
        format!(
            "{count} {many} in {}; {lock}; {}{staging}",
            seconds(self.milliseconds()),
            self.way_back.in_words()
        )
    }
}

impl WayBack {
    /// In half a sentence: how to go back.
    pub fn in_words(&self) -> String {
        match self {
            Self::Exact { milliseconds } => {
                format!("taken back exactly, in {}", seconds(*milliseconds))
            }
            Self::Differs { statements } => format!(
                "taken back, but {} statements of the schema are not as before: go back with --restore-db",
                statements.len()
            ),
            Self::Irreversible { .. } => "cannot be taken back: go back with --restore-db".to_owned(),
            Self::Failed { .. } => "taking back has failed: go back with --restore-db".to_owned(),
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", Duration::from_millis(milliseconds).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rehearsal(locks: Vec<HeldLock>, way_back: WayBack) -> Rehearsal {
        Rehearsal {
            at: "2026-11-26T10:00:00Z".to_owned(),
            backup: "20261126T095900Z-000001".to_owned(),
            image: ImageId("sha256:1".to_owned()),
            server_version: "170002".to_owned(),
            restored_in_milliseconds: 1,
            migrations: vec![TimedMigration {
                migration: Migration {
                    app: "papers".to_owned(),
                    name: "0004_note".to_owned(),
                },
                milliseconds: 1240,
                locks,
            }],
            way_back,
            staging: None,
        }
    }

    fn lock(table: &str, mode: &str, milliseconds: u64) -> HeldLock {
        HeldLock {
            table: table.to_owned(),
            mode: mode.to_owned(),
            milliseconds,
        }
    }

    #[test]
    fn the_longest_lock_that_holds_up_readers_is_told() {
        let locks = vec![
            lock("papers_copy", "AccessExclusiveLock", 700),
            lock("papers_page", "AccessExclusiveLock", 900),
            lock("papers_copy", "ShareLock", 1200),
        ];
        assert_eq!(
            rehearsal(locks, WayBack::Exact { milliseconds: 300 }).in_words(),
            "1 migration in 1.2 s; nobody could use papers_page for 0.9 s; taken back exactly, in 0.3 s"
        );
    }

    #[test]
    fn where_nothing_is_locked_or_taken_back_it_says_so() {
        let why = vec!["papers.0004_note: Run mark()".to_owned()];
        assert_eq!(
            rehearsal(Vec::new(), WayBack::Irreversible { why }).in_words(),
            "1 migration in 1.2 s; no table was locked for longer than 0.05 s; cannot be taken back: go back with \
             --restore-db"
        );
    }
}
