//! What a simulated engine does.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncRead;
use viatique_deploy::engine::{
    BuildEvent, BuildRequest, BuildSink, ContainerEventKind, ContainerId, ContainerSpec, ContainerState,
    Engine, EngineError, EngineErrorKind, ExecSpec, Exit, ImageId, NetworkId, NetworkOnEngine, NetworkSpec,
    OneOffSpec, OutputSink, OutputStream, Result, VolumeSpec,
};

use super::FakeEngine;
use super::behaviour::ImageBehaviour;
use super::inspect::files_below;
use super::world::{FakeVolume, checked, digest, not_found, with_tag};

const SUCCESS: Exit = Exit {
    code: 0,
    out_of_memory: false,
};

#[async_trait]
impl Engine for FakeEngine {
    async fn build(&self, request: &BuildRequest, progress: &dyn BuildSink) -> Result<ImageId> {
        let call = self.enter("build", &request.title).await?;
        let step = "[1/1] FROM scratch".to_owned();
        progress.event(BuildEvent::StepStarted {
            id: step.clone(),
            title: step.clone(),
        });
        let takes = self.world().builds_take;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let outcome = {
            let mut world = self.world();
            world.built.insert(request.title.clone(), request.build.clone());
            let (result, revision) = world
                .builds
                .get(&request.title)
                .cloned()
                .unwrap_or((Ok(ImageBehaviour::running()), 0));
            result
                .map(|behaviour| {
                    // The request's tags are no part of what the image is.
                    let inputs = format!(
                        "{} {revision} {:?} {:?}",
                        request.title, request.build, request.labels
                    );
                    let id = ImageId(format!("sha256:{}", digest(&inputs)));
                    for tag in &request.tags {
                        world.add_image(id.clone(), &with_tag(tag), behaviour.clone());
                    }
                    if let Some(image) = world.images.get_mut(&id) {
                        image.labels.clone_from(&request.labels);
                    }
                    id
                })
                .map_err(|message| {
                    EngineError::new(
                        "building image",
                        &request.title,
                        EngineErrorKind::BuildFailed,
                        message,
                    )
                })
        };
        if outcome.is_ok() {
            progress.event(BuildEvent::StepFinished {
                id: step.clone(),
                title: step,
                cached: false,
                duration: Duration::from_secs(1),
            });
        }
        call.leave(outcome).await
    }

