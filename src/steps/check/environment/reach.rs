//! Whether a service finds a host: as another service on a network that both are on, or outside of the project.

use std::collections::BTreeSet;

use super::hosts::is_ip;
use crate::compose::{NetworkMode, Project, Service};

/// Where a name leads.
pub(super) enum Reach<'a> {
    Service(&'a Service),
    /// A service of the project, on other networks.
    Apart(&'a Service),
    /// The container that asks.
    Itself,
    /// A name or an address that is not the project's.
    Outside,
    /// A name that nobody has.
    Nobody,
}

/// From a service, by this host.
pub(super) fn reach<'a>(project: &'a Project, from: &Service, host: &str) -> Reach<'a> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let networks = networks(project, from);
    let mut apart = None;
    for service in project.services.values() {
        if !names(service).contains(&host) {
            continue;
        }
        match &networks {
            Some(own) if service.networks.keys().any(|key| own.contains(key.as_str())) => {
                return Reach::Service(service);
            }
            Some(_) | None => apart = Some(service),
        }
    }
    if let Some(service) = apart {
        return Reach::Apart(service);
    }
    let shares = from.network_mode.is_some();
    if matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]" | "::1") {
        return if shares { Reach::Outside } else { Reach::Itself };
    }
    let is_written = from.extra_hosts.iter().any(|extra| extra.host == host);
    // Beside whoever else is on a network of another project.
    let others = networks.into_iter().flatten();
    let beside_others = others
        .filter_map(|key| project.networks.get(key))
        .any(|network| network.external);
    if is_ip(&host) || host.contains('.') || is_written || shares || beside_others {
        Reach::Outside
    } else {
        Reach::Nobody
    }
}

/// The names that it has on its networks.
fn names(service: &Service) -> Vec<String> {
    let aliases = service
        .networks
        .values()
        .flat_map(|attachment| &attachment.aliases);
    let named = service.container_name.iter().chain(aliases);
    std::iter::once(service.name.as_str())
        .chain(named.map(String::as_str))
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The networks that it is on, its own or another service's; `None` where it is on none of the project's.
fn networks<'a>(project: &'a Project, service: &'a Service) -> Option<BTreeSet<&'a str>> {
    let on = match &service.network_mode {
        None => service,
        Some(NetworkMode::Service(name)) => project.services.get(name)?,
        Some(NetworkMode::None | NetworkMode::Host | NetworkMode::Bridge | NetworkMode::Container(_)) => {
            return None;
        }
    };
    Some(on.networks.keys().map(String::as_str).collect())
}
