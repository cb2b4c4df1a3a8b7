//! The port to the container engine, in this project's own words. Steps plan against [`Inspect`], which cannot
//! change anything, and act through [`Engine`]. What Docker's API looks like is known to `engine/docker` alone;
//! the rules of a deploy are known to `steps`.

pub mod build_context;
pub mod docker;
mod error;
pub mod labels;
mod model;

use async_trait::async_trait;
use futures_util::Stream;
use time::OffsetDateTime;
use tokio::io::AsyncRead;

pub use error::{EngineError, EngineErrorKind};
pub use model::{
    BuildEvent, BuildRequest, Capacity, Container, ContainerEvent, ContainerEventKind, ContainerFilter,
    ContainerId, ContainerNetwork, ContainerNetworkMode, ContainerSpec, ContainerState, EngineIdentity,
    ExecSpec, Exit, Health, HealthProbe, Image, ImageId, LogLine, LogRange, MountedVolume, NetworkEndpoint,
    NetworkId, NetworkOnEngine, NetworkSpec, NetworkUse, OneOffSpec, OutputStream, Usage, VolumeOnEngine,
    VolumeSpec,
};

/// Every call of the port returns this.
pub type Result<T> = std::result::Result<T, EngineError>;

/// What happens to containers, in the engine's order, until the connection is lost.
pub type ContainerEvents = std::pin::Pin<Box<dyn Stream<Item = Result<ContainerEvent>> + Send>>;

/// What a container wrote, line by line, oldest first.
pub type LogLines = std::pin::Pin<Box<dyn Stream<Item = Result<LogLine>> + Send>>;

/// Receives what a process in a container writes, in order, as it comes.
#[async_trait]
pub trait OutputSink: Send {
    /// Takes one piece of output. An error here ends the call that feeds it with
    /// [`EngineErrorKind::Sink`]; the process in the container is stopped by the caller's clean-up, not here.
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> std::io::Result<()>;
}

/// Receives the progress of a build or a pull.
pub trait BuildSink: Send + Sync {
    /// Takes one event; must not block.
    fn event(&self, event: BuildEvent);
}

/// What can be asked of the engine without changing anything on it. Safe during `--dry-run` by type.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// The time by the engine's own clock, the one that everybody who calls it shares.
    async fn time(&self) -> Result<OffsetDateTime>;

    /// Version and address. Fails with [`EngineErrorKind::Unreachable`], naming the address and the context.
    async fn identity(&self) -> Result<EngineIdentity>;

    /// Containers in every state that match, oldest first.
    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>>;

    /// One container, or `None` where there is none of that id or name.
    async fn container(&self, id_or_name: &str) -> Result<Option<Container>>;

    /// What happens from now on to containers that match. Once this has returned, every later change is told, however
    /// late the stream is first polled, as long as the engine still remembers it (Docker: its last 256 events of any
    /// kind). So subscribe, then inspect, then wait. The stream ends, or its last item is an error, when the
    /// connection is lost. An event says only that it is time to inspect again: some may be missed by a slow reader,
    /// and one may come that tells nothing new.
    async fn container_events(&self, filter: &ContainerFilter) -> Result<ContainerEvents>;

    /// The local image of that reference or id, or `None`.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;

    /// The local references of a repository, as `repository:tag`, sorted.
    async fn references(&self, repository: &str) -> Result<Vec<String>>;

    /// Whether a registry has the reference: `Ok(false)` where it says no, an error where it cannot be asked.
    async fn image_in_registry(&self, reference: &str) -> Result<bool>;

    /// All networks of exactly that name. Names are not unique on older engines, so there may be several.
    async fn networks(&self, name: &str) -> Result<Vec<NetworkOnEngine>>;

    /// Networks that carry a label.
    async fn networks_labelled(&self, label: &str, value: &str) -> Result<Vec<NetworkOnEngine>>;

    /// The volume of that name, or `None`.
    async fn volume(&self, name: &str) -> Result<Option<VolumeOnEngine>>;

    /// Volumes that carry a label.
    async fn volumes_labelled(&self, label: &str, value: &str) -> Result<Vec<VolumeOnEngine>>;

    /// The last `tail` lines that the container wrote, oldest first.
    async fn logs(&self, id: &ContainerId, tail: u32) -> Result<Vec<String>>;

    /// The lines of this part of a container's log, with the moment of each by the engine's own clock. A line that is
    /// longer than 16 KiB is cut there. With `follow` the stream goes on with what is written later and ends with the
    /// container's process; without it, it ends where the log does. Nothing is held in memory but the line under way: a
    /// slow reader makes the engine wait.
    async fn log_lines(&self, id: &ContainerId, range: &LogRange) -> Result<LogLines>;

    /// The processes of a running container, as (process id on the engine's host, title); empty where it is not
    /// running. Needs nothing inside the container.
    async fn processes(&self, id: &ContainerId) -> Result<Vec<(u32, String)>>;

    /// The regular files below `folder` in a container (running or not), as (path relative to the folder, content);
    /// `None` where the folder does not exist. For small files: they are held in memory.
    async fn read_files(&self, id: &ContainerId, folder: &str) -> Result<Option<Vec<(String, Vec<u8>)>>>;

    /// What room the engine's host has. What only the host itself can tell is known where it is this machine.
    async fn capacity(&self) -> Result<Capacity>;

    /// What a running container uses of its host, asked once. `None` where it is not running.
    async fn usage(&self, id: &ContainerId) -> Result<Option<Usage>>;
}

