//! What the engine says of containers and images, as the port's own objects. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerState as StateOnEngine, ContainerStateStatusEnum as Status,
    HealthStatusEnum, ImageInspect, PortMap,
};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::engine::{
    Container, ContainerId, ContainerNetwork, ContainerState, Exit, Health, HealthProbe, Image, ImageId,
    MountedVolume, NetworkId,
};
use crate::secret::Secret;

/// What Go writes for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn container(seen: ContainerInspectResponse) -> Container {
    let configuration = seen.config.unwrap_or_default();
    let state = seen.state.unwrap_or_default();
    let settings = seen.network_settings.unwrap_or_default();
    let wanted_ports = seen.host_config.and_then(|host| host.port_bindings);
    let mut host_ports = BTreeSet::new();
    for ports in [settings.ports, wanted_ports].into_iter().flatten() {
        collect_host_ports(&ports, &mut host_ports);
    }
    let mut networks: Vec<ContainerNetwork> = settings
        .networks
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| ContainerNetwork {
            id: NetworkId(endpoint.network_id.unwrap_or_default()),
            name,
            ip_address: endpoint.ip_address.filter(|address| !address.is_empty()),
            aliases: endpoint.aliases.unwrap_or_default(),
        })
        .collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let mut mounted_volumes: Vec<MountedVolume> = seen
        .mounts
        .unwrap_or_default()
        .into_iter()
        .filter(|mount| mount.typ.as_deref() == Some("volume"))
        .filter_map(|mount| {
            Some(MountedVolume {
                name: mount.name?,
                target: mount.destination?,
            })
        })
        .collect();
    mounted_volumes.sort_by(|a, b| a.target.cmp(&b.target));
    Container {
        id: ContainerId(seen.id.unwrap_or_default()),
        name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: ImageId(seen.image.unwrap_or_default()),
        image_reference: configuration.image.unwrap_or_default(),
        labels: sorted(configuration.labels),
        health: health(&state),
        stop_signal: configuration.stop_signal.filter(|signal| !signal.is_empty()),
        restart_count: seen
            .restart_count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        out_of_memory: exit(&state).out_of_memory,
        created: seen.created.map(rfc3339).unwrap_or_default(),
        started: state
            .started_at
            .clone()
            .filter(|moment| !moment.is_empty() && moment != NEVER),
        state: container_state(&state),
        networks,
        mounted_volumes,
        host_ports: host_ports.into_iter().collect(),
        environment: Secret::new(
            configuration
                .env
                .unwrap_or_default()
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ),
    }
}

fn container_state(state: &StateOnEngine) -> ContainerState {
    let exit = exit(state);
    match state.status.unwrap_or(Status::EMPTY) {
        Status::CREATED | Status::EMPTY => ContainerState::Created,
        // Still running until it has stopped.
        Status::RUNNING | Status::STOPPING => ContainerState::Running,
        Status::PAUSED => ContainerState::Paused,
        Status::RESTARTING => ContainerState::Restarting { exit_code: exit.code },
        Status::REMOVING => ContainerState::Removing,
        Status::EXITED => ContainerState::Exited(exit),
        Status::DEAD => ContainerState::Dead,
    }
}

/// How the process ended, where it has.
pub(super) fn exit(state: &StateOnEngine) -> Exit {
    Exit {
        code: state.exit_code.unwrap_or_default(),
        out_of_memory: state.oom_killed.unwrap_or_default(),
    }
}

fn health(state: &StateOnEngine) -> Option<Health> {
    let health = state.health.as_ref()?;
    let probes = || {
        health
            .log
            .iter()
            .flatten()
            .map(|probe| HealthProbe {
                exit_code: probe.exit_code.unwrap_or_default(),
                output: probe.output.clone().unwrap_or_default(),
            })
            .collect()
    };
    match health.status? {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        HealthStatusEnum::STARTING => Some(Health::Starting { probes: probes() }),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy { probes: probes() }),
    }
}

/// Ports not yet chosen (none, 0 or a range) are left away.
fn collect_host_ports(ports: &PortMap, found: &mut BTreeSet<(String, u16)>) {
    for binding in ports.values().flatten().flatten() {
        let port = binding.host_port.as_deref().and_then(|port| port.parse().ok());
        if let Some(port) = port.filter(|port| *port != 0) {
            let address = binding
                .host_ip
                .clone()
                .filter(|address| !address.is_empty())
                .unwrap_or_else(|| "0.0.0.0".to_owned());
            found.insert((address, port));
        }
    }
}

pub(super) fn image(seen: ImageInspect) -> Image {
    let configuration = seen.config.unwrap_or_default();
    let mut references = seen.repo_tags.unwrap_or_default();
    references.sort();
    let mut volumes = configuration.volumes.unwrap_or_default();
    volumes.sort();
    Image {
        id: ImageId(seen.id.unwrap_or_default()),
        created: seen.created.map(rfc3339).unwrap_or_default(),
        references,
        labels: sorted(configuration.labels),
        size: seen
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
        has_healthcheck: configuration
            .healthcheck
            .and_then(|health| health.test)
            .is_some_and(|test| !matches!(test.first().map(String::as_str), None | Some("NONE"))),
        entrypoint: configuration.entrypoint.unwrap_or_default(),
        command: configuration.cmd.unwrap_or_default(),
        volumes,
    }
}

/// Empty for years that no working clock gives.
fn rfc3339(moment: OffsetDateTime) -> String {
    moment
        .to_offset(UtcOffset::UTC)
        .format(&Rfc3339)
        .unwrap_or_default()
}

pub(super) fn sorted(labels: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    labels.unwrap_or_default().into_iter().collect()
}
