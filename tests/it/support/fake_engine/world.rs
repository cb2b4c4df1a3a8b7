//! The state of a simulated engine, and what looking at a container shows of it. Time passes here only by looking
//! and by tokio's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{datetime, format_description};
use tokio::time::Instant;
use viatique_deploy::compose::{MountKind, is_engine_name};
use viatique_deploy::engine::{
    Capacity, Container, ContainerEventKind, ContainerFilter, ContainerId, ContainerNetwork, ContainerSpec,
    ContainerState, EngineError, EngineErrorKind, Exit, Image, ImageId, MountedVolume, NetworkId,
    NetworkOnEngine, Result,
};
use viatique_deploy::secret::Secret;

use super::behaviour::{HealthScript, ImageBehaviour, Life};
use super::container::FakeContainer;
use super::events::Listeners;

const MOMENT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

#[derive(Clone)]
pub(super) struct World {
    pub(super) images: BTreeMap<ImageId, FakeImage>,
    /// In order of creation.
    pub(super) containers: Vec<FakeContainer>,
    pub(super) networks: Vec<NetworkOnEngine>,
    pub(super) volumes: BTreeMap<String, FakeVolume>,
    /// What can be pulled.
    pub(super) registry: BTreeMap<String, ImageBehaviour>,
    /// What the next build of this title gives, and how often its sources were changed.
    /// How each title was built last.
    pub(super) built: BTreeMap<String, viatique_deploy::compose::Build>,
    /// How long a build takes, in tokio's time.
    pub(super) builds_take: std::time::Duration,
    pub(super) builds: BTreeMap<String, (std::result::Result<ImageBehaviour, String>, u32)>,
    pub(super) listeners: Listeners,
    /// By network: which one it is, and how many addresses were given out on it.
    addresses: BTreeMap<NetworkId, (usize, u32)>,
    pub(super) capacity: Capacity,
    /// Its clock is tokio's.
    pub(super) began: Instant,
    /// And so many seconds ahead of it.
    pub(super) ahead: Arc<AtomicU32>,
    /// How far it is off nevertheless.
    pub(super) off: time::Duration,
    count: u64,
}

/// An engine on this machine, with room.
impl Default for World {
    fn default() -> Self {
        Self {
            builds_take: Default::default(),
            built: Default::default(),
            listeners: Listeners::default(),
            addresses: BTreeMap::new(),
            images: BTreeMap::new(),
            containers: Vec::new(),
            networks: Vec::new(),
            volumes: BTreeMap::new(),
            registry: BTreeMap::new(),
            builds: BTreeMap::new(),
            capacity: Capacity {
                memory_total: 16 << 30,
                memory_available: Some(12 << 30),
                data_root: "/var/lib/docker".to_owned(),
                disk_available: Some(100 << 30),
                disk_total: Some(200 << 30),
            },
            began: Instant::now(),
            ahead: Arc::default(),
            off: time::Duration::ZERO,
            count: 0,
        }
    }
}

#[derive(Clone)]
pub(super) struct FakeImage {
    pub(super) references: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) behaviour: ImageBehaviour,
}

#[derive(Clone, Default)]
pub(super) struct FakeVolume {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl World {
    /// What its clock shows, off or not.
    pub(super) fn now(&self) -> OffsetDateTime {
        let ahead = time::Duration::seconds(i64::from(self.ahead.load(Ordering::Relaxed)));
        datetime!(2026-01-01 00:00 UTC) + self.began.elapsed() + ahead
    }

    /// Counts up; stands for the clock and makes ids.
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn new_id(&mut self, what: &str) -> String {
        let count = self.next();
        digest(&format!("{what} {count}"))
    }

    pub(super) fn add_image(&mut self, id: ImageId, reference: &str, behaviour: ImageBehaviour) {
        for image in self.images.values_mut() {
            image.references.remove(reference);
        }
        let image = self.images.entry(id).or_insert_with(|| FakeImage {
            references: BTreeSet::new(),
            labels: BTreeMap::new(),
            behaviour,
        });
        image.references.insert(reference.to_owned());
    }

    pub(super) fn image_id(&self, reference: &str) -> Option<ImageId> {
        let reference = with_tag(reference);
        self.images
            .iter()
            .find(|(id, image)| id.0 == reference || image.references.contains(&reference))
            .map(|(id, _)| id.clone())
    }

    pub(super) fn image(&self, reference: &str) -> Option<Image> {
        let id = self.image_id(reference)?;
        let image = &self.images[&id];
        Some(Image {
            created: "2026-01-01T00:00:00Z".to_owned(),
            references: image.references.iter().cloned().collect(),
            labels: image.labels.clone(),
            size: 1,
            has_healthcheck: !matches!(image.behaviour.health, HealthScript::None),
            entrypoint: image.behaviour.entrypoint.clone(),
            command: image.behaviour.command.clone(),
            volumes: Vec::new(),
            id,
        })
    }

