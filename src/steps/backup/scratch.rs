//! A scratch PostgreSQL, to try something on: made from the image of the one that serves, with no network, no port and
//! none of its volumes. A backup is restored into it by the restore's own way, up to the swap. What is tried on it is its
//! callers' business.
//!
//! After a crash the container is found by its label; its volume goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Manifest;
use super::content::Contents;
use super::database::DUMP;
use super::restore::database::{Incoming, Target};
use super::sets::Sets;
use crate::compose::{ExtraHost, Healthcheck, Mount, MountKind, NetworkMode, RestartPolicy, Service};
use crate::config::DatabaseBackup;
use crate::engine::{Captured, ContainerId, ContainerState, EngineError, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Settings, StepId, StepResult};
use crate::stack::postgres;
use crate::stack::postgres::beside::State;
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::target::{Purpose, container_spec};
use crate::steps::images;

/// A new server makes its first database in this time, or never.
const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
/// How many of its last lines are shown where it does not start.
const LINES: u32 = 20;

/// One that takes connections. It is not removed by being dropped.
pub(in crate::steps) struct Scratch<'a> {
    context: Context<'a>,
    configured: &'a DatabaseBackup,
    pub container: ContainerId,
}

/// A backup, restored into it.
pub(in crate::steps) struct Restored<'a> {
    pub target: Target<'a>,
    /// What was found in it, in words.
    pub counted: String,
    /// What restoring and counting took.
    pub took: Duration,
}

impl<'a> Scratch<'a> {
    /// Starts one.
    ///
    /// # Errors
    /// An image that is not there, and a server that does not start; nothing of it is left then.
    pub(in crate::steps) async fn start(context: Context<'a>, step: StepId) -> Result<Self, Failure> {
        let (configured, service) = database(context.settings)?;
        let task = context.task(step, "scratch", "starting a scratch PostgreSQL");
        let started = started(context, configured, service).await;
        let container = task.conclude(started, |_| {
            (StepResult::Succeeded, "takes connections".to_owned())
        })?;
        Ok(Self {
            context,
            configured,
            container,
        })
    }

    /// Restores a backup into it, under the name of the one that serves.
    ///
    /// # Errors
    /// What a restore fails with.
    pub(in crate::steps) async fn restore(
        &self,
        step: StepId,
        manifest: &Manifest,
        contents: &Contents,
    ) -> Result<Restored<'a>, Failure> {
        let target = Target::scratch(self.context, self.configured, &self.container).await?;
        let task = self.context.task(step, "restore", "restoring into it");
        let began = Instant::now();
        let restored = async {
            let incoming = target.fill(manifest, contents, &task).await?;
            let comment = incoming.comment.as_deref();
            let by = format!("backup {}", manifest.id);
            target.swap(&incoming.name, comment, State::Replaced, by).await?;
            Ok(incoming)
        };
        let restored = restored.await;
        let took = began.elapsed();
        let incoming = task.conclude(restored, |incoming: &Incoming| {
            (StepResult::Succeeded, incoming.counted.clone())
        })?;
        Ok(Restored {
            target,
            counted: incoming.counted,
            took,
        })
    }

    /// Removes it, with all that is in it.
    ///
    /// # Errors
    /// The engine's.
    pub(in crate::steps) async fn remove(self) -> Result<(), EngineError> {
        self.context.engine.remove_container(&self.container).await
    }
}

/// The backup of this id, or the newest.
///
/// # Errors
/// Where there is none, and one that has no database.
pub(in crate::steps) fn with_a_dump<'a>(sets: &'a Sets, id: Option<&str>) -> Result<&'a Manifest, Failure> {
    let manifest = sets.named(id)?;
    if manifest.file(DUMP).is_some() {
        return Ok(manifest);
    }
    Err(Failure::message(
        FailureKind::Configuration,
        format!("backup {} has no database", manifest.id),
    ))
}

/// What `deploy.yml` says of the database, with the service that it names.
///
/// # Errors
/// Where it names none.
pub(in crate::steps) fn database(settings: &Settings) -> Result<(&DatabaseBackup, &Service), Failure> {
    let configured = settings.config.backup.database.as_ref();
    let service = configured.and_then(|one| settings.project.services.get(&one.service));
    configured.zip(service).ok_or_else(|| {
        Failure::message(
            FailureKind::Configuration,
            "deploy.yml names no database: backup.database",
        )
    })
}

