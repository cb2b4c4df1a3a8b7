//! A simulated engine: it holds state and knows no expectations. Ids are deterministic, calls are recorded, and any
//! call can be made to fail, to be done while its answer is lost, or never to return, so that it can be cancelled
//! there. Keeps the same contract as the real one (`tests/contract`).

mod act;
mod behaviour;
mod container;
mod events;
mod inspect;
mod peek;
mod processes;
mod world;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;
use viatique_deploy::clock::Clock;
use viatique_deploy::engine::{Capacity, ContainerId, EngineError, EngineErrorKind, Exit, ImageId, Result};

pub(crate) use behaviour::{CommandKind, FakeCommand, FakeOutput, ImageBehaviour};
pub(crate) use peek::Seen;
use world::{World, digest, with_tag};

type Script = dyn Fn(&FakeCommand) -> FakeOutput + Send + Sync;

/// The engine. Clones share one state.
#[derive(Clone)]
pub(crate) struct FakeEngine {
    world: Arc<Mutex<World>>,
    script: Arc<Mutex<Arc<Script>>>,
    calls: Arc<Mutex<Calls>>,
    /// A container may have ended.
    changed: Arc<Notify>,
    /// How many seconds its clock is ahead of tokio's.
    ahead: Arc<AtomicU32>,
}

#[derive(Default)]
struct Calls {
    made: Vec<Call>,
    faults: Vec<(When, Fault)>,
    commands: Vec<FakeCommand>,
    /// What stood when each call was made, since somebody watches.
    watched: Option<Vec<(Call, Seen)>>,
}

/// A call that was made: the port's method, and the object it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) target: String,
}

impl Call {
    /// Whether it is one of `Engine`'s own, and not of `Inspect`.
    pub(crate) fn changes(&self) -> bool {
        !matches!(
            self.name,
            "identity"
                | "containers"
                | "container"
                | "container_events"
                | "image"
                | "references"
                | "image_in_registry"
                | "networks"
                | "networks_labelled"
                | "volume"
                | "volumes_labelled"
                | "logs"
                | "processes"
                | "read_files"
                | "capacity"
                | "time"
                | "usage"
                | "log_lines"
        )
    }
}

enum When {
    Number(usize),
    NthOf(&'static str, usize),
}

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and the call fails.
    Fail(EngineErrorKind),
    /// It is done, but the call fails: give [`EngineErrorKind::TimedOut`] or [`EngineErrorKind::ConnectionLost`].
    LoseReply(EngineErrorKind),
    /// Nothing is done, and the call never returns.
    HangBefore,
    /// It is done, and the call never returns.
    HangAfter,
}

/// A clock that agrees with the engine's.
impl Clock for FakeEngine {
    fn now(&self) -> OffsetDateTime {
        self.world().now()
    }
}

impl FakeEngine {
    /// An engine with nothing on it.
    pub(crate) fn new() -> Self {
        let silent: Arc<Script> = Arc::new(|_| FakeOutput::silent());
        let world = World::default();
        let ahead = Arc::clone(&world.ahead);
        Self {
            world: Arc::new(Mutex::new(world)),
            script: Arc::new(Mutex::new(silent)),
            calls: Arc::default(),
            changed: Arc::default(),
            ahead,
        }
    }

    /// Has an image; its id follows from the reference.
    #[must_use]
    pub(crate) fn with_image(self, reference: &str, behaviour: ImageBehaviour) -> Self {
        self.world()
            .add_image(Self::image_id(reference), &with_tag(reference), behaviour);
        self
    }

    /// Another engine on which the same stands. Nobody has called it yet, and nothing goes wrong on it.
    pub(crate) fn fork(&self) -> Self {
        Self {
            world: Arc::new(Mutex::new(self.world().clone())),
            script: Arc::new(Mutex::new(Arc::clone(&self.script.lock().unwrap()))),
            calls: Arc::default(),
            changed: Arc::default(),
            ahead: Arc::clone(&self.ahead),
        }
    }

    /// The same engine to somebody whose calls are not counted and always succeed.
    pub(crate) fn onlooker(&self) -> Self {
        Self {
            calls: Arc::default(),
            ..self.clone()
        }
    }

    /// Another label on a container, as no call could give it.
    pub(crate) fn relabel(&self, name: &str, label: &str, value: &str) {
        let mut world = self.world();
        let container = world.container("relabelling", name).unwrap();
        container.labels.insert(label.to_owned(), value.to_owned());
    }

    /// The id that [`FakeEngine::with_image`] and a pull give to a reference.
    pub(crate) fn image_id(reference: &str) -> ImageId {
        ImageId(format!(
            "sha256:{}",
            digest(&format!("image {}", with_tag(reference)))
        ))
    }

    /// A registry has an image.
    #[must_use]
    pub(crate) fn with_registry_image(self, reference: &str, behaviour: ImageBehaviour) -> Self {
        self.world().registry.insert(with_tag(reference), behaviour);
        self
    }

    /// Builds of this title give such an image from now on, another one than before: its sources have changed.
    /// Builds of a title never mentioned give one that runs.
    pub(crate) fn change_sources(&self, title: &str, behaviour: ImageBehaviour) {
        let mut world = self.world();
        let revision = world.builds.get(title).map_or(0, |(_, revision)| *revision);
        world
            .builds
            .insert(title.to_owned(), (Ok(behaviour), revision + 1));
    }

    /// How the last image of this title was built.
    pub(crate) fn built(&self, title: &str) -> Option<viatique_deploy::compose::Build> {
        self.world().built.get(title).cloned()
    }

