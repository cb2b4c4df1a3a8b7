//! What later releases have made of the schema, and whether the code of an earlier one fits it. Pure.

use super::{AssessedMigration, Migration, Release};

/// How sure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// The schema is as it was.
    Same,
    /// Everything since only adds what the code does not see.
    Adds,
    /// Why it cannot be told, migration by migration.
    CannotTell(Vec<String>),
    /// Why the code fails on it, migration by migration.
    Breaks(Vec<String>),
}

/// What stands now and did not, or did and does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Since<'a> {
    /// In the order in which they were applied; `None` where nobody judged it.
    pub applied: Vec<(&'a Migration, Option<&'a AssessedMigration>)>,
    /// What the code may need.
    pub taken_back: Vec<&'a Migration>,
}

/// What these releases, the oldest first, have left of what they did to the schema.
pub fn since<'a>(releases: impl IntoIterator<Item = &'a Release>) -> Since<'a> {
    let mut since = Since::default();
    let records = releases
        .into_iter()
        .filter_map(|release| release.migrations.as_ref());
    for record in records {
        for migration in record.removed() {
            let before = since.applied.len();
            since.applied.retain(|(applied, _)| *applied != migration);
            if since.applied.len() == before {
                since.taken_back.push(migration);
            }
        }
        for migration in record.added() {
            let before = since.taken_back.len();
            since.taken_back.retain(|taken_back| *taken_back != migration);
            if since.taken_back.len() == before {
                let assessed = record.assessed.iter().find(|one| one.migration == *migration);
                since.applied.push((migration, assessed));
            }
        }
    }
    since
}

/// Of code that knows nothing of what was done since.
pub fn fit(since: &Since<'_>) -> Fit {
    let missing = since.taken_back.iter();
    let mut breaks: Vec<String> = missing.map(|one| format!("{one}: it was taken back")).collect();
    let mut unsure = Vec::new();
    for (migration, assessed) in &since.applied {
        let Some(assessed) = assessed else {
            unsure.push(format!("{migration}: it was not judged when it was applied"));
            continue;
        };
        breaks.extend(assessed.of(&assessed.assessment.breaks));
        unsure.extend(assessed.of(&assessed.assessment.unsure));
    }
    if !breaks.is_empty() {
        Fit::Breaks(breaks)
    } else if !unsure.is_empty() {
        Fit::CannotTell(unsure)
    } else if since.applied.is_empty() {
        Fit::Same
    } else {
        Fit::Adds
    }
}
