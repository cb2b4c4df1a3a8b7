//! The resolved Compose project: what the files say after merging, interpolation, `env_file` and the short
//! forms have been worked out. Everything here is implemented by the engine room; a key that is not here is
//! refused by the loader, so that nothing is dropped in silence. Loading is in the sibling files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use crate::secret::Secret;

/// A service's name within its project: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// Accepts a name that the engine takes in a container name and in DNS; anything else is refused, because
    /// the engine's client does not escape names in its URLs (`a/../b` would address another object).
    ///
    /// # Errors
    /// The offending text, in words.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if is_engine_name(&text) {
            Ok(Self(text))
        } else {
            Err(InvalidName(text))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

/// A text that cannot be the name of an object on the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid name: letters, digits, `_`, `.` and `-`, beginning with a letter or a digit")]
pub struct InvalidName(pub String);

/// Whether the engine takes this text as an object's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn is_engine_name(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// The whole project, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The Compose project name: `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// Absolute folder that relative paths were resolved against.
    pub directory: PathBuf,
    /// Absolute paths of the Compose files, in merge order.
    pub files: Vec<PathBuf>,
    /// By name; every reference between services has been checked.
    pub services: BTreeMap<ServiceName, Service>,
    /// Networks that a service uses or the files declare, by their key in the files (`default` included where used).
    pub networks: BTreeMap<String, Network>,
    /// Named volumes, by their key in the files.
    pub volumes: BTreeMap<String, Volume>,
    /// Absolute paths of the env files that the services name and that were read, in their order.
    pub env_files: Vec<PathBuf>,
    /// The texts outside of `environment` that hold values of secret variables (a command, a label): what
    /// [`Project::without_secrets`] takes out again.
    pub interpolated_secrets: Vec<InterpolatedSecret>,
}

/// A text of the Compose files into which the value of a secret variable was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterpolatedSecret {
    /// The whole text, as it now stands.
    pub text: Secret<String>,
    /// The secret values in it; none is empty.
    pub values: Vec<Secret<String>>,
}

/// One service, resolved. `None` means "the image's or the engine's default".
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    /// The reference as written, after interpolation; `None` only where `build` is set.
    pub image: Option<String>,
    pub build: Option<Build>,
    pub command: Option<Vec<String>>,
    /// `Some(vec![])` empties the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Merged: `env_file` first, then `environment` over it. `None` as value: the key is unset in the container.
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// Where each variable's value is written; says nothing of what a container gets.
    pub environment_source: BTreeMap<String, VariableSource>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub container_name: Option<String>,
    /// `None` where the files say nothing, which the engine takes for [`RestartPolicy::No`]. Written out, it says more:
    /// that the process is meant to end.
    pub restart: Option<RestartPolicy>,
    pub healthcheck: Option<Healthcheck>,
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    pub ports: Vec<PublishedPort>,
    /// Container ports documented by `expose`, as `8000/tcp`.
    pub expose: Vec<String>,
    pub mounts: Vec<Mount>,
    /// By the network's key in the project. Empty exactly where `network_mode` is set.
    pub networks: IndexMap<String, NetworkAttachment>,
    pub network_mode: Option<NetworkMode>,
    pub extra_hosts: Vec<ExtraHost>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    /// SIGTERM where `None` (or the image's own).
    pub stop_signal: Option<String>,
    /// The engine's 10 s where `None`.
    pub stop_grace_period: Option<Duration>,
    pub init: Option<bool>,
    pub tty: bool,
    pub stdin_open: bool,
    pub read_only: bool,
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub group_add: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub devices: Vec<Device>,
    pub shm_size: Option<u64>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub logging: Option<Logging>,
    pub limits: Limits,
    /// `deploy.replicas` or `scale`; 1 by default.
    pub replicas: u32,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub userns_mode: Option<String>,
    pub cgroup_parent: Option<String>,
    pub runtime: Option<String>,
    pub platform: Option<String>,
    pub pull_policy: Option<PullPolicy>,
    pub profiles: Vec<String>,
}

/// One environment variable of a service.
#[derive(Debug, Clone, PartialEq)]
pub enum EnvironmentValue {
    /// Written out in the Compose file, without interpolation: part of the release's visible configuration.
    Plain(String),
    /// Came from an env file, the process's environment or an interpolated variable: never shown.
    Secret(Secret<String>),
    /// Named without a value, and no variable of that name exists: removed from the container's environment.
    Unset,
}

