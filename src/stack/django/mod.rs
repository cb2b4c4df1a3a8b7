//! Django: which management commands are run, and how their answers are read. Answers are JSON behind a mark of our
//! own, printed by scripts of ours: `showmigrations` prints for people, and its layout is not an interface.
//!
//! A migration waits for its lock for two seconds and is tried five times: while it waits, everybody else waits behind it.
//! Measured: a plain SELECT waited 6.0 s behind one that waited for a reader, 1.3 s with a bound of two.
//!
//! Also `collectstatic` runs in a script: by itself it removes each stylesheet, and the list of the hashed files, before
//! it writes them anew under the same name. Measured: of 7,381 requests during three deploys one came in between, and was
//! answered 404 for an asset that was there before and after.

pub mod production;

use std::time::Duration;

use crate::release::rehearsal::{HeldLock, TimedMigration};
use crate::release::{AssessedMigration, Assessment, Migration};

/// Asks Django's own executor what is applied and what `migrate` would do, judges it, and does it; see the script.
const MIGRATIONS: &str = include_str!("migrations.py");

/// `collectstatic --noinput`, each file put in the place of the old one in one step. What the command removes to write
/// it anew stays until then; what it removes for good goes at the end. Storages that are no folder are left as they are.
const COLLECT: &str = r#"
def run():
    import os
    import sys
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.files.storage import FileSystemStorage
    from django.core.management import CommandError, call_command

    gone = set()

    class InOneStep:
        def delete(self, name):
            path = self.path(name)
            if os.path.isfile(path):
                gone.add(path)
            else:
                super().delete(name)

        def exists(self, name):
            return self.path(name) not in gone and super().exists(name)

        def _save(self, name, content):
            path = self.path(name)
            if path not in gone:
                return super()._save(name, content)
            folder, file = os.path.split(name)
            arriving = os.path.join(folder, ".arriving-" + file)
            super().delete(arriving)
            saved = super()._save(arriving, content)
            os.replace(self.path(saved), path)
            gone.discard(path)
            return name

    # Chosen by the settings at its first use.
    getattr(staticfiles_storage, "exists")
    storage = staticfiles_storage._wrapped
    if isinstance(storage, FileSystemStorage):
        chosen = type(storage)
        storage.__class__ = type(chosen.__name__, (InOneStep, chosen), {})
    try:
        call_command("collectstatic", interactive=False, skip_checks=False)
    except CommandError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    # Only now: what could not be written anew is still asked for.
    for path in gone:
        os.remove(path)

run()
"#;

/// Says which columns name files, and in which folder these are: `{"files": [[table, column, folder]]}`. What is kept in
/// another storage than a folder is left out.
const FILES: &str = r#"
def run():
    import json
    from django.apps import apps
    from django.core.files.storage import FileSystemStorage
    from django.db.models import FileField

    found = []
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or not model._meta.managed:
            continue
        for field in model._meta.local_concrete_fields:
            if isinstance(field, FileField) and isinstance(field.storage, FileSystemStorage):
                found.append([model._meta.db_table, field.column, str(field.storage.location)])
    print("\nviatique-deploy:" + json.dumps({"files": found}), flush=True)

run()
"#;

/// A column that names files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    pub table: String,
    pub column: String,
    /// The folder that the names are meant from.
    pub location: String,
}

/// The command that says the [`FileColumn`]s.
pub fn file_columns_command(manage: &[String]) -> Vec<String> {
    management(manage, &["shell", "-c", FILES])
}

/// Reads its answer, the mark taken off.
///
/// # Errors
/// What is not what the script prints.
pub fn parse_file_columns(answer: &str) -> Result<Vec<FileColumn>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Wire {
        files: Vec<(String, String, String)>,
    }
    let Wire { files } = serde_json::from_str(answer)?;
    let columns = files.into_iter().map(|(table, column, location)| FileColumn {
        table,
        column,
        location,
    });
    Ok(columns.collect())
}

/// What stands in the database, and what the image would add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationState {
    pub applied: Vec<Migration>,
    /// In the order in which `migrate` would apply them.
    pub pending: Vec<Migration>,
    /// What each of them means, where that was asked.
    pub assessed: Vec<AssessedMigration>,
}

impl MigrationState {
    /// Whether the release that serves would fail on what is pending.
    pub fn breaks(&self) -> bool {
        self.assessed.iter().any(|one| !one.assessment.breaks.is_empty())
    }
}

