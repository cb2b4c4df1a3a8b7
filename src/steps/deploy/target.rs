//! What a service's containers should be: the container to create, and the fingerprint by which an unchanged one is
//! recognised. Pure.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::infrastructure::NetworkIds;
use crate::compose::{MountKind, NetworkAttachment, NetworkMode, Project, Service};
use crate::digest::hexadecimal;
use crate::engine::{ContainerId, ContainerNetworkMode, ContainerSpec, ImageId, NetworkEndpoint, labels};
use crate::error::{Failure, FailureKind};
use crate::release::{RunId, Tag};

/// What we call ourselves in Compose's version label: the labels follow its second major version.
pub(crate) const COMPOSE_VERSION: &str = "2.0.0";

/// Everything a container was made from: service, image, networks and volumes. Holds secret values only as part of a
/// digest, and is kept in a label of the container whose environment shows them anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) String);

/// Computes the fingerprint of a service with this image.
pub(crate) fn fingerprint(project: &Project, service: &Service, image: &ImageId) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update(service.configuration_to_hash().reveal());
    digest.update(&image.0);
    for key in service.networks.keys() {
        digest.update(
            project
                .networks
                .get(key)
                .map_or(key.as_str(), |network| &network.name),
        );
        digest.update([0]);
    }
    for (key, name) in volume_names(project, service) {
        digest.update(key);
        digest.update([0]);
        digest.update(name);
        digest.update([0]);
    }
    Fingerprint(hexadecimal(&digest.finalize()))
}

/// The volumes a service mounts, by key, as names on the engine.
pub(crate) fn volume_names(project: &Project, service: &Service) -> BTreeMap<String, String> {
    service
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Volume { key, .. } => {
                let name = project
                    .volumes
                    .get(key)
                    .map_or_else(|| key.clone(), |volume| volume.name.clone());
                Some((key.clone(), name))
            }
            MountKind::AnonymousVolume | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
        })
        .collect()
}

/// What a container is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose<'a> {
    pub role: labels::Role,
    /// The replica's number, from 1.
    pub number: u32,
    pub name: &'a str,
    pub tag: &'a Tag,
    pub run: &'a RunId,
}

/// The container of a service, as it should be.
///
/// # Errors
/// A network that was not made, or a service whose network namespace is shared but which is not running.
pub(crate) fn container_spec(
    project: &Project,
    service: &Service,
    image: &ImageId,
    networks: &NetworkIds,
    shared_namespace: Option<&ContainerId>,
    purpose: Purpose<'_>,
) -> Result<ContainerSpec, Failure> {
    let one_off = purpose.role != labels::Role::Service;
    let mut endpoints = Vec::new();
    for (key, attachment) in networks_by_priority(service) {
        let network = networks.get(key).cloned().ok_or_else(|| {
            Failure::message(
                FailureKind::Failed,
                format!("network {key} of {} does not exist", service.name),
            )
        })?;
        // A one-off must not answer for its service, nor take its fixed address.
        let mut aliases = Vec::new();
        if !one_off {
            aliases.push(service.name.to_string());
            aliases.extend(
                attachment
                    .aliases
                    .iter()
                    .filter(|alias| **alias != service.name.as_str())
                    .cloned(),
            );
        }
        endpoints.push(NetworkEndpoint {
            network,
            aliases,
            ipv4_address: attachment.ipv4_address.clone().filter(|_| !one_off),
            ipv6_address: attachment.ipv6_address.clone().filter(|_| !one_off),
            mac_address: attachment.mac_address.clone().filter(|_| !one_off),
        });
    }
    let network_mode = match &service.network_mode {
        None => None,
        Some(NetworkMode::None) => Some(ContainerNetworkMode::None),
        Some(NetworkMode::Host) => Some(ContainerNetworkMode::Host),
        Some(NetworkMode::Bridge) => Some(ContainerNetworkMode::Bridge),
        Some(NetworkMode::Service(other)) => {
            let container = shared_namespace.cloned().ok_or_else(|| {
                Failure::message(
                    FailureKind::Failed,
                    format!(
                        "{} shares the network of {other}, which is not running",
                        service.name
                    ),
                )
            })?;
            Some(ContainerNetworkMode::Container(container))
        }
        Some(NetworkMode::Container(id)) => Some(ContainerNetworkMode::Container(ContainerId(id.clone()))),
    };
    Ok(ContainerSpec {
        name: purpose.name.to_owned(),
        image: image.clone(),
        service: service.clone(),
        labels: container_labels(project, service, image, purpose),
        networks: endpoints,
        network_mode,
        volumes: volume_names(project, service),
    })
}

