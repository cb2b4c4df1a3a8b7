//! Databases and brokers that the whole network can reach: as the Compose files say, and as the engine has them. The
//! firewall is no answer: Docker writes its own rules before those of ufw.

use std::net::IpAddr;

use super::place::written_at;
use super::registry::At;
use super::verdict::{Level, Problem, Verdict};
use crate::compose::{HostPort, Service};
use crate::engine::{Container, ContainerState, labels};
use crate::error::Failure;
use crate::pipeline::Settings;
use crate::stack::data_store;
use crate::steps::deploy::standing;

/// The ports that databases and brokers listen on by themselves.
const THEIRS: [(u16, &str); 12] = [
    (5432, "PostgreSQL"),
    (6432, "PgBouncer"),
    (3306, "MySQL"),
    (6379, "Redis"),
    (11211, "Memcached"),
    (5672, "RabbitMQ"),
    (5671, "RabbitMQ"),
    (15672, "RabbitMQ's management"),
    (27017, "MongoDB"),
    (9200, "Elasticsearch"),
    (9300, "Elasticsearch"),
    (1433, "SQL Server"),
];

/// Who can reach an address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// This machine only.
    Here,
    /// Whoever is in a private network with it.
    Private,
    Everybody,
}

fn reach(address: Option<&str>) -> Reach {
    let Some(address) = address else {
        return Reach::Everybody;
    };
    match address.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Reach::Here,
        Ok(IpAddr::V4(four)) if four.is_private() || four.is_link_local() => Reach::Private,
        Ok(IpAddr::V6(six)) if six.is_unique_local() || six.is_unicast_link_local() => Reach::Private,
        Ok(_) | Err(_) => Reach::Everybody,
    }
}

pub(super) async fn published_ports(at: At<'_>) -> Result<Verdict, Failure> {
    let settings = at.view.settings;
    let mut problems: Vec<Problem> = settings
        .project
        .services
        .values()
        .flat_map(|service| written(settings, service))
        .collect();
    let told: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    let standing = standing(at.view.inspect, &settings.project.name).await?;
    for container in standing.values().flatten() {
        problems.extend(stands(settings, container, &told));
    }
    Ok(Verdict::of(
        problems,
        "no database or broker is published beyond this machine",
    ))
}

/// What a service is, where it keeps what nobody else may reach.
fn keeps(settings: &Settings, service: &Service) -> Option<&'static str> {
    let backed_up = settings.config.backup.database.as_ref();
    if backed_up.is_some_and(|database| database.service == service.name) {
        Some("the database")
    } else if data_store::is_data_store(service) {
        Some("a database or broker")
    } else {
        None
    }
}

fn written(settings: &Settings, service: &Service) -> Vec<Problem> {
    let kept = keeps(settings, service);
    let ports = service.ports.iter().filter_map(|port| {
        let what = match THEIRS.iter().find(|(number, _)| *number == port.target) {
            Some((_, whose)) => format!("{whose}'s port"),
            None => format!("port {} of {}", port.target, kept?),
        };
        let (level, to_whom) = told_to(reach(port.host_ip.as_deref()), port.host_ip.as_deref())?;
        let number = match port.published {
            HostPort::Ephemeral => "<a free port>".to_owned(),
            HostPort::Fixed(number) => number.to_string(),
            HostPort::Range(first, last) => format!("{first}-{last}"),
        };
        let problem = Problem::wrong(format!("{what} is published {to_whom} as {number}"));
        Some(
            problem
                .level(level)
                .key(service.name.as_str())
                .at(written_at(settings, &service.name, "ports"))
                .hint(format!(
                    "take it out of `ports` (services of the project reach it without), or write \
                     127.0.0.1:{number}:{}",
                    port.target
                )),
        )
    });
    ports.collect()
}

fn told_to(reach: Reach, address: Option<&str>) -> Option<(Level, String)> {
    match reach {
        Reach::Here => None,
        Reach::Private => Some((Level::Warns, format!("on {}", address.unwrap_or_default()))),
        Reach::Everybody => Some((
            Level::Blocks,
            match address {
                None | Some("" | "0.0.0.0" | "::") => "on every address of this machine".to_owned(),
                Some(address) => format!("on {address}"),
            },
        )),
    }
}

/// What the files no longer say, and a container still has: a deploy leaves a database's as it is.
fn stands(settings: &Settings, container: &Container, told: &[String]) -> Vec<Problem> {
    let name = container
        .label(labels::COMPOSE_SERVICE)
        .unwrap_or(container.name.as_str());
    let service = settings
        .project
        .services
        .values()
        .find(|service| service.name.as_str() == name);
    let keeps = match service {
        Some(service) => keeps(settings, service).is_some(),
        None => data_store::is_image_of_one(&container.image_reference),
    };
    let is_replaced = settings.replace.iter().any(|replaced| replaced.as_str() == name);
    if container.state != ContainerState::Running || is_replaced || told.iter().any(|told| told == name) {
        return Vec::new();
    }
    let mut problems: Vec<Problem> = Vec::new();
    for (address, number) in &container.host_ports {
        if !keeps && !THEIRS.iter().any(|(theirs, _)| theirs == number) {
            continue;
        }
        let Some((level, to_whom)) = told_to(reach(Some(address.as_str())), Some(address)) else {
            continue;
        };
        let message = format!("container {} publishes port {number} {to_whom}", container.name);
        // The engine tells of IPv4 and IPv6 by themselves.
        if problems.iter().any(|problem| problem.message == message) {
            continue;
        }
        let hint = match service {
            Some(_) => format!(
                "have it made anew, as the Compose files say now: viatique-deploy run --replace {name}"
            ),
            None => format!("docker stop {}", container.name),
        };
        problems.push(Problem::wrong(message).level(level).key(name).hint(hint));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_who_can_reach_it() {
        for (address, expected) in [
            (None, Reach::Everybody),
            (Some(""), Reach::Everybody),
            (Some("0.0.0.0"), Reach::Everybody),
            (Some("::"), Reach::Everybody),
            (Some("203.0.113.7"), Reach::Everybody),
            (Some("127.0.0.1"), Reach::Here),
            (Some("[::1]"), Reach::Here),
            (Some("10.0.0.1"), Reach::Private),
            (Some("192.168.1.2"), Reach::Private),
            (Some("fd00::1"), Reach::Private),
        ] {
            assert_eq!(reach(address), expected, "{address:?}");
        }
    }
}
