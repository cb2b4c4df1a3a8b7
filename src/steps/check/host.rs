//! What the engine must have before anything is begun: the engine itself, images, networks, volumes, host ports, and
//! where the Compose files build from. Asked of the engine and the disk; nothing is started.

use futures_util::FutureExt as _;
use time::Duration;

use super::published::published_ports;
use super::registry::{Check, Look, When, always};
use super::verdict::{Level, Problem, Verdict};
use crate::compose::HostPort;
use crate::engine::{ContainerFilter, ContainerState, EngineErrorKind, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::View;
use crate::steps::deploy::{infrastructure, refuse_another_project, standing};
use crate::steps::images;

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    Check {
        id: "engine",
        title: "the engine answers, and no other folder's project has this name",
        protects_from: "a run that cannot begin, and containers of another stack of the same name being replaced",
        level: Level::Blocks,
        how: "asks the engine who it is, and reads the labels of the project's containers",
        remedy: "docker version",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| engine(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "build-contexts",
        title: "what is built from is there",
        protects_from: "a build that fails after the backup has been made",
        level: Level::Blocks,
        how: "looks for the build contexts and Dockerfiles that the Compose files name",
        remedy: "mend `build` in the Compose file, or put the folder there",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| check_sources(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "images",
        title: "every image is on the engine, in its registry, or built",
        protects_from: "a deploy that stops half-way at a service whose image cannot be had",
        level: Level::Blocks,
        how: "looks the images up on the engine, and asks the registry for those that are not there",
        remedy: "mend `image` in the Compose file, or push the image",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| check_images(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "networks",
        title: "every external network exists",
        protects_from: "containers that cannot be started",
        level: Level::Blocks,
        how: "looks the networks up on the engine",
        remedy: "docker network create, or take `external` out of the Compose file",
        when: When::Both,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| networks(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "volumes",
        title: "every external volume exists",
        protects_from: "containers that cannot be started, or start on an empty volume",
        level: Level::Blocks,
        how: "looks the volumes up on the engine",
        remedy: "docker volume create, or take `external` out of the Compose file",
        when: When::Both,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| volumes(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "ports",
        title: "no published port is taken by another container",
        protects_from: "a new container that cannot start once the old one has gone",
        level: Level::Blocks,
        how: "holds the Compose files' ports against those of the engine's other containers",
        remedy: "publish another port, or stop the other container",
        when: When::Both,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| check_ports(at.view).map(verdict).boxed()),
        time_limit: None,
    },
    Check {
        id: "published-ports",
        title: "no database or broker is published to the network",
        protects_from: "a database that the internet can ask: Docker's ports go past ufw",
        level: Level::Blocks,
        how: "reads `ports` of databases and brokers (by image, by command, by their usual ports), and what the engine has \
              published for containers that stand",
        remedy: "write 127.0.0.1: before the port in the Compose file, or take it out",
        when: When::First,
        refuses_as: FailureKind::Configuration,
        applies: always,
        look: Look::Looks(|at| published_ports(at).boxed()),
        time_limit: None,
    },
    Check {
        id: "clock",
        title: "the engine's clock and this machine's agree",
        protects_from: "backups taken for fresh, locks taken for dead, and certificates and signed requests that are refused",
        level: Level::Warns,
        how: "asks the engine for its time, between two looks at our own clock",
        remedy: "have both set by NTP: timedatectl set-ntp true",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: always,
        look: Look::Looks(|at| clock(at.view).boxed()),
        time_limit: None,
    },
];

/// The engine's clock may be so far off ours before that is told.
const CLOCKS_AGREE: Duration = Duration::seconds(5);
/// Beyond this, ages are judged wrongly: the life of a lock's holder by a minute of silence.
const CLOCKS_DIFFER: Duration = Duration::seconds(60);

/// The engine answered at some moment between two looks at our clock: within these, nothing is known to differ.
async fn clock(view: View<'_>) -> Result<Verdict, Failure> {
    let before = view.clock.now();
    let theirs = match view.inspect.time().await {
        Ok(theirs) => theirs,
        Err(error) => return Ok(Verdict::not_verified(format!("{:#}", anyhow::Error::new(error)))),
    };
    let after = view.clock.now();
    let (off, way) = if theirs < before {
        (before - theirs, "behind")
    } else if theirs > after {
        (theirs - after, "ahead of")
    } else {
        return Ok(Verdict::Passed("they agree".to_owned()));
    };
    let seconds = off.whole_seconds();
    if off <= CLOCKS_AGREE {
        return Ok(Verdict::Passed(format!("they agree to within {} s", seconds + 1)));
    }
    let level = if off > CLOCKS_DIFFER {
        Level::Blocks
    } else {
        Level::Warns
    };
    Ok(Verdict::found(
        Problem::wrong(format!("the engine's clock is {seconds} s {way} this machine's")).level(level),
    ))
}

/// What was said of something that is not well is a problem; an engine that fails is none.
fn verdict(said: Result<String, Failure>) -> Result<Verdict, Failure> {
    match said {
        Ok(line) => Ok(Verdict::Passed(line)),
        Err(failure) if failure.of_engine().is_some() => Err(failure),
        Err(failure) => Ok(Verdict::found(Problem::of(failure))),
    }
}

async fn engine(view: View<'_>) -> Result<String, Failure> {
    let identity = view.inspect.identity().await?;
    let project = &view.settings.project;
    let standing = standing(view.inspect, &project.name).await?;
    refuse_another_project(project, &standing)?;
    Ok(format!(
        "Docker Engine {} at {}",
        identity.version, identity.address
    ))
}

async fn networks(view: View<'_>) -> Result<String, Failure> {
    let found = infrastructure::find_networks(view.inspect, &view.settings.project).await?;
    Ok(format!(
        "{} of {} exist",
        found.len(),
        view.settings.project.networks.len()
    ))
}

async fn volumes(view: View<'_>) -> Result<String, Failure> {
    infrastructure::check_external_volumes(view.inspect, &view.settings.project).await?;
    Ok("every external one exists".to_owned())
}

/// Where the Compose files build from must exist.
async fn check_sources(view: View<'_>) -> Result<String, Failure> {
    let mut count = 0;
    for (name, service) in &view.settings.project.services {
        let Some(build) = &service.build else { continue };
        let dockerfile = build.dockerfile.iter().map(|path| ("Dockerfile", path));
        for (what, path) in std::iter::once(("build context", &build.context)).chain(dockerfile) {
            if !tokio::fs::try_exists(path).await.unwrap_or(false) {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "services.{name}.build: the {what} {} does not exist",
                        path.display()
                    ),
                ));
            }
        }
        count += 1;
    }
    Ok(format!("{count} services are built, their sources exist"))
}

/// An image that is not built must be here, or in its registry.
async fn check_images(view: View<'_>) -> Result<String, Failure> {
    let project = &view.settings.project;
    let built = images::built_references(project, &view.settings.tag);
    let found = images::find(view).await?;
    let mut pulled = 0;
    for (service, reference) in &found.missing {
        if built.contains(reference) {
            continue;
        }
        match view.inspect.image_in_registry(reference).await {
            Ok(true) => pulled += 1,
            Ok(false) => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    "neither on the engine nor in its registry",
                ));
            }
            Err(error) if error.kind == EngineErrorKind::Unauthorized => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    "its registry refuses the credentials at hand",
                )
                .hint("docker login, as the user that runs this tool"));
            }
            Err(error) => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    &format!(
                        "not on the engine, and its registry cannot be asked: {}",
                        error.message
                    ),
                ));
            }
        }
    }
    Ok(format!(
        "{} on the engine, {} to build, {pulled} to pull",
        found.images.len(),
        built.len()
    ))
}

