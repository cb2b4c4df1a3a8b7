//! Waiting until a container is ready, and saying why it is not: its exit code, whether memory ran out, the output of
//! its health test and its last log lines.

use std::time::Duration;

use tokio::time::Instant;

use super::changes::Changes;
use crate::compose::{Healthcheck, Service};
use crate::engine::{
    Captured, Container, ContainerId, ContainerState, Engine, ExecSpec, Health, HealthProbe, Inspect,
};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Task;
use crate::stack::celery;

/// Between two runs of a service's own health test by us, at least: an exec is a few calls.
const TEST_PAUSE: Duration = Duration::from_millis(500);
/// A container without a health test that others rely on is ready once it has run this long without ending. It counts
/// for good once `health` has seen it run for longer; what it replaces runs on until then.
pub(crate) const STEADY: Duration = Duration::from_secs(1);
/// A container that the engine has started again this often is crash-looping: an app that waits for another one by
/// ending once is given that, and no more.
const RESTARTS_TOLERATED: u32 = 1;
/// How much of a failed container's log is shown. gunicorn's two chained tracebacks and its workers' own take 80 lines;
/// with less, the line that names the cause is the one that is missing.
const LOG_LINES: u32 = 120;

/// What a container is waited for with.
pub(crate) struct Waiting<'a> {
    pub engine: &'a dyn Engine,
    pub changes: &'a Changes,
    pub task: &'a Task,
    /// At most this long.
    pub limit: Duration,
    /// How long one without a health test must run before it is ready.
    pub steady: Duration,
}

/// Waits until a started container is healthy, or has run steadily where it has no health test. Says what it is like
/// then.
///
/// # Errors
/// Where it ended, keeps ending, is unhealthy, vanished, or was not ready within the limit; with the evidence. Where
/// another service has failed meanwhile.
pub(crate) async fn wait_until_ready(
    waiting: &Waiting<'_>,
    id: &ContainerId,
    service: &Service,
) -> Result<Container, Failure> {
    let watched = watch_until_ready(waiting, id);
    let Some(test) = own_test(service) else {
        return watched.await;
    };
    let tested = async {
        if !worker_answers(waiting, id, service).await {
            test_passes(waiting, id, &test).await;
        }
    };
    // The engine runs the test only once its interval is over; run at once it says the same, seconds earlier.
    tokio::select! {
        biased;
        result = watched => return result,
        () = tested => {}
    }
    waiting.changes.is_well(id);
    let seen = waiting.engine.container(&id.0).await?;
    seen.ok_or_else(|| removed(id, "while it started"))
}

async fn watch_until_ready(waiting: &Waiting<'_>, id: &ContainerId) -> Result<Container, Failure> {
    let Waiting {
        engine,
        changes,
        task,
        limit,
        steady,
    } = *waiting;
    let began = Instant::now();
    let mut steady_since: Option<Instant> = None;
    loop {
        let Some(container) = engine.container(&id.0).await? else {
            return Err(removed(id, "while it started"));
        };
        let seconds = began.elapsed().as_secs();
        match verdict(&container) {
            Verdict::Ready => return Ok(container),
            Verdict::Steady => {
                let since = *steady_since.get_or_insert_with(|| {
                    changes.is_well(id);
                    Instant::now()
                });
                if since.elapsed() >= steady {
                    return Ok(container);
                }
                task.progress(format!("running, no health test ({seconds} s)"));
            }
            Verdict::Waiting => {
                steady_since = None;
                task.progress(format!("waiting until healthy ({seconds} s)"));
            }
            Verdict::Broken(why) => return Err(broken(engine, &container, why).await),
        }
        if began.elapsed() >= limit {
            let why = format!("is not healthy after {} s", limit.as_secs());
            return Err(broken(engine, &container, why)
                .await
                .hint("if it only needs longer: services.<name>.health_timeout in deploy.yml"));
        }
        changes.go_on()?;
        tokio::select! {
            biased;
            () = changes.wait(id) => {}
            () = changes.abandoned() => {}
        }
    }
}

/// The health test that the Compose file gives, as a command. One that only the image knows is left to the engine.
fn own_test(service: &Service) -> Option<Vec<String>> {
    let Some(Healthcheck::Test {
        test: Some(words), ..
    }) = &service.healthcheck
    else {
        return None;
    };
    match words.split_first() {
        Some((first, command)) if first == "CMD" && !command.is_empty() => Some(command.to_vec()),
        Some((first, [line])) if first == "CMD-SHELL" => {
            Some(["/bin/sh", "-c", line].map(ToOwned::to_owned).to_vec())
        }
        Some(_) | None => None,
    }
}

/// Whether the test is the very question that a worker is asked before it counts.
pub(crate) fn test_pings_worker(service: &Service) -> bool {
    match &service.healthcheck {
        Some(Healthcheck::Test {
            test: Some(words), ..
        }) => words.join(" ").contains("inspect ping"),
        Some(Healthcheck::Test { test: None, .. } | Healthcheck::Disabled) | None => false,
    }
}

