//! What a container of ours says while it asks about migrations or applies them, as it says it.

use std::collections::BTreeMap;

use super::super::lines::Listener;
use super::super::one_off::OneOffResult;
use super::{NOT_SAID, require_success};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult, Task};
use crate::release::rehearsal::TimedMigration;
use crate::release::{Assessment, Migration};
use crate::stack::django::{self, MigrationAnswer, MigrationState, Waiting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::steps) enum Purpose<'a> {
    Asking,
    /// Also where the code that runs cannot bear it.
    Migrating {
        allow: bool,
        served: bool,
    },
    /// On a database that nobody uses.
    Rehearsing,
    /// These.
    TakingBack(&'a [Migration]),
}

/// What was said beside the state.
#[derive(Debug, Default)]
pub(in crate::steps) struct Told {
    /// What was applied.
    pub took: Vec<TimedMigration>,
    /// What was taken back.
    pub reversed: Vec<TimedMigration>,
    /// Why nothing was taken back: what of it cannot be.
    pub irreversible: Option<Vec<String>>,
    /// Why taking back has failed.
    pub not_reversed: Option<String>,
    /// It was ended after so many seconds.
    pub ended: Option<u64>,
}

/// What a container of ours says, as it says it: the state first, then perhaps a migration and the state after it.
pub(in crate::steps) struct Talk<'a> {
    context: Context<'a>,
    step: StepId,
    purpose: Purpose<'a>,
    /// Until the first answer.
    asking: Option<Task>,
    before: Option<MigrationState>,
    /// Since it said that something is pending, and how much.
    pub(in crate::steps) applying: Option<(Task, usize)>,
    /// It will not apply what is pending.
    pub(in crate::steps) refused: bool,
    /// What stands after it has applied, or why that is not known.
    pub(in crate::steps) last: Option<Result<MigrationState, String>>,
    pub(in crate::steps) told: Told,
    unreadable: Option<serde_json::Error>,
}

impl<'a> Talk<'a> {
    pub(in crate::steps) fn begin(context: Context<'a>, step: StepId, purpose: Purpose<'a>) -> Self {
        let title = "asking django which migrations are applied";
        Self {
            context,
            step,
            purpose,
            asking: Some(context.task(step, "state", title)),
            before: None,
            applying: None,
            refused: false,
            last: None,
            told: Told::default(),
            unreadable: None,
        }
    }

    /// The first answer, with how the container ended.
    ///
    /// # Errors
    /// Where there was none, and why.
    pub(in crate::steps) fn before(
        &mut self,
        ended: Result<OneOffResult, Failure>,
    ) -> Result<(MigrationState, Result<OneOffResult, Failure>), Failure> {
        if let Some(before) = self.before.take() {
            return Ok((before, ended));
        }
        let failure = match (require_success(ended, NOT_SAID), self.unreadable.take()) {
            (Err(failure), _) => failure,
            (Ok(_), Some(error)) => Failure::new(FailureKind::Failed, error)
                .context("reading django's answer about its migrations"),
            (Ok(_), None) => Failure::message(
                FailureKind::Failed,
                "django's answer about its migrations is missing from the output",
            ),
        };
        match self.asking.take() {
            Some(task) => task.conclude(Err(failure), |_| (StepResult::Failed, String::new())),
            None => Err(failure),
        }
    }

    fn first_answer(&mut self, state: MigrationState) {
        if let Some(task) = self.asking.take() {
            let counts = format!("{} applied, {} pending", state.applied.len(), state.pending.len());
            task.finish(StepResult::Succeeded, counts);
        }
        let titled = |doing: &str, named: &[Migration]| {
            let names: Vec<String> = named.iter().map(ToString::to_string).collect();
            Some((format!("{doing} {}", names.join(", ")), named.len()))
        };
        let pending = Some(&state.pending[..]).filter(|pending| !pending.is_empty());
        let doing = match self.purpose {
            Purpose::Asking => None,
            Purpose::Migrating { allow, served } => {
                if state.breaks() && !allow {
                    // It says so next.
                    self.before = Some(state);
                    return;
                }
                if served {
                    self.tell_of(&state);
                }
                pending.and_then(|pending| titled("applying", pending))
            }
            Purpose::Rehearsing => pending.and_then(|pending| titled("trying", pending)),
            // No record tells of what a run that failed has applied.
            Purpose::TakingBack([]) => Some(("taking migrations back".to_owned(), 0)),
            Purpose::TakingBack(those) => titled("taking back", those),
        };
        if let Some((title, count)) = doing {
            let task = self.context.task(self.step, "migrate", title);
            self.applying = Some((task, count));
        }
        self.before = Some(state);
    }
}

