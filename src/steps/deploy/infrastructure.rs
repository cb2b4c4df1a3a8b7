//! The networks and volumes that containers need: found by name, made where they are missing. Called under the deploy
//! lock, because older engines let two networks have one name. Volumes are never removed here.

use std::collections::BTreeMap;

use crate::compose::Project;
use crate::engine::{Engine, Inspect, NetworkId, NetworkSpec, VolumeSpec, labels};
use crate::error::{Failure, FailureKind};
use crate::release::RunId;

/// The project's networks on the engine, by their key in the Compose files.
pub(crate) type NetworkIds = BTreeMap<String, NetworkId>;

/// Finds every network of the project that exists.
///
/// # Errors
/// An external one that is missing, a name that several networks have, and the engine's.
pub(crate) async fn find_networks(inspect: &dyn Inspect, project: &Project) -> Result<NetworkIds, Failure> {
    let mut found = BTreeMap::new();
    for (key, network) in &project.networks {
        let mut standing = inspect.networks(&network.name).await?;
        // Among several of one name the one that carries Compose's labels of this project is ours.
        if standing.len() > 1 {
            standing.retain(|one| one.labels.get(labels::COMPOSE_PROJECT) == Some(&project.name));
        }
        match standing.as_slice() {
            [one] => {
                found.insert(key.clone(), one.id.clone());
            }
            [] if network.external => {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "networks.{key}: the external network {} does not exist",
                        network.name
                    ),
                )
                .hint(format!("docker network create {}", network.name)));
            }
            [] => {}
            several => {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "networks.{key}: {} networks are called {}",
                        several.len(),
                        network.name
                    ),
                )
                .hint("remove the unused ones by id: docker network ls, docker network rm <id>"));
            }
        }
    }
    Ok(found)
}

/// Fails where an external volume is missing.
///
/// # Errors
/// Names the volume; and the engine's errors.
pub(crate) async fn check_external_volumes(inspect: &dyn Inspect, project: &Project) -> Result<(), Failure> {
    for (key, volume) in &project.volumes {
        if volume.external && inspect.volume(&volume.name).await?.is_none() {
            return Err(Failure::message(
                FailureKind::Configuration,
                format!(
                    "volumes.{key}: the external volume {} does not exist",
                    volume.name
                ),
            )
            .hint(format!("docker volume create {}", volume.name)));
        }
    }
    Ok(())
}

/// Makes what is missing. After a crash a network or volume may stand unused; the next run finds it by name.
///
/// # Errors
/// As [`find_networks`].
pub(crate) async fn ensure(
    engine: &dyn Engine,
    project: &Project,
    run: &RunId,
) -> Result<NetworkIds, Failure> {
    let mut ids = find_networks(engine, project).await?;
    for (key, network) in &project.networks {
        if ids.contains_key(key) {
            continue;
        }
        let mut all = network.labels.clone();
        all.insert(labels::COMPOSE_NETWORK.to_owned(), key.clone());
        all.extend(common_labels(project, run));
        let id = engine
            .create_network(&NetworkSpec {
                network: network.clone(),
                labels: all,
            })
            .await?;
        ids.insert(key.clone(), id);
    }
    check_external_volumes(engine, project).await?;
    for (key, volume) in &project.volumes {
        if volume.external || engine.volume(&volume.name).await?.is_some() {
            continue;
        }
        let mut all = volume.labels.clone();
        all.insert(labels::COMPOSE_VOLUME.to_owned(), key.clone());
        all.extend(common_labels(project, run));
        engine
            .create_volume(&VolumeSpec {
                volume: volume.clone(),
                labels: all,
            })
            .await?;
    }
    Ok(ids)
}

fn common_labels(project: &Project, run: &RunId) -> [(String, String); 4] {
    [
        (labels::COMPOSE_PROJECT.to_owned(), project.name.clone()),
        (
            labels::COMPOSE_VERSION.to_owned(),
            super::target::COMPOSE_VERSION.to_owned(),
        ),
        (labels::PROJECT.to_owned(), project.name.clone()),
        (labels::RUN.to_owned(), run.to_string()),
    ]
}