/// Everything: what can be asked, and what changes the engine.
#[async_trait]
pub trait Engine: Inspect {
    /// Builds an image with BuildKit and gives it every tag of the request. Equal inputs give the same id, also
    /// after a fresh checkout with other file times; labels are inputs, so none that changes with each run may be
    /// among them. A build that fails is [`EngineErrorKind::BuildFailed`] with the builder's own words, the failed
    /// step's title, and its last lines in [`EngineError::detail`].
    async fn build(&self, request: &BuildRequest, progress: &dyn BuildSink) -> Result<ImageId>;

    /// Pulls a reference from its registry, with the credentials of the Docker configuration.
    async fn pull(&self, reference: &str, progress: &dyn BuildSink) -> Result<ImageId>;

    /// Gives an image a further reference. Moves the reference if another image has it.
    async fn tag(&self, image: &ImageId, reference: &str) -> Result<()>;

    /// Creates a container, not started. A taken name is [`EngineErrorKind::NameTaken`]: exactly one of any number
    /// of racers succeeds. Endpoints beyond the first are connected here too (the engine takes only one at create);
    /// if that fails the container is removed again. A network that does not exist is
    /// [`EngineErrorKind::NotFound`]; one whose name another network has too lets the container be created, but on
    /// older engines not be started.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId>;

    /// Creates a container made exactly like an existing one (image, command, environment, labels, mounts, networks),
    /// not started, under another name. What the existing one wrote into its own file system is not copied.
    async fn create_twin(&self, of: &ContainerId, name: &str) -> Result<ContainerId>;

    /// Creates a never-started container of an empty image, which keeps a name, labels and, where given, a volume
    /// (mounted on `/data`) whose files can be read and written. Makes the image on demand.
    async fn create_marker(
        &self,
        name: &str,
        labels: &std::collections::BTreeMap<String, String>,
        volume: Option<&str>,
    ) -> Result<ContainerId>;

    /// Starts it; already running is a success. A command that is missing in the image is
    /// [`EngineErrorKind::StartFailed`].
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// Sends the stop signal, waits up to `grace` (the container's own where `None`), then kills. Already stopped
    /// is a success. It is not started again by its restart policy. When this is cancelled after the request has gone
    /// out, the engine goes on to the end, the kill after the grace period included (measured on Docker 20.10).
    async fn stop(&self, id: &ContainerId, grace: Option<std::time::Duration>) -> Result<()>;

    /// Sends a signal (`SIGTERM`, `SIGQUIT`…) to the container's first process, and does not wait for what comes of
    /// it. Not running is a success; an unknown container is [`EngineErrorKind::NotFound`], an unknown signal
    /// [`EngineErrorKind::Invalid`].
    ///
    /// For the engine this is an order to end, whatever the process makes of it. Measured on Docker 20.10, until the
    /// container is next started: with the restart policy `unless-stopped` no signal at all leaves the policy in
    /// force, so that a process that ends on `SIGTERM`, or lives through a `SIGHUP` and crashes an hour later, is not
    /// started again; with `always` and `on-failure` the same is true, unless the container has a stop signal of its
    /// own and this is another one. So a process that is to live on gets its signal from a command in the container
    /// ([`Engine::exec`] of `kill -HUP 1`), not from here.
    async fn kill(&self, id: &ContainerId, signal: &str) -> Result<()>;

    /// Removes it with its anonymous volumes, running or not. Absent is a success.
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;

    /// Gives it another name.
    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()>;

    /// Waits until the container's process has ended and returns its exit code.
    async fn wait(&self, id: &ContainerId) -> Result<Exit>;

    /// Creates a network. The caller holds the deploy lock: names are not unique on older engines.
    async fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkId>;

    /// Removes it. Absent is a success.
    async fn remove_network(&self, id: &NetworkId) -> Result<()>;

    /// Creates a volume; an existing one of that name is a success and left as it is.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<()>;

    /// Removes it. Absent is a success.
    async fn remove_volume(&self, name: &str) -> Result<()>;

    /// Runs a container to its end: create, attach, start, read to the end, wait, remove. The exit code is the
    /// process's own; output arrives complete and in order. The container is removed in every case in which this
    /// call returns; when it is cancelled, the labels of the spec find what is left.
    async fn run_one_off(&self, spec: &OneOffSpec, output: &mut dyn OutputSink) -> Result<Exit>;

    /// Runs a command in a running container. `input` is written to its standard input, which is then closed.
    /// A command that does not exist gives exit code 126 or 127, as a shell would.
    async fn exec(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<Exit>;

    /// Writes files, paths and contents, below an existing folder of a container (running or not), one after the
    /// other; folders in the paths are created, and a folder of a file's own name goes with all that is in it: the only
    /// way to remove anything. Each is whole or not at all for readers of this port; where this
    /// fails, the first ones may stand without the rest.
    async fn write_files(&self, id: &ContainerId, folder: &str, files: &[(String, Vec<u8>)]) -> Result<()>;

    /// Streams a folder of a container (running or not) as a tar archive.
    async fn archive(&self, id: &ContainerId, folder: &str, output: &mut dyn OutputSink) -> Result<()>;

    /// Removes an image reference, and the image with its last one. Absent or in use is a success.
    async fn remove_image(&self, reference: &str) -> Result<()>;
}

/// Keeps what a process wrote, for short outputs that are parsed or shown.
#[derive(Debug, Default)]
pub struct Captured {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text; bytes that are not UTF-8 are replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

#[async_trait]
impl OutputSink for Captured {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> std::io::Result<()> {
        match stream {
            OutputStream::Stdout => self.stdout.extend_from_slice(bytes),
            OutputStream::Stderr => self.stderr.extend_from_slice(bytes),
        }
        Ok(())
    }
}
