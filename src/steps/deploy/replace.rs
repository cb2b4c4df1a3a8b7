//! Bringing one service to its target: which of its containers are made, started, stopped and kept, in the manner of
//! its strategy. An old one is stopped and kept under another name until the whole run has succeeded, so that the way
//! back is to start it again, with just the image, environment and mounts it had.
//!
//! After a crash: a new container under its arriving name, and old ones under their own or their retired names.

use std::time::Duration;

use tokio::time::Instant;

use super::before_switch::Trial;
use super::changes::Changes;
use super::infrastructure::NetworkIds;
use super::ready::{Waiting, wait_until_completed, wait_until_ready};
use super::reload;
use super::standing::{Places, Slot, is_alive};
use super::strategy::Strategy;
use super::target::{Purpose, arriving_name, container_spec, retired_name, settled_name, stale_name};
use super::traffic::Traffic;
use crate::compose::{NetworkMode, Service};
use crate::engine::{Container, ContainerId, ContainerState, ImageId, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepResult, Task};
use crate::steps::one_off;

/// What an old replica's requests in flight are given at least, where nothing is said: longer than any proxy's own
/// time-out would let most of them live, shorter than an operator's patience.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a proxy that is replaced may finish what it has: its port is free meanwhile.
const PROXY_GRACE: Duration = Duration::from_millis(250);

/// One service, about to be brought to its target.
pub(crate) struct Replacement<'a> {
    pub context: Context<'a>,
    pub service: &'a Service,
    pub strategy: Strategy,
    pub image: &'a ImageId,
    pub networks: &'a NetworkIds,
    pub traffic: &'a Traffic<'a>,
    pub changes: &'a Changes,
    pub trial: &'a Trial<'a>,
    pub task: &'a Task,
    /// How long a new container without a health test must run before it is ready.
    pub steady: Duration,
}

/// A container that was made and not started yet.
pub(super) struct Made {
    pub id: ContainerId,
    pub name: String,
}