    async fn pull(&self, reference: &str, progress: &dyn BuildSink) -> Result<ImageId> {
        let call = self.enter("pull", reference).await?;
        let behaviour = self.world().registry.get(&with_tag(reference)).cloned();
        let outcome = behaviour
            .map(|behaviour| {
                progress.event(BuildEvent::Pull {
                    layer: "layer".to_owned(),
                    done: 1,
                    total: Some(1),
                });
                let id = Self::image_id(reference);
                self.world()
                    .add_image(id.clone(), &with_tag(reference), behaviour);
                id
            })
            .ok_or_else(|| not_found("pulling image", reference));
        call.leave(outcome).await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()> {
        let call = self.enter("tag", reference).await?;
        let outcome = {
            let mut world = self.world();
            let behaviour = world.images.get(image).map(|image| image.behaviour.clone());
            behaviour
                .map(|behaviour| world.add_image(image.clone(), &with_tag(reference), behaviour))
                .ok_or_else(|| not_found("tagging image as", reference))
        };
        call.leave(outcome).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let call = self.enter("create_container", &spec.name).await?;
        let outcome = self
            .world()
            .add_container(&spec.name, &spec.image, &spec.labels, Some(spec.clone()));
        call.leave(outcome).await
    }

    async fn create_twin(&self, of: &ContainerId, name: &str) -> Result<ContainerId> {
        let call = self.enter("create_twin", name).await?;
        let outcome = {
            let mut world = self.world();
            let like = world
                .container("creating a container like", &of.0)
                .map(|container| {
                    (
                        container.image.clone(),
                        container.labels.clone(),
                        container.spec.clone(),
                    )
                });
            like.and_then(|(image, labels, spec)| world.add_container(name, &image, &labels, spec))
        };
        call.leave(outcome).await
    }

    async fn create_marker(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        volume: Option<&str>,
    ) -> Result<ContainerId> {
        let call = self.enter("create_marker", name).await?;
        let outcome = {
            let mut world = self.world();
            let created = world.add_container(name, &ImageId("sha256:empty".to_owned()), labels, None);
            if let (Ok(id), Some(volume)) = (&created, volume) {
                world.volumes.entry(volume.to_owned()).or_default();
                let container = world.container("creating container", &id.0)?;
                container.volumes.insert("/data".to_owned(), volume.to_owned());
            }
            created
        };
        call.leave(outcome).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let call = self.enter("start", &id.0).await?;
        let outcome = self.world().start(&id.0);
        self.changed.notify_waiters();
        call.leave(outcome).await
    }

    async fn stop(&self, id: &ContainerId, _grace: Option<Duration>) -> Result<()> {
        let call = self.enter("stop", &id.0).await?;
        let outcome = self.world().end("stopping container", &id.0, SUCCESS);
        self.changed.notify_waiters();
        call.leave(outcome).await
    }

    /// Those signals that servers take for an order to end do end it; the others it lives through.
    async fn kill(&self, id: &ContainerId, signal: &str) -> Result<()> {
        let operation = "sending a signal to container";
        let call = self.enter("kill", &id.0).await?;
        let ends_with = match signal {
            "SIGKILL" => Ok(Some(Exit { code: 137, ..SUCCESS })),
            "SIGTERM" | "SIGINT" | "SIGQUIT" => Ok(Some(SUCCESS)),
            "SIGHUP" | "SIGUSR1" | "SIGUSR2" | "SIGWINCH" => Ok(None),
            _ => Err(EngineError::new(
                operation,
                signal,
                EngineErrorKind::Invalid,
                "not a signal",
            )),
        };
        let outcome = ends_with.and_then(|ends_with| {
            let mut world = self.world();
            let container = world.container(operation, &id.0)?;
            if container.state == ContainerState::Running {
                container.signals.push(signal.to_owned());
            }
            ends_with.map_or(Ok(()), |exit| world.end(operation, &id.0, exit))
        });
        self.changed.notify_waiters();
        call.leave(outcome).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let call = self.enter("remove_container", &id.0).await?;
        let outcome = checked("removing container", &id.0).map(|()| self.forget(id));
        call.leave(outcome).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let call = self.enter("rename", name).await?;
        let operation = "renaming container to";
        let outcome = checked(operation, name).and_then(|()| {
            let mut world = self.world();
            let taken = world.position(name).is_some();
            let container = world.container(operation, &id.0)?;
            if taken {
                return Err(EngineError::new(
                    operation,
                    name,
                    EngineErrorKind::NameTaken,
                    "in use",
                ));
            }
            name.clone_into(&mut container.name);
            Ok(())
        });
        call.leave(outcome).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        let call = self.enter("wait", &id.0).await?;
        loop {
            let changed = self.changed.notified();
            let state = self
                .world()
                .container("waiting for container", &id.0)
                .map(|container| container.state.clone());
            match state {
                Err(error) => return call.leave(Err(error)).await,
                Ok(ContainerState::Exited(exit)) => return call.leave(Ok(exit)).await,
                Ok(ContainerState::Created | ContainerState::Dead | ContainerState::Removing) => {
                    return call
                        .leave(Ok(Exit {
                            code: 0,
                            out_of_memory: false,
                        }))
                        .await;
                }
                Ok(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting { .. }) => {
                    changed.await;
                }
            }
        }
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkId> {
        let call = self.enter("create_network", &spec.network.name).await?;
        let id = {
            let mut world = self.world();
            let id = NetworkId(world.new_id("network"));
            world.networks.push(NetworkOnEngine {
                id: id.clone(),
                name: spec.network.name.clone(),
                labels: spec.labels.clone(),
            });
            id
        };
        call.leave(Ok(id)).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        let call = self.enter("remove_network", &id.0).await?;
        let outcome = {
            let mut world = self.world();
            let used = world.containers.iter().any(|container| {
                container.state == ContainerState::Running
                    && container
                        .spec
                        .iter()
                        .flat_map(|spec| &spec.networks)
                        .any(|endpoint| endpoint.network == *id)
            });
            if used {
                Err(EngineError::new(
                    "removing network",
                    &id.0,
                    EngineErrorKind::Conflict,
                    "in use",
                ))
            } else {
                world.networks.retain(|network| network.id != *id);
                Ok(())
            }
        };
        call.leave(outcome).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let call = self.enter("create_volume", &spec.volume.name).await?;
        self.world()
            .volumes
            .entry(spec.volume.name.clone())
            .or_insert_with(|| FakeVolume {
                labels: spec.labels.clone(),
                files: BTreeMap::new(),
            });
        call.leave(Ok(())).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        let call = self.enter("remove_volume", name).await?;
        let outcome = {
            let mut world = self.world();
            if world
                .containers
                .iter()
                .any(|container| container.volumes.values().any(|used| used == name))
            {
                Err(EngineError::new(
                    "removing volume",
                    name,
                    EngineErrorKind::Conflict,
                    "in use",
                ))
            } else {
                world.volumes.remove(name);
                Ok(())
            }
        };
        call.leave(outcome).await
    }

    async fn run_one_off(&self, spec: &OneOffSpec, output: &mut dyn OutputSink) -> Result<Exit> {
        self.one_off(spec, output).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<Exit> {
        self.run_in(id, spec, input, output).await
    }

    async fn write_files(&self, id: &ContainerId, folder: &str, files: &[(String, Vec<u8>)]) -> Result<()> {
        let operation = "writing files into container";
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        let call = self.enter("write_files", &paths.join(" ")).await?;
        let outcome = {
            let mut world = self.world();
            let exists = files_below(&mut world, operation, id, folder).map(|found| found.is_some());
            exists.and_then(|exists| {
                let mut parts = paths.iter().flat_map(|path| path.split('/'));
                if parts.any(|part| matches!(part, "" | "." | "..")) {
                    return Err(EngineError::new(
                        operation,
                        paths.join(" "),
                        EngineErrorKind::Invalid,
                        "not below the folder",
                    ));
                }
                if !exists {
                    return Err(not_found(operation, folder));
                }
                for (path, content) in files {
                    let full = format!("{}/{path}", folder.trim_end_matches('/'));
                    let container = world.container(operation, &id.0)?;
                    let mount = container.volumes.iter().find_map(|(target, volume)| {
                        let below = full.strip_prefix(&format!("{target}/"))?;
                        Some((volume.clone(), below.to_owned()))
                    });
                    match mount {
                        Some((volume, below)) => {
                            let volume = world
                                .volumes
                                .get_mut(&volume)
                                .ok_or_else(|| not_found(operation, &volume))?;
                            // A file takes the place of a folder and of all that is in it.
                            let folder = format!("{below}/");
                            volume.files.retain(|path, _| !path.starts_with(&folder));
                            volume.files.insert(below, content.clone());
                        }
                        None => {
                            container.files.insert(full, content.clone());
                        }
                    }
                }
                Ok(())
            })
        };
        call.leave(outcome).await
    }

    async fn archive(&self, id: &ContainerId, folder: &str, output: &mut dyn OutputSink) -> Result<()> {
        let operation = "archiving a folder of container";
        let call = self.enter("archive", folder).await?;
        let files = files_below(&mut self.world(), operation, id, folder)?
            .ok_or_else(|| not_found(operation, folder))?;
        let top = folder
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, format!("{top}/{path}"), content.as_slice())
                .unwrap();
        }
        let outcome = output
            .write(OutputStream::Stdout, &archive.into_inner().unwrap())
            .await
            .map_err(|error| EngineError::new(operation, folder, EngineErrorKind::Sink, error.to_string()));
        call.leave(outcome).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        let call = self.enter("remove_image", reference).await?;
        {
            let mut world = self.world();
            if let Some(id) = world.image_id(reference) {
                let used = world.containers.iter().any(|container| container.image == id);
                let image = world.images.get_mut(&id).expect("just found");
                image.references.remove(&with_tag(reference));
                if image.references.is_empty() && !used {
                    world.images.remove(&id);
                }
            }
        }
        call.leave(Ok(())).await
    }
}

impl FakeEngine {
    pub(super) fn forget(&self, id: &ContainerId) {
        let mut world = self.world();
        if let Some(position) = world.position(&id.0) {
            if world.containers[position].state == ContainerState::Running {
                world.tell(position, ContainerEventKind::Died);
            }
            world.containers.remove(position);
        }
        drop(world);
        self.changed.notify_waiters();
    }
}