fn no_such_image(service: &str, reference: &str, why: &str) -> Failure {
    Failure::message(
        FailureKind::Configuration,
        format!("services.{service}: no such image {reference}: {why}"),
    )
}

/// A host port that another project's container has would fail only after the old container had gone.
async fn check_ports(view: View<'_>) -> Result<String, Failure> {
    let project = &view.settings.project;
    let mut wanted = Vec::new();
    for (name, service) in &project.services {
        for port in &service.ports {
            if let HostPort::Fixed(number) = port.published {
                wanted.push((name, number, port.host_ip.clone()));
            }
        }
    }
    if wanted.is_empty() {
        return Ok("none published".to_owned());
    }
    for container in view.inspect.containers(&ContainerFilter::default()).await? {
        let ours = container.label(labels::COMPOSE_PROJECT) == Some(project.name.as_str());
        if ours || container.state != ContainerState::Running {
            continue;
        }
        for (service, number, address) in &wanted {
            let clash = container.host_ports.iter().find(|(theirs, port)| {
                port == number
                    && (is_any(theirs)
                        || address
                            .as_deref()
                            .is_none_or(|ours| is_any(ours) || ours == theirs))
            });
            if clash.is_some() {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "services.{service}.ports: host port {number} is taken by container {}",
                        container.name
                    ),
                )
                .hint(format!(
                    "publish another port, or stop it: docker stop {}",
                    container.name
                )));
            }
        }
    }
    Ok(format!(
        "{} published, none taken by another container",
        wanted.len()
    ))
}

fn is_any(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::")
}
