//! The labels that make a deployed stack an ordinary Compose project, and those by which this tool finds its own
//! objects again. Source of the Compose ones: `docker compose` v2/v5, see the crate's notes in each constant.

/// Compose: the project's name. On containers, networks and volumes.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// Compose: the service's name.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Compose: `True` for a one-off, `False` for a service's container.
pub const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
/// Compose: the replica's number, from 1.
pub const COMPOSE_CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// Compose: `ps`, `logs` and `exec` list only containers on which this is present; `up` recreates where it differs.
pub const COMPOSE_CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Compose: the image's id.
pub const COMPOSE_IMAGE: &str = "com.docker.compose.image";
/// Compose: `db:service_started:false`, comma separated.
pub const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Compose: the project's folder.
pub const COMPOSE_WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// Compose: the project's files, comma separated.
pub const COMPOSE_CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// Compose: its version.
pub const COMPOSE_VERSION: &str = "com.docker.compose.version";
/// Compose: the network's key. `config-hash` is left away on networks and volumes: a wrong one makes `up` recreate
/// the network or ask to delete the volume's data, an absent one is left alone.
pub const COMPOSE_NETWORK: &str = "com.docker.compose.network";
/// Compose: the volume's key.
pub const COMPOSE_VOLUME: &str = "com.docker.compose.volume";

/// Ours, on every object that this tool creates: the project.
pub const PROJECT: &str = "viatique-deploy.project";
/// Ours, on every object that this tool creates: the run that created it.
pub const RUN: &str = "viatique-deploy.run";
/// Ours, on service containers: the release they belong to.
pub const RELEASE: &str = "viatique-deploy.release";
/// Ours: what the object is for; see [`Role`].
pub const ROLE: &str = "viatique-deploy.role";
/// Ours, on service containers: fingerprint of everything the container was made from. Equal means unchanged.
pub const SPEC: &str = "viatique-deploy.spec";

/// What an object of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A replica of a service.
    Service,
    /// A command run once: a migration, `collectstatic`.
    OneOff,
    /// Holds the deploy lock by its name.
    Lock,
    /// Opens the ledger's volume.
    Ledger,
    /// Opens a data volume for a backup.
    Backup,
    /// A scratch PostgreSQL, to try a backup on.
    Drill,
    /// Shares a proxy's network namespace, and serves the maintenance page there: it outlives the run that began it,
    /// until one opens the site again.
    Maintenance,
    /// Shares another container's network namespace, to look at it and to divert connections during a deploy.
    Sidecar,
}

impl Role {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::OneOff => "one-off",
            Self::Lock => "lock",
            Self::Ledger => "ledger",
            Self::Backup => "backup",
            Self::Drill => "drill",
            Self::Maintenance => "maintenance",
            Self::Sidecar => "sidecar",
        }
    }
}
