//! `backup drill`: proves that a backup can be restored, by restoring it: into a scratch PostgreSQL made from the image of
//! the one that serves, which has no network, no port and none of its volumes. The way is the restore's own, up to the
//! swap; what comes of it is counted, and then goes with its container. How long it took stands beside the backup.
//!
//! What a migration would do to it is not tried here. After a crash: the container is found by its label, and its volume
//! goes with it.

mod files;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::content::Contents;
use super::database::DUMP;
use super::restore::database::{Incoming, Target};
use super::sets::Sets;
use super::{Manifest, file};
use crate::clock::timestamp;
use crate::compose::{Healthcheck, Mount, MountKind, NetworkMode, RestartPolicy, Service};
use crate::config::DatabaseBackup;
use crate::engine::{Captured, ContainerId, ContainerState, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};
use crate::stack::postgres;
use crate::stack::postgres::beside::State;
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::target::{Purpose, container_spec};
use crate::steps::{images, one_off};

/// What a drill came to, beside the backup.
pub(super) const DRILL: &str = "drill.json";
/// A new server makes its first database in this time, or never.
const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
/// How many of its last lines are shown where it does not start.
const LINES: u32 = 20;

/// That a backup was restored once, as far as its database goes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Drilled {
    /// RFC 3339, UTC.
    pub at: String,
    /// What restoring and counting took.
    pub seconds: f64,
    /// What was found, in words.
    pub found: String,
    /// How many files the restored database names that are not in the backup; `None` where that was not looked at.
    pub missing_files: Option<u64>,
}

impl Drilled {
    /// Of the backup in this folder; `None` where it never was, or where that cannot be read.
    pub fn of(folder: &Path) -> Option<Self> {
        let content = std::fs::read(folder.join(DRILL)).ok()?;
        serde_json::from_slice(&content).ok()
    }
}

/// The step, for the backup of this id, or the newest.
#[derive(Debug, Clone, Default)]
pub struct Drill {
    pub id: Option<String>,
}

#[async_trait]
impl Step for Drill {
    fn id(&self) -> StepId {
        StepId::Drill
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let settings = view.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let manifest = with_a_dump(&sets, self.id.as_deref())?;
        Contents::of(settings, manifest)?;
        let (_, service) = database(view)?;
        Ok(vec![Change {
            kind: ChangeKind::Run,
            target: format!("scratch {}", service.name),
            detail: format!("backup {} is restored into it, counted, and removed", manifest.id),
        }])
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let settings = context.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let manifest = with_a_dump(&sets, self.id.as_deref())?;
        let contents = Contents::of(settings, manifest)?;
        let (configured, service) = database(context.view())?;
        let task = context.task(StepId::Drill, "scratch", "starting a scratch PostgreSQL");
        let started = start(context, configured, service).await;
        let scratch = task.conclude(started, |_| {
            (StepResult::Succeeded, "takes connections".to_owned())
        })?;
        let drilled = restore(context, configured, &scratch, manifest, &contents).await;
        let removed = context.engine.remove_container(&scratch).await;
        let drilled =
            drilled.map_err(|failure| failure.context(format!("backup {} was not restored", manifest.id)))?;
        removed?;
        let folder = settings.backup_directory.join(&manifest.id);
        file::write_note(&folder.join(DRILL), &drilled)
            .map_err(|error| super::at("noting the drill", error))?;
        let files = match drilled.missing_files {
            None => "; whether every file that it names is there was not verified".to_owned(),
            Some(0) => "; every file that it names is there".to_owned(),
            Some(missing) => format!("; {missing} files that it names are missing"),
        };
        Ok(Receipt::changed(
            format!(
                "backup {} of {} can be restored, in {:.1} s: {}{files}",
                manifest.id, manifest.completed_at, drilled.seconds, drilled.found
            ),
            Fact::Nothing,
        ))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let project = &context.settings.project.name;
        Ok(
            match one_off::sweep(context.engine, project, context.run, false).await? {
                0 => Undone::NothingToDo,
                _ => Undone::Reverted {
                    message: "removed the scratch PostgreSQL".to_owned(),
                    restored_previous: false,
                },
            },
        )
    }
}

