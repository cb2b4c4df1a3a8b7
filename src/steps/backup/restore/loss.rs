//! What would go if another state of the database were to serve: for people, before they decide. It is asked of both
//! states, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::content::Contents;
use super::super::database::DUMP;
use super::super::sets::Sets;
use super::Restore;
use super::database::{Target, saved_description};
use crate::error::Failure;
use crate::pipeline::Context;
use crate::stack::postgres::description::{Description, Table};

/// A table of which two states are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDifference {
    /// As it is now; `None` where there is no such table.
    pub now: Option<Table>,
    /// As it would be.
    pub then: Option<Table>,
}

impl TableDifference {
    /// `schema.table`
    pub fn name(&self) -> &str {
        let table = self.now.as_ref().or(self.then.as_ref());
        table.map_or("", |table| table.name.as_str())
    }

    /// How many rows fewer there would be. None where there would be as many, or more: others may be among them.
    pub fn rows_gone(&self) -> u64 {
        rows(self.now.as_ref()).saturating_sub(rows(self.then.as_ref()))
    }
}

/// A table that is not there has no rows.
pub fn rows(table: Option<&Table>) -> u64 {
    table.map_or(0, |table| table.rows)
}

/// The tables that differ, in the order of their names: in the number of their rows, or in the newest time they hold.
pub fn differences(now: &Description, then: &Description) -> Vec<TableDifference> {
    let by_name = |description: &Description| -> BTreeMap<String, Table> {
        let tables = description.tables.iter();
        tables.map(|table| (table.name.clone(), table.clone())).collect()
    };
    let (mut now, mut then) = (by_name(now), by_name(then));
    let names: BTreeSet<String> = now.keys().chain(then.keys()).cloned().collect();
    let pairs = names.iter().map(|name| TableDifference {
        now: now.remove(name),
        then: then.remove(name),
    });
    pairs.filter(|pair| pair.now != pair.then).collect()
}

/// The migrations that stand in only one of two states, in words; `None` where they are the same, or where one of them
/// is no Django's database.
pub fn migrations_differ(now: &Description, then: &Description) -> Option<Vec<String>> {
    if now.migrations.is_empty() || then.migrations.is_empty() {
        return None;
    }
    let set =
        |description: &Description| -> BTreeSet<String> { description.migrations.iter().cloned().collect() };
    let (now, then) = (set(now), set(then));
    let missing = now
        .difference(&then)
        .map(|one| format!("{one} stands now, and would not"));
    let more = then
        .difference(&now)
        .map(|one| format!("{one} would stand, and does not now"));
    let differences: Vec<String> = missing.chain(more).collect();
    (!differences.is_empty()).then_some(differences)
}

/// What serves now beside what would serve then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// What would serve, in words.
    pub then: String,
    /// `None` where the backup is too old to tell.
    pub tables: Option<Vec<TableDifference>>,
    pub migrations: Option<Vec<String>>,
}

impl Preview {
    /// Whether rows would go, as far as can be told.
    pub fn loses(&self) -> bool {
        self.tables.as_ref().is_none_or(|tables| !tables.is_empty())
    }

    fn of(then: String, now: &Description, description: Option<&Description>) -> Self {
        Self {
            then,
            tables: description.map(|then| differences(now, then)),
            migrations: description.and_then(|then| migrations_differ(now, then)),
        }
    }
}

/// Of a restore; `None` where it leaves the database alone.
///
/// # Errors
/// No such backup, a key that is missing, a database that does not answer.
pub async fn of_restore(context: Context<'_>, restore: &Restore) -> Result<Option<Preview>, Failure> {
    let settings = context.settings;
    let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
    let manifest = sets.named(restore.id.as_deref())?;
    if !restore.has_database(manifest, settings) {
        return Ok(None);
    }
    if let Some(file) = manifest.file(DUMP) {
        Contents::of(settings, manifest)?.keys_for(file)?;
    }
    let saved = saved_description(manifest, &Contents::of(settings, manifest)?).await?;
    let target = Target::of(context).await?;
    let now = target.describe(&target.access.name).await?;
    let then = format!("backup {} of {}", manifest.id, manifest.completed_at);
    Ok(Some(Preview::of(then, &now, saved.as_ref())))
}

/// Of taking a restore back; `None` where no database was replaced.
///
/// # Errors
/// A database that does not answer.
pub async fn of_undo(context: Context<'_>) -> Result<Option<Preview>, Failure> {
    if context.settings.config.backup.database.is_none() {
        return Ok(None);
    }
    let target = Target::of(context).await?;
    let Some(latest) = target.latest().await? else {
        return Ok(None);
    };
    let now = target.describe(&target.access.name).await?;
    let then = target.describe(&latest.name).await?;
    let what = format!(
        "{}, set aside at {} for {}",
        latest.name, latest.mark.at, latest.mark.by
    );
    Ok(Some(Preview::of(what, &now, Some(&then))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(tables: &[(&str, u64, Option<&str>)], migrations: &[&str]) -> Description {
        Description {
            tables: tables
                .iter()
                .map(|(name, rows, newest)| Table {
                    name: (*name).to_owned(),
                    rows: *rows,
                    newest: newest.map(str::to_owned),
                })
                .collect(),
            migrations: migrations.iter().map(|one| (*one).to_owned()).collect(),
            ..Description::default()
        }
    }

    #[test]
    fn only_tables_that_differ_are_told_and_a_missing_one_is_empty() {
        let now = described(&[("a", 3, Some("t2")), ("b", 1, None), ("c", 5, Some("t9"))], &[]);
        let then = described(
            &[
                ("a", 2, Some("t1")),
                ("b", 1, None),
                ("c", 5, Some("t8")),
                ("d", 4, None),
            ],
            &[],
        );
        let found = differences(&now, &then);
        let told: Vec<(&str, u64, u64)> = found
            .iter()
            .map(|one| (one.name(), rows(one.then.as_ref()), one.rows_gone()))
            .collect();
        assert_eq!(told, [("a", 2, 1), ("c", 5, 0), ("d", 4, 0)]);
    }

    #[test]
    fn a_database_that_has_no_migrations_yet_is_not_held_against_a_restore() {
        let some = described(&[], &["copies.0001", "copies.0002"]);
        let fewer = described(&[], &["copies.0001"]);
        assert_eq!(migrations_differ(&described(&[], &[]), &some), None);
        assert_eq!(migrations_differ(&some, &some), None);
        assert_eq!(
            migrations_differ(&some, &fewer).unwrap(),
            ["copies.0002 stands now, and would not"]
        );
        assert_eq!(
            migrations_differ(&fewer, &some).unwrap(),
            ["copies.0002 would stand, and does not now"]
        );
    }
}
