//! Django: which management commands are run, and how their answers are read. Answers are JSON behind a mark of our
//! own, printed by a script of ours: `showmigrations` prints for people, and its layout is not an interface.

use anyhow::Context as _;

use crate::release::Migration;

const MARK: &str = "viatique-deploy:";

/// Asks Django's own executor what is applied and what `migrate` would do, on the default database.
const MIGRATION_STATE: &str = r#"
import json
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
print("\nviatique-deploy:" + json.dumps({
    "applied": sorted([app, name] for app, name in executor.loader.applied_migrations),
    "pending": [[migration.app_label, migration.name] for migration, _ in plan],
}))
"#;

/// What stands in the database, and what the image would add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationState {
    pub applied: Vec<Migration>,
    /// In the order in which `migrate` would apply them.
    pub pending: Vec<Migration>,
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

/// The command that prints the [`MigrationState`].
pub fn migration_state_command(manage: &[String]) -> Vec<String> {
    management(manage, &["shell", "-c", MIGRATION_STATE])
}

/// The command that applies what is pending. Asks nothing.
pub fn migrate_command(manage: &[String]) -> Vec<String> {
    management(manage, &["migrate", "--noinput"])
}

/// The command that collects static files. Never `--clear`: the old release still serves its own.
pub fn collectstatic_command(manage: &[String]) -> Vec<String> {
    management(manage, &["collectstatic", "--noinput"])
}

/// Reads what [`migration_state_command`] printed.
///
/// # Errors
/// Where the mark is missing or what follows it is not what our script prints.
pub fn parse_migration_state(stdout: &str) -> anyhow::Result<MigrationState> {
    let line = stdout
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(MARK))
        .context("django's answer about its migrations is missing from the output")?;
    let wire: WireState =
        serde_json::from_str(line).context("reading django's answer about its migrations")?;
    let migrations = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(app, name)| Migration { app, name })
            .collect()
    };
    Ok(MigrationState {
        applied: migrations(wire.applied),
        pending: migrations(wire.pending),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migration_state_is_found_among_what_settings_print() {
        let state = parse_migration_state(
            "loading settings…\n\nviatique-deploy:{\"applied\":[[\"auth\",\"0001_initial\"]],\"pending\":[[\"copies\",\"0002_mark\"]]}\n",
        )
        .unwrap();
        assert_eq!(
            state.applied,
            [Migration {
                app: "auth".into(),
                name: "0001_initial".into()
            }]
        );
        assert_eq!(
            state.pending,
            [Migration {
                app: "copies".into(),
                name: "0002_mark".into()
            }]
        );
    }

    #[test]
    fn a_silent_django_is_an_error_not_an_empty_state() {
        assert!(parse_migration_state("").is_err());
        assert!(parse_migration_state("viatique-deploy:{}").is_err());
    }
}
