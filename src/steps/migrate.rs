//! `migrate`: applies the release's database migrations, in a container of the new image, and records which stood
//! before and after. One container asks, applies and asks again, so that Django starts once; a second one asks only
//! where the first could not say what stands. A failed migration leaves what was applied in place: the old code still
//! serves, and going back is a decision of its own.

pub mod judgement;
pub(super) mod talk;

use std::time::Duration;

use async_trait::async_trait;

use self::talk::{Purpose, Talk};
use super::application::{Application, NO_APPLICATION, Preparation, Prepared, plan_dependencies};
use super::backup::restore;
use super::one_off::{Command, OneOffResult};
use super::{deploy, images, one_off};
use crate::engine::ContainerState;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View, WhenAnotherFails,
};
use crate::release::{Migration, MigrationRecord};
use crate::stack::django::{self, MigrationState};

/// Production has others to wait for, and colder caches.
const BEYOND_THE_COPY: u32 = 3;
/// Below this a limit would end what merely waits for its lock.
const AT_LEAST: Duration = Duration::from_secs(60);

pub(super) const NOT_SAID: &str = "django could not say which migrations are applied";

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
        changes.extend(view.state.judged.iter().cloned());
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let Some(application) = Application::of(context.settings) else {
            return Ok(Receipt::unchanged(NO_APPLICATION, Fact::Nothing));
        };
        // Found out by a rehearsal a moment ago.
        if let Some(applied) = &context.state.nothing_pending {
            return Ok(nothing_pending(applied.clone()));
        }
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
        if context.settings.maintenance {
            // Nobody has written since the backup was made: with it nothing is lost but what the migration did.
            if let Some(back) = as_in_the_backup(context).await? {
                return Ok(back);
            }
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

/// Restores the database from the backup of this run, where other migrations stand now than then.
async fn as_in_the_backup(context: Context<'_>) -> Result<Option<Undone>, Failure> {
    let Some(backup) = &context.state.backup else {
        return Ok(None);
    };
    let restored = restore::as_it_was(context, StepId::Migrate, backup).await?;
    Ok(restored.map(|said| Undone::Reverted {
        message: said,
        restored_previous: true,
    }))
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
        let served = is_served(self.context, self.application).await?;
        let allow = self.context.settings.allow_incompatible || !served;
        let command = django::migrate_command(self.application.manage, allow, within(self.context));
        let mut talk = Talk::begin(
            self.context,
            StepId::Migrate,
            Purpose::Migrating { allow, served },
        );
        let ended = self.run("migrate", &command, &mut talk).await;
        let (before, ended) = talk.before(ended)?;
        if talk.refused {
            require_success(ended, NOT_SAID)?;
            return Err(refused(&before));
        }
        let Some((task, pending)) = talk.applying else {
            require_success(ended, NOT_SAID)?;
            return Ok(nothing_pending(before.applied));
        };
        let migrated = task.conclude(require_success(ended, "the migration failed"), |_| {
            (StepResult::Succeeded, format!("{pending} applied"))
        });
        // It may have been ended before it could say.
        let migrated = migrated.map_err(|failure| match talk.told.ended {
            None => failure,
            Some(seconds) => failure
                .context(format!("it took longer than {seconds} s, and was ended"))
                .hint("django.migrate_within in deploy.yml says how long a migration may take"),
        });
        let after = match talk.last {
            Some(told) => told.map_err(|why| Failure::message(FailureKind::Failed, why)),
            None => self.ask_again().await,
        };
        match migrated {
            Ok(_) => {
                let record = MigrationRecord {
                    before: before.applied,
                    after: after?.applied,
                    assessed: before.assessed,
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
        let words = django::migration_state_command(self.application.manage);
        let command = Command {
            name: "state",
            words: &words,
        };
        let Self {
            context,
            application,
            prepared,
        } = self;
        asked(*context, StepId::Migrate, application, prepared, command).await
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

/// How long all of it may take: as `deploy.yml` says, else three times as long as on the copy.
fn within(context: Context<'_>) -> Option<Duration> {
    let configured = context.settings.config.django.as_ref();
    if let Some(within) = configured.and_then(|django| django.migrate_within) {
        return Some(within.0);
    }
    let rehearsal = context.state.rehearsal.as_ref()?;
    let tried = Duration::from_millis(rehearsal.milliseconds());
    Some((tried * BEYOND_THE_COPY).max(AT_LEAST))
}

fn nothing_pending(applied: Vec<Migration>) -> Receipt {
    let record = MigrationRecord {
        before: applied.clone(),
        after: applied,
        assessed: Vec::new(),
    };
    Receipt::unchanged("no migration is pending", Fact::Migrations(record))
}

/// Whether code runs that does not know the migrations.
pub(super) async fn is_served(context: Context<'_>, application: &Application<'_>) -> Result<bool, Failure> {
    let standing = deploy::standing(context.engine, &context.settings.project.name).await?;
    let containers = deploy::containers_of(&standing, &application.service.name);
    Ok(containers.iter().any(|one| one.state == ContainerState::Running))
}

/// What Django answers about its migrations to a command that only asks.
pub(super) async fn asked(
    context: Context<'_>,
    step: StepId,
    application: &Application<'_>,
    prepared: &Prepared,
    command: Command<'_>,
) -> Result<MigrationState, Failure> {
    let mut talk = Talk::begin(context, step, Purpose::Asking);
    let ended = prepared.run(context, application, command, &mut talk).await;
    let (state, ended) = talk.before(ended)?;
    require_success(ended, NOT_SAID)?;
    Ok(state)
}

/// Applies whatever is pending, for as long as that takes: where nobody is served whom it could harm. What stood before;
/// `judged` tells how the container has to end, `where_to` ends the sentence of what was applied.
pub(super) async fn apply_all(
    context: Context<'_>,
    step: StepId,
    application: &Application<'_>,
    prepared: &Prepared,
    where_to: &str,
    judged: impl FnOnce(Result<OneOffResult, Failure>) -> Result<OneOffResult, Failure>,
) -> Result<MigrationState, Failure> {
    let words = django::migrate_command(application.manage, true, None);
    let command = Command {
        name: "migrate",
        words: &words,
    };
    let purpose = Purpose::Migrating {
        allow: true,
        served: false,
    };
    let mut talk = Talk::begin(context, step, purpose);
    let ended = prepared.run(context, application, command, &mut talk).await;
    let (before, ended) = talk.before(ended)?;
    let ended = judged(ended);
    match talk.applying {
        Some((task, pending)) => {
            task.conclude(ended, |_| {
                (StepResult::Succeeded, format!("{pending} applied{where_to}"))
            })?;
        }
        None => {
            ended?;
        }
    }
    Ok(before)
}

/// Why nothing was applied.
pub(super) fn refused(state: &MigrationState) -> Failure {
    let each = state
        .assessed
        .iter()
        .flat_map(|one| one.of(&one.assessment.breaks));
    Failure::message(
        FailureKind::Gate,
        "the running release would fail on the migrated database, and both run until it is replaced; nothing was migrated",
    )
    .evidence("what it would fail on", each.collect())
    .hint("take two releases: one that can do without, and one that migrates")
    .hint("to close the site for it, so that nothing is lost: viatique-deploy run --maintenance")
    .hint("to migrate all the same, and lose requests until the new release serves: --allow-breaking")
}

pub(super) fn require_success(
    ended: Result<OneOffResult, Failure>,
    what: &str,
) -> Result<OneOffResult, Failure> {
    ended.and_then(|result| result.require_success(what))
}
