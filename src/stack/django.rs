//! Django: which management commands are run, and how their answers are read. Answers are JSON behind a mark of our
//! own, printed by scripts of ours: `showmigrations` prints for people, and its layout is not an interface.
//!
//! Also `collectstatic` runs in a script: by itself it removes each stylesheet, and the list of the hashed files, before
//! it writes them anew under the same name. Measured: of 7,381 requests during three deploys one came in between, and was
//! answered 404 for an asset that was there before and after.

use crate::release::Migration;

/// Everything the scripts share. In a function, because old Djangos give `shell -c` no globals of its own.
const TELLING: &str = r#"
def run():
    import json
    from django.core.management import call_command
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor

    def tell(**answer):
        print("\nviatique-deploy:" + json.dumps(answer), flush=True)

    def state():
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        return {
            "applied": sorted([app, name] for app, name in executor.loader.applied_migrations),
            "pending": [[migration.app_label, migration.name] for migration, _ in plan],
        }
"#;

/// Asks Django's own executor what is applied and what `migrate` would do, on the default database.
const ASK: &str = r#"
    tell(state=state())

run()
"#;

/// Asks; applies what is pending, as `manage.py migrate --noinput` does; and asks again, whether that succeeded or not.
/// All in one start of Django, which takes longer than most migrations. Ends as the migration does.
const MIGRATE: &str = r#"
    before = state()
    tell(state=before)
    if not before["pending"]:
        return
    try:
        call_command("migrate", interactive=False, skip_checks=False)
    finally:
        # A failure here must not stand before the migration's own.
        try:
            # What failed may have left it unusable.
            connections[DEFAULT_DB_ALIAS].close()
            tell(state=state())
        except Exception as error:
            tell(unknown=f"{type(error).__name__}: {error}")

run()
"#;

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

/// What stands in the database, and what the image would add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationState {
    pub applied: Vec<Migration>,
    /// In the order in which `migrate` would apply them.
    pub pending: Vec<Migration>,
}

/// What one of the scripts says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationAnswer {
    State(MigrationState),
    /// It could not be found out, and why.
    Unknown(String),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireAnswer {
    State(WireState),
    Unknown(String),
}

#[derive(serde::Deserialize)]
struct WireState {
    applied: Vec<(String, String)>,
    pending: Vec<(String, String)>,
}

fn management(manage: &[String], words: &[&str]) -> Vec<String> {
    manage
        .iter()
        .cloned()
        .chain(words.iter().map(|word| (*word).to_owned()))
        .collect()
}

/// The command that says the [`MigrationState`].
pub fn migration_state_command(manage: &[String]) -> Vec<String> {
    management(manage, &["shell", "-c", &format!("{TELLING}{ASK}")])
}

/// The command that says the [`MigrationState`], applies what is pending, and where something was, says what stands
/// then. Asks nothing.
pub fn migrate_command(manage: &[String]) -> Vec<String> {
    management(manage, &["shell", "-c", &format!("{TELLING}{MIGRATE}")])
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
    let migrations = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(app, name)| Migration { app, name })
            .collect()
    };
    Ok(match serde_json::from_str(answer)? {
        WireAnswer::State(WireState { applied, pending }) => MigrationAnswer::State(MigrationState {
            applied: migrations(applied),
            pending: migrations(pending),
        }),
        WireAnswer::Unknown(why) => MigrationAnswer::Unknown(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(app: &str, name: &str) -> Migration {
        Migration {
            app: app.to_owned(),
            name: name.to_owned(),
        }
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
