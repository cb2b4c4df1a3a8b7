//! `migrate`: applies the release's database migrations, in a container of the new image, and records which stood
//! before and after. A failed migration leaves what was applied in place: the old code still serves, and going back
//! is a decision of its own.

use async_trait::async_trait;

use super::one_off::OneOffResult;
use super::{deploy, images, one_off};
use crate::compose::{Service, ServiceName};
use crate::engine::ImageId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Task, Undone, View,
};
use crate::release::MigrationRecord;
use crate::stack::django::{self, MigrationState};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Migrate;

/// What `deploy.yml` says of Django, with the service it names.
pub(crate) struct Application<'a> {
    pub service: &'a Service,
    pub manage: &'a [String],
}

/// The Django application of the project, if it has one.
pub(crate) fn application(settings: &Settings) -> Option<Application<'_>> {
    let django = settings.config.django.as_ref()?;
    let service = settings.project.services.get(&django.service)?;
    Some(Application {
        service,
        manage: &django.manage,
    })
}

#[async_trait]
impl Step for Migrate {
    fn id(&self) -> StepId {
        StepId::Migrate
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let Some(application) = application(view.settings) else {
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
                "{}, in a container of {}",
                words(&django::migrate_command(application.manage)),
                application.service.name
            ),
        });
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let Some(application) = application(context.settings) else {
            return Ok(Receipt::unchanged(
                "deploy.yml names no django service",
                Fact::Nothing,
            ));
        };
        let prepared = prepare(context, StepId::Migrate, &application).await?;
        let before = migration_state(context, &application, &prepared).await?;
        if before.pending.is_empty() {
            let record = MigrationRecord {
                before: before.applied.clone(),
                after: before.applied,
            };
            return Ok(Receipt::unchanged(
                "no migration is pending",
                Fact::Migrations(record),
            ));
        }
        let pending: Vec<String> = before.pending.iter().map(ToString::to_string).collect();
        let task = context.task(
            StepId::Migrate,
            "migrate",
            format!("applying {}", pending.join(", ")),
        );
        let command = django::migrate_command(application.manage);
        let migrated = prepared
            .run(context, &command, "the migration failed", &task)
            .await;
        let result = task.conclude(migrated, |_| {
            (StepResult::Succeeded, format!("{} applied", pending.len()))
        });
        if let Err(failure) = result {
            return Err(explain_what_stands(context, &application, &prepared, &before, failure).await);
        }
        let after = migration_state(context, &application, &prepared).await?;
        let record = MigrationRecord {
            before: before.applied,
            after: after.applied,
        };
        let added: Vec<String> = record.added().iter().map(ToString::to_string).collect();
        Ok(Receipt::changed(
            format!("applied {}", added.join(", ")),
            Fact::Migrations(record),
        ))
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

/// The image and networks of the application, and its dependencies running.
pub(crate) struct Prepared<'a> {
    service: &'a Service,
    image: ImageId,
    networks: deploy::infrastructure::NetworkIds,
}

impl Prepared<'_> {
    /// Runs a command of the application to its end.
    ///
    /// # Errors
    /// `failed`, where the command ends with another code than 0; and the engine's.
    pub(crate) async fn run(
        &self,
        context: Context<'_>,
        command: &[String],
        failed: &str,
        task: &Task,
    ) -> Result<OneOffResult, Failure> {
        one_off::run(context, self.service, &self.image, &self.networks, command, task)
            .await?
            .require_success(failed)
    }
}

/// Makes a one-off of the application possible: networks, volumes, and what it depends on.
///
/// # Errors
/// Missing images, and dependencies that do not start.
pub(crate) async fn prepare<'a>(
    context: Context<'_>,
    step: StepId,
    application: &Application<'a>,
) -> Result<Prepared<'a>, Failure> {
    let images = images::require(context.view()).await?;
    let name = &application.service.name;
    let image = images
        .get(name)
        .map(|image| image.id.clone())
        .ok_or_else(|| Failure::message(FailureKind::Failed, format!("no image is known for {name}")))?;
    let networks =
        deploy::infrastructure::ensure(context.engine, &context.settings.project, context.run).await?;
    deploy::start_dependencies(context, step, name, &images, &networks).await?;
    Ok(Prepared {
        service: application.service,
        image,
        networks,
    })
}

/// What `prepare` would start.
pub(crate) async fn plan_dependencies(view: View<'_>, service: &ServiceName) -> Result<Vec<Change>, Failure> {
    let missing = deploy::missing_dependencies(view, service).await?;
    Ok(missing
        .into_iter()
        .map(|name| Change {
            kind: ChangeKind::Create,
            target: name.to_string(),
            detail: format!("does not run, and {service} needs it"),
        })
        .collect())
}

async fn migration_state(
    context: Context<'_>,
    application: &Application<'_>,
    prepared: &Prepared<'_>,
) -> Result<MigrationState, Failure> {
    let task = context.task(
        StepId::Migrate,
        "state",
        "asking django which migrations are applied",
    );
    let command = django::migration_state_command(application.manage);
    let failed = "django could not say which migrations are applied";
    let state = match prepared.run(context, &command, failed, &task).await {
        Ok(result) => django::parse_migration_state(&result.stdout).map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    task.conclude(state, |state| {
        (
            StepResult::Succeeded,
            format!("{} applied, {} pending", state.applied.len(), state.pending.len()),
        )
    })
}

/// After a failure the database is asked again: each migration commits on its own, so some may stand.
async fn explain_what_stands(
    context: Context<'_>,
    application: &Application<'_>,
    prepared: &Prepared<'_>,
    before: &MigrationState,
    failure: Failure,
) -> Failure {
    let failure = match &context.state.backup {
        Some(backup) => failure.hint(format!("the backup taken before it: {backup}")),
        None => failure,
    };
    match migration_state(context, application, prepared).await {
        Ok(now) => {
            let stand: Vec<String> = now
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

fn words(command: &[String]) -> String {
    command.join(" ")
}
