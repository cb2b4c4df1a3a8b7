//! Putting a new container in an old one's place. The old one is stopped and kept under another name until the whole
//! run has succeeded, so that the way back is to start it again, with just the image, environment and mounts it had.
//!
//! After a crash: a new container under its arriving name, and old ones under their own or their retired names.

use std::time::Duration;

use super::infrastructure::NetworkIds;
use super::ready::{start_and_wait, wait_until_completed};
use super::reload::{self, Proxy};
use super::standing::{Places, Slot, is_alive};
use super::strategy::Strategy;
use super::target::{Purpose, arriving_name, container_spec, retired_name, settled_name, stale_name};
use crate::compose::{NetworkMode, Service};
use crate::engine::{Container, ContainerId, ContainerState, ImageId, labels};
use crate::error::Failure;
use crate::pipeline::{Context, StepResult, Task};
use crate::steps::one_off;

/// One service, about to be brought to its target.
pub(crate) struct Replacement<'a> {
    pub context: Context<'a>,
    pub service: &'a Service,
    pub strategy: Strategy,
    pub image: &'a ImageId,
    pub networks: &'a NetworkIds,
    /// What holds this service's address.
    pub proxies: Vec<&'a Proxy>,
    pub task: &'a Task,
}

impl Replacement<'_> {
    /// Brings every replica to its target, one after another.
    ///
    /// # Errors
    /// The first that cannot be brought there; what it replaces then still serves, or is started again by undo.
    pub(crate) async fn apply(&self, places: &Places) -> Result<(StepResult, String), Failure> {
        if places.are_settled() {
            return Ok((StepResult::Unchanged, "unchanged".to_owned()));
        }
        let mut done = Vec::new();
        for slot in &places.slots {
            if let Some(kept) = &slot.kept {
                self.retire_all(&slot.replaced).await?;
                self.settle_name(&kept.id, &kept.name, slot.number).await?;
                continue;
            }
            done.push(self.fill(slot).await?);
        }
        if !places.surplus.is_empty() {
            self.retire_all(&places.surplus).await?;
            self.reload_proxies().await?;
            done.push(format!("{} surplus replicas retired", places.surplus.len()));
        }
        done.dedup();
        Ok((
            StepResult::Succeeded,
            if done.is_empty() {
                "tidied".to_owned()
            } else {
                done.join(", ")
            },
        ))
    }

    async fn fill(&self, slot: &Slot) -> Result<String, Failure> {
        let alive: Vec<&Container> = slot.replaced.iter().filter(|old| is_alive(old)).collect();
        if let (Strategy::Untouched(_), Some(stopped)) = (self.strategy, slot.replaced.first()) {
            // It holds data: what stands is started as it is, never replaced.
            self.start_and_wait(&stopped.id).await?;
            return Ok("started again".to_owned());
        }
        let new = match self.strategy {
            Strategy::Rolling => {
                let new = self.create(slot).await?;
                self.start_and_wait(&new).await?;
                if !alive.is_empty() {
                    self.task.progress("healthy; taking it into service");
                    self.reload_proxies().await?;
                }
                self.retire_all(&slot.replaced).await?;
                new
            }
            Strategy::Recreate(_) | Strategy::Singleton | Strategy::Untouched(_) => {
                let new = self.create(slot).await?;
                self.retire_all(&slot.replaced).await?;
                self.start_and_wait(&new).await?;
                new
            }
            Strategy::Reload => {
                let new = self.create(slot).await?;
                if !alive.is_empty() {
                    self.test_configuration().await?;
                }
                self.retire_all(&slot.replaced).await?;
                self.start_and_wait(&new).await?;
                new
            }
            Strategy::OneShot => {
                let new = self.create(slot).await?;
                self.context.engine.start(&new).await?;
                wait_until_completed(self.context.engine, &new, self.health_timeout(), self.task).await?;
                self.retire_all(&slot.replaced).await?;
                new
            }
        };
        if !alive.is_empty() || !self.proxies.is_empty() {
            self.reload_proxies().await?;
        }
        self.settle_name(&new, "", slot.number).await?;
        Ok(match (self.strategy, alive.is_empty()) {
            (Strategy::OneShot, _) => "ran to its end".to_owned(),
            (_, true) => "started".to_owned(),
            (Strategy::Rolling, false) => "replaced".to_owned(),
            (_, false) => "replaced, with a gap".to_owned(),
        })
    }

    async fn create(&self, slot: &Slot) -> Result<ContainerId, Failure> {
        let Context {
            settings,
            run,
            engine,
            ..
        } = self.context;
        let name = if slot.replaced.is_empty() {
            settled_name(&settings.project, self.service, slot.number)
        } else {
            arriving_name(&settings.project, self.service, slot.number, run)
        };
        let shared = self.shared_namespace().await?;
        let purpose = Purpose {
            role: labels::Role::Service,
            number: slot.number,
            name: &name,
            tag: &settings.tag,
            run,
        };
        let spec = container_spec(
            &settings.project,
            self.service,
            self.image,
            self.networks,
            shared.as_ref(),
            purpose,
        )?;
        self.task.progress("creating");
        Ok(engine.create_container(&spec).await?)
    }

    /// The container whose network namespace this service shares.
    async fn shared_namespace(&self) -> Result<Option<ContainerId>, Failure> {
        let Some(NetworkMode::Service(other)) = &self.service.network_mode else {
            return Ok(None);
        };
        let standing =
            super::standing::standing(self.context.engine, &self.context.settings.project.name).await?;
        let running = standing
            .get(other.as_str())
            .into_iter()
            .flatten()
            .find(|container| container.state == ContainerState::Running);
        Ok(running.map(|container| container.id.clone()))
    }

    async fn start_and_wait(&self, id: &ContainerId) -> Result<(), Failure> {
        self.task.progress("starting");
        start_and_wait(self.context.engine, id, self.health_timeout(), self.task).await
    }

    fn health_timeout(&self) -> Duration {
        self.context
            .settings
            .config
            .service(&self.service.name)
            .health_timeout
            .0
    }

    fn drain(&self) -> Option<Duration> {
        let own = self.context.settings.config.service(&self.service.name).drain;
        own.map(|drain| drain.0).or(self.service.stop_grace_period)
    }

    async fn retire_all(&self, containers: &[Container]) -> Result<(), Failure> {
        for old in containers {
            self.retire(old).await?;
        }
        Ok(())
    }

    /// Stops a container and keeps it for the way back, which finds it by its name: so that comes first.
    async fn retire(&self, old: &Container) -> Result<(), Failure> {
        self.task.progress("stopping the old one");
        // One that did not run before this run either must not be started by the way back.
        let name = if is_alive(old) {
            retired_name(&old.name, self.context.run)
        } else {
            stale_name(&old.name, self.context.run)
        };
        self.context.engine.rename(&old.id, &name).await?;
        self.context.engine.stop(&old.id, self.drain()).await?;
        Ok(())
    }

    /// Gives a container the name that the replica of this number has.
    async fn settle_name(&self, id: &ContainerId, current: &str, number: u32) -> Result<(), Failure> {
        let name = settled_name(&self.context.settings.project, self.service, number);
        if current == name {
            return Ok(());
        }
        let standing = self.context.engine.container(&id.0).await?;
        if standing.is_none_or(|container| container.name != name) {
            self.context.engine.rename(id, &name).await?;
        }
        Ok(())
    }

    async fn reload_proxies(&self) -> Result<(), Failure> {
        for proxy in &self.proxies {
            proxy.reload(self.context.engine).await?;
        }
        Ok(())
    }

    /// Has the new image test the configuration it will be given, while the old container still serves.
    async fn test_configuration(&self) -> Result<(), Failure> {
        let Some((Some(test), _)) = reload::commands(self.context.settings, &self.service.name) else {
            return Ok(());
        };
        one_off::run(
            self.context,
            self.service,
            self.image,
            self.networks,
            &test,
            self.task,
        )
        .await?
        .require_success(&format!(
            "{} does not accept its configuration",
            self.service.name
        ))?;
        Ok(())
    }
}
