//! What is pending, and what it means, asked before anything is decided: for `check` and dry runs, and of a way back. It is
//! asked in a container of the release's image, which changes nothing and is removed; nothing is made or started for it.

use super::super::application::{Application, Prepared, Readiness};
use super::super::lines::Listener;
use super::super::one_off::Command;
use super::is_served;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context};
use crate::release::AssessedMigration;
use crate::stack::django::{self, MigrationAnswer, MigrationState};

/// The name of the one-off.
pub(crate) const JUDGE: &str = "judge";

/// What is known of a release's migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Known(MigrationState),
    /// Why it is not known yet.
    NotYet(String),
}

/// Judges the migrations of the release, if that can be done already; `None` without a Django application.
///
/// # Errors
/// The engine's; an application that cannot answer.
pub(crate) async fn judge(context: Context<'_>) -> Result<Option<Judgement>, Failure> {
    let Some(application) = Application::of(context.settings) else {
        return Ok(None);
    };
    let prepared = match Prepared::found(context.view(), &application).await? {
        Readiness::Ready(prepared) => prepared,
        Readiness::NotYet(why) => return Ok(Some(Judgement::NotYet(why))),
    };
    let words = django::judge_command(application.manage);
    let command = Command {
        name: JUDGE,
        words: &words,
    };
    let what = "asking django which migrations are applied";
    let answer = ask(context, &application, &prepared, command, what).await?;
    let MigrationAnswer::State(mut state) = answer else {
        return Err(unexpected(what, &answer));
    };
    if !is_served(context, &application).await? {
        // Nothing runs that could fail on them.
        for one in &mut state.assessed {
            one.assessment.breaks.clear();
            one.assessment.unsure.clear();
        }
    }
    Ok(Some(Judgement::Known(state)))
}

/// Has a script of ours answer one thing.
///
/// # Errors
/// A script that fails, and one that does not answer.
pub(in crate::steps) async fn ask(
    context: Context<'_>,
    application: &Application<'_>,
    prepared: &Prepared,
    command: Command<'_>,
    what: &str,
) -> Result<MigrationAnswer, Failure> {
    let mut asking = Asking::default();
    let ended = prepared.run(context, application, command, &mut asking).await;
    ended?.require_success(what)?;
    let answer = asking
        .answer
        .ok_or_else(|| Failure::message(FailureKind::Failed, format!("{what}: there was no answer")))?;
    answer.map_err(|error| Failure::new(FailureKind::Failed, error).context(what.to_owned()))
}

/// An answer to something else.
pub(in crate::steps) fn unexpected(what: &str, answer: &MigrationAnswer) -> Failure {
    Failure::message(FailureKind::Failed, format!("{what}: it answered {answer:?}"))
}

#[derive(Default)]
struct Asking {
    answer: Option<Result<MigrationAnswer, serde_json::Error>>,
}

impl Listener for Asking {
    fn line(&mut self, _line: &str) {}

    fn answer(&mut self, answer: &str) {
        self.answer = Some(django::parse_migration_answer(answer));
    }
}

/// A line for each pending migration: what it means, and what to do about it.
pub(crate) fn lines(judgement: &Judgement) -> Vec<Change> {
    let line = |kind, target: String, detail: String| Change { kind, target, detail };
    let state = match judgement {
        Judgement::NotYet(why) => {
            let detail = format!("what they mean is not known yet: {why}");
            return vec![line(ChangeKind::Keep, "migrations".to_owned(), detail)];
        }
        Judgement::Known(state) => state,
    };
    if state.pending.is_empty() {
        let detail = format!("none is pending, {} are applied", state.applied.len());
        return vec![line(ChangeKind::Keep, "migrations".to_owned(), detail)];
    }
    let each = state.pending.iter().map(|migration| {
        let assessed = state.assessed.iter().find(|one| one.migration == *migration);
        let (kind, detail) = in_words(assessed);
        line(kind, migration.to_string(), detail)
    });
    each.collect()
}

fn in_words(assessed: Option<&AssessedMigration>) -> (ChangeKind, String) {
    let Some(AssessedMigration { assessment, .. }) = assessed else {
        return (ChangeKind::Warn, "nobody has judged it".to_owned());
    };
    let mut words = Vec::new();
    let mut kind = ChangeKind::Run;
    if !assessment.breaks.is_empty() {
        kind = ChangeKind::Warn;
        words.push(format!(
            "the running release fails on it ({}): take two releases, or close the site for it with run --maintenance",
            assessment.breaks.join("; ")
        ));
    }
    if !assessment.unsure.is_empty() {
        kind = ChangeKind::Warn;
        words.push(format!(
            "whether the running release bears it cannot be told ({})",
            assessment.unsure.join("; ")
        ));
    }
    if words.is_empty() {
        words.push("the running release bears it".to_owned());
    }
    if !assessment.loses.is_empty() {
        words.push(format!("it deletes for good ({})", assessment.loses.join("; ")));
    }
    words.push(if assessment.irreversible.is_empty() {
        "it can be taken back".to_owned()
    } else {
        format!(
            "it cannot be taken back ({}): the way back is --restore-db",
            assessment.irreversible.join("; ")
        )
    });
    (kind, words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Assessment, Migration};

    fn judged(assessment: Assessment) -> (ChangeKind, String) {
        let migration = Migration {
            app: "papers".to_owned(),
            name: "0004_note".to_owned(),
        };
        let state = MigrationState {
            applied: Vec::new(),
            pending: vec![migration.clone()],
            assessed: vec![AssessedMigration {
                migration,
                assessment,
            }],
        };
        let mut lines = lines(&Judgement::Known(state));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].target, "papers.0004_note");
        let Change { kind, detail, .. } = lines.remove(0);
        (kind, detail)
    }

    #[test]
    fn each_says_what_to_do_about_it() {
        let (kind, said) = judged(Assessment::default());
        assert_eq!(kind, ChangeKind::Run);
        assert_eq!(said, "the running release bears it; it can be taken back");
        let (kind, said) = judged(Assessment {
            breaks: vec!["Remove field total from copy: what runs still reads it".to_owned()],
            irreversible: vec!["Run fill()".to_owned()],
            loses: vec!["Remove field total from copy".to_owned()],
            ..Assessment::default()
        });
        assert_eq!(kind, ChangeKind::Warn);
        assert_eq!(
            said,
            "the running release fails on it (Remove field total from copy: what runs still reads it): take two \
             releases, or close the site for it with run --maintenance; it deletes for good (Remove field total from \
             copy); it cannot be taken back (Run fill()): the way back is --restore-db"
        );
    }
}
