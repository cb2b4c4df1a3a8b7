//! `check`: everything that can be known to be wrong before anything is touched. Each check stands in the room of what it
//! looks at, with what it protects from and what to do about it; `registry` has them all. The configuration and the
//! Compose files were checked when they were read. Changes nothing.

pub mod about;
mod backups;
pub(crate) mod code;
mod django;
pub(crate) mod environment;
mod gate;
mod host;
mod lint;
mod made;
mod migrations;
mod place;
mod published;
mod registry;
mod scanners;
pub mod selection;
mod shared;
mod site;
mod team;
mod tests_of_the_code;
pub(crate) mod verdict;
mod waivers;

use async_trait::async_trait;

pub use gate::Gate;
use registry::{Look, Moment};
pub use selection::Selection;
use shared::Shared;

use crate::error::Failure;
use crate::pipeline::{
    Change, ChangeKind, Context, Event, Fact, Receipt, Settings, Step, StepId, Undone, View,
};
use crate::release::checks::{CheckOutcome, ChecksRecord};

/// The step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    moment: Moment,
    selection: Selection,
}

impl Check {
    /// By itself: everything.
    pub const fn alone(selection: Selection) -> Self {
        Self {
            moment: Moment::Alone,
            selection,
        }
    }

    /// At the beginning of a run, which asks the rest itself.
    pub const fn first(selection: Selection) -> Self {
        Self {
            moment: Moment::First,
            selection,
        }
    }
}

#[async_trait]
impl Step for Check {
    fn id(&self) -> StepId {
        StepId::Check
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        waivers_name_checks(view.settings)?;
        let (checks, skipped) = self.selection.checks(self.moment, view.settings);
        let outcomes = made::look(view, self.moment, &checks).await?;
        if let Some(failure) = made::refusal(&outcomes) {
            return Err(failure);
        }
        let mut changes: Vec<Change> = outcomes.iter().flat_map(planned).collect();
        let keep = |target: &str, detail: &str| Change {
            kind: ChangeKind::Keep,
            target: target.to_owned(),
            detail: detail.to_owned(),
        };
        for check in checks {
            match check.look {
                Look::Reads(_) | Look::Looks(_) => {}
                Look::Asks(_) => changes.push(keep(check.id, "asked by the run itself, not in a dry run")),
            }
        }
        changes.extend(
            skipped
                .iter()
                .map(|check| keep(check.id, "skipped: somebody said so")),
        );
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        waivers_name_checks(context.settings)?;
        let shared = Shared::default();
        let outcomes = looked(context, StepId::Check, self.moment, &self.selection, &shared).await?;
        let record = ChecksRecord::of(&outcomes);
        let message = record.in_words();
        let fact = Fact::Checked {
            record,
            // Migrations are applied much later: what stood at the beginning says nothing.
            nothing_pending: None,
        };
        Ok(Receipt::unchanged(message, fact))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::NothingToDo)
    }
}

fn ids(outcomes: &[CheckOutcome]) -> Vec<String> {
    outcomes.iter().map(|outcome| outcome.check.clone()).collect()
}

/// Makes the checks of this moment. What others go on with is in `shared` then.
///
/// # Errors
/// What stands in the way of a deploy; the engine's.
async fn looked(
    context: Context<'_>,
    step: StepId,
    moment: Moment,
    selection: &Selection,
    shared: &Shared,
) -> Result<Vec<CheckOutcome>, Failure> {
    let (checks, skipped) = selection.checks(moment, context.settings);
    let mut outcomes = made::make(context, step, moment, &checks, shared).await?;
    for outcome in skipped.into_iter().map(made::skipped) {
        context.events.emit(Event::Checked {
            step,
            outcome: outcome.clone(),
        });
        outcomes.push(outcome);
    }
    match made::refusal(&outcomes) {
        Some(failure) => Err(failure),
        None => Ok(outcomes),
    }
}

/// How one went, for a plan.
fn planned(outcome: &CheckOutcome) -> Vec<Change> {
    let mut changes = vec![Change {
        kind: ChangeKind::Keep,
        target: outcome.check.clone(),
        detail: outcome.line.clone(),
    }];
    let standing = outcome.problems.iter().filter(|problem| problem.waived.is_none());
    changes.extend(
        standing
            .filter(|problem| !problem.unverified)
            .map(|problem| Change {
                kind: ChangeKind::Warn,
                target: match problem.key.as_str() {
                    "" => outcome.check.clone(),
                    key => format!("{}: {key}", outcome.check),
                },
                detail: format!("{}; {}", problem.in_words(), problem.hints.join("; ")),
            }),
    );
    changes
}

/// A waiver of a check that there is not waives nothing, and whoever wrote it thinks that it does.
fn waivers_name_checks(settings: &Settings) -> Result<(), Failure> {
    for waiver in &settings.config.checks.waivers {
        selection::Named::of("checks.waivers", &waiver.check)?;
    }
    Ok(())
}
