//! Taking a deploy back: the containers of this run go, those that they replaced stand again. Found by label and by
//! name, not by memory, so it does not matter where the run stopped.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::changes::Changes;
use super::ready::{STEADY, Waiting, is_serving, stays_up, wait_until_ready};
use super::replace;
use super::standing::{containers_of, is_alive, standing};
use super::strategy::{Strategy, strategy};
use super::target::{retired_suffix, stale_name, stale_suffix};
use super::traffic::Traffic;
use crate::compose::{Service, ServiceName};
use crate::engine::{Container, ContainerFilter, ContainerId, ContainerState, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult, Task, Undone};
use crate::steps::images;

/// Puts back what stood before this run.
///
/// # Errors
/// Where an old container does not come back; new ones that still serve are then left alone.
pub(crate) async fn undo(context: Context<'_>) -> Result<Undone, Failure> {
    let project = &context.settings.project;
    let by_service = standing(context.engine, &project.name).await?;
    // Against the order of the deploy: what depends on others goes first.
    let services = project.services_in_dependency_order();
    let mut left: Vec<Taken<'_>> = services
        .into_iter()
        .rev()
        .map(|service| Taken::of(context, service, containers_of(&by_service, &service.name)))
        .filter(Taken::is_something)
        .collect();
    if left.is_empty() {
        clear_up(context, false).await;
        let networks = remove_new_networks(context).await?;
        return Ok(said(&[], &[], networks));
    }
    let images = images::find(context.view()).await?.images;
    let application = super::application(context, &images);
    let mut traffic = Traffic::open(context, &by_service, application).await?;
    let changes = Changes::new();
    // Proxies before what they lead to, which is led back from where they stand then.
    left.sort_by_key(|taken| !taken.is_proxy);
    let others = left.split_off(left.partition_point(|taken| taken.is_proxy));
    let (proxies, mut left) = (left, others);
    let mut results = Vec::new();
    if !proxies.is_empty() {
        let way_back = WayBack {
            context,
            traffic: &traffic,
            changes: &changes,
        };
        for proxy in &proxies {
            results.push(way_back.put_back(proxy).await);
        }
        let now = standing(context.engine, &project.name).await?;
        traffic = Traffic::open(context, &now, application).await?;
    }
    let way_back = WayBack {
        context,
        traffic: &traffic,
        changes: &changes,
    };
    // Those of which two may stand at once first; the order among the others stays.
    left.sort_by_key(|taken| !taken.together);
    let one_by_one = left.split_off(left.partition_point(|taken| taken.together));
    let put_back = async {
        let side_by_side = join_all(left.iter().map(|taken| way_back.put_back(taken)));
        let in_order = async {
            let mut results = Vec::new();
            for taken in &one_by_one {
                let result = way_back.put_back(taken).await;
                let failed = result.is_err();
                results.push(result);
                if failed {
                    break;
                }
            }
            results
        };
        let (mut first, second) = tokio::join!(side_by_side, in_order);
        first.extend(second);
        first
    };
    tokio::select! {
        biased;
        further = put_back => results.extend(further),
        never = changes.listen(context.engine, &project.name) => match never {},
    };
    let mut brought_back: Vec<ContainerId> = Vec::new();
    for result in results {
        brought_back.extend(result?);
    }
    make_sure(context, &brought_back).await?;
    clear_up(context, true).await;
    let networks = remove_new_networks(context).await?;
    let (restored, removed): (Vec<&Taken<'_>>, Vec<&Taken<'_>>) = proxies
        .iter()
        .chain(&left)
        .chain(&one_by_one)
        .partition(|taken| taken.was_there());
    let names = |taken: &[&Taken<'_>]| -> Vec<String> {
        taken.iter().map(|taken| taken.service.name.to_string()).collect()
    };
    Ok(said(&names(&restored), &names(&removed), networks))
}

/// What was there serves again: what cannot be cleared away is said, and swept by the next run.
async fn clear_up(context: Context<'_>, changed: bool) {
    if let Err(failure) = super::finish(context, changed).await {
        context.warn(format!("clearing up after deploy: {:#}", failure.error), None);
    }
}

fn said(restored: &[String], removed: &[String], networks: u32) -> Undone {
    if restored.is_empty() && removed.is_empty() && networks == 0 {
        return Undone::NothingToDo;
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
    Undone::Reverted {
        message: parts.join("; "),
        restored_previous: !restored.is_empty(),
    }
}

/// One service, as this run left it.
struct Taken<'a> {
    service: &'a Service,
    /// Old and new may stand side by side.
    together: bool,
    one_shot: bool,
    is_proxy: bool,
    /// Made by this run.
    fresh: Vec<Container>,
    /// Stopped by this run, or about to be: it renames them first.
    retired: Vec<Container>,
    /// Renamed by this run; they did not run before it either.
    stale: Vec<Container>,
    /// Old ones that never stopped serving.
    serving: Vec<Container>,
}

