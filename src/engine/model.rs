//! The objects of the engine as this project speaks of them. No Docker API type appears here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::compose;

/// A container's full id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

/// A network's full id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NetworkId(pub String);

/// An image's content id, `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl ContainerId {
    /// The first twelve characters, as people read them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl ImageId {
    /// Twelve characters of the digest, as people read them.
    pub fn short(&self) -> &str {
        let digest = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        digest.get(..12).unwrap_or(digest)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Which engine this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineIdentity {
    /// As in `20.10.24`.
    pub version: String,
    /// As in `1.41`.
    pub api_version: String,
    /// As in `unix:///var/run/docker.sock`.
    pub address: String,
}

/// Which containers to list: those that carry all these labels. A label without a value matches any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    pub labels: Vec<(String, Option<String>)>,
}

impl ContainerFilter {
    /// Containers with this label at this value.
    pub fn labelled(label: &str, value: &str) -> Self {
        Self::default().and(label, value)
    }

    /// And with this one too.
    #[must_use]
    pub fn and(mut self, label: &str, value: &str) -> Self {
        self.labels.push((label.to_owned(), Some(value.to_owned())));
        self
    }

    /// And with this one, whatever its value.
    #[must_use]
    pub fn and_present(mut self, label: &str) -> Self {
        self.labels.push((label.to_owned(), None));
        self
    }
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    pub container: ContainerId,
    pub kind: ContainerEventKind,
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// Its process was started, by a call or by the restart policy.
    Started,
    /// Its health test now says something else than before.
    HealthChanged,
    /// Its process has ended.
    Died,
    /// The kernel ended one of its processes for want of memory; the container may go on.
    OutOfMemory,
    /// Something this project has no word for.
    Other,
}

/// A container as the engine describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: ContainerId,
    /// Without the leading slash.
    pub name: String,
    pub image: ImageId,
    /// The reference it was created with.
    pub image_reference: String,
    pub labels: BTreeMap<String, String>,
    pub state: ContainerState,
    /// `None` where the container has no health test.
    pub health: Option<Health>,
    /// What ends its process, as in `SIGQUIT`; `None` where the engine's SIGTERM does.
    pub stop_signal: Option<String>,
    /// By the engine's restart policy, since it was created.
    pub restart_count: u32,
    /// Its last end, which may have been before its last restart, was for want of memory.
    pub out_of_memory: bool,
    /// RFC 3339, UTC.
    pub created: String,
    /// RFC 3339, UTC; `None` where it was never started.
    pub started: Option<String>,
    pub networks: Vec<ContainerNetwork>,
    pub mounted_volumes: Vec<MountedVolume>,
    /// Host ports it has or asks for, as (address, port).
    pub host_ports: Vec<(String, u16)>,
    /// The names of the environment's variables with their values: secret.
    pub environment: crate::secret::Secret<BTreeMap<String, String>>,
}

impl Container {
    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// Where a container stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    /// Ended, and the engine is about to start it again.
    Restarting {
        exit_code: i64,
    },
    Exited(Exit),
    Removing,
    Dead,
}

impl ContainerState {
    /// Whether its process has ended, and well.
    pub const fn has_succeeded(&self) -> bool {
        match self {
            Self::Exited(exit) => exit.success(),
            Self::Created
            | Self::Running
            | Self::Paused
            | Self::Restarting { .. }
            | Self::Removing
            | Self::Dead => false,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// 128 + n where signal n ended it.
    pub code: i64,
    /// The kernel ended it for want of memory.
    pub out_of_memory: bool,
}

impl Exit {
    /// Whether the process reports success.
    pub const fn success(self) -> bool {
        self.code == 0
    }
}

/// A container's health test, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Starting { probes: Vec<HealthProbe> },
    Healthy,
    Unhealthy { probes: Vec<HealthProbe> },
}

/// One run of the health test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProbe {
    pub exit_code: i64,
    pub output: String,
}

/// A network that a container is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerNetwork {
    pub id: NetworkId,
    pub name: String,
    /// `None` while it is not running.
    pub ip_address: Option<String>,
    pub aliases: Vec<String>,
}

/// A named volume mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    pub name: String,
    /// Path in the container.
    pub target: String,
}

/// A local image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    /// RFC 3339, UTC: when it was built, wherever that was.
    pub created: String,
    /// `repository:tag` references that point at it.
    pub references: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes.
    pub size: u64,
    /// Whether the image itself defines a health test.
    pub has_healthcheck: bool,
    /// Entry point and command of the image.
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// Volumes the image declares.
    pub volumes: Vec<String>,
}

