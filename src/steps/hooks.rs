//! Hooks: the operator's own commands before and after a step, on this machine or in a service's running container. A
//! hook that fails fails its step: before it, the step is not begun; after it, the step is taken back with the run.
//!
//! After a crash a hook on this machine may run on, and so may one in a container: what it did is its own affair.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::deploy::{containers_of, has_left, standing};
use super::lines::{Heard, Lines, Listener};
use super::local_command::{self, LocalCommand, Output, Ran};
use crate::compose::ServiceName;
use crate::config::Hook;
use crate::engine::{Container, ContainerState, ExecSpec, Exit};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Receipt, Settings, Step, StepId, StepResult, Task, Undone, View,
    WhenAnotherFails,
};

/// A step with the hooks before and after it.
pub struct Hooked {
    step: Box<dyn Step>,
    before: Vec<Hook>,
    after: Vec<Hook>,
}

impl Hooked {
    /// The step with those of the hooks that are meant for it; the step itself where there are none.
    pub fn by(step: Box<dyn Step>, hooks: &[Hook]) -> Box<dyn Step> {
        let id = Some(step.id());
        let meant = |of: fn(&Hook) -> Option<StepId>| -> Vec<Hook> {
            hooks.iter().filter(|hook| of(hook) == id).cloned().collect()
        };
        let (before, after) = (meant(|hook| hook.before), meant(|hook| hook.after));
        if before.is_empty() && after.is_empty() {
            return step;
        }
        Box::new(Self { step, before, after })
    }

    async fn run_all(&self, context: Context<'_>, hooks: &[Hook], when: &str) -> Result<(), Failure> {
        for hook in hooks {
            let line = hook.run.join(" ");
            let task = context.task(
                self.step.id(),
                format!("hook {line}"),
                format!("hook {when} it: {line}"),
            );
            let ran = run(context, self.step.id(), hook, &task).await;
            let place = hook
                .r#in
                .as_ref()
                .map_or_else(String::new, |service| format!(" in {service}"));
            let ran = ran.map_err(|failure| {
                failure.context(format!(
                    "the hook `{line}`{place}, {when} {}",
                    self.step.id().as_str()
                ))
            });
            task.conclude(ran, |()| (StepResult::Succeeded, "done".to_owned()))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Step for Hooked {
    fn id(&self) -> StepId {
        self.step.id()
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let change = |when: &str, hook: &Hook| Change {
            kind: ChangeKind::Run,
            target: format!("hook {}", hook.run.join(" ")),
            detail: format!(
                "{when} the step, {}",
                hook.r#in.as_ref().map_or_else(
                    || "on this machine".to_owned(),
                    |service| format!("in the running container of {service}")
                )
            ),
        };
        let mut changes: Vec<Change> = self.before.iter().map(|hook| change("before", hook)).collect();
        changes.extend(self.step.plan(view).await?);
        changes.extend(self.after.iter().map(|hook| change("after", hook)));
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        self.run_all(context, &self.before, "before").await?;
        let mut receipt = self.step.apply(context).await?;
        self.run_all(context, &self.after, "after").await?;
        receipt.changed |= !self.before.is_empty() || !self.after.is_empty();
        Ok(receipt)
    }

    fn when_another_fails(&self) -> WhenAnotherFails {
        self.step.when_another_fails()
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        self.step.undo(context).await
    }

    async fn settle(&self, context: Context<'_>) -> Result<(), Failure> {
        self.step.settle(context).await
    }

    fn require(&self, settings: &Settings) -> Result<(), Failure> {
        self.step.require(settings)
    }
}

async fn run(context: Context<'_>, step: StepId, hook: &Hook, task: &Task) -> Result<(), Failure> {
    let facts = local_command::facts(context, step);
    match &hook.r#in {
        Some(service) => {
            let ran = in_service(context, service, hook, facts, task);
            match tokio::time::timeout(hook.timeout.0, ran).await {
                Ok(ran) => ran,
                Err(_) => Err(too_long(hook)),
            }
        }
        None => on_this_machine(context, hook, facts, task).await,
    }
}

async fn on_this_machine(
    context: Context<'_>,
    hook: &Hook,
    facts: BTreeMap<String, String>,
    task: &Task,
) -> Result<(), Failure> {
    let command = LocalCommand {
        words: &hook.run,
        folder: context.settings.config.directory(),
        environment: facts,
        time_limit: hook.timeout.0,
        output: Output::Heard,
    };
    match local_command::run(command, task).await? {
        Ran::Ended(ended) if ended.status.success() => Ok(()),
        Ran::Ended(ended) => Err(failed(&ended.status.to_string(), ended.last_lines)),
        Ran::NotThere => Err(Failure::message(
            FailureKind::Failed,
            "starting it: there is no such program",
        )),
        Ran::TimedOut => Err(too_long(hook)),
    }
}

fn too_long(hook: &Hook) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!(
            "it was not done after {} s, and is not waited for",
            hook.timeout.0.as_secs()
        ),
    )
    .hint("to give it longer: `timeout` beside its `run` in deploy.yml")
}

async fn in_service(
    context: Context<'_>,
    service: &ServiceName,
    hook: &Hook,
    facts: BTreeMap<String, String>,
    task: &Task,
) -> Result<(), Failure> {
    let mut listener = task;
    let (exit, heard) = run_in(context, service, &hook.run, facts, &mut listener).await?;
    if exit.success() {
        return Ok(());
    }
    Err(failed(&format!("exit code {}", exit.code), heard.last_lines))
}

/// Runs a command in a service's container, to its end.
///
/// # Errors
/// Where no container of it runs; the engine's. A command that fails is a result.
pub(super) async fn run_in(
    context: Context<'_>,
    service: &ServiceName,
    command: &[String],
    environment: BTreeMap<String, String>,
    listener: &mut dyn Listener,
) -> Result<(Exit, Heard), Failure> {
    let container = running(context, service).await?;
    let spec = ExecSpec {
        command: command.to_vec(),
        environment,
        ..ExecSpec::default()
    };
    let mut lines = Lines::heard_by(listener);
    let exit = context
        .engine
        .exec(&container.id, &spec, None, &mut lines)
        .await?;
    Ok((exit, lines.end()))
}

/// The container of a service in which commands are run: the newest that runs, and has not given its place up.
///
/// # Errors
/// None does; the engine's.
async fn running(context: Context<'_>, service: &ServiceName) -> Result<Container, Failure> {
    let standing = standing(context.engine, &context.settings.project.name).await?;
    let running = containers_of(&standing, service)
        .iter()
        .rev()
        .find(|container| container.state == ContainerState::Running && !has_left(context, container));
    running
        .cloned()
        .ok_or_else(|| Failure::message(FailureKind::Failed, format!("no container of {service} runs")))
}

fn failed(how: &str, lines: Vec<String>) -> Failure {
    Failure::message(FailureKind::Failed, format!("it failed ({how})")).evidence("what it wrote", lines)
}