fn with_a_dump<'a>(sets: &'a Sets, id: Option<&str>) -> Result<&'a Manifest, Failure> {
    let manifest = sets.named(id)?;
    if manifest.file(DUMP).is_some() {
        return Ok(manifest);
    }
    Err(Failure::message(
        FailureKind::Configuration,
        format!("backup {} has no database", manifest.id),
    ))
}

fn database(view: View<'_>) -> Result<(&DatabaseBackup, &Service), Failure> {
    let configured = view.settings.config.backup.database.as_ref();
    let service = configured.and_then(|one| view.settings.project.services.get(&one.service));
    configured.zip(service).ok_or_else(|| {
        Failure::message(
            FailureKind::Configuration,
            "deploy.yml names no database: backup.database",
        )
    })
}

async fn restore(
    context: Context<'_>,
    configured: &DatabaseBackup,
    scratch: &ContainerId,
    manifest: &Manifest,
    contents: &Contents,
) -> Result<Drilled, Failure> {
    let target = Target::scratch(context, configured, scratch).await?;
    let task = context.task(StepId::Drill, "restore", "restoring into it");
    let began = Instant::now();
    let restored = async {
        let incoming = target.fill(manifest, contents, &task).await?;
        let comment = incoming.comment.as_deref();
        let by = format!("backup {}", manifest.id);
        target.swap(&incoming.name, comment, State::Replaced, by).await?;
        Ok(incoming)
    };
    let restored = restored.await;
    let seconds = began.elapsed().as_secs_f64();
    let incoming = task.conclude(restored, |incoming: &Incoming| {
        (StepResult::Succeeded, incoming.counted.clone())
    })?;
    Ok(Drilled {
        at: timestamp(context.clock.now()),
        seconds,
        found: incoming.counted,
        missing_files: missing_files(context, &target, manifest, contents).await,
    })
}

/// A row that names a file which is nowhere is no fault of the backup, and somebody should know.
async fn missing_files(
    context: Context<'_>,
    target: &Target<'_>,
    manifest: &Manifest,
    contents: &Contents,
) -> Option<u64> {
    let title = "looking for the files that the database names";
    let task = context.task(StepId::Drill, "files", title);
    let looked = files::referred(context, target, manifest, contents).await;
    let concluded = task.conclude(looked, |referred| match referred {
        None => (
            StepResult::NotRun,
            "not verified: there is no application to ask, or the backup has no list of media".to_owned(),
        ),
        Some(one) => (
            StepResult::Succeeded,
            format!("{} files are named, {} are missing", one.files, one.missing),
        ),
    });
    let referred = match concluded {
        Ok(referred) => referred?,
        Err(failure) => {
            let why = format!("{:#}", failure.error);
            context.warn(
                format!("whether every file that the database names is there was not verified: {why}"),
                None,
            );
            return None;
        }
    };
    if referred.missing > 0 {
        let all = referred.missing as usize == referred.named.len();
        let more = if all { "" } else { ", …" };
        context.warn(
            format!(
                "{} files that the database names are not in the backup: {}{more}",
                referred.missing,
                referred.named.join(", ")
            ),
            Some("are they in the volume, or in an older backup?".to_owned()),
        );
    }
    Some(referred.missing)
}

/// Starts it, and waits until it takes connections.
async fn start(
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
    let scratch = alone(service);
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

/// The database's service, where nothing reaches it and it reaches nothing of the one that serves: no network, no port,
/// a fresh volume for each of its own, and of the host's files those that it may only read.
fn alone(service: &Service) -> Service {
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
        container_name: None,
        hostname: None,
        labels: std::collections::BTreeMap::new(),
        depends_on: std::collections::BTreeMap::new(),
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