impl<'a> Taken<'a> {
    fn of(context: Context<'_>, service: &'a Service, containers: &[Container]) -> Self {
        let (fresh, old): (Vec<Container>, Vec<Container>) = containers
            .iter()
            .cloned()
            .partition(|container| super::is_of_this_run(context, container));
        let retired_suffix = retired_suffix(context.run);
        let stale_suffix = stale_suffix(context.run);
        let ending_in = |suffix: &str| -> Vec<Container> {
            let named = old.iter().filter(|container| container.name.ends_with(suffix));
            named.cloned().collect()
        };
        let serving = old.iter().filter(|container| {
            container.state == ContainerState::Running
                && !container.name.ends_with(&retired_suffix)
                && !container.name.ends_with(&stale_suffix)
        });
        let strategy = strategy(context.settings, service);
        Self {
            service,
            together: strategy == Strategy::Rolling,
            one_shot: strategy == Strategy::OneShot,
            is_proxy: strategy == Strategy::Reload,
            serving: serving.cloned().collect(),
            retired: ending_in(&retired_suffix),
            stale: ending_in(&stale_suffix),
            fresh,
        }
    }

    fn is_something(&self) -> bool {
        !self.fresh.is_empty() || !self.retired.is_empty() || !self.stale.is_empty()
    }

    fn was_there(&self) -> bool {
        !self.retired.is_empty() || !self.stale.is_empty() || !self.serving.is_empty()
    }
}

/// What services are put back with.
struct WayBack<'a> {
    context: Context<'a>,
    traffic: &'a Traffic<'a>,
    changes: &'a Changes,
}