/// A network on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkOnEngine {
    pub id: NetworkId,
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A volume on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOnEngine {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A network to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    pub network: compose::Network,
    /// All labels, Compose's and ours included.
    pub labels: BTreeMap<String, String>,
}

/// A volume to create.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSpec {
    pub volume: compose::Volume,
    /// All labels, Compose's and ours included.
    pub labels: BTreeMap<String, String>,
}

/// A container to create: the service as the Compose files describe it, and what only a deploy knows.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    pub image: ImageId,
    /// Image, name, labels, networks, volumes and network mode of the service are not read from here: the fields
    /// beside this one replace them.
    pub service: compose::Service,
    /// All labels: the service's own, Compose's and ours.
    pub labels: BTreeMap<String, String>,
    /// In order of priority; the first gives the default route. Empty with a network mode.
    pub networks: Vec<NetworkEndpoint>,
    pub network_mode: Option<ContainerNetworkMode>,
    /// Named volumes by their key in the project, as names on the engine.
    pub volumes: BTreeMap<String, String>,
}

/// `network_mode`, with services resolved to containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerNetworkMode {
    None,
    Host,
    Bridge,
    Container(ContainerId),
}

/// How a container stands on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkEndpoint {
    pub network: NetworkId,
    /// Names other containers of the network find it by.
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub mac_address: Option<String>,
}

/// A command to run once in a container of its own. Ports, restart policy and health test of the service are left
/// away, as `docker compose run` does.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOffSpec {
    pub container: ContainerSpec,
    /// Replaces the service's command; the entry point stays.
    pub command: Vec<String>,
    /// Added to, or replacing, the service's environment.
    pub environment: BTreeMap<String, String>,
}

/// A command to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// The container's own user where `None`.
    pub user: Option<String>,
    /// With every capability, whatever the container has. An engine that does not have them all itself (one in a
    /// container) cannot do this: the command then ends with 126.
    pub privileged: bool,
}

impl ExecSpec {
    /// A command with nothing else said.
    pub fn command(words: &[&str]) -> Self {
        Self {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// Which stream of a process a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// By the engine's own clock.
    pub at: OffsetDateTime,
    pub stream: OutputStream,
    /// Without its line break; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Which part of a container's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// Not what was written before.
    pub since: OffsetDateTime,
    /// Of what stands there already, the newest lines at most.
    pub newest: u32,
    /// And what is written from now on.
    pub follow: bool,
}

/// What a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that it holds and cannot give back: its use without the file cache that the kernel would drop
    /// first, as the `docker stats` command shows it.
    pub memory: u64,
    /// Bytes that it may use: its own limit, else the host's memory. `None` where the engine does not say.
    pub memory_limit: Option<u64>,
    /// Processor time since it was started, of all processors together.
    pub processor: Duration,
    /// What it has sent and got since it was started; `None` where it has no network of its own.
    pub network: Option<NetworkUse>,
}

/// Bytes over all networks of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkUse {
    pub received: u64,
    pub sent: u64,
}

/// An image to build.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRequest {
    /// What to call it in messages.
    pub title: String,
    pub build: compose::Build,
    /// References the result gets, at least one.
    pub tags: Vec<String>,
    /// All labels, the build's own included.
    pub labels: BTreeMap<String, String>,
}

/// What happens during a build or a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// The context is being sent: files and bytes so far.
    Context { files: u64, bytes: u64 },
    /// A build step began, e.g. `[2/5] RUN apt-get update`. `id` is stable within the build.
    StepStarted { id: String, title: String },
    /// It ended; `cached` where nothing had to be done.
    StepFinished {
        id: String,
        title: String,
        cached: bool,
        duration: Duration,
    },
    /// A line that a step wrote.
    Output { id: String, line: String },
    /// Bytes of a layer being pulled: so far, and of how many.
    Pull {
        layer: String,
        done: u64,
        total: Option<u64>,
    },
}

/// What room the engine's host has. `None` is "cannot be known from here", never "none".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of memory, as the engine counts them.
    pub memory_total: u64,
    /// Bytes that new processes can have without swapping: `MemAvailable` of `/proc/meminfo`.
    pub memory_available: Option<u64>,
    /// Where the engine keeps images, containers and volumes, on its host.
    pub data_root: String,
    /// Bytes free there for an unprivileged process.
    pub disk_available: Option<u64>,
    /// Bytes that there are.
    pub disk_total: Option<u64>,
}
