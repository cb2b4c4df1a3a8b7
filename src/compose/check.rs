//! What must hold between the parts of a resolved project: references, circles, names and ports that clash.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::yaml::Node;

use super::model::{HostPort, NetworkMode, Project, PublishedPort, Service, is_engine_name};
use super::project::{suggestion, volume_key};
use super::reader::without_secret;
use super::scope::{Scope, deepest_on_the_way};

/// Checks the project; `root` is the tree it came from, for positions.
pub(super) fn check(project: &Project, root: &Node, scope: &Scope<'_>) {
    let check = Check { project, root, scope };
    for service in project.services.values() {
        check.dependencies(service);
        check.namespaces(service);
        check.networks(service);
        check.volumes(service);
        check.replicas(service);
        check.container_name(service);
    }
    check.circle();
    check.container_names();
    check.ports();
    check.engine_names();
}

struct Check<'a> {
    project: &'a Project,
    root: &'a Node,
    scope: &'a Scope<'a>,
}

impl Check<'_> {
    fn report(&self, steps: &[&str], message: String, hint: Option<&str>) {
        let (node, mark) = deepest_on_the_way(self.root, steps);
        let shown = without_secret(message.clone(), node);
        // A name that may be secret is a step of the path as well.
        let steps = if shown == message {
            steps
        } else {
            &steps[..steps.len() - 1]
        };
        self.scope
            .report(mark, &steps.join("."), shown, hint.map(str::to_owned));
    }

    /// What there is to say of a service that is not in the project: unknown, or left out by its profile.
    fn absent_service(&self, name: &str) -> (String, Option<&'static str>) {
        let declared = |name: &str| {
            let services = self.root.as_mapping()?.get("services")?.as_mapping()?;
            services.get(name)
        };
        if declared(name).is_some() {
            let message = format!("service `{name}` is left out by its `profiles`");
            (
                message,
                Some("take the profile's services in, or write `required: false`"),
            )
        } else {
            let known = self
                .project
                .services
                .keys()
                .map(super::model::ServiceName::as_str);
            (
                format!("unknown service `{name}`{}", suggestion(name, known)),
                None,
            )
        }
    }

    fn dependencies(&self, service: &Service) {
        for (name, dependency) in &service.depends_on {
            let shared = shares_namespace_of(service, name.as_str());
            if !self.project.services.contains_key(name) && dependency.required && !shared {
                let (message, hint) = self.absent_service(name.as_str());
                self.report(
                    &["services", service.name.as_str(), "depends_on", name.as_str()],
                    message,
                    hint,
                );
            }
        }
    }

    fn namespaces(&self, service: &Service) {
        for (key, name) in namespace_references(service) {
            let known = self.project.services.keys().any(|known| known.as_str() == name);
            if !known {
                let (message, hint) = self.absent_service(name);
                self.report(&["services", service.name.as_str(), key], message, hint);
            }
        }
    }

    fn networks(&self, service: &Service) {
        for key in service.networks.keys() {
            if !self.project.networks.contains_key(key) {
                let known = self.project.networks.keys().map(String::as_str);
                let message = format!("unknown network `{key}`{}", suggestion(key, known));
                let hint = Some("declare it under the top-level `networks`");
                self.report(
                    &["services", service.name.as_str(), "networks", key],
                    message,
                    hint,
                );
            }
        }
    }

    fn volumes(&self, service: &Service) {
        for key in service.mounts.iter().filter_map(|mount| volume_key(&mount.kind)) {
            if !self.project.volumes.contains_key(key) {
                let known = self.project.volumes.keys().map(String::as_str);
                let message = format!("unknown volume `{key}`{}", suggestion(key, known));
                let hint =
                    Some("declare it under the top-level `volumes`; a folder of the host begins with `./`");
                self.report(
                    &["services", service.name.as_str(), "volumes", key],
                    message,
                    hint,
                );
            }
        }
    }

    fn replicas(&self, service: &Service) {
        if service.replicas < 2 {
            return;
        }
        let name = service.name.as_str();
        let replicas = service.replicas;
        if service.container_name.is_some() {
            let message = format!("{replicas} containers cannot share one name");
            self.report(
                &["services", name, "container_name"],
                message,
                Some("leave `container_name` out"),
            );
        }
        if let Some(port) = service.ports.iter().find_map(fixed) {
            let message = format!("{replicas} containers cannot share host port {port}");
            let hint = "publish a range or no host port, and let nginx stand before them";
            self.report(&["services", name, "ports"], message, Some(hint));
        }
    }

    fn container_name(&self, service: &Service) {
        if let Some(name) = &service.container_name
            && !is_engine_name(name)
        {
            let message = super::model::InvalidName(name.clone()).to_string();
            self.report(
                &["services", service.name.as_str(), "container_name"],
                message,
                None,
            );
        }
    }

    fn circle(&self) {
        if let Some(circle) = self.project.dependency_circle() {
            let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
            let message = format!(
                "services depend on each other in a circle: {}",
                names.join(" -> ")
            );
            let first = names.first().copied().unwrap_or_default();
            self.report(&["services", first, "depends_on"], message, None);
        }
    }

    fn container_names(&self) {
        let mut taken: BTreeMap<&str, &Service> = BTreeMap::new();
        for service in self.project.services.values() {
            let Some(name) = &service.container_name else {
                continue;
            };
            if let Some(other) = taken.insert(name, service) {
                let message = format!("service `{}` has the container name `{name}` too", other.name);
                self.report(
                    &["services", service.name.as_str(), "container_name"],
                    message,
                    None,
                );
            }
        }
    }

    fn ports(&self) {
        let mut taken: Vec<(&Service, &PublishedPort, u16)> = Vec::new();
        for service in self.project.services.values() {
            for port in &service.ports {
                let Some(published) = fixed(port) else { continue };
                let clash = taken.iter().find(|(_, other, number)| {
                    *number == published && other.protocol == port.protocol && addresses_meet(other, port)
                });
                match clash {
                    Some((other, _, _)) => {
                        let whose = if other.name == service.name {
                            "this service".to_owned()
                        } else {
                            format!("service `{}`", other.name)
                        };
                        let message = format!(
                            "host port {published}/{} is published by {whose} already",
                            port.protocol.as_str()
                        );
                        self.report(&["services", service.name.as_str(), "ports"], message, None);
                    }
                    None => taken.push((service, port, published)),
                }
            }
        }
    }

    /// Names go into the addresses of the engine's API, whose client does not escape them.
    fn engine_names(&self) {
        let networks = self
            .project
            .networks
            .values()
            .map(|network| ("networks", &network.key, &network.name));
        let volumes = self
            .project
            .volumes
            .values()
            .map(|volume| ("volumes", &volume.key, &volume.name));
        for (section, key, name) in networks.chain(volumes) {
            if !is_engine_name(name) {
                let message = super::model::InvalidName(name.clone()).to_string();
                self.report(&[section, key], message, None);
            }
        }
    }
}

