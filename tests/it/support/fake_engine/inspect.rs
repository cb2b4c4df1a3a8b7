//! What a simulated engine tells.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use time::OffsetDateTime;
use viatique_deploy::clock::Clock as _;
use viatique_deploy::engine::{
    Capacity, Container, ContainerEvents, ContainerFilter, ContainerId, EngineError, EngineErrorKind,
    EngineIdentity, Image, Inspect, LogLine, LogLines, LogRange, NetworkOnEngine, NetworkUse, OutputStream,
    Result, Usage, VolumeOnEngine,
};

use super::FakeEngine;
use super::container::FakeContainer;
use super::world::{World, checked, matches, not_found, with_tag};

/// Between two looks of who follows a log.
const LOOK: Duration = Duration::from_millis(100);

#[async_trait]
impl Inspect for FakeEngine {
    async fn identity(&self) -> Result<EngineIdentity> {
        let call = self.enter("identity", "").await?;
        let identity = EngineIdentity {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            address: "fake://engine".to_owned(),
        };
        call.leave(Ok(identity)).await
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let call = self.enter("containers", "").await?;
        let found = {
            let mut world = self.world();
            let matching: Vec<usize> = (0..world.containers.len())
                .filter(|position| matches(filter, &world.containers[*position].labels))
                .collect();
            matching
                .into_iter()
                .map(|position| world.look(position))
                .collect()
        };
        call.leave(Ok(found)).await
    }

    async fn container(&self, id_or_name: &str) -> Result<Option<Container>> {
        let call = self.enter("container", id_or_name).await?;
        let found = checked("inspecting container", id_or_name).map(|()| {
            let mut world = self.world();
            world.position(id_or_name).map(|position| world.look(position))
        });
        self.changed.notify_waiters();
        call.leave(found).await
    }

    async fn container_events(&self, filter: &ContainerFilter) -> Result<ContainerEvents> {
        let call = self.enter("container_events", "").await?;
        let events = self.listen(filter);
        call.leave(Ok(events)).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let call = self.enter("image", reference).await?;
        let found = if reference.split('/').any(|part| part.is_empty() || part == "..") {
            Err(EngineError::new(
                "inspecting image",
                reference,
                EngineErrorKind::Invalid,
                "not a reference",
            ))
        } else {
            Ok(self.world().image(reference))
        };
        call.leave(found).await
    }

    async fn references(&self, repository: &str) -> Result<Vec<String>> {
        let call = self.enter("references", repository).await?;
        let start = format!("{repository}:");
        let mut found: Vec<String> = Vec::new();
        for image in self.world().images.values() {
            let own = image.references.iter().filter(|one| one.starts_with(&start));
            found.extend(own.cloned());
        }
        found.sort();
        call.leave(Ok(found)).await
    }

    async fn image_in_registry(&self, reference: &str) -> Result<bool> {
        let call = self.enter("image_in_registry", reference).await?;
        let found = self.world().registry.contains_key(&with_tag(reference));
        call.leave(Ok(found)).await
    }

    async fn networks(&self, name: &str) -> Result<Vec<NetworkOnEngine>> {
        let call = self.enter("networks", name).await?;
        let mut networks = self.world().networks.clone();
        networks.retain(|network| network.name == name);
        call.leave(Ok(networks)).await
    }

