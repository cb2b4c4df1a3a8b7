//! What happens to the project's containers while they are being replaced, as the engine tells it: whoever waits for
//! one of them looks again when something has happened to it, and now and then without a word. An event that is lost
//! costs time, never truth.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::engine::{ContainerFilter, ContainerId, Inspect, labels};
use crate::error::{Failure, FailureKind};

/// Between two looks without a word from the engine. Each is one call.
const POLL: Duration = Duration::from_millis(500);

/// One for all that waits during a deploy.
pub(crate) struct Changes {
    waiting: Mutex<HashMap<ContainerId, Arc<Notify>>>,
    abandoned: watch::Sender<bool>,
    well_since: Mutex<BTreeMap<ContainerId, Instant>>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            abandoned: watch::Sender::new(false),
            well_since: Mutex::default(),
        }
    }

    /// Listens for as long as it is polled. Where the engine's events cannot be had, looking now and then remains.
    pub(crate) async fn listen(&self, inspect: &dyn Inspect, project: &str) -> Infallible {
        let filter = ContainerFilter::labelled(labels::COMPOSE_PROJECT, project);
        match inspect.container_events(&filter).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Some(Ok(event)) => self.of(&event.container).notify_one(),
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the engine's events broke off");
                        break;
                    }
                    None => break,
                }
            },
            Err(error) => tracing::debug!(%error, "the engine's events cannot be had"),
        }
        std::future::pending().await
    }

    /// Returns when something has happened to the container, or after a while.
    pub(crate) async fn wait(&self, id: &ContainerId) {
        let changed = self.of(id);
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    /// What happened before this was asked for is remembered once.
    fn of(&self, id: &ContainerId) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(waiting.entry(id.clone()).or_default())
    }

    /// A container's health test has passed, or without one it runs, for the first time since it was started.
    pub(crate) fn is_well(&self, id: &ContainerId) {
        let mut since = self.well_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(id.clone(), Instant::now());
    }

    /// Since when these have been well.
    pub(crate) fn into_well_since(self) -> BTreeMap<ContainerId, Instant> {
        self.well_since
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One service has failed: the others stop at their next safe place.
    pub(crate) fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    /// Returns once the deploy has been given up.
    pub(crate) async fn abandoned(&self) {
        let mut receiver = self.abandoned.subscribe();
        // The sender lives as long as `self`.
        if receiver.wait_for(|abandoned| *abandoned).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Fails once the deploy has been given up: nothing more is begun. Calls under way are never dropped, so that the
    /// way back sees all that they have done.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`].
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if *self.abandoned.borrow() {
            return Err(given_up());
        }
        Ok(())
    }
}

/// Why a service was left half-way: another one has failed.
pub(crate) fn given_up() -> Failure {
    Failure::message(FailureKind::Interrupted, "another service has failed")
}
