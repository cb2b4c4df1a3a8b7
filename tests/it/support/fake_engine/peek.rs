//! Seeing a simulated engine from outside: no call is made, and no time passes.

use std::collections::{BTreeMap, BTreeSet};

use viatique_deploy::engine::{Container, ContainerState, ImageId, NetworkOnEngine, labels};

use super::{Call, FakeEngine};

/// Everything on the engine. Equal where nothing was changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// In order of creation.
    pub(crate) containers: Vec<Container>,
    pub(crate) networks: Vec<NetworkOnEngine>,
    /// The files of each volume.
    pub(crate) volumes: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(crate) images: BTreeMap<ImageId, BTreeSet<String>>,
}

impl FakeEngine {
    /// Remembers from now on what stands when each call is made.
    pub(crate) fn watch(&self) {
        self.calls.lock().unwrap().watched = Some(Vec::new());
    }

    /// What stood when each call was made.
    pub(crate) fn watched(&self) -> Vec<(Call, Seen)> {
        self.calls.lock().unwrap().watched.clone().unwrap_or_default()
    }

    /// A file in a volume, as the containers' own processes write it.
    pub(crate) fn put_file(&self, volume: &str, path: &str, content: &[u8]) {
        let mut world = self.world();
        let volume = world.volumes.get_mut(volume).unwrap();
        volume.files.insert(path.to_owned(), content.to_vec());
    }

    /// Everything as it stands.
    pub(crate) fn peek(&self) -> Seen {
        let world = self.world();
        Seen {
            containers: (0..world.containers.len())
                .map(|position| world.describe(position))
                .collect(),
            networks: world.networks.clone(),
            volumes: world
                .volumes
                .iter()
                .map(|(name, volume)| (name.clone(), volume.files.clone()))
                .collect(),
            images: world
                .images
                .iter()
                .map(|(id, image)| (id.clone(), image.references.clone()))
                .collect(),
        }
    }
}

impl Seen {
    /// The one container of this name.
    #[track_caller]
    pub(crate) fn container(&self, name: &str) -> &Container {
        self.containers
            .iter()
            .find(|container| container.name == name)
            .unwrap_or_else(|| panic!("there is no {name} among {:?}", self.names()))
    }

    /// Every container's name.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.containers
            .iter()
            .map(|container| container.name.as_str())
            .collect()
    }

    /// What runs for a service, and answers for it.
    pub(crate) fn running(&self, service: &str) -> Vec<&Container> {
        self.containers
            .iter()
            .filter(|container| {
                container.label(labels::COMPOSE_SERVICE) == Some(service)
                    && container.label(labels::COMPOSE_ONEOFF) != Some("True")
                    && container.state == ContainerState::Running
            })
            .collect()
    }

    /// The release labels of what runs for a service.
    pub(crate) fn releases(&self, service: &str) -> Vec<&str> {
        self.running(service)
            .into_iter()
            .map(|container| container.label(labels::RELEASE).unwrap_or("none"))
            .collect()
    }
}
