//! Whether the code of a release fits a schema that later releases have migrated further. Pure.

use super::Release;

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

/// Of code that knows nothing of what `since` have added.
pub fn fit<'a>(since: impl IntoIterator<Item = &'a Release>) -> Fit {
    let (mut breaks, mut unsure, mut any) = (Vec::new(), Vec::new(), false);
    for record in since
        .into_iter()
        .filter_map(|release| release.migrations.as_ref())
    {
        for migration in record.added() {
            any = true;
            let assessed = record.assessed.iter().find(|one| one.migration == *migration);
            let Some(assessed) = assessed else {
                unsure.push(format!("{migration}: it was not judged when it was applied"));
                continue;
            };
            breaks.extend(assessed.of(&assessed.assessment.breaks));
            unsure.extend(assessed.of(&assessed.assessment.unsure));
        }
    }
    match (any, breaks.is_empty(), unsure.is_empty()) {
        (false, _, _) => Fit::Same,
        (true, true, true) => Fit::Adds,
        (true, true, false) => Fit::CannotTell(unsure),
        (true, false, _) => Fit::Breaks(breaks),
    }
}
