//! From nothing to a first release, and from one release to the next.

use std::collections::BTreeSet;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::{Container, labels};
use viatique_deploy::pipeline::{StepId, StepResult};

use crate::support::{PASSWORD, PROJECT, Seen, Stack};

const WEB: [&str; 4] = ["backend", "frontend", "celery_worker", "celery_beat"];
const ALL: [&str; 7] = [
    "db",
    "redis",
    "backend",
    "celery_worker",
    "celery_beat",
    "frontend",
    "nginx",
];

/// Every service has one container, under its own name, and nothing else stands but the ledger.
#[track_caller]
fn only_settled_names(seen: &Seen) {
    let mut expected: BTreeSet<String> = ALL
        .iter()
        .map(|service| format!("{PROJECT}-{service}-1"))
        .collect();
    expected.insert("viatique-deploy-ledger-viatique".to_owned());
    let names: BTreeSet<String> = seen.names().into_iter().map(ToOwned::to_owned).collect();
    assert_eq!(names, expected);
}

#[track_caller]
fn started_before(one: &Container, other: &Container) {
    assert!(
        one.started.as_ref().unwrap() < other.started.as_ref().unwrap(),
        "{} after {}",
        one.name,
        other.name
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_starts_everything_in_dependency_order() {
    let stack = Stack::viatique();
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    let seen = stack.engine.peek();
    only_settled_names(&seen);
    for service in ALL {
        assert_eq!(seen.releases(service), ["v1"], "{service}");
    }
    let container = |service: &str| seen.container(&format!("{PROJECT}-{service}-1"));
    for service in ["backend", "celery_worker", "celery_beat"] {
        started_before(container("db"), container(service));
        started_before(container("redis"), container(service));
    }
    started_before(container("backend"), container("nginx"));
    started_before(container("frontend"), container("nginx"));
}

#[tokio::test(start_paused = true)]
async fn what_is_deployed_is_a_compose_project() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    only_settled_names(&seen);
    for service in ALL {
        let container = seen.container(&format!("{PROJECT}-{service}-1"));
        assert_eq!(container.label(labels::COMPOSE_PROJECT), Some(PROJECT));
        assert_eq!(container.label(labels::COMPOSE_SERVICE), Some(service));
        assert_eq!(container.label(labels::COMPOSE_ONEOFF), Some("False"));
        assert_eq!(container.label(labels::COMPOSE_CONTAINER_NUMBER), Some("1"));
        assert!(
            container
                .label(labels::COMPOSE_CONFIG_HASH)
                .is_some_and(|hash| hash.len() == 64)
        );
        assert_eq!(
            container.label(labels::COMPOSE_IMAGE),
            Some(container.image.0.as_str())
        );
        for network in &container.networks {
            assert!(
                network.aliases.iter().any(|alias| alias == service),
                "{network:?}"
            );
        }
    }
    for network in &seen.networks {
        assert_eq!(
            network.labels.get(labels::COMPOSE_PROJECT).map(String::as_str),
            Some(PROJECT)
        );
        assert!(network.labels.contains_key(labels::COMPOSE_NETWORK));
    }
    let networks: Vec<&str> = seen
        .networks
        .iter()
        .map(|network| network.name.as_str())
        .collect();
    assert_eq!(networks, ["viatique_back", "viatique_front"]);
    let backend = seen.container("viatique-backend-1");
    assert_eq!(
        backend.label(labels::COMPOSE_DEPENDS_ON),
        Some("db:service_healthy:false,redis:service_healthy:false")
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_release_replaces_what_changed_and_touches_no_data() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(ended.serves.as_deref(), Some("v2"));
    assert_eq!(ended.step(StepId::Deploy), StepResult::Succeeded);
    let after = stack.engine.peek();
    only_settled_names(&after);
    for service in WEB {
        assert_eq!(after.releases(service), ["v2"], "{service}");
        let name = format!("{PROJECT}-{service}-1");
        assert_ne!(after.container(&name).id, before.container(&name).id);
    }
    for service in ["db", "redis", "nginx"] {
        let name = format!("{PROJECT}-{service}-1");
        assert_eq!(after.container(&name).id, before.container(&name).id);
        assert_eq!(after.container(&name).started, before.container(&name).started);
    }
    for service in ["backend", "frontend", "celery_worker"] {
        assert_eq!(
            ended.task_message(StepId::Deploy, service).as_deref(),
            Some("replaced"),
            "without a gap"
        );
    }
    assert_eq!(
        ended.task_message(StepId::Deploy, "celery_beat").as_deref(),
        Some("replaced, with a gap")
    );
    assert_eq!(
        ended.task_message(StepId::Deploy, "nginx reload").as_deref(),
        Some("configuration read again")
    );
}

#[tokio::test(start_paused = true)]
async fn web_services_overlap_and_the_scheduler_never_does() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.watch();
    stack.run("v2").await.succeeded();
    let mut overlapped = BTreeSet::new();
    for (call, seen) in stack.engine.watched() {
        assert!(
            seen.running("celery_beat").len() <= 1,
            "two schedulers at {call:?}"
        );
        for service in ["backend", "frontend", "celery_worker", "nginx", "db", "redis"] {
            let running = seen.running(service).len();
            assert!(running >= 1, "nothing runs for {service} at {call:?}");
            if running == 2 {
                overlapped.insert(service);
            }
        }
    }
    assert_eq!(
        overlapped,
        BTreeSet::from(["backend", "celery_worker", "frontend"])
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_release_again_replaces_nothing() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Deploy), StepResult::Unchanged);
    assert_eq!(
        ended.step_message(StepId::Deploy),
        "every service is as it should be"
    );
    assert_eq!(stack.engine.peek().containers, before.containers);
    assert_eq!(stack.releases().await.all().len(), 1, "it is no new release");
    // `deploy` alone as well.
    let ended = stack.command(Chosen::deploy(), "v1").await;
    ended.succeeded();
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn secrets_are_seen_nowhere() {
    let stack = Stack::viatique();
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert!(!format!("{:?}", ended.events).contains(PASSWORD));
    let seen = stack.engine.peek();
    for files in seen.volumes.values() {
        for (path, content) in files {
            assert!(!String::from_utf8_lossy(content).contains(PASSWORD), "{path}");
        }
    }
    for container in &seen.containers {
        assert!(
            !format!("{:?}", container.labels).contains(PASSWORD),
            "{}",
            container.name
        );
    }
    let releases = stack.releases().await;
    let recorded = serde_json::to_string(releases.current().unwrap()).unwrap();
    assert!(recorded.contains("{\"secret\":"), "a change of it can be seen");
}
