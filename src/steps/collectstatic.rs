//! `collectstatic`: collects the release's static files into their volume, before the switch. Nothing is cleared:
//! pages of the old release still ask for their own hashed files. A run that is taken back has what serves collect its
//! own again: the manifest that names the hashed files is one for all releases, and read by each new process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::application::{Application, NO_APPLICATION, Preparation, plan_dependencies};
use super::deploy::{containers_of, infrastructure, is_of_this_run, standing};
use super::one_off::OneOffResult;
use super::{deploy, images, one_off};
use crate::engine::{Container, ContainerState};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, View,
};
use crate::stack::django;

/// How long collecting the old files again may hold up the way back.
const AGAIN_LIMIT: Duration = Duration::from_secs(120);

/// The step.
#[derive(Debug, Default)]
pub struct Collectstatic {
    preparation: Preparation,
    /// The files may not be what they were.
    touched: AtomicBool,
}

impl Collectstatic {
    /// The step, sharing what it needs with another.
    pub const fn sharing(preparation: Preparation) -> Self {
        Self {
            preparation,
            touched: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Step for Collectstatic {
    fn id(&self) -> StepId {
        StepId::Collectstatic
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let Some(application) = Application::of(view.settings) else {
            return Ok(Vec::new());
        };
        if !view.state.build_planned {
            images::require(view).await?;
        }
        let mut changes = if view.state.build_planned {
            // `migrate` has planned them.
            Vec::new()
        } else {
            plan_dependencies(view, &application.service.name).await?
        };
        changes.push(Change {
            kind: ChangeKind::Run,
            target: "static files".to_owned(),
            detail: format!(
                "{} collectstatic --noinput, each file replaced in one step, in a container of {}",
                application.manage.join(" "),
                application.service.name
            ),
        });
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let Some(application) = Application::of(context.settings) else {
            return Ok(Receipt::unchanged(NO_APPLICATION, Fact::Nothing));
        };
        let preparation = self
            .preparation
            .prepared(context, StepId::Collectstatic, &application);
        let prepared = preparation.await?;
        self.touched.store(true, Ordering::Relaxed);
        let task = context.task(StepId::Collectstatic, "collectstatic", "collecting static files");
        let command = one_off::Command {
            name: "collectstatic",
            words: &django::collectstatic_command(application.manage),
        };
        let ran = prepared.run(context, &application, command, &mut &task).await;
        let said = conclude(task, ran, "static files could not be collected")?;
        Ok(Receipt::changed(said, Fact::Nothing))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let removed =
            one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        // What it needed and did not find, on a first deploy.
        match deploy::put_previous_back(context).await? {
            Undone::NothingToDo => {}
            reverted @ (Undone::Reverted { .. } | Undone::LeftInPlace { .. }) => return Ok(reverted),
        }
        if self.touched.load(Ordering::Relaxed)
            && let Some(undone) = collect_again(context).await
        {
            return Ok(undone);
        }
        Ok(if removed == 0 {
            Undone::NothingToDo
        } else {
            Undone::Reverted {
                message: format!("removed {removed} one-off containers"),
                restored_previous: false,
            }
        })
    }
}

/// Has what serves collect its own files again. `None` where nothing serves that could. What serves goes on doing so
/// whatever comes of this, so a failure is a warning.
async fn collect_again(context: Context<'_>) -> Option<Undone> {
    let application = Application::of(context.settings)?;
    let collected = tokio::time::timeout(AGAIN_LIMIT, collect_from_old(context, &application)).await;
    let too_long = |_| {
        let why = format!("not done after {} s", AGAIN_LIMIT.as_secs());
        Err(Failure::message(FailureKind::Failed, why))
    };
    match collected.unwrap_or_else(too_long) {
        Ok(None) => None,
        Ok(Some(message)) => Some(Undone::Reverted {
            message: format!("what serves has collected its own again: {message}"),
            restored_previous: false,
        }),
        Err(failure) => {
            let project = &context.settings.project.name;
            // It may have been stopped half-way; what this leaves is swept by the next run.
            let swept = one_off::sweep(context.engine, project, context.run, false).await;
            if let Err(second) = swept {
                tracing::warn!(error = %second.error, "a one-off container may be left");
            }
            let serves = context.settings.current.as_ref();
            context.warn(
                format!(
                    "what serves could not collect its static files again: {:#}; a process of it that starts anew \
                     finds the list of the files of {}",
                    failure.error, context.settings.tag
                ),
                serves.map(|release| format!("viatique-deploy rollback --to {}", release.tag)),
            );
            Some(Undone::LeftInPlace {
                why: "the files that were collected stay".to_owned(),
            })
        }
    }
}

async fn collect_from_old(
    context: Context<'_>,
    application: &Application<'_>,
) -> Result<Option<String>, Failure> {
    let project = &context.settings.project;
    let service = application.service;
    let standing = standing(context.engine, &project.name).await?;
    let serves = |one: &&Container| one.state == ContainerState::Running && !is_of_this_run(context, one);
    let Some(old) = containers_of(&standing, &service.name).iter().rfind(serves) else {
        return Ok(None);
    };
    let networks = infrastructure::find_networks(context.engine, project).await?;
    let title = "having what serves collect its static files again";
    let task = context.task(StepId::Collectstatic, "collectstatic again", title);
    let words = django::collectstatic_command(application.manage);
    let command = one_off::Command {
        name: "collectstatic-again",
        words: &words,
    };
    let mut heard = &task;
    let ran = one_off::run_heard(context, service, &old.image, &networks, command, &mut heard).await;
    conclude(task, ran, "it failed").map(Some)
}

/// Ends the task as the command ended; says what Django said last.
fn conclude(task: Task, ran: Result<OneOffResult, Failure>, what: &str) -> Result<String, Failure> {
    let said = ran
        .and_then(|result| result.require_success(what))
        .map(|result| last_line(&result.stdout));
    task.conclude(said, |said| (StepResult::Succeeded, said.clone()))
}

/// Django's own summary: "3 static files copied to '/static', 127 unmodified."
fn last_line(stdout: &str) -> String {
    let line = stdout.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("collected").trim_end_matches('.').to_owned()
}