impl Listener for Talk<'_> {
    fn line(&mut self, line: &str) {
        match (&self.applying, &self.asking) {
            (Some((task, _)), _) | (None, Some(task)) => task.output(line),
            (None, None) => {}
        }
    }

    fn answer(&mut self, answer: &str) {
        match django::parse_migration_answer(answer) {
            Ok(MigrationAnswer::State(state)) if self.asking.is_some() => self.first_answer(state),
            Ok(MigrationAnswer::State(state)) => self.last = Some(Ok(state)),
            Ok(MigrationAnswer::Unknown(why)) => self.last = Some(Err(why)),
            Ok(MigrationAnswer::Refused) => self.refused = true,
            Ok(MigrationAnswer::Took(took)) => {
                self.progress(&format!("{} took {} ms", took.migration, took.milliseconds));
                self.told.took.push(took);
            }
            Ok(MigrationAnswer::Reversed(took)) => {
                self.progress(&format!(
                    "{} was taken back in {} ms",
                    took.migration, took.milliseconds
                ));
                self.told.reversed.push(took);
            }
            Ok(MigrationAnswer::Irreversible(why)) => self.told.irreversible = Some(why),
            Ok(MigrationAnswer::NotReversed(why)) => self.told.not_reversed = Some(why),
            Ok(MigrationAnswer::Ended(seconds)) => {
                self.progress("it takes longer than it may, and is being ended");
                self.told.ended = Some(seconds);
            }
            // Asked for by itself, and not of a step.
            Ok(MigrationAnswer::Loses(_)) => {}
            Ok(MigrationAnswer::Waiting(waiting)) => self.waits(&waiting),
            Ok(MigrationAnswer::Unusable(indexes)) => self.context.warn(
                format!(
                    "indexes stand half-made, and are not used: {}",
                    indexes.join(", ")
                ),
                Some(
                    "drop them (DROP INDEX CONCURRENTLY) before the migration that makes them is tried again"
                        .to_owned(),
                ),
            ),
            Err(error) => self.unreadable = Some(error),
        }
    }
}

impl Talk<'_> {
    fn progress(&self, message: &str) {
        if let Some((task, _)) = &self.applying {
            task.progress(message);
        }
    }

    fn waits(&self, waiting: &Waiting) {
        let migration = waiting
            .migration
            .as_ref()
            .map_or_else(|| "a migration".to_owned(), ToString::to_string);
        let each = waiting.in_the_way.iter().map(|session| {
            format!(
                "database process {} ({}, for {} s: {})",
                session.process, session.state, session.for_seconds, session.query
            )
        });
        let each: Vec<String> = each.collect();
        let who = if each.is_empty() {
            "nobody is in the way any more".to_owned()
        } else {
            format!("in the way may be {}", each.join(", "))
        };
        let next = waiting.next_try.map_or_else(
            || "it is not tried again".to_owned(),
            |number| format!("try {number} of {} follows", waiting.tries),
        );
        let first = waiting.in_the_way.first();
        self.context.warn(
            format!("{migration} did not get its lock in time; {who}; {next}"),
            first.map(|session| {
                format!(
                    "to end the oldest: SELECT pg_terminate_backend({})",
                    session.process
                )
            }),
        );
    }

    /// What is pending and cannot be called harmless, for people.
    fn tell_of(&self, state: &MigrationState) {
        let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for one in &state.assessed {
            let Assessment {
                breaks,
                unsure,
                irreversible,
                loses,
            } = &one.assessment;
            let kinds = [
                ("what runs will fail on it", breaks),
                ("whether what runs bears it cannot be told", unsure),
                ("it cannot be taken back", irreversible),
                ("it deletes for good", loses),
            ];
            for (kind, found) in kinds {
                told.entry(kind).or_default().extend(one.of(found));
            }
        }
        for (kind, found) in told {
            if !found.is_empty() {
                self.context.warn(format!("{kind}: {}", found.join("; ")), None);
            }
        }
    }
}
