//! Who calls whom: proxies by their configuration, services by `callers` in `deploy.yml` or because a variable or a
//! word of their command names another service as a host.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::OnceCell;

use super::{Context, Standing};
use crate::compose::{EnvironmentValue, Service, ServiceName};
use crate::engine::{Container, ContainerId, ContainerState};
use crate::error::Failure;
use crate::pipeline::Settings;
use crate::stack::nginx::{Listener, Upstream};
use crate::steps::deploy::reload::{self, Proxy, Reloads};
use crate::steps::deploy::standing::share_a_network;
use crate::steps::deploy::strategy::{Strategy, strategy};

/// Services that are called, and on which ports, as far as that is known.
type Calls = BTreeMap<ServiceName, BTreeSet<Upstream>>;

/// A running container that calls services by their names.
pub(super) struct Caller {
    pub service: ServiceName,
    pub container: Container,
    pub calls: Calls,
    /// Set where it is told to read its configuration again once addresses have changed.
    pub proxy: Option<Proxy>,
    pub reloads: Reloads,
    pub listeners: Vec<Listener>,
    /// Looks names up while it serves.
    pub resolves: bool,
    pub beside: OnceCell<Beside>,
    /// How much of what was diverted so far holds for it too.
    pub followed: tokio::sync::Mutex<usize>,
}

/// What its connections are led by.
pub(super) enum Beside {
    Sidecar(ContainerId),
    /// It cannot be; that has been said.
    Unsteered,
    /// It has ended.
    Nobody,
}

impl Caller {
    pub(super) fn does_call(&self, service: &ServiceName) -> bool {
        self.service != *service && self.calls.contains_key(service)
    }
}

/// Every caller that runs.
pub(super) async fn find(context: Context<'_>, standing: &Standing) -> Result<Vec<Caller>, Failure> {
    let settings = context.settings;
    let project = &settings.project;
    let mut callers = Vec::new();
    for proxy in reload::proxies(settings, standing) {
        callers.push(of_proxy(context, proxy).await?);
    }
    for name in project.services.keys() {
        let calls = named_by(settings, name);
        if calls.is_empty() || is_proxy(settings, name) {
            continue;
        }
        let running = standing.get(name.as_str()).into_iter().flatten();
        let running = running.filter(|container| container.state == ContainerState::Running);
        callers.extend(running.map(|container| of_service(name, container, calls.clone())));
    }
    Ok(callers)
}

/// A container that has been started meanwhile, if it is one of a caller.
pub(super) async fn of(
    context: Context<'_>,
    service: &ServiceName,
    container: &Container,
) -> Result<Option<Caller>, Failure> {
    if is_proxy(context.settings, service) {
        return match reload::proxy(context.settings, service, container) {
            Some(proxy) => of_proxy(context, proxy).await.map(Some),
            None => Ok(None),
        };
    }
    let calls = named_by(context.settings, service);
    Ok((!calls.is_empty()).then(|| of_service(service, container, calls)))
}

/// Whether a service may call one whose old containers run on beside the new ones.
pub(super) fn calls_rolled_services(settings: &Settings, service: &ServiceName) -> bool {
    let rolled = |name: &ServiceName| {
        let called = settings.project.services.get(name);
        called.is_some_and(|called| strategy(settings, called) == Strategy::Rolling)
    };
    is_proxy(settings, service) || named_by(settings, service).keys().any(rolled)
}

fn is_proxy(settings: &Settings, name: &ServiceName) -> bool {
    let service = settings.project.services.get(name);
    service.is_some_and(|service| strategy(settings, service) == Strategy::Reload)
}

/// The services that a service is known to call: by `callers` in `deploy.yml`, or because it names them.
fn named_by(settings: &Settings, name: &ServiceName) -> Calls {
    let project = &settings.project;
    let Some(service) = project.services.get(name) else {
        return Calls::new();
    };
    let others = project.services.values();
    others
        .filter(|other| other.name != *name && share_a_network(project, name, &other.name))
        .filter(|other| {
            let told = &settings.config.service(&other.name).callers;
            told.contains(name) || calls(service, other)
        })
        .map(|other| (other.name.clone(), BTreeSet::new()))
        .collect()
}