/// What a worker said to a ping.
pub(crate) enum Pinged {
    Answered,
    /// Nothing, and what was written about that.
    Silent(Vec<String>),
}

/// Asks a worker once, with the words of [`celery::ping_command`].
///
/// # Errors
/// The engine's.
pub(crate) async fn ping(
    engine: &dyn Engine,
    id: &ContainerId,
    command: &[String],
) -> Result<Pinged, Failure> {
    let spec = ExecSpec {
        command: command.to_vec(),
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    if engine.exec(id, &spec, None, &mut output).await?.success() {
        return Ok(Pinged::Answered);
    }
    let (stdout, stderr) = (output.stdout_text(), output.stderr_text());
    let lines = stdout.lines().chain(stderr.lines());
    Ok(Pinged::Silent(lines.map(ToOwned::to_owned).collect()))
}

/// What its container runs, and the name it has there: what a worker is found by.
pub(crate) fn started_with(service: &Service, id: &ContainerId) -> (Vec<String>, String) {
    let words = service.entrypoint.iter().chain(&service.command).flatten();
    let hostname = service.hostname.clone();
    (
        words.cloned().collect(),
        hostname.unwrap_or_else(|| id.short().to_owned()),
    )
}

/// Returns `true` once a worker has answered whose health test asks just that, `false` where this cannot be found out
/// in one go.
async fn worker_answers(waiting: &Waiting<'_>, id: &ContainerId, service: &Service) -> bool {
    let (words, hostname) = started_with(service, id);
    let command = celery::await_command(&words, &hostname, waiting.limit.as_secs());
    let Some(command) = command.filter(|_| test_pings_worker(service)) else {
        return false;
    };
    let spec = ExecSpec {
        command,
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    let asked = waiting.engine.exec(id, &spec, None, &mut output).await;
    asked.is_ok_and(|exit| exit.success())
}

/// Returns once the test has passed. One that cannot be run is tried again: its container may have been between two
/// starts, or the engine may have been restarted, and then some engines never run the test again (measured on Docker
/// 20.10 with `live-restore`: the container stays `starting`).
async fn test_passes(waiting: &Waiting<'_>, id: &ContainerId, test: &[String]) {
    let spec = ExecSpec {
        command: test.to_vec(),
        ..ExecSpec::default()
    };
    let end = Instant::now() + waiting.limit;
    while Instant::now() < end {
        let began = Instant::now();
        let tested = waiting
            .engine
            .exec(id, &spec, None, &mut Captured::default())
            .await;
        match tested {
            Ok(exit) if exit.success() => return,
            Ok(_) | Err(_) => {}
        }
        // Half of the time at most: a test that starts a Python of its own takes from what it waits for.
        tokio::time::sleep(began.elapsed().max(TEST_PAUSE)).await;
    }
    std::future::pending().await
}

fn removed(id: &ContainerId, when: &str) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!("container {} was removed by somebody else {when}", id.short()),
    )
}

/// Makes sure that a container which was ready still is, and has not ended in between.
///
/// # Errors
/// With the evidence, where it is not.
pub(crate) async fn make_sure(inspect: &dyn Inspect, seen: &Container) -> Result<(), Failure> {
    let Some(now) = inspect.container(&seen.id.0).await? else {
        return Err(removed(&seen.id, "while it was taken into service"));
    };
    if now.restart_count != seen.restart_count || now.started != seen.started {
        let why = "ended while it was being taken into service, and was started again".to_owned();
        return Err(broken(inspect, &now, why).await);
    }
    match verdict(&now) {
        Verdict::Ready | Verdict::Steady | Verdict::Waiting => Ok(()),
        Verdict::Broken(why) => Err(broken(inspect, &now, why).await),
    }
}

/// Waits until the container's process has ended well.
///
/// # Errors
/// Where it ended with another code than 0, or not within `limit`; with the evidence.
pub(crate) async fn wait_until_completed(waiting: &Waiting<'_>, id: &ContainerId) -> Result<(), Failure> {
    let Waiting {
        engine: inspect,
        changes,
        task,
        limit,
        steady: _,
    } = *waiting;
    let began = Instant::now();
    loop {
        let Some(container) = inspect.container(&id.0).await? else {
            return Err(removed(id, "while it ran"));
        };
        match &container.state {
            ContainerState::Exited(exit) if exit.success() => return Ok(()),
            ContainerState::Exited(_) | ContainerState::Restarting { .. } | ContainerState::Dead => {
                let why = ended(&container);
                return Err(broken(inspect, &container, why).await);
            }
            ContainerState::Created
            | ContainerState::Running
            | ContainerState::Paused
            | ContainerState::Removing => {
                task.progress(format!("running to its end ({} s)", began.elapsed().as_secs()))
            }
        }
        if began.elapsed() >= limit {
            let why = format!("has not ended after {} s", limit.as_secs());
            return Err(broken(inspect, &container, why).await);
        }
        changes.go_on()?;
        tokio::select! {
            biased;
            () = changes.wait(id) => {}
            () = changes.abandoned() => {}
        }
    }
}

