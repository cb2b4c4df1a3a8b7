//! Whether Celery's beat ticks. It has no door to ask at: its log tells when it last sent a task, and where that is long
//! ago its own schedule is asked whether something should have been sent since. What cannot be known of it is told as not
//! verified and fails nothing: a log of a higher level, a schedule in a database.

use std::time::Duration;

use futures_util::StreamExt as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::evidence;
use crate::compose::Service;
use crate::engine::{Captured, Container, ExecSpec, LogRange};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult};
use crate::stack::celery_beat::{Schedule, Written, overdue_command, parse_schedule};
use crate::stack::program::{Program, program};
use crate::steps::deploy::started_with;
use crate::steps::lines::MARK;

/// Beat wakes when the next task is due; it may be so late, on a machine that is busy with a deploy.
const LATE: Duration = Duration::from_secs(60);
/// A process may have written before the engine has noted that it was started.
const JUST_BEFORE: Duration = Duration::from_secs(1);
/// So much of its log is read; a line for each task that it sends.
const NEWEST: u32 = 1000;

/// What is known of a beat.
enum Ticks {
    /// It does.
    Well(String),
    /// Whether it does is not known, and why.
    Unknown(String),
}

/// Looks at each.
///
/// # Errors
/// The gate's, where one has not sent what was due; the engine's.
pub(super) async fn check_beats(
    context: Context<'_>,
    running: &[(&Service, Container)],
) -> Result<(), Failure> {
    for (service, container) in running {
        let (words, _) = started_with(service, &container.id);
        if program(&words).is_some_and(Program::schedules) {
            check(context, service, container, &words).await?;
        }
    }
    Ok(())
}

async fn check(
    context: Context<'_>,
    service: &Service,
    container: &Container,
    words: &[String],
) -> Result<(), Failure> {
    let title = format!("looking whether {} sends what is due", container.name);
    let task = context.task(StepId::Health, format!("{} ticks", service.name), title);
    let looked = look(context, container, words).await;
    task.conclude(looked, |ticks| match ticks {
        Ticks::Well(message) => (StepResult::Succeeded, message.clone()),
        Ticks::Unknown(why) => (
            StepResult::NotVerified,
            format!("whether it ticks is not known: {why}"),
        ),
    })
    .map(|_| ())
}

async fn look(context: Context<'_>, container: &Container, words: &[String]) -> Result<Ticks, Failure> {
    let unknown = |why: &str| Ok(Ticks::Unknown(why.to_owned()));
    let started = container.started.as_deref();
    let Some(started) = started.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok()) else {
        return unknown("the engine does not say when it was started");
    };
    let written = written(context, container, started).await?;
    let now = context.engine.time().await?;
    let last = written.sent.unwrap_or(started);
    let what = match written.sent {
        Some(_) => "sent its last task",
        None => "was started",
    };
    let seen = format!("{what} {} s ago", (now - last).whole_seconds().max(0));
    if now - last <= LATE {
        return Ok(Ticks::Well(seen));
    }
    if !written.tells {
        return unknown("its log does not tell what it sends (--loglevel INFO does)");
    }
    let Some(command) = overdue_command(words, last, now - LATE) else {
        return unknown("the command that it is started with does not tell its application");
    };
    let schedule = match ask(context, container, command).await? {
        Ok(schedule) => schedule,
        Err(why) => return Ok(Ticks::Unknown(why)),
    };
    if schedule.scheduled == 0 {
        return unknown("its schedule does not stand in the settings");
    }
    if schedule.overdue.is_empty() {
        return Ok(Ticks::Well(format!("{seen}, nothing was due since")));
    }
    let message = format!(
        "{} runs, and does not tick: it {seen}, and {} should have been sent since",
        container.name,
        schedule.overdue.join(", ")
    );
    let failure = Failure::message(FailureKind::Gate, message).hint(format!(
        "can it reach its broker? where it is stuck: docker restart {}",
        container.name
    ));
    Err(evidence(context.engine, container, failure).await)
}

async fn written(
    context: Context<'_>,
    container: &Container,
    since: OffsetDateTime,
) -> Result<Written, Failure> {
    let range = LogRange {
        since: since - JUST_BEFORE,
        newest: NEWEST,
        follow: false,
    };
    let mut lines = context.engine.log_lines(&container.id, &range).await?;
    let mut written = Written::default();
    while let Some(line) = lines.next().await {
        written.take(&line?);
    }
    Ok(written)
}

/// Its schedule; or why it is not known.
async fn ask(
    context: Context<'_>,
    container: &Container,
    command: Vec<String>,
) -> Result<Result<Schedule, String>, Failure> {
    let spec = ExecSpec {
        command,
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    let limit = context.settings.config.health_timeout();
    let asked = context.engine.exec(&container.id, &spec, None, &mut output);
    let Ok(exit) = tokio::time::timeout(limit, asked).await else {
        return Ok(Err(format!("it was not told within {} s", limit.as_secs())));
    };
    let exit = exit?;
    let printed = output.stdout_text();
    let answer = printed.lines().find_map(|line| line.strip_prefix(MARK));
    Ok(match answer {
        Some(answer) if exit.success() => {
            parse_schedule(answer).map_err(|error| format!("its schedule is not understood: {error}"))
        }
        Some(_) | None => Err(format!(
            "asking for its schedule ended with exit code {}{}",
            exit.code,
            output
                .stderr_text()
                .lines()
                .last()
                .map_or_else(String::new, |line| format!(": {line}"))
        )),
    })
}