const fn fixed(port: &PublishedPort) -> Option<u16> {
    match port.published {
        HostPort::Fixed(number) => Some(number),
        HostPort::Ephemeral | HostPort::Range(..) => None,
    }
}

/// Whether two ports of one number stand in each other's way: the same address, or one of them on every address.
fn addresses_meet(one: &PublishedPort, other: &PublishedPort) -> bool {
    let every = |port: &PublishedPort| match &port.host_ip {
        None => true,
        Some(address) => address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified()),
    };
    every(one) || every(other) || one.host_ip == other.host_ip
}

fn namespace_references(service: &Service) -> Vec<(&'static str, &str)> {
    let mut references = Vec::new();
    match &service.network_mode {
        Some(NetworkMode::Service(name)) => references.push(("network_mode", name.as_str())),
        Some(NetworkMode::None | NetworkMode::Host | NetworkMode::Bridge | NetworkMode::Container(_))
        | None => {}
    }
    for (key, value) in [("pid", &service.pid), ("ipc", &service.ipc)] {
        if let Some(name) = value.as_deref().and_then(|value| value.strip_prefix("service:")) {
            references.push((key, name));
        }
    }
    references
}

fn shares_namespace_of(service: &Service, name: &str) -> bool {
    namespace_references(service)
        .iter()
        .any(|(_, reference)| *reference == name)
}
