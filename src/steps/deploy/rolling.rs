//! Rolling: new replicas stand beside old ones, in batches; each old one retires once its successor is proven, what it
//! has in flight finishes, and from the moment of the switch it is given nothing new.
//!
//! Until the switch a failure costs nothing: the old ones were never touched. After it its calls are led back to them:
//! they run on until the whole run has succeeded, as far as `max_surge` lets so many stand at once.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::before_switch;
use super::ready::{self, Pinged, make_sure, started_with, test_pings_worker, wait_until_ready};
use super::replace::Replacement;
use super::retired;
use super::standing::{Places, Slot, is_alive};
use crate::engine::{Container, ContainerState};
use crate::error::{Failure, FailureKind};
use crate::stack::celery;

/// Between two questions to a worker that does not answer yet.
const PING_PAUSE: Duration = Duration::from_millis(500);

/// What stands of the service.
struct Standing {
    /// What is given calls.
    serving: Vec<Container>,
    /// What has given its place away and runs on for the way back, oldest first.
    running_on: Vec<Container>,
    /// How many may stand at once, new ones that are not ready included.
    most: usize,
}

impl Replacement<'_> {
    pub(super) async fn roll(&self, places: &Places) -> Result<Vec<String>, Failure> {
        let settings = self.context.settings.config.service(&self.service.name);
        let (surge, unavailable) = (settings.max_surge as usize, settings.max_unavailable as usize);
        if self.trial.concerns(&self.service.name) && !before_switch::is_due(places) {
            self.trial.pass();
        }
        let mut done = Vec::new();
        let serving: Vec<Container> = containers(places)
            .filter(|container| is_alive(container))
            .cloned()
            .collect();
        let mut standing = Standing {
            most: places.slots.len().max(serving.len()) + surge,
            serving,
            running_on: Vec::new(),
        };
        let empty: Vec<&Slot> = places.slots.iter().filter(|slot| slot.kept.is_none()).collect();
        // One of them serves at any time.
        let unavailable = unavailable.min(places.slots.len().saturating_sub(1));
        for batch in empty.chunks((surge + unavailable).max(1)) {
            self.changes.go_on()?;
            let replaced = batch.iter().any(|slot| slot.replaced.iter().any(is_alive));
            self.replace_batch(batch, unavailable, &mut standing).await?;
            let word = if replaced { "replaced" } else { "started" };
            done.push(word.to_owned());
        }
        if let Some((arrived, old)) = before_switch::arrived(places)
            && self.trial.concerns(&self.service.name)
        {
            self.try_arrived(arrived, &old).await?;
        }
        self.trial.awaited(&self.service.name, self.changes).await?;
        for slot in &places.slots {
            if let Some(kept) = &slot.kept {
                self.retire_in_favour_of(&slot.replaced, &standing.serving)
                    .await?;
                self.settle_name(&kept.id, &kept.name, slot.number).await?;
            }
        }
        if !places.surplus.is_empty() {
            self.traffic.prepare(&self.service.name).await?;
            self.retire_in_favour_of(&places.surplus, &standing.serving)
                .await?;
            done.push(format!("{} surplus replicas retired", places.surplus.len()));
        }
        Ok(done)
    }

    /// What a run that stopped half-way had made is tried as if it were new: whether that run has done so, nobody knows.
    async fn try_arrived(&self, arrived: &Container, old: &[Container]) -> Result<(), Failure> {
        let name = &self.service.name;
        let steered = self.traffic.prepare(name).await?;
        self.require_seclusion(steered)?;
        self.traffic
            .divert(name, std::slice::from_ref(arrived), old)
            .await?;
        self.try_out(arrived).await?;
        make_sure(self.context.engine, arrived).await
    }

    async fn replace_batch(
        &self,
        batch: &[&Slot],
        unavailable: usize,
        standing: &mut Standing,
    ) -> Result<(), Failure> {
        let name = &self.service.name;
        let mut old: Vec<Container> = batch.iter().flat_map(|slot| slot.replaced.clone()).collect();
        // Those that may be missed make room first, as long as others serve.
        let first = unavailable
            .min(old.len())
            .min(standing.serving.len().saturating_sub(1));
        if first > 0 {
            self.trial.awaited(name, self.changes).await?;
            self.traffic.prepare(name).await?;
            let rest = old.split_off(first);
            let early = std::mem::replace(&mut old, rest);
            standing.retire(&early);
            self.retire_in_favour_of(&early, &standing.serving).await?;
        }
        self.make_room(standing, batch.len()).await?;
        let alive: Vec<Container> = old.iter().filter(|old| is_alive(old)).cloned().collect();
        let create = try_join_all(batch.iter().map(|slot| self.create(slot)));
        let (new, steered) = if standing.serving.is_empty() {
            (create.await?, false)
        } else {
            let (new, steered) = tokio::join!(create, self.traffic.prepare(name));
            (new?, steered?)
        };
        let tried = self.trial.concerns(name);
        if tried {
            self.require_seclusion(steered)?;
        }
        // Where nobody calls it yet, whoever comes to do so is led too.
        let steered = steered || tried;
        if !steered {
            self.task.progress("waiting until the application has been tried");
            self.trial.awaited(name, self.changes).await?;
        }
        self.task.progress("starting");
        let mut started = Vec::new();
        for made in &new {
            self.traffic.start(name, &made.id).await?;
            if steered {
                started.push(self.seen(&made.id).await?);
            }
        }
        if steered {
            // In DNS from now on, and not ready: who asks there is led to those that are.
            self.traffic.divert(name, &started, &standing.serving).await?;
        }
        let waiting = self.waiting();
        let ready = try_join_all(
            new.iter()
                .map(|made| wait_until_ready(&waiting, &made.id, self.service)),
        );
        let called = self.traffic.is_called(name);
        let stand_by = async {
            if called {
                try_join_all(alive.iter().map(|old| self.traffic.stand_by(old))).await?;
            }
            Ok::<(), Failure>(())
        };
        let (ready, stood_by) = tokio::join!(ready, stand_by);
        let fresh: Vec<Container> = ready?;
        stood_by?;
        for container in &fresh {
            self.ping(container).await?;
        }
        self.changes.go_on()?;
        if let Some(first) = fresh.first().filter(|_| tried) {
            self.try_out(first).await?;
        }
        self.trial.awaited(name, self.changes).await?;
        self.changes.go_on()?;
        if alive.is_empty() {
            if steered {
                self.traffic.divert(name, &[], &[]).await?;
            }
        } else if steered {
            self.switch(&alive, &fresh).await?;
        } else if called {
            self.task.progress("healthy; taking it into service");
            self.traffic.reload_for(name).await?;
        }
        self.retire(&old, &fresh).await?;
        for (slot, made) in batch.iter().zip(&new) {
            self.settle_name(&made.id, &made.name, slot.number).await?;
        }
        standing.retire(&old);
        standing.serving.extend(fresh);
        Ok(())
    }

    /// Ends those that run on only for the way back, where they and as many new ones would be more than may stand. The
    /// way back starts them again.
    async fn make_room(&self, standing: &mut Standing, arriving: usize) -> Result<(), Failure> {
        let stand = standing.serving.len() + standing.running_on.len() + arriving;
        let over = stand.saturating_sub(standing.most).min(standing.running_on.len());
        if over == 0 {
            return Ok(());
        }
        let ended: Vec<Container> = standing.running_on.drain(..over).collect();
        let name = &self.service.name;
        self.task.progress("ending an old one, to make room");
        let end = retired::end_all(self.context, name, &ended);
        self.traffic.vacate(name, &ended, self.drain(), end).await
    }

    /// From here on new calls go to the new replicas. Proven before it and after it; where the second proof fails,
    /// calls go to the old ones again, which have not been touched.
    async fn switch(&self, old: &[Container], new: &[Container]) -> Result<(), Failure> {
        let name = &self.service.name;
        for container in new {
            self.traffic
                .prove(name, container, old.first(), self.task)
                .await?;
        }
        let before = self.traffic.baseline(name).await?;
        for container in new {
            make_sure(self.context.engine, container).await?;
        }
        self.task.progress("taking it into service");
        self.traffic.divert(name, old, new).await?;
        let proven = async {
            let mut proven = true;
            for container in new {
                proven &= self
                    .traffic
                    .prove_through(name, container, &before, self.task)
                    .await?;
            }
            for container in new {
                make_sure(self.context.engine, container).await?;
            }
            Ok::<bool, Failure>(proven)
        };
        match proven.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::info!(service = %name, "no question through the proxy came to the new container");
                Ok(())
            }
            Err(failure) => Err(self.switch_back(old, new, failure).await),
        }
    }

    /// The first error is never lost behind a second.
    async fn switch_back(&self, old: &[Container], new: &[Container], failure: Failure) -> Failure {
        match self.traffic.divert(&self.service.name, new, old).await {
            Ok(()) => failure,
            Err(second) => failure.evidence(
                "leading calls back to the old one failed too",
                vec![format!("{:#}", second.error)],
            ),
        }
    }

    /// Retires containers whose calls others of the service take over.
    async fn retire_in_favour_of(&self, retired: &[Container], serving: &[Container]) -> Result<(), Failure> {
        let rest: Vec<Container> = serving
            .iter()
            .filter(|container| !retired.iter().any(|gone| gone.id == container.id))
            .cloned()
            .collect();
        let alive: Vec<Container> = retired.iter().filter(|old| is_alive(old)).cloned().collect();
        if !alive.is_empty() && !rest.is_empty() {
            self.traffic.divert(&self.service.name, &alive, &rest).await?;
        }
        self.retire(retired, &rest).await
    }

    /// Waits until nothing is in flight. The old ones run on, and keep their addresses, which no other container may
    /// get while a proxy knows them: where the run fails they take over again at once. They are told to end when it has
    /// succeeded; one that did not run is only named.
    async fn retire(&self, old: &[Container], new: &[Container]) -> Result<(), Failure> {
        let called = self.traffic.is_called(&self.service.name);
        let began = Instant::now();
        for one in old
            .iter()
            .filter(|old| called && old.state == ContainerState::Running)
        {
            self.task.progress("finishing what the old one has in flight");
            let limit = self.drain().saturating_sub(began.elapsed());
            let left = self.traffic.idle(one, limit).await?;
            if !left.is_empty() {
                self.context.warn(
                    format!(
                        "{} still had {} connections when its drain of {} s was over; they are cut off when it is \
                         stopped",
                        one.name,
                        left.len(),
                        self.drain().as_secs()
                    ),
                    Some(format!(
                        "connected: {}; to allow for longer requests: services.{}.drain in deploy.yml",
                        left.join(", "),
                        self.service.name
                    )),
                );
            }
        }
        // Where nobody calls it no time has passed since they were ready.
        for container in new.iter().filter(|_| called) {
            if let Err(failure) = make_sure(self.context.engine, container).await {
                return Err(self.switch_back(old, new, failure).await);
            }
        }
        for old in old {
            self.name_retired(old).await?;
        }
        Ok(())
    }

    /// A Celery worker counts once it has answered, unless its own health test is that very question.
    async fn ping(&self, container: &Container) -> Result<(), Failure> {
        let (words, hostname) = started_with(self.service, &container.id);
        let command = celery::ping_command(&words, &hostname);
        let Some(command) = command.filter(|_| !test_pings_worker(self.service)) else {
            return Ok(());
        };
        self.task.progress("asking the new worker whether it takes tasks");
        let began = Instant::now();
        loop {
            let lines = match ready::ping(self.context.engine, &container.id, &command).await? {
                Pinged::Answered => return Ok(()),
                Pinged::Silent(lines) => lines,
            };
            make_sure(self.context.engine, container).await?;
            self.changes.go_on()?;
            if began.elapsed() >= self.waiting().limit {
                return Err(Failure::message(
                    FailureKind::Failed,
                    format!(
                        "the new worker {} runs, and does not answer a ping",
                        container.name
                    ),
                )
                .evidence(command.join(" "), lines));
            }
            tokio::time::sleep(PING_PAUSE).await;
        }
    }
}

impl Standing {
    /// These are given nothing more.
    fn retire(&mut self, old: &[Container]) {
        self.serving
            .retain(|container| !old.iter().any(|gone| gone.id == container.id));
        self.running_on
            .extend(old.iter().filter(|old| is_alive(old)).cloned());
    }
}

fn containers(places: &Places) -> impl Iterator<Item = &Container> {
    let slots = places
        .slots
        .iter()
        .flat_map(|slot| slot.kept.iter().chain(&slot.replaced));
    slots.chain(&places.surplus)
}