/// What one of the scripts says.
#[derive(Debug, Clone, PartialEq)]
pub enum MigrationAnswer {
    State(MigrationState),
    /// Nothing was applied: what runs would not bear it, and it was not asked for all the same.
    Refused,
    /// One was applied.
    Took(TimedMigration),
    /// One was taken back.
    Reversed(TimedMigration),
    /// Why nothing was taken back: what of it cannot be.
    Irreversible(Vec<String>),
    /// In a rehearsal: why taking back has failed.
    NotReversed(String),
    /// What taking back would do.
    Loses(Loses),
    /// A lock was not had in time.
    Waiting(Waiting),
    /// It took longer than it may: so many seconds.
    Ended(u64),
    /// Indexes that stand half-made, by name.
    Unusable(Vec<String>),
    /// It could not be found out, and why.
    Unknown(String),
}

/// What taking migrations back would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loses {
    /// What would be taken back, the newest first.
    pub migrations: Vec<Migration>,
    /// Only what is not empty.
    pub lost: Vec<Lost>,
}

/// What is in a table or a column that goes when a migration is taken back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Lost {
    #[serde(deserialize_with = "pair")]
    pub migration: Migration,
    pub table: String,
    /// `None`: the whole table goes.
    pub column: Option<String>,
    /// Of a column: those that have a value in it.
    pub rows: u64,
    /// ISO 8601: the newest time in the table.
    pub newest: Option<String>,
}

fn pair<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Migration, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(migration)
}

/// A migration that did not get its lock in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub migration: Option<Migration>,
    /// Who has a transaction open in this database, the oldest first.
    pub in_the_way: Vec<Session>,
    /// From 2; `None` where it is not tried again.
    pub next_try: Option<u32>,
    pub tries: u32,
}

/// A session of the database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Session {
    /// The database's process id.
    pub process: u32,
    pub for_seconds: u64,
    /// `active`, `idle in transaction`.
    pub state: String,
    /// Its last query, without what stands in quotes.
    pub query: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireAnswer {
    State(WireState),
    Refused(serde::de::IgnoredAny),
    Took(WireTimed),
    Reversed(WireTimed),
    Irreversible(Vec<String>),
    NotReversed(String),
    Loses(WireLoses),
    Waiting(WireWaiting),
    Ended(u64),
    Unusable(Vec<String>),
    Unknown(String),
}

#[derive(serde::Deserialize)]
struct WireLoses {
    migrations: Vec<(String, String)>,
    lost: Vec<Lost>,
}

#[derive(serde::Deserialize)]
struct WireTimed {
    #[serde(deserialize_with = "pair")]
    migration: Migration,
    milliseconds: u64,
    #[serde(default)]
    locks: Vec<HeldLock>,
}

impl From<WireTimed> for TimedMigration {
    fn from(wire: WireTimed) -> Self {
        let WireTimed {
            migration,
            milliseconds,
            locks,
        } = wire;
        Self {
            migration,
            milliseconds,
            locks,
        }
    }
}

#[derive(serde::Deserialize)]
struct WireState {
    applied: Vec<(String, String)>,
    pending: Vec<(String, String)>,
    #[serde(default)]
    assessed: Vec<WireAssessed>,
}

#[derive(serde::Deserialize)]
struct WireAssessed {
    migration: (String, String),
    #[serde(flatten)]
    assessment: Assessment,
}

#[derive(serde::Deserialize)]
struct WireWaiting {
    #[serde(rename = "for")]
    migration: Option<(String, String)>,
    in_the_way: Vec<Session>,
    next_try: Option<u32>,
    tries: u32,
}

fn management(manage: &[String], words: &[&str]) -> Vec<String> {
    manage
        .iter()
        .cloned()
        .chain(words.iter().map(|word| (*word).to_owned()))
        .collect()
}

fn order(manage: &[String], order: &str) -> Vec<String> {
    management(
        manage,
        &["shell", "-c", &format!("{MIGRATIONS}\n\nrun({order})\n")],
    )
}

