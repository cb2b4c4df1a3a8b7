//! Taking a deploy back: the containers of this run go, those that they replaced stand again. Found by label and by
//! name, not by memory, so it does not matter where the run stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ready::{is_serving, start_and_wait};
use super::reload::{self, Proxy};
use super::standing::{Standing, containers_of, standing};
use super::strategy::{Strategy, strategy};
use super::target::{retired_suffix, stale_name, stale_suffix};
use crate::compose::ServiceName;
use crate::engine::{Container, ContainerFilter, ContainerId, ContainerState, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult, Task, Undone};

/// Puts back what stood before this run.
///
/// # Errors
/// Where an old container does not come back; new ones that still serve are then left alone.
pub(crate) async fn undo(context: Context<'_>) -> Result<Undone, Failure> {
    let project = &context.settings.project;
    let by_service = standing(context.engine, &project.name).await?;
    let proxies = reload::proxies(context.settings, &by_service);
    let mut restored = Vec::new();
    let mut removed = Vec::new();
    let mut brought_back = Vec::new();
    // Against the order of the deploy: what depends on others goes first.
    for service in project.services_in_dependency_order().into_iter().rev() {
        let name = &service.name;
        let taken = Taken::of(context, name, containers_of(&by_service, name));
        if taken.fresh.is_empty() && taken.retired.is_empty() && taken.stale.is_empty() {
            continue;
        }
        let task = context.task(StepId::Deploy, name.as_str(), format!("putting {name} back"));
        let put_back = taken.put_back(context, &proxies, &task).await;
        let was_there = !taken.retired.is_empty() || !taken.stale.is_empty() || taken.old_serves;
        brought_back.extend(task.conclude(put_back, |_| {
            (
                StepResult::Succeeded,
                if was_there { "put back" } else { "removed" }.to_owned(),
            )
        })?);
        if was_there {
            restored.push(name.to_string())
        } else {
            removed.push(name.to_string())
        }
    }
    make_sure(context, &brought_back).await?;
    let networks = remove_new_networks(context).await?;
    if restored.is_empty() && removed.is_empty() && networks == 0 {
        return Ok(Undone::NothingToDo);
    }
    let mut parts = Vec::new();
    if !restored.is_empty() {
        parts.push(format!("put back: {}", restored.join(", ")));
    }
    if !removed.is_empty() {
        parts.push(format!("removed: {}", removed.join(", ")));
    }
    if parts.is_empty() {
        parts.push("removed the new networks".to_owned());
    }
    Ok(Undone::Reverted {
        message: parts.join("; "),
        restored_previous: !restored.is_empty(),
    })
}

/// One service, as this run left it.
struct Taken {
    name: ServiceName,
    /// Made by this run.
    fresh: Vec<Container>,
    /// Stopped by this run, or about to be: it renames them first.
    retired: Vec<Container>,
    /// Renamed by this run; they did not run before it either.
    stale: Vec<Container>,
    /// An old one never stopped serving.
    old_serves: bool,
}

impl Taken {
    fn of(context: Context<'_>, name: &ServiceName, containers: &[Container]) -> Self {
        let run = context.run.0.as_str();
        let (fresh, old): (Vec<Container>, Vec<Container>) = containers
            .iter()
            .cloned()
            .partition(|container| container.label(labels::RUN) == Some(run));
        let old_serves = old
            .iter()
            .any(|container| container.state == ContainerState::Running);
        let ending_in = |suffix: String| -> Vec<Container> {
            let named = old.iter().filter(|container| container.name.ends_with(&suffix));
            named.cloned().collect()
        };
        let retired = ending_in(retired_suffix(context.run));
        let stale = ending_in(stale_suffix(context.run));
        Self {
            name: name.clone(),
            fresh,
            retired,
            stale,
            old_serves,
        }
    }

    /// The containers that were brought back.
    async fn put_back(
        &self,
        context: Context<'_>,
        proxies: &[Proxy],
        task: &Task,
    ) -> Result<Vec<ContainerId>, Failure> {
        let mut restored = Vec::new();
        let engine = context.engine;
        let settings = context.settings;
        let Some(service) = settings.project.services.get(&self.name) else {
            return Ok(restored);
        };
        let together = match strategy(settings, service) {
            Strategy::Rolling => true,
            Strategy::Recreate(_)
            | Strategy::Singleton
            | Strategy::Reload
            | Strategy::Untouched(_)
            | Strategy::OneShot => false,
        };
        let in_front = reload::in_front_of(&settings.project, proxies, &self.name);
        let limit = settings.config.service(&self.name).health_timeout.0;
        if !together {
            self.remove_fresh(context).await?;
        }
        let suffix = retired_suffix(context.run);
        let mut started = Vec::new();
        for old in &self.retired {
            match &old.state {
                // A one-shot that had run, or a container that somebody had stopped before this run.
                ContainerState::Exited(_) if self.is_one_shot(context) => {
                    started.push((old.id.clone(), old.name.clone()))
                }
                ContainerState::Exited(_)
                | ContainerState::Created
                | ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting { .. }
                | ContainerState::Removing
                | ContainerState::Dead => {
                    let standing = bring_back(context, old, limit, task).await?;
                    restored.push(standing.clone());
                    started.push((standing, old.name.clone()));
                }
            }
        }
        // From here the old ones serve beside the new: nginx learns of them before the new ones go.
        if together && !self.retired.is_empty() {
            for proxy in &in_front {
                proxy.reload(engine).await?;
            }
        }
        if together {
            self.remove_fresh(context).await?;
        }
        for (id, name) in started {
            if let Some(name) = name.strip_suffix(&suffix) {
                engine.rename(&id, name).await?;
            }
        }
        for old in &self.stale {
            if let Some(name) = old.name.strip_suffix(&stale_suffix(context.run)) {
                engine.rename(&old.id, name).await?;
            }
        }
        if self.fresh.iter().any(is_serving) || !self.retired.is_empty() {
            for proxy in &in_front {
                proxy.reload(engine).await?;
            }
        }
        Ok(restored)
    }

