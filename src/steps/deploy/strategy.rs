//! How each service is replaced, decided by what it is, overridable in `deploy.yml`. Pure: reads the project only.

use crate::compose::{
    DependencyCondition, Healthcheck, HostPort, MountKind, NetworkMode, Project, RestartPolicy, Service,
};
use crate::config::{self, Config};
use crate::pipeline::Settings;
use crate::stack::data_store;
use crate::stack::program::{self, Program};

/// How a service's containers are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The new beside the old, which retires once the new is ready: no gap.
    Rolling,
    /// The old stops first, because both cannot stand at once: a short gap.
    Recreate(GapReason),
    /// As [`Strategy::Recreate`], for a service of which two must never run.
    Singleton,
    /// Kept, tested and told to read its configuration again; recreated only where its image or mounts changed.
    Reload,
    /// Created where it is missing, otherwise left as it is: it holds data.
    Untouched(HoldReason),
    /// Runs to its end, and what depends on it waits for that.
    OneShot,
}

/// Why two cannot stand at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    HostPort(u16),
    ContainerName,
    SharedNamespace,
    FixedAddress,
    /// One replica, and `max_surge: 0`.
    NoSurge,
    /// By `deploy.yml`.
    Asked,
    /// By `--replace`, for this run.
    AskedOnce,
}

/// Why it is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldReason {
    /// A named volume that no other service mounts: two processes would write the same files.
    OwnVolume,
    /// A server whose data, cache or queue is the point of it, whatever it mounts.
    DataStore,
    /// A folder of the host, or a shared volume, where a database keeps its files.
    DataFolder,
    /// By `deploy.yml`.
    Asked,
}

impl GapReason {
    pub(crate) fn explain(self) -> String {
        match self {
            Self::HostPort(port) => {
                format!("it publishes host port {port}, which two containers cannot share")
            }
            Self::ContainerName => {
                "container_name gives it a name that two containers cannot share".to_owned()
            }
            Self::SharedNamespace => "its network_mode lets only one stand".to_owned(),
            Self::FixedAddress => "its fixed network address cannot be shared".to_owned(),
            Self::NoSurge => "`max_surge: 0` in deploy.yml leaves no room for a second one".to_owned(),
            Self::Asked => "deploy.yml asks for it".to_owned(),
            Self::AskedOnce => "--replace asks for it".to_owned(),
        }
    }
}

impl HoldReason {
    pub(crate) const fn explain(self) -> &'static str {
        match self {
            Self::OwnVolume => "it keeps data in a volume of its own",
            Self::DataStore => "it is a database, a broker or a cache, and what it holds is data",
            Self::DataFolder => "it writes where a database keeps its files",
            Self::Asked => "deploy.yml asks for it",
        }
    }
}

/// Chooses the strategy of a service in this run.
pub(crate) fn strategy(settings: &Settings, service: &Service) -> Strategy {
    let lasting = lasting(&settings.config, &settings.project, service);
    match lasting {
        Strategy::Untouched(_) | Strategy::Reload if settings.replace.contains(&service.name) => {
            Strategy::Recreate(gap(service).unwrap_or(GapReason::AskedOnce))
        }
        // Replaced where they differ, without being asked by name.
        Strategy::Untouched(_)
        | Strategy::Reload
        | Strategy::Rolling
        | Strategy::Recreate(_)
        | Strategy::Singleton
        | Strategy::OneShot => lasting,
    }
}

/// As [`strategy`], whatever is asked for in this run only.
fn lasting(config: &Config, project: &Project, service: &Service) -> Strategy {
    match config.service(&service.name).strategy {
        Some(config::Strategy::Rolling) => match gap(service) {
            None => rolling(config, service),
            Some(reason) => Strategy::Recreate(reason),
        },
        Some(config::Strategy::Recreate) => Strategy::Recreate(gap(service).unwrap_or(GapReason::Asked)),
        Some(config::Strategy::Singleton) => Strategy::Singleton,
        Some(config::Strategy::Reload) => Strategy::Reload,
        Some(config::Strategy::Untouched) => Strategy::Untouched(HoldReason::Asked),
        Some(config::Strategy::OneShot) => Strategy::OneShot,
        None => by_nature(config, project, service),
    }
}