/// Makes sure that none of these has ended or broken since it was ready.
///
/// # Errors
/// The first that has, with the evidence.
pub(crate) async fn none_is_broken(inspect: &dyn Inspect, containers: &[Container]) -> Result<(), Failure> {
    for container in containers {
        if let Verdict::Broken(why) = verdict(container)
            && !container.state.has_succeeded()
        {
            return Err(broken(inspect, container, why).await);
        }
    }
    Ok(())
}

/// Whether a container serves as it should, seen once.
pub(crate) fn is_serving(container: &Container) -> bool {
    match verdict(container) {
        Verdict::Ready | Verdict::Steady => true,
        Verdict::Waiting | Verdict::Broken(_) => false,
    }
}

/// Whether a container that was ready still runs, seen once. The engine may not have come to say so yet: a worker that
/// has answered is ready before its health test has passed.
pub(super) fn stays_up(container: &Container) -> bool {
    container.state == ContainerState::Running
        && match verdict(container) {
            Verdict::Ready | Verdict::Steady | Verdict::Waiting => true,
            Verdict::Broken(_) => false,
        }
}

enum Verdict {
    /// Its health test says so.
    Ready,
    /// It runs and has no health test.
    Steady,
    Waiting,
    Broken(String),
}

fn verdict(container: &Container) -> Verdict {
    match &container.state {
        ContainerState::Created => Verdict::Waiting,
        ContainerState::Running if container.restart_count > RESTARTS_TOLERATED => Verdict::Broken(format!(
            "keeps ending{}: the engine has started it again {} times",
            for_want_of_memory(container.out_of_memory),
            container.restart_count
        )),
        ContainerState::Running => match &container.health {
            None => Verdict::Steady,
            Some(Health::Healthy) => Verdict::Ready,
            Some(Health::Starting { .. }) => Verdict::Waiting,
            Some(Health::Unhealthy { .. }) => Verdict::Broken("is unhealthy".to_owned()),
        },
        ContainerState::Restarting { .. } if container.restart_count <= RESTARTS_TOLERATED => {
            Verdict::Waiting
        }
        ContainerState::Paused => Verdict::Broken("was paused by somebody else".to_owned()),
        ContainerState::Restarting { .. }
        | ContainerState::Exited(_)
        | ContainerState::Removing
        | ContainerState::Dead => Verdict::Broken(ended(container)),
    }
}

fn ended(container: &Container) -> String {
    let memory = for_want_of_memory(container.out_of_memory);
    match &container.state {
        ContainerState::Exited(exit) => format!("ended with exit code {}{memory}", exit.code),
        ContainerState::Restarting { exit_code } => {
            format!("keeps ending, last with exit code {exit_code}{memory}")
        }
        ContainerState::Dead | ContainerState::Removing => "is dead".to_owned(),
        ContainerState::Created | ContainerState::Running | ContainerState::Paused => {
            "has not ended".to_owned()
        }
    }
}

const fn for_want_of_memory(out_of_memory: bool) -> &'static str {
    if out_of_memory {
        " (the kernel killed it for want of memory)"
    } else {
        ""
    }
}

async fn broken(inspect: &dyn Inspect, container: &Container, why: String) -> Failure {
    let mut failure = Failure::message(
        FailureKind::Failed,
        format!("the new container {} {why}", container.name),
    );
    if let Some(Health::Starting { probes } | Health::Unhealthy { probes }) = &container.health {
        failure = failure.evidence(format!("health test of {}", container.name), health_lines(probes));
    }
    let log = match inspect.logs(&container.id, LOG_LINES).await {
        Ok(lines) if lines.is_empty() => vec!["(it wrote nothing)".to_owned()],
        Ok(lines) => lines,
        Err(error) => vec![format!("(its log could not be read: {error})")],
    };
    let failure = failure.evidence(format!("last log lines of {}", container.name), log);
    if container.out_of_memory {
        failure.hint(
            "its limit is `deploy.resources.limits.memory` (or `mem_limit`) in the Compose file; without one it is the \
             host's memory",
        )
    } else {
        failure
    }
}

fn health_lines(probes: &[HealthProbe]) -> Vec<String> {
    let mut lines = Vec::new();
    for probe in probes.iter().rev().take(2).rev() {
        lines.push(format!("exit code {}", probe.exit_code));
        lines.extend(probe.output.lines().take(10).map(|line| format!("  {line}")));
    }
    lines
}