    fn is_one_shot(&self, context: Context<'_>) -> bool {
        let settings = context.settings;
        settings
            .project
            .services
            .get(&self.name)
            .is_some_and(|service| strategy(settings, service) == Strategy::OneShot)
    }

    async fn remove_fresh(&self, context: Context<'_>) -> Result<(), Failure> {
        for fresh in &self.fresh {
            context.engine.stop(&fresh.id, None).await?;
            context.engine.remove_container(&fresh.id).await?;
        }
        Ok(())
    }
}

/// Brings a retired container back, by one made just like it: a container that is started a second time can meet its
/// own leftovers (a pid file) or a tmpfs of another mode (runc 1.1). Where that fails the old one itself is started.
async fn bring_back(
    context: Context<'_>,
    old: &Container,
    limit: Duration,
    task: &Task,
) -> Result<ContainerId, Failure> {
    let engine = context.engine;
    task.progress("starting the old one again");
    // It may just be stopping: the run named it retired before it asked for that.
    engine.stop(&old.id, None).await?;
    engine
        .rename(&old.id, &stale_name(&old.name, context.run))
        .await?;
    let twin = engine.create_twin(&old.id, &old.name).await?;
    let first = match start_and_wait(engine, &twin, limit, task).await {
        Ok(()) => {
            engine.remove_container(&old.id).await?;
            return Ok(twin);
        }
        Err(failure) => failure,
    };
    engine.stop(&twin, None).await?;
    engine.remove_container(&twin).await?;
    engine.rename(&old.id, &old.name).await?;
    match start_and_wait(engine, &old.id, limit, task).await {
        Ok(()) => Ok(old.id.clone()),
        Err(second) => Err(first.evidence(
            "the container that had served failed too",
            vec![format!("{:#}", second.error)],
        )),
    }
}

/// What was brought back must still stand at the end: without a health test, a container that ends late looks well
/// at first.
async fn make_sure(context: Context<'_>, restored: &[ContainerId]) -> Result<(), Failure> {
    for id in restored {
        let standing = context.engine.container(&id.0).await?;
        if let Some(container) = standing.filter(|container| !is_serving(container)) {
            let log = context.engine.logs(id, 20).await?;
            return Err(Failure::message(
                FailureKind::Failed,
                format!("{} was put back and does not stay up", container.name),
            )
            .evidence(format!("last log lines of {}", container.name), log));
        }
    }
    Ok(())
}

/// Removes the networks this run made, unless something else has come to use them.
async fn remove_new_networks(context: Context<'_>) -> Result<u32, Failure> {
    let mut removed = 0;
    let made = context
        .engine
        .networks_labelled(labels::RUN, &context.run.0)
        .await?;
    if made.is_empty() {
        return Ok(removed);
    }
    let used = used_networks(context).await?;
    for network in made {
        if !used.contains_key(&network.id) {
            context.engine.remove_network(&network.id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn used_networks(context: Context<'_>) -> Result<BTreeMap<crate::engine::NetworkId, String>, Failure> {
    let containers = context.engine.containers(&ContainerFilter::default()).await?;
    Ok(containers
        .into_iter()
        .flat_map(|container| {
            let name = container.name;
            container
                .networks
                .into_iter()
                .map(move |network| (network.id, name.clone()))
        })
        .collect())
}

/// Removes what was kept for the way back.
///
/// # Errors
/// The engine's.
pub(crate) async fn remove_retired(context: Context<'_>) -> Result<u32, Failure> {
    let suffixes = [retired_suffix(context.run), stale_suffix(context.run)];
    let by_service: Standing = standing(context.engine, &context.settings.project.name).await?;
    let mut removed = 0;
    for container in by_service.values().flatten() {
        if suffixes.iter().any(|suffix| container.name.ends_with(suffix))
            && container.state != ContainerState::Running
        {
            context.engine.remove_container(&container.id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
