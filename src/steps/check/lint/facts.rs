//! What the rules look at, asked of the engine once. Nothing here judges.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use crate::compose::{Service, ServiceName};
use crate::engine::{Capacity, Container, ContainerState, EngineErrorKind, Image, Inspect, Result, labels};
use crate::error::Failure;
use crate::pipeline::{Settings, View};
use crate::stack::program::{self, Program};
use crate::stack::shell::{self, FirstProcess};
use crate::steps::deploy::strategy::{Strategy, strategy};
use crate::steps::deploy::{Standing, containers_of, standing, target};
use crate::steps::images::{self, Found};

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
    pub memory: RolledMemory,
    pub capacity: Capacity,
    /// Since API 1.44 (Engine 25) a container is tested more often while it starts: in its `start_period`.
    pub tests_while_starting: bool,
}

/// What is known of the memory that the services to be rolled use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RolledMemory {
    NothingRolled,
    /// So much is free that it cannot matter.
    Ample,
    /// What is free on the engine's host is not known.
    HostUnknown,
    /// The most bytes that one of a service's running containers uses.
    Used(BTreeMap<ServiceName, u64>),
}

/// A fifth more: the next release may take a little more than this one.
pub(super) const fn with_margin(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 5)
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
            memory: RolledMemory::NothingRolled,
            capacity: inspect.capacity().await?,
            tests_while_starting: is_at_least_1_44(&inspect.identity().await?.api_version),
        };
        facts.ask_images(inspect, &found, &standing).await?;
        facts.ask_processes(inspect, &standing).await?;
        facts.ask_memory(inspect, &found, &standing).await?;
        Ok(facts)
    }

    async fn ask_images(
        &mut self,
        inspect: &dyn Inspect,
        found: &Found,
        standing: &Standing,
    ) -> std::result::Result<(), Failure> {
        let mut known: BTreeMap<String, Option<Image>> = BTreeMap::new();
        for name in self.settings.project.services.keys() {
            let runs = || {
                running(containers_of(standing, name))
                    .map(|one| one.image.clone())
                    .next()
            };
            let to_run = found.images.get(name).map(|image| image.id.clone());
            let Some(id) = to_run.or_else(runs) else {
                continue;
            };
            if !known.contains_key(&id.0) {
                known.insert(id.0.clone(), inspect.image(&id.0).await?);
            }
            if let Some(Some(image)) = known.get(&id.0) {
                self.images.insert(name.clone(), image.clone());
            }
        }
        Ok(())
    }

    async fn ask_processes(
        &mut self,
        inspect: &dyn Inspect,
        standing: &Standing,
    ) -> std::result::Result<(), Failure> {
        let mut questions = Vec::new();
        for service in self.services() {
            if self.is_replaced(service) && self.first_process(service).shows_when_it_runs() {
                let one = running(containers_of(standing, &service.name)).next();
                questions.extend(one.map(|one| (service.name.clone(), inspect.processes(&one.id))));
            }
        }
        self.processes = asked(questions).await?.into_iter().collect();
        Ok(())
    }

    /// A container's use takes an older engine up to a second to tell, so it is asked for only where it matters.
    async fn ask_memory(
        &mut self,
        inspect: &dyn Inspect,
        found: &Found,
        standing: &Standing,
    ) -> std::result::Result<(), Failure> {
        let mut rolled: Vec<(&Service, &Container)> = Vec::new();
        for service in self.services() {
            let target = found
                .images
                .get(&service.name)
                .map(|image| target::fingerprint(&self.settings.project, service, &image.id));
            let as_it_should_be = |container: &&Container| {
                target
                    .as_ref()
                    .is_some_and(|target| container.label(labels::SPEC) == Some(target.0.as_str()))
            };
            if self.strategy(service) == Strategy::Rolling && self.surge(service) > 0 {
                let containers = running(containers_of(standing, &service.name));
                rolled.extend(
                    containers
                        .filter(|one| !as_it_should_be(one))
                        .map(|one| (service, one)),
                );
            }
        }
        let Some(most_of_one) = rolled.iter().map(|(service, _)| self.surge(service)).max() else {
            return Ok(());
        };
        let Some(available) = self.capacity.memory_available else {
            self.memory = RolledMemory::HostUnknown;
            return Ok(());
        };
        // Together they cannot use more than everything on the host does.
        let in_use = self.capacity.memory_total.saturating_sub(available);
        if with_margin(in_use.saturating_mul(most_of_one)) <= available {
            self.memory = RolledMemory::Ample;
            return Ok(());
        }
        let questions = rolled
            .into_iter()
            .map(|(service, one)| (service.name.clone(), inspect.usage(&one.id)))
            .collect();
        let mut used: BTreeMap<ServiceName, u64> = BTreeMap::new();
        for (name, usage) in asked(questions).await? {
            let most = used.entry(name).or_default();
            *most = usage.map_or(0, |usage| usage.memory).max(*most);
        }
        self.memory = RolledMemory::Used(used);
        Ok(())
    }

    /// How many of its containers stand twice at a time.
    pub(super) fn surge(&self, service: &Service) -> u64 {
        let surge = self.settings.config.service(&service.name).max_surge;
        u64::from(surge.min(service.replicas))
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