    /// Every build takes this long from now on, in tokio's time.
    pub(crate) fn builds_take(&self, duration: std::time::Duration) {
        self.world().builds_take = duration;
    }

    /// Builds of this title fail from now on.
    pub(crate) fn break_sources(&self, title: &str, message: &str) {
        self.world()
            .builds
            .insert(title.to_owned(), (Err(message.to_owned()), 0));
    }

    /// One-offs and execs do what the closure says. Where nothing is said they end with 0 and write nothing.
    #[must_use]
    pub(crate) fn with_commands(
        self,
        script: impl Fn(&FakeCommand) -> FakeOutput + Send + Sync + 'static,
    ) -> Self {
        *self.script.lock().unwrap() = Arc::new(script);
        self
    }

    /// Something goes wrong at the n-th call from the start, counted from 1.
    pub(crate) fn fault_at(&self, number: usize, fault: Fault) {
        self.calls
            .lock()
            .unwrap()
            .faults
            .push((When::Number(number), fault));
    }

    /// Something goes wrong at the n-th call of this method from the start, counted from 1.
    pub(crate) fn fault_on(&self, name: &'static str, nth: usize, fault: Fault) {
        self.calls
            .lock()
            .unwrap()
            .faults
            .push((When::NthOf(name, nth), fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.calls.lock().unwrap().faults.clear();
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().made.clone()
    }

    /// Every command that was run so far, in one-offs and execs.
    pub(crate) fn commands(&self) -> Vec<FakeCommand> {
        self.calls.lock().unwrap().commands.clone()
    }

    /// From now on new containers of this image behave so.
    pub(crate) fn image_behaves(&self, image: &ImageId, behaviour: ImageBehaviour) {
        self.world().images.get_mut(image).unwrap().behaviour = behaviour;
    }

    /// From now on this container behaves so; it goes on running.
    pub(crate) fn becomes(&self, name: &str, behaviour: ImageBehaviour) {
        self.world().container("changing", name).unwrap().behaviour = behaviour;
    }

    /// From now on this container cannot be started.
    pub(crate) fn break_start(&self, id: &ContainerId, message: &str) {
        let mut world = self.world();
        world.container("breaking", &id.0).unwrap().behaviour = ImageBehaviour::cannot_start(message);
    }

    /// A second passes, on every fork too: they write into the same folders.
    pub(super) fn a_second_passes(&self) {
        self.ahead.fetch_add(1, Ordering::Relaxed);
    }

    /// The engine's clock is off by so much from now on.
    pub(crate) fn is_off_by(&self, off: Duration) {
        self.world().off = off;
    }

    /// The engine's host has this much room from now on.
    pub(crate) fn has_room(&self, change: impl FnOnce(&mut Capacity)) {
        change(&mut self.world().capacity);
    }

    /// A container writes a line now.
    pub(crate) fn writes(&self, name: &str, text: &str) {
        let mut world = self.world();
        let now = world.now();
        let container = world.container("writing in", name).unwrap();
        container.log.push((now, text.to_owned()));
    }

    /// A running container ends by itself. No call; the port's own `kill` is [`Engine::kill`].
    ///
    /// [`Engine::kill`]: viatique_deploy::engine::Engine::kill
    pub(crate) fn kill(&self, name: &str, code: i64) {
        let exit = Exit {
            code,
            out_of_memory: false,
        };
        self.world().end("killing", name, exit).unwrap();
        self.changed.notify_waiters();
    }

    /// The signals that were sent to a container while it ran.
    pub(crate) fn signals(&self, name: &str) -> Vec<String> {
        let mut world = self.world();
        world.container("looking at", name).unwrap().signals.clone()
    }

    fn record(&self, name: &'static str, target: &str) -> Option<Fault> {
        let mut calls = self.calls.lock().unwrap();
        if let Some(watched) = &mut calls.watched {
            let target = target.to_owned();
            watched.push((Call { name, target }, self.peek()));
        }
        calls.record(name, target)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Records a call, and lets happen what is to happen before it.
    async fn enter(&self, name: &'static str, target: &str) -> Result<Entered> {
        let fault = self.record(name, target);
        match fault {
            Some(Fault::Fail(kind)) => Err(EngineError::new(name, target, kind, "made to fail")),
            Some(Fault::HangBefore) => std::future::pending().await,
            Some(Fault::LoseReply(_) | Fault::HangAfter) | None => Ok(Entered {
                name,
                target: target.to_owned(),
                fault,
            }),
        }
    }
}

impl Calls {
    fn record(&mut self, name: &'static str, target: &str) -> Option<Fault> {
        self.made.push(Call {
            name,
            target: target.to_owned(),
        });
        let number = self.made.len();
        let nth = self.made.iter().filter(|call| call.name == name).count();
        self.faults
            .iter()
            .find(|(when, _)| match when {
                When::Number(wanted) => *wanted == number,
                When::NthOf(wanted, wanted_nth) => *wanted == name && *wanted_nth == nth,
            })
            .map(|(_, fault)| *fault)
    }
}

/// A call that is being made.
struct Entered {
    name: &'static str,
    target: String,
    fault: Option<Fault>,
}

impl Entered {
    fn hangs_after(&self) -> bool {
        self.fault == Some(Fault::HangAfter)
    }

    /// Lets happen what is to happen after it.
    async fn leave<T>(self, outcome: Result<T>) -> Result<T> {
        match self.fault {
            Some(Fault::LoseReply(kind)) => Err(EngineError::new(
                self.name,
                self.target,
                kind,
                "done, but the answer was lost",
            )),
            Some(Fault::HangAfter) => std::future::pending().await,
            Some(Fault::Fail(_) | Fault::HangBefore) | None => outcome,
        }
    }
}
