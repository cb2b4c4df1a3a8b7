//! The Docker Engine through bollard: the only room that names it. Each call of the port is one line here; what it
//! does is in the sibling file named after the object it concerns.

mod build_progress;
mod builds;
mod capacity;
mod client;
mod container_view;
mod containers;
mod create_body;
mod credentials;
mod environment;
mod events;
mod failure;
mod files;
mod images;
mod listening;
mod logs;
mod names;
mod networks_and_volumes;
mod processes;
mod twin;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::io::AsyncRead;
use tokio::sync::OnceCell;

use super::{
    BuildRequest, BuildSink, Capacity, Container, ContainerEvents, ContainerFilter, ContainerId,
    ContainerSpec, Engine, EngineError, EngineErrorKind, EngineIdentity, ExecSpec, Exit, Image, ImageId,
    Inspect, LogLines, LogRange, NetworkId, NetworkOnEngine, NetworkSpec, OneOffSpec, OutputSink, Result,
    Usage, VolumeOnEngine, VolumeSpec,
};
use client::Client;
pub use client::TimeBudgets;
use create_body::ApiVersion;
use credentials::Credentials;
use environment::Endpoint;
pub use environment::EngineEnvironment;
use listening::Listening;

/// One Docker Engine.
#[derive(Debug)]
pub struct DockerEngine {
    client: Client,
    endpoint: Endpoint,
    budgets: TimeBudgets,
    credentials: Credentials,
    listening: Listening,
    api_version: OnceCell<ApiVersion>,
}

impl DockerEngine {
    /// Chooses the engine and prepares to speak to it; sends nothing yet, so an engine that does not answer shows
    /// at the first call.
    ///
    /// # Errors
    /// [`EngineErrorKind::Unreachable`] where a Docker context is named but cannot be used, the address is of a
    /// kind that is not supported, or there is no socket at it.
    pub fn connect(environment: &EngineEnvironment) -> Result<Self> {
        Self::connect_within(environment, TimeBudgets::default())
    }

    /// The same with other time budgets.
    ///
    /// # Errors
    /// As [`DockerEngine::connect`].
    pub fn connect_within(environment: &EngineEnvironment, budgets: TimeBudgets) -> Result<Self> {
        let endpoint = environment.endpoint()?;
        let client = client::client(&endpoint, &budgets)?;
        Ok(Self {
            client,
            endpoint,
            budgets,
            credentials: Credentials::new(environment.configuration_folder()),
            listening: Listening::default(),
            api_version: OnceCell::new(),
        })
    }

    async fn ask_identity(&self) -> Result<EngineIdentity> {
        let answer = self
            .short(
                "asking for the version of",
                &self.endpoint.address,
                self.client.version(),
            )
            .await?;
        Ok(EngineIdentity {
            version: answer.version.unwrap_or_default(),
            api_version: answer.api_version.unwrap_or_default(),
            address: self.endpoint.address.clone(),
        })
    }

    /// What the engine understands; asked once. bollard never says which version it speaks, so the engine reads
    /// every request in its own newest one.
    async fn api_version(&self) -> Result<ApiVersion> {
        self.api_version
            .get_or_try_init(|| async {
                let text = self.ask_identity().await?.api_version;
                text.split_once('.')
                    .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
                    .ok_or_else(|| {
                        EngineError::new(
                            "reading the API version of",
                            &self.endpoint.address,
                            EngineErrorKind::Other,
                            format!("`{text}` is not a version"),
                        )
                    })
            })
            .await
            .copied()
    }
}

#[async_trait]
impl Inspect for DockerEngine {
    async fn identity(&self) -> Result<EngineIdentity> {
        self.ask_identity().await
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        self.list_containers(filter).await
    }

    async fn container(&self, id_or_name: &str) -> Result<Option<Container>> {
        self.find_container(id_or_name).await
    }

    async fn container_events(&self, filter: &ContainerFilter) -> Result<ContainerEvents> {
        self.events_of(filter).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        self.find_image(reference).await
    }

    async fn references(&self, repository: &str) -> Result<Vec<String>> {
        self.references_of(repository).await
    }

    async fn image_in_registry(&self, reference: &str) -> Result<bool> {
        self.registry_has(reference).await
    }

    async fn networks(&self, name: &str) -> Result<Vec<NetworkOnEngine>> {
        // The engine's filter matches parts of names too.
        let mut networks = self.networks_where("name", name.to_owned()).await?;
        networks.retain(|network| network.name == name);
        Ok(networks)
    }

    async fn networks_labelled(&self, label: &str, value: &str) -> Result<Vec<NetworkOnEngine>> {
        self.networks_where("label", format!("{label}={value}")).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeOnEngine>> {
        self.find_volume(name).await
    }

    async fn volumes_labelled(&self, label: &str, value: &str) -> Result<Vec<VolumeOnEngine>> {
        self.volumes_where(&format!("{label}={value}")).await
    }

    async fn logs(&self, id: &ContainerId, tail: u32) -> Result<Vec<String>> {
        self.last_log_lines(id, tail).await
    }

    async fn log_lines(&self, id: &ContainerId, range: &LogRange) -> Result<LogLines> {
        self.read_log(id, range).await
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<(u32, String)>> {
        self.processes_of(id).await
    }

    async fn read_files(&self, id: &ContainerId, folder: &str) -> Result<Option<Vec<(String, Vec<u8>)>>> {
        self.files_below(id, folder).await
    }

    async fn time(&self) -> Result<OffsetDateTime> {
        self.clock("asking for the time of", &self.endpoint.address).await
    }

    async fn capacity(&self) -> Result<Capacity> {
        self.ask_capacity().await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Option<Usage>> {
        self.usage_of(id).await
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn build(&self, request: &BuildRequest, progress: &dyn BuildSink) -> Result<ImageId> {
        self.build_image(request, progress).await
    }

    async fn pull(&self, reference: &str, progress: &dyn BuildSink) -> Result<ImageId> {
        self.pull_image(reference, progress).await
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()> {
        self.tag_image(image, reference).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        self.create(spec).await
    }

    async fn create_twin(&self, of: &ContainerId, name: &str) -> Result<ContainerId> {
        self.twin(of, name).await
    }

    async fn create_marker(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        volume: Option<&str>,
    ) -> Result<ContainerId> {
        self.make_marker(name, labels, volume).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.start_created(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<()> {
        self.stop_within(id, grace).await
    }

    async fn kill(&self, id: &ContainerId, signal: &str) -> Result<()> {
        self.signal(id, signal).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.remove(id).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.rename_to(id, name).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        self.wait_for_exit(id).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkId> {
        self.make_network(spec).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        self.drop_network(id).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        self.make_volume(spec).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.drop_volume(name).await
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
        self.put_files(id, folder, files).await
    }

    async fn archive(&self, id: &ContainerId, folder: &str, output: &mut dyn OutputSink) -> Result<()> {
        self.stream_archive(id, folder, output).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.drop_image(reference).await
    }
}
