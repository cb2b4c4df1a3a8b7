//! How the project's containers do while a release settles: whether they run and are well, and what they use. Only the
//! memory of those that the release has brought is kept, to be judged.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use tokio::time::Instant;

use super::judgement::SeenContainer;
use super::processor::Processor;
use super::sides::Sides;
use super::uses::Uses;
use crate::compose::{Project, RestartPolicy};
use crate::engine::{Container, ContainerId, ContainerState, Engine, Health, Usage};
use crate::error::Failure;
use crate::pipeline::MeasuredContainer;
use crate::steps::deploy::standing;

/// At most so many looks at a container's memory are kept: half an hour of them.
const LOOKS: usize = 1000;

/// The containers, and how they did so far.
pub(super) struct Containers<'a> {
    engine: &'a dyn Engine,
    project: &'a Project,
    /// In the order in which they are told.
    ids: Vec<ContainerId>,
    /// When the watch began.
    first: BTreeMap<ContainerId, Container>,
    seen: BTreeMap<ContainerId, SeenContainer>,
    /// Whose memory is looked at.
    new: Vec<ContainerId>,
    runs: Vec<ContainerId>,
    host: u64,
    /// How they stood when they were last looked at.
    measured: BTreeMap<ContainerId, MeasuredContainer>,
    uses: Uses,
    pub(super) problem: Option<String>,
}

impl<'a> Containers<'a> {
    /// Takes down how those stand that are watched, and what memory those before them use.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn of(
        engine: &'a dyn Engine,
        project: &'a Project,
        sides: &Sides,
    ) -> Result<Self, Failure> {
        let host = engine.capacity().await?.memory_total;
        let now = engine.time().await?;
        let before = join_all(sides.before.iter().map(|(service, container)| async move {
            let usage = engine.usage(&container.id).await.ok().flatten();
            usage.map(|usage| (service.as_str(), usage.memory, processors(container, &usage, now)))
        }))
        .await;
        let mut most: BTreeMap<&str, (u64, Option<f64>)> = BTreeMap::new();
        for (service, bytes, processors) in before.into_iter().flatten() {
            let known = most.entry(service).or_default();
            known.0 = bytes.max(known.0);
            known.1 = known.1.into_iter().chain(processors).reduce(f64::max);
        }
        let mut containers = Self {
            engine,
            project,
            ids: Vec::new(),
            first: BTreeMap::new(),
            seen: BTreeMap::new(),
            new: sides.new.iter().map(|(_, one)| one.id.clone()).collect(),
            runs: Vec::new(),
            host,
            measured: BTreeMap::new(),
            uses: Uses::default(),
            problem: None,
        };
        for (service, container) in sides.new.iter().chain(&sides.kept) {
            containers.ids.push(container.id.clone());
            containers.first.insert(container.id.clone(), container.clone());
            let before = most.get(service.as_str()).copied();
            let limits = project.services.values().find(|one| one.name.as_str() == service);
            let limit = limits.and_then(|one| one.limits.nano_cpus);
            let seen = SeenContainer {
                name: container.name.clone(),
                before: before.map(|(bytes, _)| bytes),
                processor: Processor {
                    before: before.and_then(|(_, processors)| processors),
                    limit: limit.map(|limit| limit as f64 / 1e9),
                    ..Processor::default()
                },
                ..SeenContainer::default()
            };
            containers.seen.insert(container.id.clone(), seen);
        }
        Ok(containers)
    }

    /// Whether it ran when it was last looked at.
    pub(super) fn runs(&self, id: &ContainerId) -> bool {
        self.runs.contains(id)
    }

    pub(super) fn seen(&self) -> Vec<SeenContainer> {
        self.ids
            .iter()
            .filter_map(|id| self.seen.get(id).cloned())
            .collect()
    }

    /// As they stood when they were last looked at, by service and name.
    pub(super) fn measured(&self) -> Vec<MeasuredContainer> {
        let mut measured: Vec<MeasuredContainer> = self.measured.values().cloned().collect();
        measured.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        measured
    }

    /// Looks, so many seconds after the watch began.
    ///
    /// # Errors
    /// The engine's: without it nothing can be said.
    pub(super) async fn look(&mut self, now: f64) -> Result<(), Failure> {
        let standing = standing(self.engine, &self.project.name).await?;
        let all: BTreeMap<&ContainerId, (&String, &Container)> = standing
            .iter()
            .flat_map(|(service, containers)| containers.iter().map(move |one| (&one.id, (service, one))))
            .collect();
        self.runs = all
            .values()
            .filter(|(_, one)| one.state == ContainerState::Running)
            .map(|(_, one)| one.id.clone())
            .collect();
        for (id, first) in &self.first {
            let Some(seen) = self.seen.get_mut(id) else {
                continue;
            };
            let Some((service, container)) = all.get(id) else {
                seen.trouble = Some("is gone".to_owned());
                if let Some(measured) = self.measured.get_mut(id) {
                    measured.is_gone();
                }
                continue;
            };
            // An ill one that was ill before is no news of this release.
            let was = trouble(self.project, service, first);
            seen.trouble = trouble(self.project, service, container).filter(|_| was.is_none());
            seen.restarts = container.restart_count.saturating_sub(first.restart_count);
            if seen.restarts > 0 && container.out_of_memory && !first.out_of_memory {
                seen.trouble = Some("ran out of memory".to_owned());
            }
            let measured = MeasuredContainer {
                service: (*service).clone(),
                name: container.name.clone(),
                is_new: self.new.contains(id),
                state: state_word(&container.state),
                health: container.health.as_ref().map(health_word),
                restarts: container.restart_count,
                restarts_since: seen.restarts,
                cores: None,
                memory: None,
                memory_limit: None,
                received: None,
                sent: None,
            };
            self.measured.insert(id.clone(), measured);
        }
        let engine = self.engine;
        let running = self.ids.iter().filter(|id| self.runs.contains(id));
        let used = join_all(running.map(|id| async move {
            let usage = engine.usage(id).await;
            (id, Instant::now(), usage)
        }))
        .await;
        self.problem = None;
        for (id, at, usage) in used {
            let Usage {
                memory,
                memory_limit,
                processor,
                ..
            } = match usage {
                Ok(Some(usage)) => {
                    if let Some(measured) = self.measured.get_mut(id) {
                        self.uses.add(id, at, usage, measured);
                        measured.memory_limit = usage.memory_limit.filter(|limit| *limit < self.host);
                    }
                    usage
                }
                Ok(None) => continue,
                Err(error) => {
                    self.problem = Some(format!("what the containers use: {error}"));
                    continue;
                }
            };
            if let Some(seen) = self.seen.get_mut(id).filter(|_| self.new.contains(id)) {
                let used = &mut seen.processor.used;
                // A container that was started again counts anew.
                let processor = processor.as_secs_f64();
                used.retain(|(_, before)| *before <= processor);
                keep(used, (now, processor));
                seen.limit = memory_limit.filter(|limit| *limit < self.host);
                keep(&mut seen.memory, (now, memory as f64));
            }
        }
        Ok(())
    }
}

