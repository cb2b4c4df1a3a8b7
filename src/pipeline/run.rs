//! Sequences stages, stops on the first failure, and goes back: newest first, the failed step included, because a
//! call can fail here and have succeeded on the engine. The steps of a stage run side by side, each on its own way
//! through the journal. Every move is in the journal before it is made.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::event::{Event, Outcome, StepId, StepResult, StepSummary, UnwindResult};
use super::interrupt::Interrupt;
use super::stage::{Stage, steps};
use super::step::{Context, Receipt, RunState, Step, Undone, View, WhenAnotherFails};
use crate::clock::timestamp;
use crate::error::{Failure, FailureKind};
use crate::ledger::{EntryKind, Journal, LedgerError};

/// How a pipeline went.
#[derive(Debug)]
pub struct RunReport {
    pub outcome: Outcome,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// Every step, in the order of the pipeline.
    pub steps: Vec<StepSummary>,
    /// What the steps found out.
    pub state: RunState,
}

/// Plans every step in order and emits what each would do. Changes nothing.
///
/// # Errors
/// The first step that cannot be planned.
pub async fn plan(stages: &[Stage], context: Context<'_>) -> Result<(), Failure> {
    let mut state = context.state.clone();
    for step in steps(stages) {
        let view = View {
            state: &state,
            ..context.view()
        };
        let changes = step.plan(view).await?;
        state.build_planned |= matches!(step.id(), StepId::Build | StepId::Fetch);
        context.events.emit(Event::Planned {
            step: step.id(),
            changes,
        });
    }
    Ok(())
}