    /// What the container's processes are called, where its image says.
    pub(super) fn titles(&self, name: &str) -> Option<Vec<String>> {
        let container = self.containers.iter().find(|container| container.name == name)?;
        let titles = container.behaviour.processes.clone();
        (!titles.is_empty()).then_some(titles)
    }

    pub(super) fn position(&self, id_or_name: &str) -> Option<usize> {
        self.containers
            .iter()
            .position(|container| container.id.0 == id_or_name || container.name == id_or_name)
    }

    pub(super) fn container(&mut self, operation: &'static str, id: &str) -> Result<&mut FakeContainer> {
        checked(operation, id)?;
        let position = self.position(id).ok_or_else(|| not_found(operation, id))?;
        Ok(&mut self.containers[position])
    }

    pub(super) fn add_container(
        &mut self,
        name: &str,
        image: &ImageId,
        marks: &BTreeMap<String, String>,
        spec: Option<ContainerSpec>,
    ) -> Result<ContainerId> {
        let operation = "creating container";
        checked(operation, name)?;
        let behaviour = match (&spec, self.images.get(image)) {
            // Runs a command of its own, whatever the image would run.
            (Some(_), Some(_))
                if marks
                    .get("viatique-deploy.role")
                    .is_some_and(|role| role == "sidecar") =>
            {
                ImageBehaviour::running()
            }
            (_, Some(image)) => image.behaviour.clone(),
            (None, None) => ImageBehaviour::cannot_start("no command"),
            (Some(_), None) => return Err(not_found("creating container of image", &image.0)),
        };
        let mut volumes = BTreeMap::new();
        if let Some(spec) = &spec {
            for endpoint in &spec.networks {
                if self.networks.iter().all(|network| network.id != endpoint.network) {
                    return Err(not_found(
                        "looking up the network of container",
                        &endpoint.network.0,
                    ));
                }
            }
            for mount in &spec.service.mounts {
                if let MountKind::Volume { key, .. } = &mount.kind {
                    let named = spec.volumes.get(key).ok_or_else(|| {
                        EngineError::new(
                            operation,
                            name,
                            EngineErrorKind::Invalid,
                            format!("no volume {key}"),
                        )
                    })?;
                    volumes.insert(mount.target.clone(), named.clone());
                }
            }
        }
        if self.position(name).is_some() {
            return Err(EngineError::new(
                operation,
                name,
                EngineErrorKind::NameTaken,
                "in use",
            ));
        }
        for volume in volumes.values() {
            self.volumes.entry(volume.clone()).or_default();
        }
        let id = ContainerId(self.new_id("container"));
        // No two at the same moment.
        let created = self.now() + std::time::Duration::from_nanos(self.count);
        self.containers.push(FakeContainer {
            id: id.clone(),
            name: name.to_owned(),
            image: image.clone(),
            labels: marks.clone(),
            spec,
            state: ContainerState::Created,
            log: Vec::new(),
            volumes,
            files: BTreeMap::new(),
            behaviour,
            signals: Vec::new(),
            addresses: BTreeMap::new(),
            created,
            started: None,
            started_at: None,
            looks: 0,
            restart_count: 0,
        });
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &str) -> Result<()> {
        let operation = "starting container";
        let now = self.next();
        // Never before it was made.
        let clock = self.now() + std::time::Duration::from_nanos(now);
        let taken = self.ports_taken_by_others(id);
        let ambiguous = self.has_ambiguous_network(id);
        checked(operation, id)?;
        let position = self.position(id).ok_or_else(|| not_found(operation, id))?;
        let container = &mut self.containers[position];
        if matches!(
            container.state,
            ContainerState::Running | ContainerState::Restarting { .. }
        ) {
            return Ok(());
        }
        let failed = |message: &str| {
            Err(EngineError::new(
                operation,
                id,
                EngineErrorKind::StartFailed,
                message,
            ))
        };
        if ambiguous {
            return failed("network is ambiguous");
        }
        if container.host_ports().iter().any(|port| taken.contains(port)) {
            return failed("port is already allocated");
        }
        if let Life::CannotStart(message) = &container.behaviour.life {
            return failed(&message.clone());
        }
        container.started = Some((now, Instant::now()));
        container.started_at = Some(clock);
        container.looks = 0;
        container.write(clock);
        container.state = match container.behaviour.life {
            Life::Exits(code) => ContainerState::Exited(Exit {
                code,
                out_of_memory: false,
            }),
            Life::Runs | Life::CrashLoops(_) | Life::CannotStart(_) => ContainerState::Running,
        };
        let spec = container.spec.clone();
        let endpoints = spec.iter().flat_map(|spec| &spec.networks);
        self.containers[position].addresses = endpoints
            .map(|endpoint| {
                let fresh = self.fresh_address(&endpoint.network);
                let address = endpoint.ipv4_address.clone().unwrap_or(fresh);
                (endpoint.network.clone(), address)
            })
            .collect();
        self.tell_start(position);
        Ok(())
    }

