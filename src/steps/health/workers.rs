//! Whether Celery's workers take tasks: each is asked for a ping in its own container, because a worker that has lost its
//! broker runs on and looks well. Not asked again is one that this run has started, and whose health test is that question.

use tokio::time::Instant;

use super::{PAUSE, both, evidence};
use crate::compose::Service;
use crate::engine::Container;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult, Task};
use crate::stack::celery;
use crate::stack::program::{Program, program};
use crate::steps::deploy::{Pinged, is_of_this_run, ping, started_with, test_pings_worker};

/// Asks all of them, side by side.
///
/// # Errors
/// The gate's, where one does not answer within the time that `health` gives; the engine's.
pub(super) async fn check_workers(
    context: Context<'_>,
    running: &[(&Service, Container)],
) -> Result<(), Failure> {
    let mut asking = Vec::new();
    for (service, container) in running {
        if is_of_this_run(context, container) && test_pings_worker(service) {
            continue;
        }
        let (words, hostname) = started_with(service, &container.id);
        match program(&words) {
            Some(Program::CeleryWorker { .. }) => {
                asking.push(answers(context, service, container, words, hostname));
            }
            Some(
                Program::Gunicorn { .. }
                | Program::Uvicorn { .. }
                | Program::Uwsgi { .. }
                | Program::Daphne
                | Program::Hypercorn
                | Program::CeleryBeat,
            )
            | None => {}
        }
    }
    let answers = futures_util::future::join_all(asking).await;
    let failed = answers.into_iter().filter_map(Result::err);
    failed.reduce(both).map_or(Ok(()), Err)
}

async fn answers(
    context: Context<'_>,
    service: &Service,
    container: &Container,
    words: Vec<String>,
    hostname: String,
) -> Result<(), Failure> {
    let title = format!("asking {} for a ping", container.name);
    let task = context.task(StepId::Health, format!("{} ping", service.name), title);
    let Some(command) = celery::ping_command(&words, &hostname) else {
        task.finish(
            StepResult::NotVerified,
            "whether it takes tasks is not known: its command does not tell its name",
        );
        return Ok(());
    };
    match ask(context, container, &command, &task).await {
        Err(failure) if failure.kind == FailureKind::Gate && celery::is_deaf_at_work(&words) => {
            task.finish(
                StepResult::NotVerified,
                "it answers no ping, as a worker of the pool solo does while it is at a task",
            );
            Ok(())
        }
        asked => task.conclude(asked, |()| (StepResult::Succeeded, "answers a ping".to_owned())),
    }
}

/// Asks until it answers, or the time is over: it may just have been started again.
async fn ask(
    context: Context<'_>,
    container: &Container,
    command: &[String],
    task: &Task,
) -> Result<(), Failure> {
    let limit = context.settings.config.health_timeout();
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        // A broker that takes connections and says nothing has the question itself hang.
        let wrote = match tokio::time::timeout(left, ping(context.engine, &container.id, command)).await {
            Ok(Ok(Pinged::Answered)) => return Ok(()),
            Ok(Ok(Pinged::Silent(lines))) => {
                task.progress(format!("no answer yet ({} s)", began.elapsed().as_secs()));
                lines
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_) => vec![format!("nothing, for {} s", left.as_secs())],
        };
        if began.elapsed() >= limit {
            let message = format!(
                "{} runs, and does not answer a ping within {} s",
                container.name,
                limit.as_secs()
            );
            let failure = Failure::message(FailureKind::Gate, message)
                .evidence(command.join(" "), wrote)
                .hint(format!(
                    "can it reach its broker? where it has lost it: docker restart {}",
                    container.name
                ));
            return Err(evidence(context.engine, container, failure).await);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