/// Applies every stage in order. On failure, or when the operator interrupts, goes back.
pub async fn apply(
    stages: &[Stage],
    context: Context<'_>,
    journal: Option<&mut Journal<'_>>,
    interrupt: &Interrupt,
) -> RunReport {
    let mut state = context.state.clone();
    let mut summaries: Vec<StepSummary> = Vec::new();
    let mut reached: Vec<&dyn Step> = Vec::new();
    let mut cause = None;
    // One entry at a time, whichever step it is about.
    let journal = journal.map(Mutex::new);
    for stage in stages {
        let endings = if cause.is_none() {
            let context = Context {
                state: &state,
                ..context
            };
            apply_stage(stage, context, journal.as_ref(), interrupt).await
        } else {
            Endings::not_reached(stage)
        };
        summaries.extend(endings.summaries());
        reached.extend(endings.reached());
        for receipt in endings.receipts() {
            state.fold(receipt);
        }
        cause = cause.or(endings.into_failure());
    }
    let context = Context {
        state: &state,
        ..context
    };
    let (outcome, failure) = match cause {
        None => (Outcome::Succeeded, None),
        Some(cause) => {
            let journal = journal.map(Mutex::into_inner);
            let (outcome, failure) = unwind(&reached, context, journal, interrupt, cause).await;
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

/// How a step of a stage ended.
enum Ending {
    /// One beside it had failed before it began.
    NotRun,
    Done(Receipt),
    Failed(Failure),
    /// Dropped, because this one beside it failed.
    Stopped(StepId),
}

impl Ending {
    const fn result(&self) -> StepResult {
        match self {
            Self::NotRun => StepResult::NotRun,
            Self::Done(Receipt { changed: true, .. }) => StepResult::Succeeded,
            Self::Done(Receipt { changed: false, .. }) => StepResult::Unchanged,
            Self::Failed(Failure {
                kind: FailureKind::Interrupted,
                ..
            })
            | Self::Stopped(_) => StepResult::Interrupted,
            Self::Failed(_) => StepResult::Failed,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NotRun => String::new(),
            Self::Done(receipt) => receipt.message.clone(),
            Self::Failed(failure) if failure.kind == FailureKind::Interrupted => "interrupted".to_owned(),
            Self::Failed(failure) => format!("{:#}", failure.error),
            Self::Stopped(because) => format!("stopped, because {} failed", because.as_str()),
        }
    }

    fn entry(&self, step: StepId) -> Option<EntryKind> {
        match self {
            Self::NotRun => None,
            Self::Done(receipt) => Some(EntryKind::Succeeded {
                step,
                message: receipt.message.clone(),
            }),
            Self::Failed(failure) => Some(EntryKind::Failed {
                step,
                error: format!("{:#}", failure.error),
            }),
            Self::Stopped(_) => Some(EntryKind::Failed {
                step,
                error: self.message(),
            }),
        }
    }
}

/// How the steps of a stage ended, in their order.
struct Endings<'a> {
    steps: Vec<(&'a dyn Step, Ending, Duration)>,
    failed_first: Option<StepId>,
}

impl<'a> Endings<'a> {
    fn not_reached(stage: &'a Stage) -> Self {
        let steps = stage.steps().map(|step| (step, Ending::NotRun, Duration::ZERO));
        Self {
            steps: steps.collect(),
            failed_first: None,
        }
    }

    fn summaries(&self) -> impl Iterator<Item = StepSummary> {
        self.steps.iter().map(|(step, ending, duration)| StepSummary {
            step: step.id(),
            result: ending.result(),
            duration: *duration,
        })
    }

    /// What may have had an effect, and must be undone should the run go back.
    fn reached(&self) -> impl Iterator<Item = &'a dyn Step> {
        let begun = self.steps.iter().filter(|(_, ending, _)| match ending {
            Ending::NotRun => false,
            Ending::Done(_) | Ending::Failed(_) | Ending::Stopped(_) => true,
        });
        begun.map(|(step, _, _)| *step)
    }

    fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.steps.iter().filter_map(|(_, ending, _)| match ending {
            Ending::Done(receipt) => Some(receipt),
            Ending::NotRun | Ending::Failed(_) | Ending::Stopped(_) => None,
        })
    }

    /// The failure that came first, with the others beside it: none is lost behind another.
    fn into_failure(self) -> Option<Failure> {
        let failed_first = self.failed_first;
        let mut failures: Vec<(StepId, Failure)> = self
            .steps
            .into_iter()
            .filter_map(|(step, ending, _)| match ending {
                Ending::Failed(failure) => Some((step.id(), failure)),
                Ending::NotRun | Ending::Done(_) | Ending::Stopped(_) => None,
            })
            .collect();
        failures.sort_by_key(|(step, _)| Some(*step) != failed_first);
        let mut failures = failures.into_iter();
        let (first, mut cause) = failures.next()?;
        let mut interrupted = vec![first.as_str()];
        for (step, failure) in failures {
            if cause.kind == FailureKind::Interrupted && failure.kind == FailureKind::Interrupted {
                interrupted.push(step.as_str());
                cause = Failure::message(
                    FailureKind::Interrupted,
                    format!("interrupted during {}", interrupted.join(" and ")),
                );
                continue;
            }
            cause = cause.evidence(
                format!("{} failed too", step.as_str()),
                failure.error.chain().map(ToString::to_string).collect(),
            );
            cause.evidence.extend(failure.evidence);
            cause.hints.extend(failure.hints);
        }
        Some(cause)
    }
}

async fn apply_stage<'a>(
    stage: &'a Stage,
    context: Context<'_>,
    journal: Option<&Mutex<&mut Journal<'_>>>,
    interrupt: &Interrupt,
) -> Endings<'a> {
    let failed_first = watch::Sender::new(None);
    let alone = stage.steps().count() == 1;
    let applied = stage.steps().map(|step| {
        let one = One {
            step,
            context,
            interrupt,
            failed_first: &failed_first,
            alone,
        };
        one.apply(journal)
    });
    let ended = join_all(applied).await;
    let steps = stage.steps().zip(ended);
    let steps = steps.map(|(step, (ending, duration))| (step, ending, duration));
    Endings {
        steps: steps.collect(),
        failed_first: *failed_first.borrow(),
    }
}

/// One step of a stage.
struct One<'a> {
    step: &'a dyn Step,
    context: Context<'a>,
    interrupt: &'a Interrupt,
    /// Which step of the stage has failed, as soon as one has.
    failed_first: &'a watch::Sender<Option<StepId>>,
    /// The only one of its stage: the next entry follows at once.
    alone: bool,
}