    /// Never the same one twice: what an address leads to after a restart is nobody's to rely on.
    fn fresh_address(&mut self, network: &NetworkId) -> String {
        let networks = self.addresses.len();
        let (network, given) = self.addresses.entry(network.clone()).or_insert((networks, 1));
        *given += 1;
        format!("10.{}.{}.{}", *network % 256, *given / 250, *given % 250 + 1)
    }

    /// Its process ends; where it has none, nothing happens.
    pub(super) fn end(&mut self, operation: &'static str, id: &str, exit: Exit) -> Result<()> {
        checked(operation, id)?;
        let position = self.position(id).ok_or_else(|| not_found(operation, id))?;
        let container = &mut self.containers[position];
        if matches!(
            container.state,
            ContainerState::Running | ContainerState::Restarting { .. }
        ) {
            container.state = ContainerState::Exited(exit);
            self.tell(position, ContainerEventKind::Died);
        }
        Ok(())
    }

    fn ports_taken_by_others(&self, id: &str) -> BTreeSet<(String, u16)> {
        self.containers
            .iter()
            .filter(|container| container.id.0 != id && container.state == ContainerState::Running)
            .flat_map(FakeContainer::host_ports)
            .collect()
    }

    fn has_ambiguous_network(&self, id: &str) -> bool {
        let Some(spec) = self
            .position(id)
            .and_then(|position| self.containers[position].spec.as_ref())
        else {
            return false;
        };
        spec.networks.iter().any(|endpoint| {
            let name = self.network_name(&endpoint.network);
            self.networks
                .iter()
                .filter(|network| network.name == name)
                .count()
                > 1
        })
    }

    fn network_name(&self, id: &NetworkId) -> String {
        self.networks
            .iter()
            .find(|network| network.id == *id)
            .map(|network| network.name.clone())
            .unwrap_or_default()
    }

    /// Looking lets time pass for it.
    pub(super) fn look(&mut self, position: usize) -> Container {
        let now = self.now();
        let container = &mut self.containers[position];
        let (health, restarts) = (container.health(), container.restart_count);
        container.pass_time(now);
        let restarts_now = container.restart_count;
        if restarts_now > restarts {
            self.tell_next_try(position, restarts_now);
        }
        let container = &self.containers[position];
        if matches!(container.behaviour.health, HealthScript::AfterInspections(_))
            && container.health() != health
        {
            self.tell(position, ContainerEventKind::HealthChanged);
        }
        self.describe(position)
    }

    /// Shows a container as it stands.
    pub(super) fn describe(&self, position: usize) -> Container {
        let container = &self.containers[position];
        let running = container.state == ContainerState::Running;
        let endpoints = container.spec.iter().flat_map(|spec| &spec.networks);
        let networks = endpoints
            .map(|endpoint| ContainerNetwork {
                id: endpoint.network.clone(),
                name: self.network_name(&endpoint.network),
                ip_address: container
                    .addresses
                    .get(&endpoint.network)
                    .filter(|_| running)
                    .cloned(),
                aliases: endpoint
                    .aliases
                    .iter()
                    .cloned()
                    .chain([container.id.short().to_owned()])
                    .collect(),
            })
            .collect();
        let environment = container.spec.iter().flat_map(|spec| &spec.service.environment);
        Container {
            id: container.id.clone(),
            name: container.name.clone(),
            image: container.image.clone(),
            image_reference: container.image.0.clone(),
            labels: container.labels.clone(),
            state: container.state.clone(),
            health: container.health(),
            stop_signal: container
                .spec
                .as_ref()
                .and_then(|spec| spec.service.stop_signal.clone()),
            restart_count: container.restart_count,
            out_of_memory: container.behaviour.is_killed_for_memory()
                && (container.restart_count > 0 || !running),
            created: container.created.format(&Rfc3339).unwrap(),
            // As many digits for each, so that they can be held against one another.
            started: container.started_at.map(|at| at.format(&MOMENT).unwrap()),
            networks,
            mounted_volumes: container
                .volumes
                .iter()
                .map(|(target, name)| MountedVolume {
                    name: name.clone(),
                    target: target.clone(),
                })
                .collect(),
            host_ports: container.host_ports(),
            environment: Secret::new(
                environment
                    .filter_map(|(name, value)| Some((name.clone(), value.reveal()?.to_owned())))
                    .collect(),
            ),
        }
    }
}

pub(super) fn matches(filter: &ContainerFilter, labels: &BTreeMap<String, String>) -> bool {
    filter.labels.iter().all(|(label, value)| match value {
        Some(value) => labels.get(label) == Some(value),
        None => labels.contains_key(label),
    })
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

/// As the engine completes a reference.
pub(super) fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

pub(super) fn checked(operation: &'static str, name: &str) -> Result<()> {
    if is_engine_name(name) {
        Ok(())
    } else {
        Err(EngineError::new(
            operation,
            name,
            EngineErrorKind::Invalid,
            "not a name",
        ))
    }
}

pub(super) fn not_found(operation: &'static str, target: &str) -> EngineError {
    EngineError::new(operation, target, EngineErrorKind::NotFound, "no such object")
}
