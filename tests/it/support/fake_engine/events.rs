//! What a simulated engine tells while somebody listens. Changes that are made are told at once; those that come by
//! themselves (health, another try of a crashing container) when their time has come on tokio's clock, which a paused
//! clock reaches by itself. What changes only by being looked at is told when it is looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use viatique_deploy::engine::{
    ContainerEvent, ContainerEventKind, ContainerEvents, ContainerFilter, ContainerState,
};

use super::FakeEngine;
use super::container::FakeContainer;
use super::world::{World, matches};

/// What the engine waits before it starts a container again for the first time; doubled each time, as on a real one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Who listens. A copy of the world is another engine, to which nobody listens.
#[derive(Default)]
pub(super) struct Listeners(Vec<Listener>);

struct Listener {
    filter: ContainerFilter,
    told: UnboundedSender<Told>,
}

#[derive(Clone)]
enum Told {
    Now(ContainerEvent),
    Later(Due),
}

/// Told when its time has come, unless the container has ended or was started anew.
#[derive(Clone)]
struct Due {
    at: Instant,
    /// Which start of the container it belongs to.
    start: Option<u64>,
    event: ContainerEvent,
}

impl Clone for Listeners {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Listeners {
    fn tell(&mut self, container: &FakeContainer, told: &Told) {
        self.0.retain(|listener| {
            !matches(&listener.filter, &container.labels) || listener.told.send(told.clone()).is_ok()
        });
    }
}

impl FakeEngine {
    /// Everybody who listens loses the connection; who asks again is heard.
    pub(crate) fn lose_listeners(&self) {
        self.world().listeners = Listeners::default();
    }

    pub(super) fn listen(&self, filter: &ContainerFilter) -> ContainerEvents {
        let mut world = self.world();
        let (told, heard) = unbounded_channel();
        world.listeners.0.push(Listener {
            filter: filter.clone(),
            told,
        });
        let standing = world.containers.iter();
        let due = standing
            .filter(|container| matches(filter, &container.labels))
            .filter_map(FakeContainer::upcoming_health)
            .filter(|due| due.at > Instant::now())
            .collect();
        let listening = Listening {
            world: Arc::clone(&self.world),
            heard,
            due,
        };
        Box::pin(stream::unfold(listening, |mut listening| async {
            listening.next().await.map(|event| (Ok(event), listening))
        }))
    }
}

impl World {
    pub(super) fn tell(&mut self, position: usize, kind: ContainerEventKind) {
        let container = &self.containers[position];
        let told = Told::Now(container.event(kind));
        self.listeners.tell(container, &told);
    }

    /// What follows on a start.
    pub(super) fn tell_start(&mut self, position: usize) {
        self.tell(position, ContainerEventKind::Started);
        let container = &self.containers[position];
        if container.behaviour.ends_at_once() {
            self.tell(position, ContainerEventKind::Died);
        } else if let Some(due) = container.upcoming_health() {
            self.listeners.tell(container, &Told::Later(due));
        }
    }

    /// That it is tried once more, and ends again.
    pub(super) fn tell_next_try(&mut self, position: usize, tries: u32) {
        let container = &self.containers[position];
        let pause = FIRST_PAUSE * 2_u32.pow(tries.saturating_sub(1).min(9));
        for kind in [ContainerEventKind::Started, ContainerEventKind::Died] {
            let told = Told::Later(container.due(Instant::now() + pause, kind));
            self.listeners.tell(container, &told);
        }
    }
}

impl FakeContainer {
    fn event(&self, kind: ContainerEventKind) -> ContainerEvent {
        ContainerEvent {
            container: self.id.clone(),
            kind,
        }
    }

    fn due(&self, at: Instant, kind: ContainerEventKind) -> Due {
        Due {
            at,
            start: self.start_count(),
            event: self.event(kind),
        }
    }

    fn upcoming_health(&self) -> Option<Due> {
        let at = self.health_comes_at()?;
        Some(self.due(at, ContainerEventKind::HealthChanged))
    }
}

/// One listener's end.
struct Listening {
    world: Arc<Mutex<World>>,
    heard: UnboundedReceiver<Told>,
    /// In order of time.
    due: Vec<Due>,
}

impl Listening {
    async fn next(&mut self) -> Option<ContainerEvent> {
        loop {
            let next_due = self.due.first().map(|due| due.at);
            tokio::select! {
                biased;
                told = self.heard.recv() => match told? {
                    Told::Now(event) => return Some(event),
                    Told::Later(due) => {
                        let place = self.due.partition_point(|other| other.at <= due.at);
                        self.due.insert(place, due);
                    }
                },
                () = sleep_until(next_due) => {
                    let due = self.due.remove(0);
                    if self.still_stands(&due) {
                        return Some(due.event);
                    }
                }
            }
        }
    }

    fn still_stands(&self, due: &Due) -> bool {
        let world = self.world.lock().unwrap();
        world.containers.iter().any(|container| {
            container.id == due.event.container
                && container.start_count() == due.start
                && matches!(
                    container.state,
                    ContainerState::Running | ContainerState::Restarting { .. }
                )
        })
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
