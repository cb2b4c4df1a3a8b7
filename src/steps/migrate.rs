//! `migrate`: applies the release's database migrations, in a container of the new image, and records which stood
//! before and after. One container asks, applies and asks again, so that Django starts once; a second one asks only
//! where the first could not say what stands. A failed migration leaves what was applied in place: the old code still
//! serves, and going back is a decision of its own.

use async_trait::async_trait;

use super::application::{Application, Preparation, Prepared, plan_dependencies};
use super::lines::Listener;
use super::one_off::{Command, OneOffResult};
use super::{deploy, images, one_off};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, View,
    WhenAnotherFails,
};
use crate::release::MigrationRecord;
use crate::stack::django::{self, MigrationAnswer, MigrationState};

const NOT_SAID: &str = "django could not say which migrations are applied";

/// The step.
#[derive(Debug, Clone, Default)]
pub struct Migrate(Preparation);

impl Migrate {
    /// The step, sharing what it needs with another.
    pub const fn sharing(preparation: Preparation) -> Self {
        Self(preparation)
    }
}

#[async_trait]
impl Step for Migrate {
    fn id(&self) -> StepId {
        StepId::Migrate
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let Some(application) = Application::of(view.settings) else {
            return Ok(Vec::new());
        };
        if !view.state.build_planned {
            images::require(view).await?;
        }
        let mut changes = plan_dependencies(view, &application.service.name).await?;
        changes.push(Change {
            kind: ChangeKind::Run,
            target: "migrations".to_owned(),
            detail: format!(
                "{} migrate, in a container of {}",
                application.manage.join(" "),
                application.service.name
            ),
        });
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let Some(application) = Application::of(context.settings) else {
            return Ok(Receipt::unchanged(
                "deploy.yml names no django service",
                Fact::Nothing,
            ));
        };
        let prepared = self.0.prepared(context, StepId::Migrate, &application).await?;
        let one_offs = OneOffs {
            context,
            application: &application,
            prepared,
        };
        one_offs.migrate().await
    }

    /// A migration that is dropped half-way can leave a schema that fits neither release.
    fn when_another_fails(&self) -> WhenAnotherFails {
        WhenAnotherFails::FinishesFirst
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let removed =
            one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        // What the migration needed and did not find, on a first deploy.
        match deploy::put_previous_back(context).await? {
            Undone::NothingToDo => {}
            reverted @ (Undone::Reverted { .. } | Undone::LeftInPlace { .. }) => return Ok(reverted),
        }
        Ok(match (&context.state.migrations, removed) {
            (Some(record), _) if !record.added().is_empty() => Undone::LeftInPlace {
                why: format!(
                    "the migrations stay applied: {}",
                    record
                        .added()
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            },
            (_, 0) => Undone::NothingToDo,
            (_, removed) => Undone::Reverted {
                message: format!("removed {removed} one-off containers"),
                restored_previous: false,
            },
        })
    }
}

/// The containers of the step.
struct OneOffs<'a> {
    context: Context<'a>,
    application: &'a Application<'a>,
    prepared: &'a Prepared,
}