/// The networks of a service, the highest priority first: the first one gives the default route.
fn networks_by_priority(service: &Service) -> Vec<(&String, &NetworkAttachment)> {
    let mut networks: Vec<_> = service.networks.iter().collect();
    networks.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.priority));
    networks
}

fn container_labels(
    project: &Project,
    service: &Service,
    image: &ImageId,
    purpose: Purpose<'_>,
) -> BTreeMap<String, String> {
    let ours = [
        (labels::PROJECT, project.name.clone()),
        (labels::RUN, purpose.run.to_string()),
        (labels::RELEASE, purpose.tag.to_string()),
        (labels::ROLE, purpose.role.as_str().to_owned()),
    ];
    if matches!(purpose.role, labels::Role::Sidecar | labels::Role::Maintenance) {
        // No container of the Compose project: nothing that goes by Compose's labels must take it for one.
        return ours
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
    }
    let Fingerprint(spec) = fingerprint(project, service, image);
    let depends_on: Vec<String> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| format!("{name}:{}:{}", dependency.condition.as_str(), dependency.restart))
        .collect();
    let files: Vec<String> = project
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let one_off = if purpose.role != labels::Role::Service {
        "True"
    } else {
        "False"
    };
    let mut all = service.labels.clone();
    all.extend(
        [
            (labels::COMPOSE_PROJECT, project.name.clone()),
            (labels::COMPOSE_SERVICE, service.name.to_string()),
            (labels::COMPOSE_ONEOFF, one_off.to_owned()),
            (labels::COMPOSE_CONTAINER_NUMBER, purpose.number.to_string()),
            (labels::COMPOSE_CONFIG_HASH, spec.clone()),
            (labels::COMPOSE_IMAGE, image.0.clone()),
            (labels::COMPOSE_DEPENDS_ON, depends_on.join(",")),
            (
                labels::COMPOSE_WORKING_DIR,
                project.directory.display().to_string(),
            ),
            (labels::COMPOSE_CONFIG_FILES, files.join(",")),
            (labels::COMPOSE_VERSION, COMPOSE_VERSION.to_owned()),
            (labels::SPEC, spec),
        ]
        .into_iter()
        .chain(ours)
        .map(|(name, value)| (name.to_owned(), value)),
    );
    all
}

/// The name a replica has once it serves.
pub(crate) fn settled_name(project: &Project, service: &Service, number: u32) -> String {
    service
        .container_name
        .clone()
        .unwrap_or_else(|| format!("{}-{}-{number}", project.name, service.name))
}

/// The name of a new replica while the old one still has the settled name.
pub(crate) fn arriving_name(project: &Project, service: &Service, number: u32, run: &RunId) -> String {
    format!("{}-{}-{number}-new-{}", project.name, service.name, run.suffix())
}

/// The name of a replica that was retired by this run and is kept for the way back.
pub(crate) fn retired_name(name: &str, run: &RunId) -> String {
    format!("{name}{}", retired_suffix(run))
}

/// The name of a container that did not run when this run replaced it; removed when the run has succeeded.
pub(crate) fn stale_name(name: &str, run: &RunId) -> String {
    format!("{name}{}", stale_suffix(run))
}

/// What the names of such containers end in.
pub(crate) fn stale_suffix(run: &RunId) -> String {
    format!("-stale-{}", run.suffix())
}

/// What stands between the name of a container that was stopped for a maintenance, and the run that did so.
const HELD: &str = "-held-";

/// The name of a container that was stopped for a maintenance, and comes back where that is given up.
pub(crate) fn held_name(name: &str, run: &RunId) -> String {
    format!("{name}{HELD}{}", run.suffix())
}

/// The name that it had before, whichever run has stopped it; `None` of another container.
pub(crate) fn name_before_held(name: &str) -> Option<&str> {
    name.rsplit_once(HELD).map(|(before, _)| before)
}

/// What stands between the name of a replica that was retired, and the run that did so.
const RETIRED: &str = "-old-";

/// What the names of the replicas retired by this run end in.
pub(crate) fn retired_suffix(run: &RunId) -> String {
    format!("{RETIRED}{}", run.suffix())
}

/// Whether some run has retired the container of this name: since then nobody is led to it.
pub(crate) fn was_retired(name: &str) -> bool {
    let run = name.rsplit_once(RETIRED).map(|(_, run)| run);
    run.is_some_and(RunId::may_be_suffix)
}
