//! The Docker Engine through bollard: the only room that names it. Each call of the port is one line here; what it
//! does is in the sibling file named after the object it concerns.

mod client;
mod environment;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncRead;

use super::{
    BuildRequest, BuildSink, Container, ContainerFilter, ContainerId, ContainerSpec, Engine, EngineError,
    EngineErrorKind, EngineIdentity, ExecSpec, Exit, Image, ImageId, Inspect, NetworkId, NetworkOnEngine,
    NetworkSpec, OneOffSpec, OutputSink, Result, VolumeOnEngine, VolumeSpec,
};
use client::Client;
pub use client::TimeBudgets;
use environment::Endpoint;
pub use environment::EngineEnvironment;

/// One Docker Engine.
#[derive(Debug)]
pub struct DockerEngine {
    client: Client,
    endpoint: Endpoint,
    budgets: TimeBudgets,
}

impl DockerEngine {
    /// Chooses the engine and prepares to speak to it; sends nothing yet, so an engine that does not answer shows
    /// at the first call.
    ///
    /// # Errors
    /// [`EngineErrorKind::Unreachable`] where a Docker context is named but cannot be used, or the address is of a
    /// kind that is not supported.
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
        })
    }
}

#[async_trait]
impl Inspect for DockerEngine {
    async fn identity(&self) -> Result<EngineIdentity> {
        Err(EngineError::new(
            "identity",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        Err(EngineError::new(
            "containers",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn container(&self, id_or_name: &str) -> Result<Option<Container>> {
        Err(EngineError::new(
            "container",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        Err(EngineError::new(
            "image",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn image_in_registry(&self, reference: &str) -> Result<bool> {
        Err(EngineError::new(
            "image_in_registry",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn networks(&self, name: &str) -> Result<Vec<NetworkOnEngine>> {
        Err(EngineError::new(
            "networks",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn networks_labelled(&self, label: &str, value: &str) -> Result<Vec<NetworkOnEngine>> {
        Err(EngineError::new(
            "networks_labelled",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeOnEngine>> {
        Err(EngineError::new(
            "volume",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn volumes_labelled(&self, label: &str, value: &str) -> Result<Vec<VolumeOnEngine>> {
        Err(EngineError::new(
            "volumes_labelled",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn logs(&self, id: &ContainerId, tail: u32) -> Result<Vec<String>> {
        Err(EngineError::new(
            "logs",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn read_files(&self, id: &ContainerId, folder: &str) -> Result<Option<Vec<(String, Vec<u8>)>>> {
        Err(EngineError::new(
            "read_files",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn build(&self, request: &BuildRequest, progress: &dyn BuildSink) -> Result<ImageId> {
        Err(EngineError::new(
            "build",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn pull(&self, reference: &str, progress: &dyn BuildSink) -> Result<ImageId> {
        Err(EngineError::new(
            "pull",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()> {
        Err(EngineError::new(
            "tag",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        Err(EngineError::new(
            "create_container",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn create_marker(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        volume: Option<&str>,
    ) -> Result<ContainerId> {
        Err(EngineError::new(
            "create_marker",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        Err(EngineError::new(
            "start",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<()> {
        Err(EngineError::new(
            "stop",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        Err(EngineError::new(
            "remove_container",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        Err(EngineError::new(
            "rename",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        Err(EngineError::new(
            "wait",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkId> {
        Err(EngineError::new(
            "create_network",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        Err(EngineError::new(
            "remove_network",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()> {
        Err(EngineError::new(
            "create_volume",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        Err(EngineError::new(
            "remove_volume",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn run_one_off(&self, spec: &OneOffSpec, output: &mut dyn OutputSink) -> Result<Exit> {
        Err(EngineError::new(
            "run_one_off",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn exec(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<Exit> {
        Err(EngineError::new(
            "exec",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn write_file(&self, id: &ContainerId, folder: &str, path: &str, content: &[u8]) -> Result<()> {
        Err(EngineError::new(
            "write_file",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn archive(&self, id: &ContainerId, folder: &str, output: &mut dyn OutputSink) -> Result<()> {
        Err(EngineError::new(
            "archive",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        Err(EngineError::new(
            "remove_image",
            "",
            EngineErrorKind::Other,
            "not written yet",
        ))
    }
}