impl One<'_> {
    /// Applies it, and says so: in the journal first, then to who watches. Journal entries are never dropped half-way.
    async fn apply(self, journal: Option<&Mutex<&mut Journal<'_>>>) -> (Ending, Duration) {
        let step = self.step.id();
        let now = || timestamp(self.context.clock.now());
        let started;
        {
            let mut journal = match journal {
                Some(journal) => Some(journal.lock().await),
                None => None,
            };
            if self.failed_first.borrow().is_some() {
                return (Ending::NotRun, Duration::ZERO);
            }
            started = Instant::now();
            self.context.events.emit(Event::StepStarted { step });
            // Durable before the effect: if this cannot be written, the step does not start.
            if let Some(journal) = &mut journal
                && let Err(error) = journal.write(now(), EntryKind::Started { step }).await
            {
                let failure =
                    unwritten(error).context(format!("writing the journal before {}", step.as_str()));
                return self.ended(Ending::Failed(failure), started);
            }
        }
        let mut ending = self.work().await;
        // Told before the journal is written: what runs beside it must not go on for that long.
        self.tell(&ending);
        if let (Some(journal), Some(entry)) = (journal, ending.entry(step)) {
            let mut journal = journal.lock().await;
            let written = if self.alone {
                journal.note(now(), entry)
            } else {
                journal.write(now(), entry).await
            };
            if let Err(error) = written {
                ending = not_journalled(step, ending, error);
            }
        }
        self.ended(ending, started)
    }

    async fn work(&self) -> Ending {
        let step = self.step.id();
        tokio::select! {
            biased;
            () = self.interrupt.asked(1) => Ending::Failed(Failure::message(
                FailureKind::Interrupted,
                format!("interrupted during {}", step.as_str()),
            )),
            because = self.told_to_stop() => Ending::Stopped(because),
            result = self.step.apply(self.context) => match result {
                Ok(receipt) => Ending::Done(receipt),
                Err(failure) => Ending::Failed(failure),
            },
        }
    }

    /// Returns once a step beside it has failed; never, if it must not be dropped for that.
    async fn told_to_stop(&self) -> StepId {
        match self.step.when_another_fails() {
            WhenAnotherFails::FinishesFirst => std::future::pending().await,
            WhenAnotherFails::Stops => {
                let mut failed_first = self.failed_first.subscribe();
                // The sender is ours: it cannot be gone.
                let told = failed_first.wait_for(Option::is_some).await.map(|first| *first);
                match told {
                    Ok(Some(because)) => because,
                    Ok(None) | Err(_) => std::future::pending().await,
                }
            }
        }
    }

    fn tell(&self, ending: &Ending) {
        match ending {
            Ending::Failed(_) => {
                self.failed_first.send_if_modified(|first| {
                    let is_first = first.is_none();
                    if is_first {
                        *first = Some(self.step.id());
                    }
                    is_first
                });
            }
            Ending::NotRun | Ending::Done(_) | Ending::Stopped(_) => {}
        }
    }

    fn ended(&self, ending: Ending, started: Instant) -> (Ending, Duration) {
        self.tell(&ending);
        let duration = started.elapsed();
        self.context.events.emit(Event::StepFinished {
            step: self.step.id(),
            result: ending.result(),
            message: ending.message(),
            duration,
        });
        (ending, duration)
    }
}

/// With what to do about it, where the ledger says.
fn unwritten(error: anyhow::Error) -> Failure {
    let hint = error.downcast_ref::<LedgerError>().and_then(LedgerError::hint);
    let mut failure = Failure::from(error);
    failure.hints.extend(hint);
    failure
}

/// How a step ended whose end could not be written down.
fn not_journalled(step: StepId, ending: Ending, error: anyhow::Error) -> Ending {
    Ending::Failed(match ending {
        // The first error is never lost behind the second.
        Ending::Failed(failure) => {
            failure.hint(format!("the journal could not be written either: {error:#}"))
        }
        Ending::NotRun | Ending::Done(_) | Ending::Stopped(_) => {
            unwritten(error).context(format!("writing the journal after {}", step.as_str()))
        }
    })
}

/// Clears away what was kept for the way back. Called once the release is recorded: from here on, going back is a
/// rollback.
pub async fn settle(stages: &[Stage], context: Context<'_>) {
    for step in steps(stages) {
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
    reached: &[&dyn Step],
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
            && let Err(error) = journal.note(now(), entry)
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
