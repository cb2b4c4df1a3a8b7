//! The commands before and after the scenarios, in a service's running container. What they write is shown without secrets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::values::{Mask, Values};
use crate::compose::ServiceName;
use crate::config::SmokeCommand;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Settings, StepId, Task};
use crate::steps::hooks::run_in;
use crate::steps::lines::Listener;
use crate::steps::local_command::facts;

fn service<'a>(settings: &'a Settings, command: &'a SmokeCommand) -> Option<&'a ServiceName> {
    let django = || settings.config.django.as_ref().map(|django| &django.service);
    command.r#in.as_ref().or_else(django)
}

/// Where it is run, in words.
pub(super) fn place(settings: &Settings, command: &SmokeCommand) -> String {
    service(settings, command).map_or_else(
        || "nowhere".to_owned(),
        |service| format!("in the running container of {service}"),
    )
}

/// Hands lines on without secrets.
struct Covered<'a> {
    task: &'a Task,
    mask: &'a Mask,
}

impl Listener for Covered<'_> {
    fn line(&mut self, line: &str) {
        self.task.output(self.mask.cover(line));
    }
}

/// Runs it to its end: what it captures.
///
/// # Errors
/// It cannot be run, fails, takes too long, or its last line is not what is captured from.
pub(super) async fn run(
    context: Context<'_>,
    step: StepId,
    command: &SmokeCommand,
    values: &Values,
    mask: &Mask,
    task: &Task,
) -> Result<Vec<(String, Value)>, Failure> {
    let ran = in_container(context, step, command, values, mask, task);
    match tokio::time::timeout(command.timeout.0, ran).await {
        Ok(ran) => ran,
        Err(_) => Err(failed(format!(
            "it was not done after {} s, and is not waited for",
            command.timeout.0.as_secs_f64()
        ))
        .hint("to give it longer: `timeout` beside its `run` in deploy.yml")),
    }
}

fn failed(message: String) -> Failure {
    Failure::message(FailureKind::Gate, message)
}

async fn in_container(
    context: Context<'_>,
    step: StepId,
    command: &SmokeCommand,
    values: &Values,
    mask: &Mask,
    task: &Task,
) -> Result<Vec<(String, Value)>, Failure> {
    let service = service(context.settings, command)
        .ok_or_else(|| failed("nothing says in which service it is run".to_owned()))?;
    let mut environment: BTreeMap<String, String> = facts(context, step);
    let own = values
        .fill_all(&command.environment)
        .map_err(|missing| failed(format!("`${{{}}}` stands for nothing", missing.0)))?;
    environment.extend(own);
    let mut listener = Covered { task, mask };
    let (exit, heard) = run_in(context, service, &command.run, environment, &mut listener).await?;
    if !exit.success() {
        let lines = heard.last_lines.iter().map(|line| mask.cover(line)).collect();
        return Err(failed(format!("it failed (exit code {})", exit.code)).evidence("what it wrote", lines));
    }
    if command.capture.is_empty() {
        return Ok(Vec::new());
    }
    let last = heard.stdout.lines().rev().find(|line| !line.trim().is_empty());
    let json: Value = last
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| {
            failed("the last line of its output is not JSON, from which it captures".to_owned())
        })?;
    let capture = |(name, path): (&crate::config::VariableName, &crate::config::JsonPath)| {
        let found = path.find(&json).cloned();
        let found = found.ok_or_else(|| failed(format!("there is no {path} in the last line of its output")));
        Ok((name.as_str().to_owned(), found?))
    };
    command.capture.iter().map(capture).collect()
}
