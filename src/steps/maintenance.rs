//! `run --maintenance`: for migrations that the release which serves would fail on. Visitors get a page instead (503, with
//! a time to come again), what is in flight finishes, and what else of the application writes is stopped; `deploy` takes
//! the page away once the new release stands. In between nobody writes, so that the backup made there is the last word,
//! and migrations that are not wanted after all are taken back by restoring it (`migrate`).
//!
//! After a crash the site stays closed: whether old or new code fits the schema is not known then. `resume` and
//! `rollback` open it again when their deploy stands.

use async_trait::async_trait;
use futures_util::future::join_all;

use super::deploy::target::{held_name, name_before_held, retired_name};
use super::deploy::{closed, containers_of, drain_of, finish, put_previous_back, standing};
use super::images;
use crate::compose::{Service, ServiceName};
use crate::config::Config;
use crate::engine::{Container, ContainerState};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View, WhenAnotherFails,
};
use crate::stack::program;
use crate::stack::sidecar::Page;

/// What visitors see where `maintenance.page` names no file.
const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Maintenance</title>
<body style=\"font: 1.2rem/1.6 sans-serif; margin: 20vh auto; max-width: 34rem; padding: 0 1rem\">
<h1>Maintenance</h1>
<p>This site is being updated, and will be back in a few minutes.</p>
<p lang=\"fr\">Ce site est en cours de mise à jour. Il sera de retour dans quelques minutes.</p>
</body>
</html>
";

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Close;

#[async_trait]
impl Step for Close {
    fn id(&self) -> StepId {
        StepId::Close
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        page(&view.settings.config)?;
        let standing = standing(view.inspect, &view.settings.project.name).await?;
        let mut changes = vec![Change {
            kind: ChangeKind::ReplaceWithGap,
            target: "the site".to_owned(),
            detail: "visitors get a page that says so (503), until the new release stands".to_owned(),
        }];
        for (service, containers) in writers(view, &standing).await? {
            changes.push(Change {
                kind: ChangeKind::ReplaceWithGap,
                target: service.name.to_string(),
                detail: format!("{} containers stop, and finish what they do", containers.len()),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let settings = context.settings;
        let before = standing(context.engine, &settings.project.name).await?;
        if before.is_empty() {
            return Ok(Receipt::unchanged("nothing serves yet", Fact::Nothing));
        }
        let page = page(&settings.config)?;
        let writers = writers(context.view(), &before).await?;
        let limit = settings
            .project
            .services
            .values()
            .map(|service| drain_of(context, service))
            .max()
            .unwrap_or_default();
        let task = context.task(StepId::Close, "page", "showing visitors the maintenance page");
        let closed = closed::close(context, &page, limit).await;
        let closed = task.conclude(closed, |closed| {
            let names: Vec<String> = closed.iter().map(ToString::to_string).collect();
            (
                StepResult::Succeeded,
                format!("503 instead of {}", names.join(", ")),
            )
        })?;
        let stops = writers
            .iter()
            .filter(|(service, _)| !closed.contains(&service.name))
            .flat_map(|(service, containers)| containers.iter().map(move |one| (*service, one)));
        let stopped = join_all(stops.map(|(service, container)| hold(context, service, container))).await;
        let stopped: Vec<ServiceName> = stopped.into_iter().collect::<Result<_, Failure>>()?;
        let mut names: Vec<String> = stopped.iter().map(ToString::to_string).collect();
        names.dedup();
        Ok(Receipt::changed(
            if names.is_empty() {
                "visitors get 503".to_owned()
            } else {
                format!("visitors get 503; stopped: {}", names.join(", "))
            },
            Fact::Nothing,
        ))
    }

    /// Half closed is nothing that anybody wants.
    fn when_another_fails(&self) -> WhenAnotherFails {
        WhenAnotherFails::FinishesFirst
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let started = start_again(context).await?;
        let opened = closed::open(context).await?;
        finish(context, false).await?;
        Ok(match (opened, started.is_empty()) {
            (false, true) => Undone::NothingToDo,
            (_, none) => Undone::Reverted {
                message: if none {
                    "the site is open again".to_owned()
                } else {
                    format!("the site is open again; started: {}", started.join(", "))
                },
                restored_previous: false,
            },
        })
    }
}

/// What `deploy.yml` has shown.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn page(config: &Config) -> Result<Page, Failure> {
    let configured = &config.maintenance;
    let text = match config.maintenance_page() {
        None => PAGE.to_owned(),
        Some(path) => std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(FailureKind::Configuration, error)
                .context(format!("reading the maintenance page {}", path.display()))
        })?,
    };
    Ok(Page {
        text,
        retry_after: configured.retry_after.0,
    })
}

/// What writes beside the application itself: its workers and its scheduler, and whatever else runs its image.
async fn writers<'a>(
    view: View<'a>,
    standing: &super::deploy::Standing,
) -> Result<Vec<(&'a Service, Vec<Container>)>, Failure> {
    let settings = view.settings;
    let Some(django) = &settings.config.django else {
        return Ok(Vec::new());
    };
    let image = images::serving(view, &django.service).await?;
    let mut found = Vec::new();
    for service in settings.project.services.values() {
        let running: Vec<Container> = containers_of(standing, &service.name)
            .iter()
            .filter(|container| container.state == ContainerState::Running)
            .filter(|container| Some(&container.image) == image.as_ref() || writes(view, service))
            .cloned()
            .collect();
        if service.name != django.service && !running.is_empty() {
            found.push((service, running));
        }
    }
    Ok(found)
}

/// Whether it writes though its image is another: Celery, and what `deploy.yml` names.
fn writes(view: View<'_>, service: &Service) -> bool {
    let program = program::program(&program::words(service, None));
    let is_celery = program.is_some_and(|program| !program.serves());
    is_celery || view.settings.config.maintenance.stop.contains(&service.name)
}

/// Stops a container under a name by which the way back finds it: so that comes first.
async fn hold(
    context: Context<'_>,
    service: &Service,
    container: &Container,
) -> Result<ServiceName, Failure> {
    let title = format!("stopping {}", container.name);
    let task = context.task(StepId::Close, container.name.as_str(), title);
    let held = async {
        let name = held_name(&container.name, context.run);
        context.engine.rename(&container.id, &name).await?;
        let limit = drain_of(context, service);
        context.engine.stop(&container.id, Some(limit)).await?;
        Ok::<(), Failure>(())
    };
    let held = held.await;
    task.conclude(held, |()| (StepResult::Succeeded, "stopped".to_owned()))?;
    Ok(service.name.clone())
}

/// Brings back what was stopped, by this run or by one that was killed, as a deploy's way back does.
async fn start_again(context: Context<'_>) -> Result<Vec<String>, Failure> {
    let standing = standing(context.engine, &context.settings.project.name).await?;
    let mut names = Vec::new();
    for container in standing.values().flatten() {
        let Some(name) = name_before_held(&container.name) else {
            continue;
        };
        let retired = retired_name(name, context.run);
        context.engine.rename(&container.id, &retired).await?;
        names.push(name.to_owned());
    }
    if !names.is_empty() {
        put_previous_back(context).await?;
    }
    Ok(names)
}
