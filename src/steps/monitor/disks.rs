//! How much room there is where the project's data lies: where the engine keeps its own, as far as that is this machine,
//! and in the named volumes, each asked of a running container that has it. Only shown; `check` judges it.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::printed::printed;
use super::sides::Sides;
use crate::engine::{ContainerId, ContainerState, Engine};
use crate::pipeline::Disk;
use crate::stack::postgres::beside::{parse_disk, room};

/// So many volumes are asked for.
const VOLUMES: usize = 8;

/// Where it is looked, and what was found last.
pub(super) struct Disks<'a> {
    engine: &'a dyn Engine,
    /// By volume: a container, and the folder in it.
    volumes: BTreeMap<String, (ContainerId, String)>,
    found: Vec<Disk>,
    pub(super) problem: Option<String>,
}

impl<'a> Disks<'a> {
    /// Asks nothing yet.
    pub(super) fn of(engine: &'a dyn Engine, sides: &Sides) -> Self {
        let mut volumes = BTreeMap::new();
        let standing = sides.new.iter().chain(&sides.kept);
        for (_, container) in standing.filter(|(_, one)| one.state == ContainerState::Running) {
            for volume in &container.mounted_volumes {
                if volumes.len() < VOLUMES {
                    volumes
                        .entry(volume.name.clone())
                        .or_insert_with(|| (container.id.clone(), volume.target.clone()));
                }
            }
        }
        Self {
            engine,
            volumes,
            found: Vec::new(),
            problem: None,
        }
    }

    /// Looks.
    pub(super) async fn look(&mut self) {
        let engine = self.engine;
        let of_volumes = join_all(self.volumes.iter().map(|(name, (container, folder))| async move {
            let printed = printed(engine, container, &room(folder)).await;
            (name.clone(), printed.and_then(|printed| parse_disk(&printed)))
        }));
        let (capacity, of_volumes) = tokio::join!(engine.capacity(), of_volumes);
        self.found.clear();
        self.problem = None;
        let own = capacity
            .ok()
            .and_then(|capacity| Some((capacity.disk_available?, capacity.disk_total?)));
        if let Some((free, total)) = own {
            self.add("the engine's data", free, total);
        }
        let mut silent = Vec::new();
        for (name, room) in of_volumes {
            match room {
                Some((free, total)) => self.found_of_volume(&name, free, total),
                None => silent.push(name),
            }
        }
        if !silent.is_empty() && own.is_none() {
            self.problem = Some(format!(
                "the disk of {}: `df` in its container did not say",
                silent.join(", ")
            ));
        }
    }

    /// One of the same size is the same file system: volumes lie together as a rule, and what is free goes up and down.
    fn found_of_volume(&mut self, name: &str, free: u64, total: u64) {
        // `df` counts in kilobytes.
        if !self.found.iter().any(|disk| disk.total / 1024 == total / 1024) {
            self.add(&format!("volume {name}"), free, total);
        }
    }

    fn add(&mut self, what: &str, free: u64, total: u64) {
        self.found.push(Disk {
            what: what.to_owned(),
            free,
            total,
        });
    }

    /// What was found last.
    pub(super) fn measured(&self) -> Vec<Disk> {
        self.found.clone()
    }
}
