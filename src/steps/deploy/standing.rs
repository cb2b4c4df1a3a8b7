//! What stands on the engine, held against what should stand: which containers are kept, which are replaced, which
//! are surplus. Reads only; used by the plan and by the deploy itself, so that they cannot disagree.

use std::collections::BTreeMap;

use super::ready::is_serving;
use super::strategy::Strategy;
use super::target::Fingerprint;
use crate::compose::{HostPort, Project, Service, ServiceName};
use crate::engine::{Container, ContainerFilter, ContainerState, ImageId, Inspect, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;

/// The containers of a project's services, one-offs left out, by service; oldest first.
pub(crate) type Standing = BTreeMap<String, Vec<Container>>;

/// Finds them by Compose's labels, so that a stack that Compose itself started is taken over as it is.
///
/// # Errors
/// The engine's.
pub(crate) async fn standing(inspect: &dyn Inspect, project: &str) -> Result<Standing, Failure> {
    let mut by_service = Standing::new();
    for container in inspect.containers(&of_services(project)).await? {
        if let Some(service) = container.label(labels::COMPOSE_SERVICE) {
            by_service.entry(service.to_owned()).or_default().push(container);
        }
    }
    Ok(by_service)
}

/// The services' containers that this run has made.
///
/// # Errors
/// The engine's.
pub(crate) async fn made_by(context: Context<'_>) -> Result<Vec<Container>, Failure> {
    let filter = of_services(&context.settings.project.name).and(labels::RUN, &context.run.0);
    Ok(context.engine.containers(&filter).await?)
}

fn of_services(project: &str) -> ContainerFilter {
    ContainerFilter::labelled(labels::COMPOSE_PROJECT, project).and(labels::COMPOSE_ONEOFF, "False")
}

/// A service's containers, oldest first; none where it has none.
pub(crate) fn containers_of<'a>(standing: &'a Standing, service: &ServiceName) -> &'a [Container] {
    standing
        .get(service.as_str())
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Services that run and that the Compose files do not name any more.
pub(crate) fn orphans(project: &Project, standing: &Standing) -> Vec<String> {
    standing
        .keys()
        .filter(|name| {
            !project
                .services
                .keys()
                .any(|service| service.as_str() == name.as_str())
        })
        .cloned()
        .collect()
}

/// Two Compose files by one project name would replace and remove each other's containers.
///
/// # Errors
/// Where several services run by this project's name and the Compose files name none of them. One alone may have been
/// given another name.
pub(crate) fn refuse_another_project(project: &Project, standing: &Standing) -> Result<(), Failure> {
    let others = orphans(project, standing);
    if others.len() < 2 || others.len() < standing.len() {
        return Ok(());
    }
    Err(Failure::message(
        FailureKind::Configuration,
        format!(
            "what runs under the project name {} is another project: {}; the Compose files name none of these services",
            project.name,
            others.join(", ")
        ),
    )
    .hint("give one of the two another name: `project` in deploy.yml")
    .hint(format!(
        "if all services have been renamed: docker compose -p {} down, which stops them, and deploy again",
        project.name
    )))
}

/// One replica's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    /// From 1.
    pub number: u32,
    /// Serves, and was made from just this.
    pub kept: Option<Container>,
    /// Gives way to a new one (or to the kept one).
    pub replaced: Vec<Container>,
}

/// All places of a service, and the containers that have none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Places {
    pub slots: Vec<Slot>,
    pub surplus: Vec<Container>,
}

impl Places {
    /// Whether everything stands as it should.
    pub(crate) fn are_settled(&self) -> bool {
        self.surplus.is_empty()
            && self
                .slots
                .iter()
                .all(|slot| slot.kept.is_some() && slot.replaced.is_empty())
    }
}

/// Sorts a service's containers into places. Without a fingerprint (the image is not known yet) whatever serves is
/// taken for the right one.
pub(crate) fn places(
    service: &Service,
    strategy: Strategy,
    target: Option<&Fingerprint>,
    image: Option<&ImageId>,
    containers: &[Container],
) -> Places {
    let matches = |container: &Container| {
        target.is_none_or(|Fingerprint(wanted)| container.label(labels::SPEC) == Some(wanted))
    };
    let keeps = |container: &Container| match strategy {
        Strategy::Untouched(_) => is_alive(container),
        Strategy::OneShot => matches(container) && container.state.has_succeeded(),
        Strategy::Reload if is_taken_over(service, image, container) => is_serving(container),
        Strategy::Rolling | Strategy::Recreate(_) | Strategy::Singleton | Strategy::Reload => {
            matches(container) && is_serving(container)
        }
    };
    let number = |container: &Container| -> Option<u32> {
        container
            .label(labels::COMPOSE_CONTAINER_NUMBER)
            .and_then(|number| number.parse().ok())
    };
    let mut slots: Vec<Slot> = (1..=service.replicas)
        .map(|number| Slot {
            number,
            kept: None,
            replaced: Vec::new(),
        })
        .collect();
    let mut surplus = Vec::new();
    for container in containers {
        let slot = number(container).and_then(|number| slots.iter_mut().find(|slot| slot.number == number));
        match slot {
            None => surplus.push(container.clone()),
            Some(slot) if slot.kept.is_none() && keeps(container) => slot.kept = Some(container.clone()),
            Some(slot) => slot.replaced.push(container.clone()),
        }
    }
    Places { slots, surplus }
}

/// Whether Compose itself made this container, from this image and with these host ports. It carries no fingerprint to
/// hold it against; where the service is reloaded and not replaced, it goes on serving rather than leaving a gap.
pub(super) fn is_taken_over(service: &Service, image: Option<&ImageId>, container: &Container) -> bool {
    let mut wanted: Vec<u16> = service
        .ports
        .iter()
        .filter_map(|port| match port.published {
            HostPort::Fixed(number) => Some(number),
            HostPort::Ephemeral | HostPort::Range(..) => None,
        })
        .collect();
    let mut has: Vec<u16> = container.host_ports.iter().map(|(_, port)| *port).collect();
    for ports in [&mut wanted, &mut has] {
        ports.sort_unstable();
        ports.dedup();
    }
    container.label(labels::SPEC).is_none() && image == Some(&container.image) && wanted == has
}

/// Whether a process of the container may be running, or may run again without being asked to: what must be stopped
/// before another one may touch the same files or ports.
pub(crate) const fn is_alive(container: &Container) -> bool {
    match &container.state {
        ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Restarting { .. }
        | ContainerState::Removing => true,
        ContainerState::Created | ContainerState::Exited(_) | ContainerState::Dead => false,
    }
}

/// Whether two services share a network, so that one may hold the other's address.
pub(crate) fn share_a_network(project: &Project, one: &ServiceName, other: &ServiceName) -> bool {
    let (Some(one), Some(other)) = (project.services.get(one), project.services.get(other)) else {
        return false;
    };
    one.networks.keys().any(|key| other.networks.contains_key(key))
}