fn by_nature(config: &Config, project: &Project, service: &Service) -> Strategy {
    let completes = project.services.values().any(|other| {
        other
            .depends_on
            .get(&service.name)
            .is_some_and(|dependency| dependency.condition == DependencyCondition::CompletedSuccessfully)
    });
    if completes {
        return Strategy::OneShot;
    }
    let program = program::program(&program::words(service, None));
    // Also where it keeps its schedule in a volume: what matters is that it never stands twice.
    if program.is_some_and(Program::schedules) {
        return Strategy::Singleton;
    }
    if let Some(reason) = holds_data(project, service) {
        return Strategy::Untouched(reason);
    }
    if program.is_none() && is_meant_to_end(service) {
        return Strategy::OneShot;
    }
    match gap(service) {
        None => rolling(config, service),
        Some(_) if config.reload_commands(service).is_some() => Strategy::Reload,
        Some(reason) => Strategy::Recreate(reason),
    }
}

/// Rolling, unless there is no room for a second container and no other replica that would serve meanwhile.
fn rolling(config: &Config, service: &Service) -> Strategy {
    if service.replicas <= 1 && config.service(&service.name).max_surge == 0 {
        Strategy::Recreate(GapReason::NoSurge)
    } else {
        Strategy::Rolling
    }
}

/// Why a service is taken to keep data, if it is.
fn holds_data(project: &Project, service: &Service) -> Option<HoldReason> {
    if has_own_volume(project, service) {
        Some(HoldReason::OwnVolume)
    } else if data_store::is_data_store(service) {
        Some(HoldReason::DataStore)
    } else if data_store::writes_to_data_folder(service) {
        Some(HoldReason::DataFolder)
    } else {
        None
    }
}

/// Writes to a named volume that no other service of the project mounts.
fn has_own_volume(project: &Project, service: &Service) -> bool {
    service.mounts.iter().any(|mount| match &mount.kind {
        MountKind::Volume { key, .. } => {
            !mount.read_only
                && !project.services.values().any(|other| {
                    other.name != service.name
                        && other.mounts.iter().any(|mount| match &mount.kind {
                            MountKind::Volume { key: theirs, .. } => theirs == key,
                            MountKind::AnonymousVolume | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => {
                                false
                            }
                        })
                })
        }
        MountKind::AnonymousVolume | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => false,
    })
}

/// `restart: "no"` in so many words, and nothing that only a lasting process needs.
fn is_meant_to_end(service: &Service) -> bool {
    let tested = match &service.healthcheck {
        Some(Healthcheck::Test { .. }) => true,
        Some(Healthcheck::Disabled) | None => false,
    };
    service.restart == Some(RestartPolicy::No)
        && !tested
        && service.ports.is_empty()
        && service.expose.is_empty()
}

fn gap(service: &Service) -> Option<GapReason> {
    if service.container_name.is_some() {
        return Some(GapReason::ContainerName);
    }
    let fixed = service.ports.iter().find_map(|port| match port.published {
        HostPort::Fixed(number) => Some(number),
        HostPort::Ephemeral | HostPort::Range(..) => None,
    });
    if let Some(port) = fixed {
        return Some(GapReason::HostPort(port));
    }
    if service.networks.values().any(|network| {
        network.ipv4_address.is_some() || network.ipv6_address.is_some() || network.mac_address.is_some()
    }) {
        return Some(GapReason::FixedAddress);
    }
    match &service.network_mode {
        Some(NetworkMode::Host | NetworkMode::Service(_) | NetworkMode::Container(_)) => {
            Some(GapReason::SharedNamespace)
        }
        Some(NetworkMode::None | NetworkMode::Bridge) | None => None,
    }
}
