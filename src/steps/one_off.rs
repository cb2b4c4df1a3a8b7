//! Running a command once, in a container of its own made like a service's: migrations, static files, tests of a
//! configuration. The container is labelled with the run, so that what a killed run leaves is found and removed.

use super::deploy::infrastructure::NetworkIds;
use super::deploy::target::{Purpose, container_spec};
use super::lines::{Lines, Listener};
use crate::compose::{Healthcheck, NetworkMode, RestartPolicy, Service, ServiceName};
use crate::engine::{ContainerFilter, Engine, Exit, ImageId, OneOffSpec, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task};
use crate::release::RunId;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    /// One word, for the container's name and for people.
    pub name: &'a str,
    pub words: &'a [String],
}

/// How a one-off went.
#[derive(Debug)]
pub(crate) struct OneOffResult {
    pub exit: Exit,
    /// Everything it wrote on standard output.
    pub stdout: String,
    name: String,
    pub last_lines: Vec<String>,
}

impl OneOffResult {
    /// Hands the result on where the process reports success.
    ///
    /// # Errors
    /// `what` failed, with the exit code and the last lines.
    pub(crate) fn require_success(self, what: &str) -> Result<Self, Failure> {
        if self.exit.success() {
            return Ok(self);
        }
        let why = if self.exit.out_of_memory {
            ", killed for want of memory"
        } else {
            ""
        };
        Err(Failure::message(
            FailureKind::Failed,
            format!("{what} (exit code {}{why})", self.exit.code),
        )
        .evidence(format!("last lines of {}", self.name), self.last_lines))
    }
}

/// Runs a command to its end. Its output goes to the task as it comes.
///
/// # Errors
/// The engine's; a command that fails is a result, not an error.
pub(crate) async fn run(
    context: Context<'_>,
    service: &Service,
    image: &ImageId,
    networks: &NetworkIds,
    words: &[String],
    task: &Task,
) -> Result<OneOffResult, Failure> {
    let plain = |word: &&String| word.chars().all(|character| character.is_ascii_alphanumeric());
    let name = words.iter().rfind(plain).map_or("command", String::as_str);
    let command = Command { name, words };
    run_heard(context, service, image, networks, command, &mut &*task).await
}

/// Runs a command to its end. The listener hears its output as it comes.
///
/// # Errors
/// The engine's; a command that fails is a result, not an error.
pub(crate) async fn run_heard(
    context: Context<'_>,
    service: &Service,
    image: &ImageId,
    networks: &NetworkIds,
    command: Command<'_>,
    listener: &mut dyn Listener,
) -> Result<OneOffResult, Failure> {
    let settings = context.settings;
    let name = format!(
        "{}-{}-run-{}-{}",
        settings.project.name,
        service.name,
        command.name,
        context.run.suffix()
    );
    let purpose = Purpose {
        role: labels::Role::OneOff,
        number: 1,
        name: &name,
        tag: &settings.tag,
        run: context.run,
    };
    let container = container_spec(&settings.project, service, image, networks, None, purpose)?;
    let spec = OneOffSpec {
        container,
        command: command.words.to_vec(),
        environment: std::collections::BTreeMap::new(),
    };
    let mut lines = Lines::heard_by(listener);
    let exit = context.engine.run_one_off(&spec, &mut lines).await?;
    let heard = lines.end();
    Ok(OneOffResult {
        exit,
        stdout: heard.stdout,
        name: command.name.to_owned(),
        last_lines: heard.last_lines,
    })
}

/// The service without what is beside it, for a command that must reach nothing that serves: no network, nothing that it
/// could write to, and no entrypoint, which may wait for a database.
pub(crate) fn alone(service: &Service) -> Service {
    Service {
        entrypoint: Some(Vec::new()),
        restart: Some(RestartPolicy::No),
        healthcheck: Some(Healthcheck::Disabled),
        ports: Vec::new(),
        mounts: service
            .mounts
            .iter()
            .filter(|mount| mount.read_only)
            .cloned()
            .collect(),
        networks: indexmap::IndexMap::new(),
        network_mode: Some(NetworkMode::None),
        ..service.clone()
    }
}

/// Removes the container of a command that nobody waits for any more, who would have removed it.
///
/// # Errors
/// The engine's.
pub(crate) async fn remove(
    context: Context<'_>,
    service: &ServiceName,
    command: &str,
) -> Result<(), Failure> {
    let project = &context.settings.project.name;
    let filter = ContainerFilter::labelled(labels::PROJECT, project)
        .and(labels::ROLE, labels::Role::OneOff.as_str())
        .and(labels::RUN, &context.run.0);
    let begins = format!("{project}-{service}-run-{command}-");
    for container in context.engine.containers(&filter).await? {
        if container.name.starts_with(&begins) {
            context.engine.remove_container(&container.id).await?;
        }
    }
    Ok(())
}

/// Removes the one-offs and the containers of backups and drills of this run, and with `others` those of killed runs too, their sidecars
/// included. This run's own sidecars are the deploy's business.
///
/// # Errors
/// The engine's.
pub(crate) async fn sweep(
    engine: &dyn Engine,
    project: &str,
    run: &RunId,
    others: bool,
) -> Result<u32, Failure> {
    let mut removed = 0;
    let sidecars = others.then_some(labels::Role::Sidecar);
    for role in [labels::Role::OneOff, labels::Role::Backup, labels::Role::Drill]
        .into_iter()
        .chain(sidecars)
    {
        let mut filter = ContainerFilter::labelled(labels::PROJECT, project).and(labels::ROLE, role.as_str());
        if !others {
            filter = filter.and(labels::RUN, &run.0);
        }
        for container in engine.containers(&filter).await? {
            engine.remove_container(&container.id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