impl WayBack<'_> {
    /// The containers that were brought back.
    async fn put_back(&self, taken: &Taken<'_>) -> Result<Vec<ContainerId>, Failure> {
        let name = &taken.service.name;
        let title = format!("putting {name} back");
        let task = self.context.task(StepId::Deploy, name.as_str(), title);
        let put_back = if taken.together {
            self.put_back_beside(taken, &task).await
        } else {
            self.put_back_instead(taken, &task).await
        };
        let message = if taken.was_there() { "put back" } else { "removed" };
        task.conclude(put_back, |_| (StepResult::Succeeded, message.to_owned()))
    }

    /// The old ones come back beside the new ones, take the calls over, and only then the new ones go; one by one where
    /// `max_surge` lets no more stand at once.
    async fn put_back_beside(&self, taken: &Taken<'_>, task: &Task) -> Result<Vec<ContainerId>, Failure> {
        let name = &taken.service.name;
        let engine = self.context.engine;
        let (mut fresh, ended): (Vec<Container>, Vec<Container>) =
            taken.fresh.iter().cloned().partition(is_alive);
        let called = self.traffic.is_called(name) && !fresh.is_empty();
        let steered = called && self.traffic.prepare(name).await?;
        let mut restored = Vec::new();
        let mut names = Vec::new();
        let mut back = taken.serving.clone();
        // Those that ran on take over as they are.
        let (run_on, stopped): (Vec<&Container>, Vec<&Container>) =
            taken.retired.iter().partition(|old| is_serving(old));
        for old in run_on {
            back.push(old.clone());
            names.push((old.id.clone(), old.name.clone()));
        }
        let surge = self.context.settings.config.service(name).max_surge;
        let most = (taken.service.replicas + surge) as usize;
        for old in stopped {
            while fresh.len() + back.len() >= most && fresh.len() + back.len() > 1 {
                let Some(one) = fresh.pop() else { break };
                let rest: Vec<Container> = back.iter().chain(&fresh).cloned().collect();
                self.take_out(one, taken.service, &rest, steered).await?;
            }
            let others: Vec<Container> = back.iter().chain(&fresh).cloned().collect();
            let others = if steered { others.as_slice() } else { &[] };
            let id = self.bring_back(old, taken.service, others, task).await?;
            back.extend(engine.container(&id.0).await?);
            names.push((id.clone(), old.name.clone()));
            restored.push(id);
        }
        if !back.is_empty() && steered {
            self.traffic.divert(name, &fresh, &back).await?;
            task.progress("finishing what the new one has in flight");
            let limit = replace::drain(self.context, taken.service);
            for one in &fresh {
                self.traffic.idle(one, limit).await?;
            }
        } else if called && !taken.retired.is_empty() {
            self.traffic.reload_for(name).await?;
        }
        self.remove(&ended).await?;
        self.remove(&fresh).await?;
        self.rename_back(&names, &taken.stale).await?;
        if called && !steered {
            self.traffic.reload_for(name).await?;
        }
        Ok(restored)
    }

    /// Removes a new one before all old ones are back: these others take its calls over.
    async fn take_out(
        &self,
        one: Container,
        service: &Service,
        others: &[Container],
        steered: bool,
    ) -> Result<(), Failure> {
        let name = &service.name;
        let limit = replace::drain(self.context, service);
        let one = std::slice::from_ref(&one);
        if steered {
            self.traffic.divert(name, one, others).await?;
            for one in one {
                self.traffic.idle(one, limit).await?;
            }
        }
        self.traffic.vacate(name, one, limit, self.remove(one)).await
    }

    /// The new ones go first: two cannot stand at once.
    async fn put_back_instead(&self, taken: &Taken<'_>, task: &Task) -> Result<Vec<ContainerId>, Failure> {
        self.remove(&taken.fresh).await?;
        let mut restored = Vec::new();
        let mut names = Vec::new();
        for old in &taken.retired {
            match &old.state {
                // A one-shot that had run.
                ContainerState::Exited(_) if taken.one_shot => {
                    names.push((old.id.clone(), old.name.clone()));
                }
                ContainerState::Exited(_)
                | ContainerState::Created
                | ContainerState::Running
                | ContainerState::Paused
                | ContainerState::Restarting { .. }
                | ContainerState::Removing
                | ContainerState::Dead => {
                    // It may just be stopping: the run named it retired before it asked for that.
                    self.context.engine.stop(&old.id, None).await?;
                    let id = self.bring_back(old, taken.service, &[], task).await?;
                    names.push((id.clone(), old.name.clone()));
                    restored.push(id);
                }
            }
        }
        self.rename_back(&names, &taken.stale).await?;
        Ok(restored)
    }

    async fn remove(&self, containers: &[Container]) -> Result<(), Failure> {
        for container in containers {
            self.context.engine.stop(&container.id, None).await?;
            self.context.engine.remove_container(&container.id).await?;
        }
        Ok(())
    }

    async fn rename_back(
        &self,
        restored: &[(ContainerId, String)],
        stale: &[Container],
    ) -> Result<(), Failure> {
        let engine = self.context.engine;
        let suffix = retired_suffix(self.context.run);
        for (id, name) in restored {
            if let Some(name) = name.strip_suffix(&suffix) {
                engine.rename(id, name).await?;
            }
        }
        for old in stale {
            if let Some(name) = old.name.strip_suffix(&stale_suffix(self.context.run)) {
                engine.rename(&old.id, name).await?;
            }
        }
        Ok(())
    }

    fn waiting<'s>(&'s self, service: &ServiceName, task: &'s Task) -> Waiting<'s> {
        Waiting {
            engine: self.context.engine,
            changes: self.changes,
            task,
            limit: self.context.settings.config.service(service).health_timeout.0,
            steady: STEADY,
        }
    }

    /// Brings a retired container back, by one made just like it: a container that is started a second time can meet
    /// its own leftovers (a pid file) or a tmpfs of another mode (runc 1.1). Where that fails the old one itself is
    /// started. Until it is ready its calls go to `serving`, where there are such.
    async fn bring_back(
        &self,
        old: &Container,
        service: &Service,
        serving: &[Container],
        task: &Task,
    ) -> Result<ContainerId, Failure> {
        let engine = self.context.engine;
        let waiting = self.waiting(&service.name, task);
        task.progress("starting the old one again");
        let stale = stale_name(&old.name, self.context.run);
        engine.rename(&old.id, &stale).await?;
        let twin = engine.create_twin(&old.id, &old.name).await?;
        let came_up = async {
            self.traffic.start(&service.name, &twin).await?;
            if let Some(standing) = engine.container(&twin.0).await?.filter(|_| !serving.is_empty()) {
                self.traffic.divert(&service.name, &[standing], serving).await?;
            }
            wait_until_ready(&waiting, &twin, service).await
        };
        let first = match came_up.await {
            // One that was still finishing its work goes on with that, and is removed at the end.
            Ok(_) if is_alive(old) => return Ok(twin),
            Ok(_) => {
                engine.remove_container(&old.id).await?;
                return Ok(twin);
            }
            Err(failure) => failure,
        };
        engine.stop(&twin, None).await?;
        engine.remove_container(&twin).await?;
        engine.rename(&old.id, &old.name).await?;
        let again = async {
            self.traffic.start(&service.name, &old.id).await?;
            wait_until_ready(&waiting, &old.id, service).await
        };
        match again.await {
            Ok(_) => Ok(old.id.clone()),
            Err(second) => Err(first.evidence(
                "the container that had served failed too",
                vec![format!("{:#}", second.error)],
            )),
        }
    }
}

/// What was brought back must still stand at the end: without a health test, a container that ends late looks well
/// at first.
async fn make_sure(context: Context<'_>, restored: &[ContainerId]) -> Result<(), Failure> {
    for id in restored {
        let standing = context.engine.container(&id.0).await?;
        if let Some(container) = standing.filter(|container| !stays_up(container)) {
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
