//! `collectstatic`: collects the release's static files into their volume, before the switch. Nothing is cleared:
//! pages of the old release still ask for their own hashed files.

use async_trait::async_trait;

use super::migrate::{application, plan_dependencies, prepare};
use super::{images, one_off};
use crate::error::Failure;
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};
use crate::stack::django;

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Collectstatic;

#[async_trait]
impl Step for Collectstatic {
    fn id(&self) -> StepId {
        StepId::Collectstatic
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let Some(application) = application(view.settings) else {
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
        let Some(application) = application(context.settings) else {
            return Ok(Receipt::unchanged(
                "deploy.yml names no django service",
                Fact::Nothing,
            ));
        };
        let prepared = prepare(context, StepId::Collectstatic, &application).await?;
        let task = context.task(StepId::Collectstatic, "collectstatic", "collecting static files");
        let command = django::collectstatic_command(application.manage);
        let collected = prepared
            .run(context, &command, "static files could not be collected", &task)
            .await;
        let result = task.conclude(collected, |result| {
            (StepResult::Succeeded, last_line(&result.stdout))
        })?;
        Ok(Receipt::changed(last_line(&result.stdout), Fact::Nothing))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let removed =
            one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
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
