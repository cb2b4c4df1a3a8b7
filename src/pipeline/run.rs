//! Sequences steps, stops on the first failure, and goes back: newest first, the failed step included, because a
//! call can fail here and have succeeded on the engine. Every move is in the journal before it is made.

use std::time::Duration;

use tokio::time::Instant;

use super::event::{Event, Outcome, StepId, StepResult, StepSummary, UnwindResult};
use super::interrupt::Interrupt;
use super::step::{Context, RunState, Step, Undone, View};
use crate::clock::timestamp;
use crate::error::{Failure, FailureKind};
use crate::ledger::{EntryKind, Journal};

/// How a pipeline went.
#[derive(Debug)]
pub struct RunReport {
    pub outcome: Outcome,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    pub steps: Vec<StepSummary>,
    /// What the steps found out.
    pub state: RunState,
}

/// Plans every step in order and emits what each would do. Changes nothing.
///
/// # Errors
/// The first step that cannot be planned.
pub async fn plan(steps: &[Box<dyn Step>], context: Context<'_>) -> Result<(), Failure> {
    let mut state = context.state.clone();
    for step in steps {
        let view = View {
            state: &state,
            ..context.view()
        };
        let changes = step.plan(view).await?;
        state.build_planned |= step.id() == StepId::Build;
        context.events.emit(Event::Planned {
            step: step.id(),
            changes,
        });
    }
    Ok(())
}

/// Applies every step in order. On failure, or when the operator interrupts, goes back.
pub async fn apply(
    steps: &[Box<dyn Step>],
    context: Context<'_>,
    mut journal: Option<&mut Journal<'_>>,
    interrupt: &Interrupt,
) -> RunReport {
    let mut state = context.state.clone();
    let mut summaries: Vec<StepSummary> = Vec::new();
    let mut failure = None;
    for (index, step) in steps.iter().enumerate() {
        let started = Instant::now();
        let context = Context {
            state: &state,
            ..context
        };
        let result = apply_one(step.as_ref(), context, journal.as_deref_mut(), interrupt).await;
        let (step_result, message) = match &result {
            Ok(receipt) if receipt.changed => (StepResult::Succeeded, receipt.message.clone()),
            Ok(receipt) => (StepResult::Unchanged, receipt.message.clone()),
            Err(failure) if failure.kind == FailureKind::Interrupted => {
                (StepResult::Interrupted, "interrupted".to_owned())
            }
            Err(failure) => (StepResult::Failed, format!("{:#}", failure.error)),
        };
        let duration = started.elapsed();
        context.events.emit(Event::StepFinished {
            step: step.id(),
            result: step_result,
            message,
            duration,
        });
        summaries.push(StepSummary {
            step: step.id(),
            result: step_result,
            duration,
        });
        match result {
            Ok(receipt) => {
                state.fold(&receipt);
            }
            Err(cause) => {
                failure = Some((index, cause));
                break;
            }
        }
    }
    for step in steps.iter().skip(summaries.len()) {
        summaries.push(StepSummary {
            step: step.id(),
            result: StepResult::NotRun,
            duration: Duration::ZERO,
        });
    }
    let context = Context {
        state: &state,
        ..context
    };
    let (outcome, failure) = match failure {
        None => (Outcome::Succeeded, None),
        Some((index, cause)) => {
            let reached = steps.get(..=index).unwrap_or(steps);
            let (outcome, failure) = unwind(reached, context, journal, interrupt, cause).await;
            (outcome, Some(failure))
        }
    };
    RunReport {
        outcome,
        failure,
        steps: summaries,
        state,
    }
}

async fn apply_one(
    step: &dyn Step,
    context: Context<'_>,
    journal: Option<&mut Journal<'_>>,
    interrupt: &Interrupt,
) -> Result<super::step::Receipt, Failure> {
    let id = step.id();
    context.events.emit(Event::StepStarted { step: id });
    let Some(journal) = journal else {
        return interruptible(step, context, interrupt).await;
    };
    let now = || timestamp(context.clock.now());
    // Durable before the effect: if this cannot be written, the step does not start.
    journal
        .write(now(), EntryKind::Started { step: id })
        .await
        .map_err(|error| {
            Failure::from(error).context(format!("writing the journal before {}", id.as_str()))
        })?;
    let result = interruptible(step, context, interrupt).await;
    let entry = match &result {
        Ok(receipt) => EntryKind::Succeeded {
            step: id,
            message: receipt.message.clone(),
        },
        Err(failure) => EntryKind::Failed {
            step: id,
            error: format!("{:#}", failure.error),
        },
    };
    let written = journal.write(now(), entry).await;
    match (result, written) {
        (Ok(receipt), Ok(())) => Ok(receipt),
        (Ok(_), Err(error)) => {
            Err(Failure::from(error).context(format!("writing the journal after {}", id.as_str())))
        }
        // The first error is never lost behind the second.
        (Err(failure), Err(error)) => {
            Err(failure.hint(format!("the journal could not be written either: {error:#}")))
        }
        (Err(failure), Ok(())) => Err(failure),
    }
}