impl EnvironmentValue {
    /// The value for the container, if the variable is set at all.
    pub fn reveal(&self) -> Option<&str> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Secret(value) => Some(value.reveal()),
            Self::Unset => None,
        }
    }
}

/// Where a variable's value is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariableSource {
    /// Relative to the project's folder where it is inside.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In a Compose file's `environment`; else in an env file.
    pub in_compose_file: bool,
}

/// How an image is built.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Absolute folder of the build context on this machine.
    pub context: PathBuf,
    /// Absolute path of the Dockerfile, which may stand outside the context; `None` with `dockerfile_inline`.
    pub dockerfile: Option<PathBuf>,
    pub dockerfile_inline: Option<String>,
    /// `None` as value: not set anywhere, so the Dockerfile's own default stands.
    pub args: BTreeMap<String, Option<String>>,
    pub target: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub cache_from: Vec<String>,
    pub network: Option<String>,
    pub extra_hosts: Vec<ExtraHost>,
    pub shm_size: Option<u64>,
    pub no_cache: bool,
    pub pull: bool,
    /// Further references the result is given.
    pub tags: Vec<String>,
    pub platforms: Vec<String>,
}

/// What the engine does when a container's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure {
        max_retries: Option<u32>,
    },
}

/// A container's own health test.
#[derive(Debug, Clone, PartialEq)]
pub enum Healthcheck {
    /// `disable: true` or `test: NONE`: the image's own test is switched off.
    Disabled,
    Test {
        /// `["CMD", …]` or `["CMD-SHELL", "…"]`; `None` keeps the image's test and changes only the timings.
        test: Option<Vec<String>>,
        interval: Option<Duration>,
        timeout: Option<Duration>,
        retries: Option<u32>,
        start_period: Option<Duration>,
        start_interval: Option<Duration>,
    },
}

/// What must be true of another service before this one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    pub condition: DependencyCondition,
    /// `restart: true`: this service is restarted when that one is updated.
    pub restart: bool,
    /// `required: false` only warns where the other service is absent.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyCondition {
    Started,
    Healthy,
    CompletedSuccessfully,
}

impl DependencyCondition {
    /// As the Compose file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::CompletedSuccessfully => "service_completed_successfully",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// One container port published on the host; ranges have been expanded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    pub target: u16,
    pub protocol: Protocol,
    /// `None`: every address of the host.
    pub host_ip: Option<String>,
    pub published: HostPort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPort {
    /// The engine picks a free one.
    Ephemeral,
    Fixed(u16),
    /// The engine picks a free one between the two, both included.
    Range(u16, u16),
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
    pub kind: MountKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MountKind {
    /// A named volume, by its key in the project.
    Volume {
        key: String,
        nocopy: bool,
        subpath: Option<String>,
    },
    /// A fresh volume for each container.
    AnonymousVolume,
    /// A path of the engine's host.
    Bind {
        source: PathBuf,
        create_host_path: bool,
        propagation: Option<String>,
        selinux: Option<String>,
    },
    Tmpfs {
        size: Option<u64>,
        mode: Option<u32>,
        options: Vec<String>,
    },
}

/// How a service stands on one network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkAttachment {
    /// Beside the service's name, which every container gets.
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub mac_address: Option<String>,
    pub priority: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    None,
    Host,
    Bridge,
    /// Shares another service's network namespace.
    Service(ServiceName),
    Container(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    pub host: String,
    /// An address, or `host-gateway`.
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub host_path: String,
    pub container_path: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}

/// Limits and reservations, from `deploy.resources` and from the older keys beside `image`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub memory_reservation: Option<u64>,
    /// Bytes, or -1 for no limit.
    pub memory_swap: Option<i64>,
    pub memory_swappiness: Option<u64>,
    /// Thousand-millionths of a processor.
    pub nano_cpus: Option<u64>,
    pub cpu_shares: Option<u64>,
    pub cpuset: Option<String>,
    pub pids: Option<i64>,
    pub oom_kill_disable: Option<bool>,
    pub oom_score_adj: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    Never,
    Missing,
    Build,
}

/// A network of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its key in the files.
    pub key: String,
    /// Its name on the engine: `<project>_<key>` unless the files name it.
    pub name: String,
    /// Must exist already; never created or removed by us.
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv6: bool,
    pub labels: BTreeMap<String, String>,
    pub ipam: Vec<IpamPool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpamPool {
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
}

/// A named volume of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Its key in the files.
    pub key: String,
    /// Its name on the engine: `<project>_<key>` unless the files name it.
    pub name: String,
    /// Must exist already; never created or removed by us.
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}