impl OneOffs<'_> {
    /// Applies what is pending, if anything is.
    async fn migrate(&self) -> Result<Receipt, Failure> {
        let mut talk = Talk::begin(self.context, Purpose::Migrating);
        let ended = self
            .run(
                "migrate",
                &django::migrate_command(self.application.manage),
                &mut talk,
            )
            .await;
        let (before, ended) = talk.before(ended)?;
        let Some((task, pending)) = talk.applying else {
            require_success(ended, NOT_SAID)?;
            let record = MigrationRecord {
                before: before.applied.clone(),
                after: before.applied,
            };
            return Ok(Receipt::unchanged(
                "no migration is pending",
                Fact::Migrations(record),
            ));
        };
        let migrated = task.conclude(require_success(ended, "the migration failed"), |_| {
            (StepResult::Succeeded, format!("{pending} applied"))
        });
        // It may have been ended before it could say.
        let after = match talk.last {
            Some(MigrationAnswer::State(state)) => Ok(state),
            Some(MigrationAnswer::Unknown(why)) => Err(Failure::message(FailureKind::Failed, why)),
            None => self.ask_again().await,
        };
        match migrated {
            Ok(_) => {
                let record = MigrationRecord {
                    before: before.applied,
                    after: after?.applied,
                };
                let added: Vec<String> = record.added().iter().map(ToString::to_string).collect();
                Ok(Receipt::changed(
                    format!("applied {}", added.join(", ")),
                    Fact::Migrations(record),
                ))
            }
            Err(failure) => Err(self.explain_what_stands(&before, after, failure)),
        }
    }

    async fn ask_again(&self) -> Result<MigrationState, Failure> {
        let mut talk = Talk::begin(self.context, Purpose::Asking);
        let command = django::migration_state_command(self.application.manage);
        let ended = self.run("state", &command, &mut talk).await;
        let (state, ended) = talk.before(ended)?;
        require_success(ended, NOT_SAID)?;
        Ok(state)
    }

    async fn run(&self, name: &str, words: &[String], talk: &mut Talk<'_>) -> Result<OneOffResult, Failure> {
        let command = Command { name, words };
        self.prepared
            .run(self.context, self.application, command, talk)
            .await
    }

    /// Each migration commits on its own, so after a failure some may stand.
    fn explain_what_stands(
        &self,
        before: &MigrationState,
        after: Result<MigrationState, Failure>,
        failure: Failure,
    ) -> Failure {
        let failure = match &self.context.state.backup {
            Some(backup) => failure.hint(format!("the backup taken before it: {backup}")),
            None => failure,
        };
        match after {
            Ok(after) => {
                let stand: Vec<String> = after
                    .applied
                    .iter()
                    .filter(|migration| !before.applied.contains(migration))
                    .map(ToString::to_string)
                    .collect();
                if stand.is_empty() {
                    failure.hint("none of the pending migrations stands; the running release is not affected")
                } else {
                    failure.hint(format!(
                        "these migrations stand and were not taken back, the running release serves with them: {}",
                        stand.join(", ")
                    ))
                }
            }
            Err(second) => failure.hint(format!(
                "which migrations stand could not be found out: {:#}",
                second.error
            )),
        }
    }
}

fn require_success(ended: Result<OneOffResult, Failure>, what: &str) -> Result<OneOffResult, Failure> {
    ended.and_then(|result| result.require_success(what))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Asking,
    Migrating,
}

/// What a container of ours says, as it says it: the state first, then perhaps a migration and the state after it.
struct Talk<'a> {
    context: Context<'a>,
    purpose: Purpose,
    /// Until the first answer.
    asking: Option<Task>,
    before: Option<MigrationState>,
    /// Since it said that something is pending, and how much.
    applying: Option<(Task, usize)>,
    last: Option<MigrationAnswer>,
    unreadable: Option<serde_json::Error>,
}

impl<'a> Talk<'a> {
    fn begin(context: Context<'a>, purpose: Purpose) -> Self {
        let title = "asking django which migrations are applied";
        Self {
            context,
            purpose,
            asking: Some(context.task(StepId::Migrate, "state", title)),
            before: None,
            applying: None,
            last: None,
            unreadable: None,
        }
    }

    /// The first answer, with how the container ended.
    ///
    /// # Errors
    /// Where there was none, and why.
    fn before(
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
        if self.purpose == Purpose::Migrating && !state.pending.is_empty() {
            let pending: Vec<String> = state.pending.iter().map(ToString::to_string).collect();
            let title = format!("applying {}", pending.join(", "));
            let task = self.context.task(StepId::Migrate, "migrate", title);
            self.applying = Some((task, pending.len()));
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
            Ok(answer) => self.last = Some(answer),
            Err(error) => self.unreadable = Some(error),
        }
    }
}