async fn interruptible(
    step: &dyn Step,
    context: Context<'_>,
    interrupt: &Interrupt,
) -> Result<super::step::Receipt, Failure> {
    tokio::select! {
        biased;
        () = interrupt.asked(1) => {
            Err(Failure::message(FailureKind::Interrupted, format!("interrupted during {}", step.id().as_str())))
        }
        result = step.apply(context) => result,
    }
}

/// Clears away what was kept for the way back. Called once the release is recorded: from here on, going back is a
/// rollback.
pub async fn settle(steps: &[Box<dyn Step>], context: Context<'_>) {
    for step in steps {
        // The release serves; what could not be cleared away is said, and swept by the next run.
        if let Err(failure) = step.settle(context).await {
            context.warn(
                format!("clearing up after {}: {:#}", step.id().as_str(), failure.error),
                None,
            );
        }
    }
}

/// Undoes the reached steps, newest first. Stops at the first undo that fails.
async fn unwind(
    reached: &[Box<dyn Step>],
    context: Context<'_>,
    mut journal: Option<&mut Journal<'_>>,
    interrupt: &Interrupt,
    mut cause: Failure,
) -> (Outcome, Failure) {
    let mut taken_back = false;
    for step in reached.iter().rev() {
        let id = step.id();
        let now = || timestamp(context.clock.now());
        let reason = format!("{:#}", cause.error);
        if let Some(journal) = journal.as_deref_mut()
            && let Err(error) = journal.write(now(), EntryKind::UndoStarted { step: id }).await
        {
            cause = cause.hint(format!(
                "the journal could not be written while unwinding: {error:#}"
            ));
        }
        context.events.emit(Event::UnwindStarted { step: id, reason });
        let undone = tokio::select! {
            biased;
            () = interrupt.asked(2) => Err(Failure::message(FailureKind::Interrupted, "interrupted again while unwinding")),
            undone = step.undo(context) => undone,
        };
        let (result, message) = match &undone {
            Ok(Undone::Reverted {
                message,
                restored_previous,
            }) => {
                taken_back |= *restored_previous;
                (UnwindResult::Reverted, message.clone())
            }
            Ok(Undone::NothingToDo) => (UnwindResult::NothingToDo, String::new()),
            Ok(Undone::LeftInPlace { why }) => (UnwindResult::LeftInPlace, why.clone()),
            Err(error) => (UnwindResult::Failed, format!("{:#}", error.error)),
        };
        let entry = match &undone {
            Ok(_) => EntryKind::Undone {
                step: id,
                message: message.clone(),
            },
            Err(_) => EntryKind::UndoFailed {
                step: id,
                error: message.clone(),
            },
        };
        if let Some(journal) = journal.as_deref_mut()
            && let Err(error) = journal.write(now(), entry).await
        {
            cause = cause.hint(format!(
                "the journal could not be written while unwinding: {error:#}"
            ));
        }
        context.events.emit(Event::UnwindFinished {
            step: id,
            result,
            message,
        });
        if let Err(second) = undone {
            return (Outcome::Stuck, stuck(cause, id, second));
        }
    }
    let outcome = if cause.kind == FailureKind::Interrupted {
        Outcome::Interrupted
    } else if taken_back {
        Outcome::RolledBack
    } else {
        Outcome::Failed
    };
    (outcome, cause)
}

/// Both errors, the first one first.
fn stuck(cause: Failure, step: StepId, second: Failure) -> Failure {
    let mut failure = cause.with_kind(FailureKind::Stuck);
    failure = failure.evidence(
        format!("taking {} back failed too", step.as_str()),
        second.error.chain().map(ToString::to_string).collect(),
    );
    failure.evidence.extend(second.evidence);
    failure.hints.extend(second.hints);
    failure.hint("look at what stands: viatique-deploy status")
}