/// Starts it, and waits until it takes connections.
async fn started(
    context: Context<'_>,
    configured: &DatabaseBackup,
    service: &Service,
) -> Result<ContainerId, Failure> {
    let settings = context.settings;
    let image = images::serving(context.view(), &service.name).await?;
    let image = image.ok_or_else(|| {
        Failure::message(
            FailureKind::Failed,
            format!("the image of {} is not on the engine", service.name),
        )
        .hint("viatique-deploy build pulls it")
    })?;
    let name = format!(
        "viatique-deploy-drill-{}-{}",
        settings.project.name,
        context.run.suffix()
    );
    let purpose = Purpose {
        role: labels::Role::Drill,
        number: 1,
        name: &name,
        tag: &settings.tag,
        run: context.run,
    };
    let networks = NetworkIds::new();
    let mut scratch = alone(service);
    // Who shares its network finds it by the names that the service has, and nothing else.
    scratch.extra_hosts = names(service);
    let spec = container_spec(&settings.project, &scratch, &image, &networks, None, purpose)?;
    let what = "starting a scratch PostgreSQL";
    let container = context.engine.create_container(&spec).await;
    let container = container.map_err(|error| Failure::from(error).context(what))?;
    let started = async {
        context.engine.start(&container).await?;
        ready(context, &container, configured).await
    };
    match started.await {
        Ok(()) => Ok(container),
        Err(failure) => {
            let lines = context.engine.logs(&container, LINES).await.unwrap_or_default();
            context.engine.remove_container(&container).await?;
            Err(failure
                .context(what)
                .evidence(format!("last lines of {name}"), lines))
        }
    }
}

/// The names under which a service is found on its networks.
fn names(service: &Service) -> Vec<ExtraHost> {
    let aliases = service
        .networks
        .values()
        .flat_map(|attachment| attachment.aliases.clone());
    let named = [
        Some(service.name.to_string()),
        service.container_name.clone(),
        service.hostname.clone(),
    ];
    let all: BTreeSet<String> = named.into_iter().flatten().chain(aliases).collect();
    let here = |host| ExtraHost {
        host,
        address: "127.0.0.1".to_owned(),
    };
    all.into_iter().map(here).collect()
}

/// A service, where nothing reaches it and it reaches nothing of what serves: no network, no port, a fresh volume for
/// each of its own, and of the host's files those that it may only read.
pub(in crate::steps) fn alone(service: &Service) -> Service {
    let mounts = service.mounts.iter().filter_map(|mount| {
        let kind = match &mount.kind {
            MountKind::Volume { .. } | MountKind::AnonymousVolume => MountKind::AnonymousVolume,
            MountKind::Bind { .. } if !mount.read_only => return None,
            kind @ (MountKind::Bind { .. } | MountKind::Tmpfs { .. }) => kind.clone(),
        };
        Some(Mount {
            kind,
            ..mount.clone()
        })
    });
    Service {
        mounts: mounts.collect(),
        build: None,
        networks: indexmap::IndexMap::new(),
        network_mode: Some(NetworkMode::None),
        ports: Vec::new(),
        expose: Vec::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        container_name: None,
        hostname: None,
        domainname: None,
        labels: BTreeMap::new(),
        depends_on: BTreeMap::new(),
        restart: Some(RestartPolicy::No),
        healthcheck: Some(Healthcheck::Disabled),
        replicas: 1,
        ..service.clone()
    }
}

/// A new server first makes its databases, and takes no connections from elsewhere meanwhile.
async fn ready(
    context: Context<'_>,
    container: &ContainerId,
    configured: &DatabaseBackup,
) -> Result<(), Failure> {
    let began = Instant::now();
    let command = postgres::is_ready();
    loop {
        let mut output = Captured::default();
        let asked = context.engine.exec(container, &command, None, &mut output).await;
        if asked.is_ok_and(|exit| exit.success()) {
            return Ok(());
        }
        let standing = context.engine.container(&container.0).await?;
        let state = standing.map(|container| container.state);
        if state != Some(ContainerState::Running) {
            return Err(Failure::message(FailureKind::Failed, "it has ended"));
        }
        if began.elapsed() > READY_WITHIN {
            return Err(Failure::message(
                FailureKind::Failed,
                format!(
                    "{} takes no connections after {} s",
                    configured.service,
                    READY_WITHIN.as_secs()
                ),
            ));
        }
        tokio::time::sleep(LOOKED_AT_EVERY).await;
    }
}
