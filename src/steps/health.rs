//! `health`: whether what runs is well: every service's containers, Celery's workers and beat, and the app's own answer at
//! its public address, side by side. Looks only. What is still starting is waited for, what is broken fails at once. A
//! release that fails this right after its deploy is taken back by the run.

mod beat;
mod logs;
mod workers;

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::deploy::{containers_of, has_left, is_of_this_run, is_serving, standing};
use crate::app::{App, Request, Response};
use crate::compose::Service;
use crate::config;
use crate::engine::{self, Container, ContainerState, Inspect};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Task, Undone, View,
};
use crate::release::Tag;

/// The parts of this step that others ask after.
pub(crate) const ENDPOINT: &str = "endpoint";
pub(crate) const LOGS: &str = "logs";

/// Between two questions to the app.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at the containers, of which each is inspected at each look: under the ten calls a second per
/// container that are the project's own limit.
const POLL: Duration = Duration::from_millis(150);
/// As the deploy tolerates it: an app that waits for another one by ending once is given that, and no more.
const RESTARTS_TOLERATED: u32 = 1;
/// How much of a failed answer and of a failed container's log is shown.
const LINES: u32 = 20;

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health;

#[async_trait]
impl Step for Health {
    fn id(&self) -> StepId {
        StepId::Health
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let mut changes = vec![Change {
            kind: ChangeKind::Run,
            target: "services".to_owned(),
            detail: "every container runs and is healthy".to_owned(),
        }];
        if let Some(health) = &view.settings.config.health {
            changes.push(Change {
                kind: ChangeKind::Run,
                target: health.url.clone(),
                detail: format!("answers well {} times in a row", health.successes),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let mut services = pin!(async {
            let services = check_services(context).await?;
            let running = running(context).await?;
            let workers = workers::check_workers(context, &running);
            let (beats, logs) = (
                beat::check_beats(context, &running),
                logs::read_logs(context, &running),
            );
            let (workers, beats, logs) = futures_util::join!(workers, beats, logs);
            workers.and(beats).and(logs)?;
            Ok::<_, Failure>(services)
        });
        let mut endpoint = pin!(check_endpoint(context));
        let (services, answers) = tokio::select! {
            biased;
            // A broken service is not waited out: it is why the endpoint does not answer.
            services = &mut services => (services?, endpoint.await?),
            // And one that does not come up in time says more than the endpoint behind it.
            answers = &mut endpoint => (services.await?, answers?),
        };
        let mut message = format!("{services} services are well");
        if answers {
            message.push_str(", the health endpoint answers");
        }
        Ok(Receipt::unchanged(message, Fact::Nothing))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::NothingToDo)
    }
}

/// How long a container of this run that has no health test must be seen to run, by `deploy` and here together.
const STEADY: Duration = Duration::from_secs(4);

/// Whether a service is well, seen once.
enum Condition {
    Well {
        restarts: u32,
    },
    /// Not yet, and it may still become so by itself.
    Starting {
        well: usize,
    },
    Broken {
        well: usize,
    },
}

/// Here `is_known` are those that the deploy has seen well, whether or not the engine has come to test them.
fn condition(
    service: &Service,
    containers: &[Container],
    is_known: &dyn Fn(&Container) -> bool,
) -> Condition {
    let completed = |container: &Container| {
        container.state.has_succeeded()
            && service.restart.unwrap_or_default() == crate::compose::RestartPolicy::No
    };
    let count = |is_meant: &dyn Fn(&Container) -> bool| {
        containers.iter().filter(|container| is_meant(container)).count()
    };
    let well = count(&|container| {
        let tested =
            container.state == ContainerState::Running && is_starting(container) && is_known(container);
        is_serving(container) || completed(container) || tested
    });
    let wanted = service.replicas as usize;
    if well >= wanted {
        let restarts = containers.iter().map(|container| container.restart_count).sum();
        Condition::Well { restarts }
    } else if well + count(&is_starting) >= wanted {
        Condition::Starting { well }
    } else {
        Condition::Broken { well }
    }
}

fn is_starting(container: &Container) -> bool {
    container.restart_count <= RESTARTS_TOLERATED
        && match &container.state {
            ContainerState::Running => matches!(container.health, Some(engine::Health::Starting { .. })),
            ContainerState::Restarting { .. } => true,
            ContainerState::Created
            | ContainerState::Paused
            | ContainerState::Exited(_)
            | ContainerState::Removing
            | ContainerState::Dead => false,
        }
}

/// Looks until every service is well, one is broken, or the time is over; all of them at each look.
async fn check_services(context: Context<'_>) -> Result<usize, Failure> {
    let project = &context.settings.project;
    let limit = context.settings.config.health_timeout();
    let began = Instant::now();
    let mut open: Vec<(&Service, Task)> = project
        .services
        .values()
        .map(|service| {
            let name = service.name.as_str();
            (service, context.task(StepId::Health, name, name))
        })
        .collect();
    loop {
        let standing = standing(context.engine, &project.name).await?;
        let is_over = began.elapsed() >= limit;
        let mut failure: Option<Failure> = None;
        let mut starting = Vec::new();
        for (service, task) in open {
            // Those that gave their place up run on for the way back; they make nothing well.
            let stays = |one: &&Container| !has_left(context, one);
            let containers = containers_of(&standing, &service.name).iter().filter(stays);
            let containers: Vec<Container> = containers.cloned().collect();
            let well_since = |one: &Container| {
                let since = context.state.well_since.get(&one.id);
                since.filter(|_| one.restart_count == 0)
            };
            let is_young = |one: &Container| {
                let since = well_since(one).unwrap_or(&began);
                one.health.is_none() && is_of_this_run(context, one) && since.elapsed() < STEADY
            };
            let young = containers.iter().any(|one| is_serving(one) && is_young(one));
            let (well, since) = match condition(service, &containers, &|one| well_since(one).is_some()) {
                Condition::Well { .. } if young && !is_over => {
                    task.progress("no health test; watching whether it stays up");
                    starting.push((service, task));
                    continue;
                }
                Condition::Well { restarts: 0 } => {
                    task.finish(StepResult::Succeeded, "well");
                    continue;
                }
                Condition::Well { restarts } => {
                    task.finish(StepResult::Succeeded, format!("well, {restarts} restarts"));
                    continue;
                }
                Condition::Starting { .. } if !is_over => {
                    task.progress(format!("still starting ({} s)", began.elapsed().as_secs()));
                    starting.push((service, task));
                    continue;
                }
                Condition::Starting { well } => (well, format!(" after {} s", limit.as_secs())),
                Condition::Broken { well } => (well, String::new()),
            };
            let name = &service.name;
            let message = format!("{name}: {well} of {} replicas are well{since}", service.replicas);
            task.finish(StepResult::Failed, message.clone());
            let mut this = Failure::message(FailureKind::Gate, message);
            for container in containers.iter().filter(|container| !is_serving(container)) {
                this = evidence(context.engine, container, this).await;
            }
            failure = Some(match failure {
                None => this,
                Some(first) => both(first, this),
            });
        }
        if let Some(failure) = failure {
            return Err(failure.hint("viatique-deploy status"));
        }
        if starting.is_empty() {
            return Ok(project.services.len());
        }
        open = starting;
        tokio::time::sleep(POLL).await;
    }
}

/// What the first says to do is to be done first.
fn both(mut first: Failure, other: Failure) -> Failure {
    first.evidence.extend(other.evidence);
    first.context(format!("{:#}", other.error))
}

/// The containers that do the services' work: they run, and have not given their place up.
async fn running(context: Context<'_>) -> Result<Vec<(&Service, Container)>, Failure> {
    let project = &context.settings.project;
    let standing = standing(context.engine, &project.name).await?;
    let mut running = Vec::new();
    for service in project.services.values() {
        let containers = containers_of(&standing, &service.name).iter();
        let at_work = |one: &&Container| one.state == ContainerState::Running && !has_left(context, one);
        running.extend(containers.filter(at_work).map(|one| (service, one.clone())));
    }
    Ok(running)
}

/// Asks the app itself; says whether `deploy.yml` names an address to ask at.
async fn check_endpoint(context: Context<'_>) -> Result<bool, Failure> {
    let Some(health) = &context.settings.config.health else {
        return Ok(false);
    };
    let task = context.task(StepId::Health, ENDPOINT, format!("asking {}", health.url));
    let asked = match ask(context.app, health, &context.settings.tag, &task).await {
        Ok(answer) => Ok(answer),
        Err(failure) => Err(with_logs(context, failure).await),
    };
    task.conclude(asked, |message| (StepResult::Succeeded, message.clone()))?;
    Ok(true)
}

/// The failure with the container's last log lines.
pub(super) async fn evidence(inspect: &dyn Inspect, container: &Container, failure: Failure) -> Failure {
    let log = inspect
        .logs(&container.id, LINES)
        .await
        .unwrap_or_else(|error| vec![error.to_string()]);
    failure.evidence(format!("last log lines of {}", container.name), log)
}

/// The endpoint failed though every container is well: what the app and what stands before it wrote says why.
pub(super) async fn with_logs(context: Context<'_>, mut failure: Failure) -> Failure {
    let Some(django) = &context.settings.config.django else {
        return failure;
    };
    let Ok(standing) = standing(context.engine, &context.settings.project.name).await else {
        return failure;
    };
    let containers = standing.get(django.service.as_str()).into_iter().flatten();
    // Those that gave their place up have answered nothing.
    for container in containers.filter(|one| !has_left(context, one)) {
        failure = evidence(context.engine, container, failure).await;
    }
    failure
}

/// Asks until the app has answered well as often in a row as configured, or the time is over.
async fn ask(app: &dyn App, health: &config::Health, tag: &Tag, task: &Task) -> Result<String, Failure> {
    let request = Request {
        url: health.url.clone(),
        host: health.host.clone(),
        headers: health
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        timeout: health.request_timeout.0,
    };
    let began = Instant::now();
    let mut in_a_row = 0;
    loop {
        let problem = match app.get(&request).await {
            Ok(response) => match judge(&response, health, tag) {
                Ok(()) => {
                    in_a_row += 1;
                    task.progress(format!("{in_a_row} of {} good answers", health.successes));
                    if in_a_row >= health.successes {
                        return Ok(format!(
                            "{}, {} ms",
                            response.status,
                            response.elapsed.as_millis()
                        ));
                    }
                    None
                }
                Err(why) => Some((why, response.body)),
            },
            Err(error) => Some((error.message, String::new())),
        };
        if let Some((why, body)) = problem {
            in_a_row = 0;
            task.progress(why.clone());
            if began.elapsed() >= health.timeout.0 {
                let lines = body.lines().take(LINES as usize).map(ToOwned::to_owned).collect();
                return Err(Failure::message(
                    FailureKind::Gate,
                    format!("{} {why}, for {} s", health.url, health.timeout.0.as_secs()),
                )
                .evidence("what it answered", lines));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A good answer is a 2xx whose JSON has the fields that `deploy.yml` expects, and names the release that serves.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge(response: &Response, health: &config::Health, tag: &Tag) -> Result<(), String> {
    if !(200..300).contains(&response.status) {
        let hint = match response.status {
            400 => " (is health.host among django's ALLOWED_HOSTS?)",
            301 | 302 | 307 | 308 => {
                " (where django wants https: is `X-Forwarded-Proto: https` among health.headers?)"
            }
            _ => "",
        };
        return Err(format!("answers {}{hint}", response.status));
    }
    let release = health
        .release
        .as_ref()
        .map(|field| (field, serde_json::Value::from(tag.as_str())));
    let expected = health
        .expect
        .iter()
        .map(|(field, wanted)| (field, wanted.clone()));
    let expected: Vec<(&String, serde_json::Value)> = expected.chain(release).collect();
    if expected.is_empty() {
        return Ok(());
    }
    let body: serde_json::Value =
        serde_json::from_str(&response.body).map_err(|_| "answers something that is not JSON".to_owned())?;
    for (field, wanted) in expected {
        let found = body.get(field);
        if found != Some(&wanted) {
            let found = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Err(format!("says {field}: {found} instead of {wanted}"));
        }
    }
    Ok(())
}