/// Keeps what one look has found; the older half of what is kept goes where it would be too much.
fn keep(looks: &mut Vec<(f64, f64)>, look: (f64, f64)) {
    if looks.len() >= LOOKS {
        looks.drain(..LOOKS / 2);
    }
    looks.push(look);
}

/// How many processors a container has used since it was started, on the average; of one that has only just been, nobody
/// can tell.
fn processors(container: &Container, usage: &Usage, now: OffsetDateTime) -> Option<f64> {
    let started = OffsetDateTime::parse(container.started.as_deref()?, &Rfc3339).ok()?;
    let seconds = (now - started).as_seconds_f64();
    (seconds >= 60.0).then(|| usage.processor.as_secs_f64() / seconds)
}

/// What is wrong with a container; restarts aside.
fn trouble(project: &Project, service: &str, container: &Container) -> Option<String> {
    match &container.state {
        ContainerState::Running => match &container.health {
            Some(Health::Unhealthy { probes }) => {
                let last = probes.last().map(|probe| probe.output.trim());
                let said = last.and_then(|output| output.lines().last()).unwrap_or_default();
                Some(format!("is unhealthy: {said}"))
            }
            Some(Health::Starting { .. } | Health::Healthy) | None => None,
        },
        ContainerState::Exited(exit) => {
            let service = project.services.values().find(|one| one.name.as_str() == service);
            let is_job = service.is_some_and(|one| one.restart.unwrap_or_default() == RestartPolicy::No);
            if exit.success() && is_job {
                return None;
            }
            let memory = if exit.out_of_memory {
                ", for want of memory"
            } else {
                ""
            };
            Some(format!("ended with exit code {}{memory}", exit.code))
        }
        ContainerState::Dead => Some("is dead".to_owned()),
        // Between two starts it counts as a restart; what somebody stopped by hand is theirs.
        ContainerState::Restarting { .. }
        | ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Removing => None,
    }
}

const fn state_word(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting { .. } => "restarting",
        ContainerState::Exited(_) => "exited",
        ContainerState::Removing => "removing",
        ContainerState::Dead => "dead",
    }
}

const fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Starting { .. } => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
    }
}