fn of_service(name: &ServiceName, container: &Container, calls: Calls) -> Caller {
    Caller {
        service: name.clone(),
        container: container.clone(),
        calls,
        proxy: None,
        reloads: Reloads::default(),
        listeners: Vec::new(),
        resolves: true,
        beside: OnceCell::new(),
        followed: tokio::sync::Mutex::new(0),
    }
}

/// A proxy that runs, and whom it calls by its configuration.
async fn of_proxy(context: Context<'_>, proxy: Proxy) -> Result<Caller, Failure> {
    let project = &context.settings.project;
    let configuration = proxy.configuration(context.engine).await?;
    let mut calls = BTreeMap::new();
    for (name, service) in &project.services {
        if *name == proxy.service || !share_a_network(project, &proxy.service, name) {
            continue;
        }
        match &configuration {
            // A proxy that cannot say whom it calls may call whoever it reaches.
            None => {
                calls.insert(name.clone(), BTreeSet::new());
            }
            Some(configuration) => {
                let named: Vec<_> = names(service)
                    .iter()
                    .filter_map(|host| configuration.upstreams_of(host))
                    .collect();
                if !named.is_empty() {
                    calls.insert(name.clone(), named.into_iter().flatten().copied().collect());
                }
            }
        }
    }
    Ok(Caller {
        service: proxy.service.clone(),
        container: proxy.container.clone(),
        calls,
        resolves: configuration.as_ref().is_some_and(|found| found.resolves),
        listeners: configuration.map(|found| found.listeners).unwrap_or_default(),
        proxy: Some(proxy),
        reloads: Reloads::default(),
        beside: OnceCell::new(),
        followed: tokio::sync::Mutex::new(0),
    })
}

/// What a service is called by on its networks.
fn names(service: &Service) -> Vec<&str> {
    let aliases = service.networks.values().flat_map(|network| &network.aliases);
    std::iter::once(service.name.as_str())
        .chain(service.container_name.as_deref())
        .chain(aliases.map(String::as_str))
        .collect()
}

/// Whether one service is known to call another.
fn calls(caller: &Service, service: &Service) -> bool {
    let named = names(service);
    let environment = caller.environment.values().filter_map(EnvironmentValue::reveal);
    let words = caller.command.iter().chain(&caller.entrypoint).flatten();
    environment
        .chain(words.map(String::as_str))
        .any(|text| named.iter().any(|name| names_host(text, name)))
}

/// Whether a text names a host: `http://backend:8000/`, `user@backend/`, `backend:8000`.
fn names_host(text: &str, host: &str) -> bool {
    text.match_indices(host).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + host.len()..).unwrap_or_default();
        let port = after
            .strip_prefix(':')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let ends = after.is_empty() || port || after.starts_with(['/', '?', '"', '\'', ',', ' ']);
        let url = before.ends_with("://") || before.ends_with('@');
        let alone = before.is_empty() || before.ends_with([' ', ',', '=', '"', '\'']);
        ends && (url || (alone && port))
    })
}

#[cfg(test)]
mod tests {
    use super::names_host;

    #[test]
    fn a_host_is_named_by_a_url_or_with_its_port() {
        for text in [
            "http://backend:8000/api",
            "http://backend",
            "redis://:secret@backend:6379/0",
            "backend:8000",
            "--upstream=backend:8000",
            "http://other,http://backend/",
        ] {
            assert!(names_host(text, "backend"), "{text}");
        }
    }

    #[test]
    fn a_word_that_happens_to_be_the_same_is_no_host() {
        for text in [
            "backend",
            "django.core.cache.backend",
            "http://backend.example.com/",
            "http://my-backend:80",
            "backend: fast",
            "path/backend/file",
        ] {
            assert!(!names_host(text, "backend"), "{text}");
        }
    }
}
