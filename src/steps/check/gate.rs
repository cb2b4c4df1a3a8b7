//! `gate`: the last look before anything is changed that serves. What may be otherwise by now is looked at again, what
//! needs the new image for the first time; then, where somebody sits at a terminal, one question with the whole picture.
//! Changes nothing.

use async_trait::async_trait;

use super::code::changes;
use super::registry::Moment;
use super::selection::Selection;
use super::shared::Shared;
use super::{ids, looked};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Question, Receipt, Settings, Step, StepId, Undone, View,
};
use crate::release::checks::ChecksRecord;

/// The step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    selection: Selection,
}

impl Gate {
    /// The same checks as the run has begun with.
    pub const fn new(selection: Selection) -> Self {
        Self { selection }
    }
}

#[async_trait]
impl Step for Gate {
    fn id(&self) -> StepId {
        StepId::Gate
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let (checks, _) = self.selection.checks(Moment::Gate, view.settings);
        let names: Vec<&str> = checks.iter().map(|check| check.id).collect();
        let mut changes = vec![
            Change {
                kind: ChangeKind::Keep,
                target: "checks".to_owned(),
                detail: format!("in the new image, or once more: {}", names.join(", ")),
            },
            Change {
                kind: ChangeKind::Keep,
                target: "question".to_owned(),
                detail: "asked once on a terminal, unless --yes".to_owned(),
            },
        ];
        changes.extend(changed(&view.state.changed));
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let shared = Shared::default();
        let outcomes = looked(context, StepId::Gate, Moment::Gate, &self.selection, &shared).await?;
        let later = ChecksRecord::of(&outcomes);
        let checks = ids(&outcomes);
        let message = later.in_words();
        let mut record = context.state.checks.clone().unwrap_or_default();
        record.add(&later, &checks);
        if context.events.asks() {
            let changes = changes::gather(context).await;
            let changes = changes.map(|changes| changes.in_words()).unwrap_or_default();
            if !context.events.ask(picture(context, &record, changes)).await {
                return Err(
                    Failure::message(FailureKind::Gate, "the question was not answered with yes")
                        .hint("to go on without a question: --yes"),
                );
            }
        }
        let fact = Fact::Checked {
            record,
            nothing_pending: shared.nothing_pending(),
        };
        Ok(Receipt::unchanged(message, fact))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::NothingToDo)
    }
}

/// What the release changes, a line for each heading.
fn changed(lines: &[(String, String)]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (heading, line) in lines {
        match changes.last_mut().filter(|change| change.target == *heading) {
            Some(change) => change.detail = format!("{}; {line}", change.detail),
            None => changes.push(Change {
                kind: ChangeKind::Keep,
                target: heading.clone(),
                detail: line.clone(),
            }),
        }
    }
    changes
}

/// All that one needs to know before saying yes, on one screen.
fn picture(context: Context<'_>, record: &ChecksRecord, changes: Vec<(String, String)>) -> Question {
    let Settings {
        project,
        tag,
        current,
        ..
    } = context.settings;
    let serves = current.as_ref().map_or_else(
        || "nothing serves yet".to_owned(),
        |current| {
            format!(
                "{}, deployed {} by {}",
                current.tag, current.deployed_at, current.deployed_by
            )
        },
    );
    let mut lines = vec![
        ("project".to_owned(), project.name.clone()),
        ("release".to_owned(), tag.to_string()),
        ("serves now".to_owned(), serves),
    ];
    let mut under = String::new();
    for (heading, line) in changes {
        // Each heading once, before its first line.
        let told = if heading == under {
            String::new()
        } else {
            format!("  {heading}")
        };
        under = heading;
        lines.push((told, line));
    }
    lines.push((
        "backup".to_owned(),
        context.state.backup.clone().unwrap_or_else(|| "none".to_owned()),
    ));
    if let Some(rehearsal) = &context.state.rehearsal {
        lines.push(("rehearsed".to_owned(), rehearsal.in_words()));
    }
    lines.push(("checks".to_owned(), record.in_words()));
    for outcome in &record.others {
        lines.push((format!("  {}", outcome.check), outcome.line.clone()));
    }
    Question {
        lines,
        question: format!("Deploy {tag}?"),
    }
}