/// The command that says the [`MigrationState`].
pub fn migration_state_command(manage: &[String]) -> Vec<String> {
    order(manage, r#""ask""#)
}

/// The command that says the [`MigrationState`], judged, and applies nothing.
pub fn judge_command(manage: &[String]) -> Vec<String> {
    order(manage, r#""judge""#)
}

/// The command that applies what is pending to a database that nobody uses, says what each of it locked and for how long,
/// has Django check what came of it, and takes it back again where it can.
pub fn rehearse_command(manage: &[String]) -> Vec<String> {
    order(manage, r#""rehearse""#)
}

/// The command that says what would go if everything beyond these migrations were taken back, or that it cannot be.
pub fn loses_command(manage: &[String], kept: &[Migration]) -> Vec<String> {
    order(manage, &format!(r#""loses", to={}"#, pairs(kept)))
}

/// The command that takes back everything beyond these migrations, by the code that knows them all.
pub fn reverse_command(manage: &[String], kept: &[Migration]) -> Vec<String> {
    order(manage, &format!(r#""reverse", to={}"#, pairs(kept)))
}

/// A list of pairs, as Python reads it: JSON's strings are Python's.
fn pairs(migrations: &[Migration]) -> String {
    let pairs = migrations.iter().map(|one| [one.app.as_str(), one.name.as_str()]);
    serde_json::json!(pairs.collect::<Vec<_>>()).to_string()
}

/// The command that says the [`MigrationState`], judged, applies what is pending, and where something was, says what
/// stands then. Asks nobody. Without `allow_incompatible` it applies nothing that code which does not know it cannot bear.
/// What takes longer than `within` is ended.
pub fn migrate_command(manage: &[String], allow_incompatible: bool, within: Option<Duration>) -> Vec<String> {
    let allow = if allow_incompatible { "True" } else { "False" };
    let within = within.map_or_else(|| "None".to_owned(), |within| within.as_secs().to_string());
    order(
        manage,
        &format!(r#""migrate", allow_incompatible={allow}, within={within}"#),
    )
}

/// The command that collects static files, none of which is missing at any time. Never `--clear`: the old release still
/// serves its own.
pub fn collectstatic_command(manage: &[String]) -> Vec<String> {
    management(manage, &["shell", "-c", COLLECT])
}

/// Reads an answer of the scripts, its mark taken off.
///
/// # Errors
/// What is not what our scripts print.
pub fn parse_migration_answer(answer: &str) -> Result<MigrationAnswer, serde_json::Error> {
    let migrations = |pairs: Vec<(String, String)>| pairs.into_iter().map(migration).collect();
    Ok(match serde_json::from_str(answer)? {
        WireAnswer::State(state) => MigrationAnswer::State(MigrationState {
            applied: migrations(state.applied),
            pending: migrations(state.pending),
            assessed: state
                .assessed
                .into_iter()
                .map(|one| AssessedMigration {
                    migration: migration(one.migration),
                    assessment: one.assessment,
                })
                .collect(),
        }),
        WireAnswer::Refused(_) => MigrationAnswer::Refused,
        WireAnswer::Took(took) => MigrationAnswer::Took(took.into()),
        WireAnswer::Reversed(took) => MigrationAnswer::Reversed(took.into()),
        WireAnswer::Irreversible(why) => MigrationAnswer::Irreversible(why),
        WireAnswer::NotReversed(why) => MigrationAnswer::NotReversed(why),
        WireAnswer::Loses(WireLoses {
            migrations: those,
            lost,
        }) => MigrationAnswer::Loses(Loses {
            migrations: migrations(those),
            lost,
        }),
        WireAnswer::Waiting(waiting) => MigrationAnswer::Waiting(Waiting {
            migration: waiting.migration.map(migration),
            in_the_way: waiting.in_the_way,
            next_try: waiting.next_try,
            tries: waiting.tries,
        }),
        WireAnswer::Ended(seconds) => MigrationAnswer::Ended(seconds),
        WireAnswer::Unusable(indexes) => MigrationAnswer::Unusable(indexes),
        WireAnswer::Unknown(why) => MigrationAnswer::Unknown(why),
    })
}

fn migration((app, name): (String, String)) -> Migration {
    Migration { app, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(app: &str, name: &str) -> Migration {
        super::migration((app.to_owned(), name.to_owned()))
    }

    #[test]
    fn a_state_is_read() {
        let answer = parse_migration_answer(
            r#"{"state": {"applied": [["auth", "0001_initial"]], "pending": [["copies", "0002_mark"]]}}"#,
        );
        assert_eq!(
            answer.unwrap(),
            MigrationAnswer::State(MigrationState {
                applied: vec![migration("auth", "0001_initial")],
                pending: vec![migration("copies", "0002_mark")],
                assessed: Vec::new(),
            })
        );
        let answer = parse_migration_answer(r#"{"unknown": "OperationalError: gone"}"#);
        assert_eq!(
            answer.unwrap(),
            MigrationAnswer::Unknown("OperationalError: gone".to_owned())
        );
    }

    #[test]
    fn an_answer_that_is_none_is_an_error_and_not_an_empty_state() {
        for text in ["", "{}", r#"{"state": {}}"#, r#"{"states": []}"#] {
            assert!(parse_migration_answer(text).is_err(), "{text}");
        }
    }
}
