//! Services of other shapes: replicas, published ports, fixed names, one-shots; and stacks that Compose started.

use std::collections::BTreeMap;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::{
    ContainerSpec, ContainerState, Engine, NetworkEndpoint, NetworkSpec, VolumeSpec, labels,
};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ChangeKind, Outcome, StepId};

use crate::support::{FakeEngine, ImageBehaviour, PROJECT, Seen, Stack};

const DEPLOY_YML: &str = "project: viatique\ncompose: [docker-compose.yml]\n";

/// A stack of one service.
fn one_service(text: &str) -> Stack {
    let services: String = text.lines().map(|line| format!("    {line}\n")).collect();
    let compose = format!("services:\n  web:\n    image: web:${{RELEASE_TAG}}\n{services}");
    let stack = Stack::of(&compose, DEPLOY_YML);
    for tag in ["v1", "v2", "v3"] {
        let _ = stack
            .engine
            .clone()
            .with_image(&format!("web:{tag}"), ImageBehaviour::running());
    }
    stack
}

/// Names and releases of what runs for `web`.
fn web(seen: &Seen) -> BTreeMap<&str, &str> {
    let running = seen.running("web").into_iter();
    running
        .map(|container| {
            (
                container.name.as_str(),
                container.label(labels::RELEASE).unwrap_or("none"),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_replica_is_replaced_and_keeps_its_number() {
    let stack = one_service("deploy: { replicas: 2 }");
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(
        web(&seen),
        BTreeMap::from([("viatique-web-1", "v2"), ("viatique-web-2", "v2")])
    );
    for number in ["1", "2"] {
        let container = seen.container(&format!("viatique-web-{number}"));
        assert_eq!(container.label(labels::COMPOSE_CONTAINER_NUMBER), Some(number));
    }
    assert_eq!(seen.containers.len(), 3, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn fewer_replicas_leave_the_first_ones() {
    let stack = one_service("deploy: { replicas: 3 }");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_compose("replicas: 3", "replicas: 1");
    let ended = stack.run("v1").await;
    ended.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(web(&seen), BTreeMap::from([("viatique-web-1", "v1")]));
    assert_eq!(
        seen.container("viatique-web-1").id,
        before.container("viatique-web-1").id
    );
    assert_eq!(seen.containers.len(), 2, "{:?}", seen.names());
    assert_eq!(
        ended.task_message(StepId::Deploy, "web").as_deref(),
        Some("2 surplus replicas retired")
    );
}

#[tokio::test(start_paused = true)]
async fn more_replicas_join_the_ones_that_serve() {
    let stack = one_service("deploy: { replicas: 1 }");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.edit_compose("replicas: 1", "replicas: 3");
    stack.run("v1").await.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(web(&seen).len(), 3);
    assert_eq!(
        seen.container("viatique-web-1").id,
        before.container("viatique-web-1").id
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_fails_takes_the_replaced_ones_back() {
    let stack = one_service("deploy: { replicas: 3 }");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let _ = stack.engine.clone().with_image(
        "web:broken",
        ImageBehaviour::exits(3).logging(&["no module named web"]),
    );
    let ended = stack.run("broken").await;
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .shows("no module named web");
    let seen = stack.engine.peek();
    assert_eq!(
        web(&seen),
        BTreeMap::from([
            ("viatique-web-1", "v1"),
            ("viatique-web-2", "v1"),
            ("viatique-web-3", "v1")
        ])
    );
    assert_eq!(seen.names(), before.names());
}

#[tokio::test(start_paused = true)]
async fn a_published_port_means_a_gap_which_the_plan_announces() {
    let stack = one_service("ports: [\"8000:8000\"]");
    stack.run("v1").await.succeeded();
    let plan = stack.dry_run(Chosen::deploy(), "v2").await;
    let change = plan
        .planned(StepId::Deploy)
        .into_iter()
        .find(|change| change.target == "web")
        .unwrap();
    assert_eq!(change.kind, ChangeKind::ReplaceWithGap);
    assert!(change.detail.contains("publishes host port 8000"), "{change:?}");
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Deploy, "web").as_deref(),
        Some("replaced, with a gap")
    );
    assert_eq!(
        web(&stack.engine.peek()),
        BTreeMap::from([("viatique-web-1", "v2")])
    );
}

#[tokio::test(start_paused = true)]
async fn a_fixed_name_is_kept_from_release_to_release() {
    let stack = one_service("container_name: the-web");
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(web(&seen), BTreeMap::from([("the-web", "v2")]));
    assert_eq!(seen.containers.len(), 2, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_name_comes_back_after_a_failure() {
    let stack = one_service("container_name: the-web");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let _ = stack
        .engine
        .clone()
        .with_image("web:broken", ImageBehaviour::exits(1));
    stack
        .run("broken")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    let seen = stack.engine.peek();
    assert_eq!(web(&seen), BTreeMap::from([("the-web", "v1")]));
    assert_eq!(seen.container("the-web").image, before.container("the-web").image);
}

/// A one-shot that `web` waits for.
fn with_a_one_shot(behaviour: ImageBehaviour) -> Stack {
    let stack = one_service(
        "depends_on: { prepare: { condition: service_completed_successfully } }\nrestart: always",
    );
    stack.edit_compose(
        "services:\n",
        "services:\n  prepare:\n    image: prepare:${RELEASE_TAG}\n",
    );
    let engine = stack.engine.clone();
    let _ = engine
        .with_image("prepare:v1", behaviour)
        .with_image("prepare:v2", ImageBehaviour::exits(0));
    stack
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_one_shot_starts_once_it_has_ended_well() {
    let stack = with_a_one_shot(ImageBehaviour::exits(0));
    let ended = stack.run("v1").await;
    ended.succeeded();
    let seen = stack.engine.peek();
    let prepared = seen.container("viatique-prepare-1");
    assert!(matches!(&prepared.state, ContainerState::Exited(exit) if exit.success()));
    assert!(prepared.started < seen.container("viatique-web-1").started);
    assert_eq!(
        ended.task_message(StepId::Deploy, "prepare").as_deref(),
        Some("ran to its end")
    );
    // The same release again does not run it again; the next one does.
    let again = stack.run("v1").await;
    again.succeeded();
    assert_eq!(stack.engine.peek().containers, seen.containers);
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(
        seen.container("viatique-prepare-1").label(labels::RELEASE),
        Some("v2")
    );
    assert_eq!(seen.containers.len(), 3, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn a_failing_one_shot_keeps_what_waits_for_it_from_starting() {
    let stack = with_a_one_shot(ImageBehaviour::exits(4).logging(&["cannot prepare"]));
    let ended = stack.run("v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("ended with exit code 4")
        .shows("cannot prepare");
    let seen = stack.engine.peek();
    assert_eq!(
        seen.names().into_iter().collect::<Vec<_>>(),
        ["viatique-deploy-ledger-viatique"]
    );
    assert!(seen.networks.is_empty(), "{:?}", seen.networks);
}

/// As `docker compose up` leaves a service: its labels, none of ours.
async fn started_by_compose(stack: &Stack, services: &[(&str, &str)]) {
    let settings = stack.settings("v1");
    let mut networks = BTreeMap::new();
    for (key, network) in &settings.project.networks {
        let labels = BTreeMap::from([
            (labels::COMPOSE_PROJECT.to_owned(), PROJECT.to_owned()),
            (labels::COMPOSE_NETWORK.to_owned(), key.clone()),
        ]);
        let spec = NetworkSpec {
            network: network.clone(),
            labels,
        };
        networks.insert(key.clone(), stack.engine.create_network(&spec).await.unwrap());
    }
    for (key, volume) in &settings.project.volumes {
        let labels = BTreeMap::from([
            (labels::COMPOSE_PROJECT.to_owned(), PROJECT.to_owned()),
            (labels::COMPOSE_VOLUME.to_owned(), key.clone()),
        ]);
        let spec = VolumeSpec {
            volume: volume.clone(),
            labels,
        };
        stack.engine.create_volume(&spec).await.unwrap();
    }
    for (name, image) in services {
        let service = settings
            .project
            .services
            .values()
            .find(|service| service.name.as_str() == *name)
            .or_else(|| settings.project.services.values().next())
            .unwrap();
        let volumes = settings
            .project
            .volumes
            .values()
            .map(|volume| (volume.key.clone(), volume.name.clone()))
            .collect();
        let spec = ContainerSpec {
            name: format!("{PROJECT}-{name}-1"),
            image: FakeEngine::image_id(image),
            service: service.clone(),
            labels: [
                (labels::COMPOSE_PROJECT, PROJECT),
                (labels::COMPOSE_SERVICE, name),
                (labels::COMPOSE_ONEOFF, "False"),
                (labels::COMPOSE_CONTAINER_NUMBER, "1"),
                (labels::COMPOSE_CONFIG_HASH, "of-compose"),
            ]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
            networks: service
                .networks
                .keys()
                .map(|key| NetworkEndpoint {
                    network: networks[key].clone(),
                    aliases: vec![(*name).to_owned()],
                    ipv4_address: None,
                    ipv6_address: None,
                    mac_address: None,
                })
                .collect(),
            network_mode: None,
            volumes,
        };
        let id = stack.engine.create_container(&spec).await.unwrap();
        stack.engine.start(&id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_compose_started_is_taken_over() {
    let stack = Stack::viatique();
    started_by_compose(
        &stack,
        &[
            ("db", "postgres:17"),
            ("redis", "redis:7"),
            ("backend", "nginx:1.28"),
            ("nginx", "nginx:1.28"),
        ],
    )
    .await;
    let before = stack.engine.peek();
    stack.run("v1").await.succeeded();
    let seen = stack.engine.peek();
    for untouched in ["viatique-db-1", "viatique-redis-1"] {
        assert_eq!(seen.container(untouched).id, before.container(untouched).id);
    }
    assert_eq!(seen.releases("backend"), ["v1"]);
    assert_eq!(seen.networks, before.networks, "Compose's networks are used");
    assert_eq!(seen.containers.len(), 8, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn a_failed_takeover_gives_the_stack_back_as_compose_started_it() {
    let stack = Stack::viatique();
    started_by_compose(
        &stack,
        &[
            ("db", "postgres:17"),
            ("redis", "redis:7"),
            ("backend", "nginx:1.28"),
            ("nginx", "nginx:1.28"),
        ],
    )
    .await;
    let before = stack.engine.peek();
    stack.image_is("viatique-worker:v1", ImageBehaviour::exits(1));
    stack
        .run("v1")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    let seen = stack.engine.peek();
    for service in ["db", "redis", "backend", "nginx"] {
        let name = format!("{PROJECT}-{service}-1");
        assert_eq!(seen.container(&name).image, before.container(&name).image);
        assert_eq!(seen.container(&name).labels, before.container(&name).labels);
        assert_eq!(seen.container(&name).state, ContainerState::Running, "{name}");
    }
    assert_eq!(seen.containers.len(), 5, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_named_and_left_alone() {
    let stack = one_service("restart: always");
    started_by_compose(&stack, &[("old_worker", "nginx:1.28")]).await;
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("old_worker runs, but the Compose files do not name it any more; left alone"),
        "{}",
        ended.warnings()
    );
    assert_eq!(stack.engine.peek().running("old_worker").len(), 1);
}

/// Two Compose files by one project name: nothing of either is touched.
#[tokio::test(start_paused = true)]
async fn another_project_by_the_same_name_is_refused() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let mut other = one_service("restart: always");
    other.engine = stack.engine.clone();
    let _ = stack
        .engine
        .clone()
        .with_image("web:v2", ImageBehaviour::running());
    for chosen in [Chosen::run(), Chosen::deploy(), Chosen::check()] {
        other
            .command(chosen, "v2")
            .await
            .ended(Outcome::Failed, ExitCode::Configuration)
            .says("is another project: backend, celery_beat")
            .hints_at("`project` in deploy.yml");
    }
    let seen = stack.engine.peek();
    assert_eq!(seen.containers, before.containers);
    assert_eq!(seen.networks, before.networks);
}
