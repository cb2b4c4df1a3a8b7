//! `collectstatic`: collects the release's static files into their volume, before the switch. Nothing is cleared:
//! pages of the old release still ask for their own hashed files.

use async_trait::async_trait;

use super::application::{Application, Preparation, plan_dependencies};
use super::{deploy, images, one_off};
use crate::error::Failure;
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};
use crate::stack::django;

/// The step.
#[derive(Debug, Clone, Default)]
pub struct Collectstatic(Preparation);

impl Collectstatic {
    /// The step, sharing what it needs with another.
    pub const fn sharing(preparation: Preparation) -> Self {
        Self(preparation)
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
                "{}, in a container of {}",
                django::collectstatic_command(application.manage).join(" "),
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
        let preparation = self.0.prepared(context, StepId::Collectstatic, &application);
        let prepared = preparation.await?;
        let task = context.task(StepId::Collectstatic, "collectstatic", "collecting static files");
        let command = one_off::Command {
            name: "collectstatic",
            words: &django::collectstatic_command(application.manage),
        };
        let collected = match prepared.run(context, &application, command, &mut &task).await {
            Ok(result) => result.require_success("static files could not be collected"),
            Err(failure) => Err(failure),
        };
        let result = task.conclude(collected, |result| {
            (StepResult::Succeeded, last_line(&result.stdout))
        })?;
        Ok(Receipt::changed(last_line(&result.stdout), Fact::Nothing))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let removed =
            one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        // What it needed and did not find, on a first deploy.
        match deploy::put_previous_back(context).await? {
            Undone::NothingToDo => {}
            reverted @ (Undone::Reverted { .. } | Undone::LeftInPlace { .. }) => return Ok(reverted),
        }
        Ok(if removed == 0 {
            Undone::LeftInPlace {
                why: "collected files disturb no other release".to_owned(),
            }
        } else {
            Undone::Reverted {
                message: format!("removed {removed} one-off containers"),
                restored_previous: false,
            }
        })
    }
}

/// Django's own summary: "3 static files copied to '/static', 127 unmodified."
fn last_line(stdout: &str) -> String {
    let line = stdout.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("collected").trim_end_matches('.').to_owned()
}
