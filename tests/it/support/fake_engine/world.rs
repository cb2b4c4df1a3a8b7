//! The state of a simulated engine, and what looking at a container shows of it. Time passes here only by looking
//! and by tokio's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use viatique_deploy::compose::{Healthcheck, HostPort, MountKind, RestartPolicy, is_engine_name};
use viatique_deploy::engine::{
    Container, ContainerId, ContainerNetwork, ContainerSpec, ContainerState, EngineError, EngineErrorKind,
    Exit, Health, HealthProbe, Image, ImageId, MountedVolume, NetworkId, NetworkOnEngine, Result,
};
use viatique_deploy::secret::Secret;

use super::behaviour::{HealthScript, ImageBehaviour, Life};

#[derive(Clone, Default)]
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
    count: u64,
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

#[derive(Clone)]
pub(super) struct FakeContainer {
    pub(super) id: ContainerId,
    /// `None` for a marker.
    pub(super) spec: Option<ContainerSpec>,
    pub(super) name: String,
    pub(super) image: ImageId,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) state: ContainerState,
    pub(super) log: Vec<String>,
    pub(super) volumes: BTreeMap<String, String>,
    /// Outside of volumes, by absolute path.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) behaviour: ImageBehaviour,
    created: u64,
    started: Option<(u64, Instant)>,
    looks: u32,
    restart_count: u32,
}

impl World {
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
            references: image.references.iter().cloned().collect(),
            labels: image.labels.clone(),
            size: 1,
            has_healthcheck: !matches!(image.behaviour.health, HealthScript::None),
            entrypoint: Vec::new(),
            command: Vec::new(),
            volumes: Vec::new(),
            id,
        })
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
        labels: &BTreeMap<String, String>,
        spec: Option<ContainerSpec>,
    ) -> Result<ContainerId> {
        let operation = "creating container";
        checked(operation, name)?;
        let behaviour = match (&spec, self.images.get(image)) {
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
        self.containers.push(FakeContainer {
            id: id.clone(),
            name: name.to_owned(),
            image: image.clone(),
            labels: labels.clone(),
            spec,
            state: ContainerState::Created,
            log: Vec::new(),
            volumes,
            files: BTreeMap::new(),
            behaviour,
            created: self.count,
            started: None,
            looks: 0,
            restart_count: 0,
        });
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &str) -> Result<()> {
        let operation = "starting container";
        let now = self.next();
        let taken = self.ports_taken_by_others(id);
        let ambiguous = self.has_ambiguous_network(id);
        let container = self.container(operation, id)?;
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
        container.looks = 0;
        container.log.extend(container.behaviour.log.clone());
        container.state = match container.behaviour.life {
            Life::Exits(code) => ContainerState::Exited(Exit {
                code,
                out_of_memory: false,
            }),
            Life::Runs | Life::CrashLoops(_) | Life::CannotStart(_) => ContainerState::Running,
        };
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
        self.containers[position].pass_time();
        self.describe(position)
    }

    /// Shows a container as it stands.
    pub(super) fn describe(&self, position: usize) -> Container {
        let container = &self.containers[position];
        let running = container.state == ContainerState::Running;
        let endpoints = container.spec.iter().flat_map(|spec| &spec.networks).enumerate();
        let networks = endpoints
            .map(|(index, endpoint)| ContainerNetwork {
                id: endpoint.network.clone(),
                name: self.network_name(&endpoint.network),
                ip_address: running.then(|| format!("172.30.{index}.{}", container.created % 250 + 2)),
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
            restart_count: container.restart_count,
            created: moment(container.created),
            started: container.started.map(|(count, _)| moment(count)),
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

impl FakeContainer {
    fn pass_time(&mut self) {
        if !matches!(
            self.state,
            ContainerState::Running | ContainerState::Restarting { .. }
        ) {
            return;
        }
        self.looks += 1;
        if let Life::CrashLoops(code) = self.behaviour.life {
            let policy = self
                .spec
                .as_ref()
                .map(|spec| spec.service.restart)
                .unwrap_or_default();
            let again = match policy {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    max_retries.is_none_or(|max| self.restart_count < max)
                }
            };
            if again {
                self.restart_count += 1;
                self.log.extend(self.behaviour.log.clone());
                self.state = ContainerState::Restarting { exit_code: code };
            } else {
                self.state = ContainerState::Exited(Exit {
                    code,
                    out_of_memory: false,
                });
            }
        }
    }

    fn health(&self) -> Option<Health> {
        let tested_by_service = match self
            .spec
            .as_ref()
            .and_then(|spec| spec.service.healthcheck.as_ref())
        {
            Some(Healthcheck::Disabled) => return None,
            Some(Healthcheck::Test { .. }) => true,
            None => false,
        };
        let (_, since) = self.started?;
        let starting = Health::Starting { probes: Vec::new() };
        match &self.behaviour.health {
            HealthScript::None => tested_by_service.then_some(Health::Healthy),
            HealthScript::AfterInspections(times) if self.looks < *times => Some(starting),
            HealthScript::After(wait) if since.elapsed() < *wait => Some(starting),
            HealthScript::AfterInspections(_) | HealthScript::After(_) => Some(Health::Healthy),
            HealthScript::Never(output) => Some(Health::Unhealthy {
                probes: vec![HealthProbe {
                    exit_code: 1,
                    output: output.clone(),
                }],
            }),
        }
    }

    fn host_ports(&self) -> Vec<(String, u16)> {
        let ports = self.spec.iter().flat_map(|spec| &spec.service.ports);
        ports
            .filter_map(|port| match port.published {
                HostPort::Fixed(number) => Some((
                    port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned()),
                    number,
                )),
                HostPort::Ephemeral | HostPort::Range(..) => None,
            })
            .collect()
    }

    pub(super) fn service(&self) -> String {
        self.spec
            .as_ref()
            .map(|spec| spec.service.name.as_str().to_owned())
            .unwrap_or_default()
    }
}

/// The n-th second of 2026.
fn moment(count: u64) -> String {
    let (minutes, seconds) = (count / 60, count % 60);
    format!("2026-01-01T{:02}:{:02}:{seconds:02}Z", minutes / 60, minutes % 60)
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
