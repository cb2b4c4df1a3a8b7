//! What the rules look at, asked of the engine once. Nothing here judges.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use crate::compose::{Service, ServiceName};
use crate::engine::{Capacity, Container, ContainerState, EngineErrorKind, Image, Result, labels};
use crate::error::Failure;
use crate::pipeline::{Settings, View};
use crate::stack::program::{self, Program};
use crate::stack::shell::{self, FirstProcess};
use crate::steps::deploy::strategy::{Strategy, strategy};
use crate::steps::deploy::{containers_of, standing, target};
use crate::steps::images;

/// The engine's own, where nothing is written.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// What a service that is rolled is given at least.
const LEAST_ROLLING_GRACE: Duration = Duration::from_secs(30);
/// Questions to the engine at a time.
const AT_ONCE: usize = 8;

/// The project, and what the engine knows of it.
pub(crate) struct Facts<'a> {
    pub settings: &'a Settings,
    /// The image a service will run; where that is still to be built, the one that runs now.
    pub images: BTreeMap<ServiceName, Image>,
    /// The processes of a running container, asked for where only they can tell what the first one is.
    pub processes: BTreeMap<ServiceName, Vec<(u32, String)>>,
    /// The most bytes of memory that one of a service's running containers uses; of services that will be rolled.
    pub memory: BTreeMap<ServiceName, u64>,
    pub capacity: Capacity,
    /// Since API 1.44 (Engine 25) a container is tested more often while it starts: in its `start_period`.
    pub tests_while_starting: bool,
}

impl<'a> Facts<'a> {
    /// Asks the engine.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn gather(view: View<'a>) -> std::result::Result<Self, Failure> {
        let settings = view.settings;
        let inspect = view.inspect;
        let found = images::find(view).await?;
        let standing = standing(inspect, &settings.project.name).await?;
        let mut facts = Self {
            settings,
            images: BTreeMap::new(),
            processes: BTreeMap::new(),
            memory: BTreeMap::new(),
            capacity: inspect.capacity().await?,
            tests_while_starting: is_at_least_1_44(&inspect.identity().await?.api_version),
        };
        let mut known: BTreeMap<String, Option<Image>> = BTreeMap::new();
        for name in settings.project.services.keys() {
            let running = || {
                running(containers_of(&standing, name))
                    .map(|one| one.image.clone())
                    .next()
            };
            let Some(id) = found
                .images
                .get(name)
                .map(|image| image.id.clone())
                .or_else(running)
            else {
                continue;
            };
            if !known.contains_key(&id.0) {
                known.insert(id.0.clone(), inspect.image(&id.0).await?);
            }
            if let Some(Some(image)) = known.get(&id.0) {
                facts.images.insert(name.clone(), image.clone());
            }
        }
        let (mut ask_processes, mut ask_memory) = (Vec::new(), Vec::new());
        for (name, service) in &settings.project.services {
            let containers = containers_of(&standing, name);
            if facts.is_replaced(service) && facts.first_process(service).shows_when_it_runs() {
                let one = running(containers).next();
                ask_processes.extend(one.map(|one| (name.clone(), inspect.processes(&one.id))));
            }
            let target = found
                .images
                .get(name)
                .map(|image| target::fingerprint(&settings.project, service, &image.id));
            let as_it_should_be = |container: &Container| {
                target
                    .as_ref()
                    .is_some_and(|target| container.label(labels::SPEC) == Some(target.0.as_str()))
            };
            if facts.strategy(service) == Strategy::Rolling {
                let replaced = running(containers).filter(|container| !as_it_should_be(container));
                ask_memory.extend(replaced.map(|one| (name.clone(), inspect.memory_usage(&one.id))));
            }
        }
        facts.processes = asked(ask_processes).await?.into_iter().collect();
        for (name, used) in asked(ask_memory).await? {
            let most = facts.memory.entry(name).or_default();
            *most = used.unwrap_or_default().max(*most);
        }
        Ok(facts)
    }

    /// Every service, in the order of their names.
    pub(super) fn services(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.settings.project.services.values()
    }

    pub(super) fn strategy(&self, service: &Service) -> Strategy {
        strategy(self.settings, service)
    }

    /// Whether its containers give way to new ones at all.
    pub(super) fn is_replaced(&self, service: &Service) -> bool {
        match self.strategy(service) {
            Strategy::Rolling | Strategy::Recreate(_) | Strategy::Singleton => true,
            Strategy::Reload | Strategy::Untouched(_) | Strategy::OneShot => false,
        }
    }

    /// What its containers start with, as far as the image is known.
    fn words(&self, service: &Service) -> Vec<String> {
        let image = self.images.get(&service.name);
        program::words(
            service,
            image.map(|image| (image.entrypoint.as_slice(), image.command.as_slice())),
        )
    }

    pub(super) fn program(&self, service: &Service) -> Option<Program> {
        program::program(&self.words(service))
    }

    pub(super) fn first_process(&self, service: &Service) -> FirstProcess {
        // The engine's init signals its whole group where this variable asks for it.
        let whole_group =
            service.init == Some(true) && service.environment.contains_key("TINI_KILL_PROCESS_GROUP");
        shell::first_process(&self.words(service), whole_group)
    }

    /// How long a container of the service has between its stop signal and its end.
    pub(super) fn grace(&self, service: &Service) -> Duration {
        let written = self
            .settings
            .config
            .service(&service.name)
            .drain
            .map(|drain| drain.0);
        let compose = service.stop_grace_period.unwrap_or(DEFAULT_GRACE);
        written.unwrap_or(match self.strategy(service) {
            Strategy::Rolling => compose.max(LEAST_ROLLING_GRACE),
            Strategy::Recreate(_)
            | Strategy::Singleton
            | Strategy::Reload
            | Strategy::Untouched(_)
            | Strategy::OneShot => compose,
        })
    }

    /// Whether somebody has said how long it has.
    pub(super) fn has_written_grace(&self, service: &Service) -> bool {
        service.stop_grace_period.is_some() || self.settings.config.service(&service.name).drain.is_some()
    }

    /// Whether a proxy that is reloaded shares a network with it.
    pub(super) fn is_behind_a_proxy(&self, service: &Service) -> bool {
        self.services().any(|other| {
            other.name != service.name
                && self.settings.config.reload_commands(other).is_some()
                && other
                    .networks
                    .keys()
                    .any(|key| service.networks.contains_key(key))
        })
    }
}

/// What cannot be read is taken for an old engine.
fn is_at_least_1_44(version: &str) -> bool {
    let numbers = version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    numbers.is_some_and(|version| version >= (1, 44))
}

fn running(containers: &[Container]) -> impl Iterator<Item = &Container> {
    containers
        .iter()
        .filter(|container| container.state == ContainerState::Running)
}

/// An answer for each, some asked at a time. A container that has gone meanwhile has none.
async fn asked<T: Send>(
    questions: Vec<(ServiceName, BoxFuture<'_, Result<T>>)>,
) -> std::result::Result<Vec<(ServiceName, T)>, Failure> {
    let mut found = Vec::new();
    let mut rest = questions.into_iter();
    loop {
        let (names, calls): (Vec<_>, Vec<_>) = rest.by_ref().take(AT_ONCE).unzip();
        if names.is_empty() {
            return Ok(found);
        }
        for (name, answer) in names.into_iter().zip(join_all(calls).await) {
            match answer {
                Ok(value) => found.push((name, value)),
                Err(error) if error.kind == EngineErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