impl Replacement<'_> {
    /// Brings every replica to its target.
    ///
    /// # Errors
    /// The first that cannot be brought there; what it replaces then still serves, or is started again by undo.
    pub(crate) async fn apply(&self, places: &Places) -> Result<(StepResult, String), Failure> {
        if places.are_settled() {
            return Ok((StepResult::Unchanged, "unchanged".to_owned()));
        }
        let mut done = match self.strategy {
            Strategy::Rolling => self.roll(places).await?,
            Strategy::Recreate(_)
            | Strategy::Singleton
            | Strategy::Reload
            | Strategy::Untouched(_)
            | Strategy::OneShot => self.replace_one_by_one(places).await?,
        };
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

    async fn replace_one_by_one(&self, places: &Places) -> Result<Vec<String>, Failure> {
        let mut done = Vec::new();
        self.trial.awaited(&self.service.name, self.changes).await?;
        for slot in &places.slots {
            self.changes.go_on()?;
            if let Some(kept) = &slot.kept {
                self.retire_all(&slot.replaced).await?;
                self.settle_name(&kept.id, &kept.name, slot.number).await?;
                continue;
            }
            done.push(self.fill(slot).await?);
        }
        if !places.surplus.is_empty() {
            self.retire_all(&places.surplus).await?;
            done.push(format!("{} surplus replicas retired", places.surplus.len()));
        }
        Ok(done)
    }

    async fn fill(&self, slot: &Slot) -> Result<String, Failure> {
        let alive: Vec<&Container> = slot.replaced.iter().filter(|old| is_alive(old)).collect();
        if let (Strategy::Untouched(_), Some(stopped)) = (self.strategy, slot.replaced.first()) {
            // It holds data: what stands is started as it is, never replaced.
            self.start_and_wait(&stopped.id).await?;
            return Ok("started again".to_owned());
        }
        // Made in full before the old one goes.
        let new = self.create(slot).await?;
        let mut gap = None;
        match self.strategy {
            Strategy::Rolling | Strategy::Recreate(_) | Strategy::Singleton | Strategy::Untouched(_) => {
                self.retire_all(&slot.replaced).await?;
                self.start_and_wait(&new.id).await?;
                // Its address is another one.
                self.traffic.reload_for(&self.service.name).await?;
            }
            Strategy::Reload => {
                if !alive.is_empty() {
                    self.test_configuration().await?;
                }
                gap = Some(self.exchange(&slot.replaced, &new.id).await?);
                wait_until_ready(&self.waiting(), &new.id, self.service).await?;
            }
            Strategy::OneShot => {
                self.traffic.start(&self.service.name, &new.id).await?;
                wait_until_completed(&self.waiting(), &new.id).await?;
                self.retire_all(&slot.replaced).await?;
            }
        }
        self.settle_name(&new.id, &new.name, slot.number).await?;
        Ok(match (self.strategy, alive.is_empty(), gap) {
            (Strategy::OneShot, ..) => "ran to its end".to_owned(),
            (_, true, _) => "started".to_owned(),
            (_, false, Some(gap)) => format!("replaced, its port was free for {} ms", gap.as_millis()),
            (_, false, None) => "replaced, with a gap".to_owned(),
        })
    }

    /// Puts a proxy in another's place: as short as two calls of the engine and what the old one takes to finish its
    /// short requests. Says how long nobody listened.
    async fn exchange(&self, old: &[Container], new: &ContainerId) -> Result<Duration, Failure> {
        let engine = self.context.engine;
        for old in old {
            self.name_retired(old).await?;
        }
        let began = Instant::now();
        for old in old.iter().filter(|old| is_alive(old)) {
            let drain = self.context.settings.config.service(&self.service.name).drain;
            let grace = drain.map_or(PROXY_GRACE, |drain| drain.0);
            let signal = self.service.stop_signal.as_deref().unwrap_or("SIGQUIT");
            engine.kill(&old.id, signal).await?;
            let ended = tokio::time::timeout(grace, engine.wait(&old.id)).await;
            if let Ok(ended) = ended {
                ended?;
            }
            // One that has ended is stopped already; the engine must also know that it is not to be started again.
            engine.stop(&old.id, Some(Duration::ZERO)).await?;
        }
        let since = self.traffic.start(&self.service.name, new).await?;
        Ok(since.duration_since(began))
    }

    pub(super) async fn create(&self, slot: &Slot) -> Result<Made, Failure> {
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
        let id = engine.create_container(&spec).await?;
        Ok(Made { id, name })
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
        self.traffic.start(&self.service.name, id).await?;
        wait_until_ready(&self.waiting(), id, self.service)
            .await
            .map(|_| ())
    }

    pub(super) fn waiting(&self) -> Waiting<'_> {
        let settings = self.context.settings.config.service(&self.service.name);
        Waiting {
            engine: self.context.engine,
            changes: self.changes,
            task: self.task,
            limit: settings.health_timeout.0,
            steady: self.steady,
        }
    }

    /// How long what an old container has in flight may take.
    pub(super) fn drain(&self) -> Duration {
        drain(self.context, self.service)
    }

    /// How long a container may take to end once it has been told to.
    fn grace(&self) -> Option<Duration> {
        let own = self.context.settings.config.service(&self.service.name).drain;
        own.map(|drain| drain.0).or(self.service.stop_grace_period)
    }

    pub(super) async fn retire_all(&self, containers: &[Container]) -> Result<(), Failure> {
        for old in containers {
            self.task.progress("stopping the old one");
            self.name_retired(old).await?;
            self.context.engine.stop(&old.id, self.grace()).await?;
        }
        Ok(())
    }

    /// Gives an old container the name by which the way back finds it: so that comes before it is stopped. One that did
    /// not run before this run must not be started by the way back.
    pub(super) async fn name_retired(&self, old: &Container) -> Result<(), Failure> {
        let name = if is_alive(old) {
            retired_name(&old.name, self.context.run)
        } else {
            stale_name(&old.name, self.context.run)
        };
        Ok(self.context.engine.rename(&old.id, &name).await?)
    }

    /// Gives a container the name that the replica of this number has.
    pub(super) async fn settle_name(
        &self,
        id: &ContainerId,
        current: &str,
        number: u32,
    ) -> Result<(), Failure> {
        let name = settled_name(&self.context.settings.project, self.service, number);
        if current != name {
            self.context.engine.rename(id, &name).await?;
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

    /// What stands now of a container that this run made.
    pub(super) async fn seen(&self, id: &ContainerId) -> Result<Container, Failure> {
        let found = self.context.engine.container(&id.0).await?;
        found.ok_or_else(|| {
            Failure::message(
                FailureKind::Failed,
                format!(
                    "the new container of {} was removed by somebody else",
                    self.service.name
                ),
            )
        })
    }
}

/// How long what an old container of this service has in flight may take: as `deploy.yml` says, else the Compose
/// file's grace period, but no less than half a minute.
pub(crate) fn drain(context: Context<'_>, service: &Service) -> Duration {
    let own = context.settings.config.service(&service.name).drain;
    own.map_or_else(
        || service.stop_grace_period.unwrap_or(DRAIN).max(DRAIN),
        |drain| drain.0,
    )
}
