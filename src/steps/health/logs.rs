//! The last lines that the application and Celery have written, read for errors. What is found is told and fails nothing:
//! it may be of yesterday. Whether an error is new is `monitor`'s business.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use time::OffsetDateTime;

use super::LOGS;
use crate::compose::Service;
use crate::engine::{Container, LogRange};
use crate::error::Failure;
use crate::pipeline::{Context, StepId, StepResult};
use crate::stack::logged_errors::ErrorReader;
use crate::stack::program::program;
use crate::steps::deploy::started_with;

/// So many lines of each container, as the workflow's checklist has it.
const LINES: u32 = 100;

/// Reads them, and tells what is in them.
///
/// # Errors
/// The engine's.
pub(super) async fn read_logs(
    context: Context<'_>,
    running: &[(&Service, Container)],
) -> Result<(), Failure> {
    let django = context.settings.config.django.as_ref();
    let mut read = Vec::new();
    let mut errors: BTreeMap<(String, String), u64> = BTreeMap::new();
    let title = format!("reading the last {LINES} lines of each log");
    let task = context.task(StepId::Health, LOGS, title);
    for (service, container) in running {
        let is_application = django.is_some_and(|one| one.service == service.name);
        if !is_application && program(&started_with(service, &container.id).0).is_none() {
            continue;
        }
        read.push(container.name.clone());
        for fingerprint in errors_of(context, container).await? {
            *errors.entry((service.name.to_string(), fingerprint)).or_default() += 1;
        }
    }
    if read.is_empty() {
        task.finish(StepResult::NotRun, "no service of the application runs");
    } else if errors.is_empty() {
        let message = format!("no errors in the last {LINES} lines of {}", read.join(", "));
        task.finish(StepResult::Succeeded, message);
    } else {
        let all: u64 = errors.values().sum();
        task.finish(StepResult::Warned, format!("{all} errors"));
        for ((service, fingerprint), times) in errors {
            context.warn(
                format!("in the log of {service}, {times} times: {fingerprint}"),
                Some(format!("docker compose logs --tail {LINES} {service}")),
            );
        }
    }
    Ok(())
}

/// Each error by what tells it from others. Those that visitors bring about are none of the release's.
async fn errors_of(context: Context<'_>, container: &Container) -> Result<Vec<String>, Failure> {
    let range = LogRange {
        since: OffsetDateTime::UNIX_EPOCH,
        newest: LINES,
        follow: false,
    };
    let mut lines = context.engine.log_lines(&container.id, &range).await?;
    let mut reader = ErrorReader::default();
    let mut errors = Vec::new();
    while let Some(line) = lines.next().await {
        errors.extend(reader.line(&line?.text));
    }
    errors.extend(reader.take());
    let ours = errors.into_iter().filter(|error| !error.by_visitor);
    Ok(ours.map(|error| error.fingerprint).collect())
}