    async fn networks_labelled(&self, label: &str, value: &str) -> Result<Vec<NetworkOnEngine>> {
        let call = self.enter("networks_labelled", value).await?;
        let mut networks = self.world().networks.clone();
        networks.retain(|network| network.labels.get(label).is_some_and(|found| found == value));
        call.leave(Ok(networks)).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeOnEngine>> {
        let call = self.enter("volume", name).await?;
        let found = checked("inspecting volume", name).map(|()| {
            self.world().volumes.get(name).map(|volume| VolumeOnEngine {
                name: name.to_owned(),
                labels: volume.labels.clone(),
            })
        });
        call.leave(found).await
    }

    async fn volumes_labelled(&self, label: &str, value: &str) -> Result<Vec<VolumeOnEngine>> {
        let call = self.enter("volumes_labelled", value).await?;
        let found = self
            .world()
            .volumes
            .iter()
            .filter(|(_, volume)| volume.labels.get(label).is_some_and(|found| found == value))
            .map(|(name, volume)| VolumeOnEngine {
                name: name.clone(),
                labels: volume.labels.clone(),
            })
            .collect();
        call.leave(Ok(found)).await
    }

    async fn logs(&self, id: &ContainerId, tail: u32) -> Result<Vec<String>> {
        let call = self.enter("logs", &id.0).await?;
        let lines = self
            .world()
            .container("reading the log of container", &id.0)
            .map(|container| {
                let skip = container.log.len().saturating_sub(tail as usize);
                let lines = container.log.iter().skip(skip);
                lines.map(|(_, line)| line.clone()).collect()
            });
        call.leave(lines).await
    }

    /// What is written later is found by looking again, in tokio's time.
    async fn log_lines(&self, id: &ContainerId, range: &LogRange) -> Result<LogLines> {
        let call = self.enter("log_lines", &id.0).await?;
        let found = self
            .world()
            .container("reading the log of container", &id.0)
            .map(|container| container.log.len());
        let lines = found.map(|there| {
            let reading = Reading {
                engine: self.clone(),
                container: id.clone(),
                next: there.saturating_sub(range.newest as usize),
                range: *range,
            };
            let lines = stream::unfold(reading, |mut reading| async {
                reading.next().await.map(|line| (Ok(line), reading))
            });
            Box::pin(lines) as LogLines
        });
        call.leave(lines).await
    }

    /// A running container has a main process and one worker, which each command with the word `reload` and each
    /// `SIGHUP` replaces.
    async fn processes(&self, id: &ContainerId) -> Result<Vec<(u32, String)>> {
        let call = self.enter("processes", &id.0).await?;
        let running = self
            .world()
            .container("listing the processes of container", &id.0)
            .map(|container| {
                let running = container.state == viatique_deploy::engine::ContainerState::Running;
                let hups = container.signals.iter().filter(|signal| *signal == "SIGHUP");
                running.then(|| (container.name.clone(), hups.count()))
            });
        let processes = running.map(|running| {
            let Some((name, hups)) = running else {
                return Vec::new();
            };
            if let Some(titles) = self.world().titles(&name) {
                return (1..).zip(titles).collect();
            }
            let commands = self.commands();
            let reloads = commands.iter().filter(|command| {
                command.container == name && command.words.iter().any(|word| word == "reload")
            });
            let worker = 100 + u32::try_from(reloads.count() + hups).unwrap();
            vec![
                (1, "main".to_owned()),
                (worker, "nginx: worker process".to_owned()),
            ]
        });
        call.leave(processes).await
    }

    async fn read_files(&self, id: &ContainerId, folder: &str) -> Result<Option<Vec<(String, Vec<u8>)>>> {
        let call = self.enter("read_files", &id.0).await?;
        let files = files_below(&mut self.world(), "reading files of container", id, folder);
        call.leave(files.map(|files| files.map(|files| files.into_iter().collect())))
            .await
    }

    async fn time(&self) -> Result<OffsetDateTime> {
        let call = self.enter("time", "").await?;
        let (now, off) = (self.now(), self.world().off);
        call.leave(Ok(now + off)).await
    }

    async fn capacity(&self) -> Result<Capacity> {
        let call = self.enter("capacity", "").await?;
        let capacity = self.world().capacity.clone();
        call.leave(Ok(capacity)).await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Option<Usage>> {
        let call = self.enter("usage", &id.0).await?;
        let total = self.world().capacity.memory_total;
        let usage = self
            .world()
            .container("asking what is used by container", &id.0)
            .map(|container| {
                let running = container.state == viatique_deploy::engine::ContainerState::Running;
                let limit = container
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.service.limits.memory);
                running.then_some(Usage {
                    memory: container.behaviour.memory,
                    memory_limit: Some(limit.unwrap_or(total)),
                    // A quarter of a core, and a thousand bytes a second each way.
                    processor: ran(container) / 4,
                    network: (!container.addresses.is_empty()).then(|| NetworkUse {
                        received: ran(container).as_millis() as u64,
                        sent: ran(container).as_millis() as u64,
                    }),
                })
            });
        call.leave(usage).await
    }
}

/// How long it has been running for.
fn ran(container: &FakeContainer) -> Duration {
    container.started.map_or(Duration::ZERO, |(_, at)| at.elapsed())
}

/// Somebody reads a log, from one line to the next.
struct Reading {
    engine: FakeEngine,
    container: ContainerId,
    next: usize,
    range: LogRange,
}

impl Reading {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            let running = {
                let mut world = self.engine.world();
                let container = world
                    .container("reading the log of container", &self.container.0)
                    .ok()?;
                while let Some((at, text)) = container.log.get(self.next) {
                    self.next += 1;
                    if *at >= self.range.since {
                        return Some(LogLine {
                            at: *at,
                            stream: OutputStream::Stdout,
                            text: text.clone(),
                        });
                    }
                }
                container.state == viatique_deploy::engine::ContainerState::Running
            };
            if !(running && self.range.follow) {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Files below a folder by their path relative to it; `None` where there is no such folder.
pub(super) fn files_below(
    world: &mut World,
    operation: &'static str,
    id: &ContainerId,
    folder: &str,
) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
    let container = world.container(operation, &id.0)?;
    let own = container.files.clone();
    let mounted = container.volumes.clone();
    let mut all: BTreeMap<String, Vec<u8>> = own;
    for (target, volume) in &mounted {
        let volume = world
            .volumes
            .get(volume)
            .ok_or_else(|| not_found(operation, volume))?;
        for (path, content) in &volume.files {
            all.insert(format!("{target}/{path}"), content.clone());
        }
    }
    let prefix = format!("{}/", folder.trim_end_matches('/'));
    let below: BTreeMap<String, Vec<u8>> = all
        .into_iter()
        .filter_map(|(path, content)| Some((path.strip_prefix(&prefix)?.to_owned(), content)))
        .collect();
    let exists = !below.is_empty() || mounted.contains_key(folder) || matches!(folder, "/" | "/tmp");
    Ok(exists.then_some(below))
}
