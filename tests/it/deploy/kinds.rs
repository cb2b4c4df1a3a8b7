//! What kind of service it is decides how it is replaced: jobs that end, stores that are left alone, and what is
//! replaced only because somebody asks for it by name.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::{ContainerState, labels};
use viatique_deploy::error::FailureKind;
use viatique_deploy::pipeline::{ChangeKind, StepId};

use crate::support::{Ended, ImageBehaviour, Stack};

const DEPLOY_YML: &str = "project: viatique\ncompose: [docker-compose.yml]\n";

/// Services whose images exist in `v1` and `v2`, as `name:tag`.
fn stack(services: &str, behaviour: &ImageBehaviour) -> Stack {
    let stack = Stack::of(&format!("services:\n{services}"), DEPLOY_YML);
    for image in ["app", "bitnami/postgresql", "registry:5000/valkey", "postgres"] {
        for tag in ["v1", "v2"] {
            let _ = stack
                .engine
                .clone()
                .with_image(&format!("{image}:{tag}"), behaviour.clone());
        }
    }
    stack
}

/// What the second release does to the service.
async fn planned(stack: &Stack, service: &str) -> (ChangeKind, String) {
    let plan = stack.dry_run(Chosen::deploy(), "v2").await;
    let planned = plan.planned(StepId::Deploy);
    let change = planned.iter().find(|change| change.target == service).unwrap();
    (change.kind, change.detail.clone())
}

fn message(ended: &Ended, service: &str) -> Option<String> {
    ended.task_message(StepId::Deploy, service)
}

#[tokio::test(start_paused = true)]
async fn restart_no_in_so_many_words_makes_a_one_shot() {
    let stack = stack(
        "  seed:\n    image: app:${RELEASE_TAG}\n    restart: \"no\"\n",
        &ImageBehaviour::exits(0),
    );
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(message(&ended, "seed").as_deref(), Some("ran to its end"));
    let seen = stack.engine.peek();
    assert!(
        matches!(&seen.container("viatique-seed-1").state, ContainerState::Exited(exit) if exit.success())
    );
    assert_eq!(planned(&stack, "seed").await.0, ChangeKind::Run);
}

#[tokio::test(start_paused = true)]
async fn what_only_a_lasting_process_needs_makes_it_none() {
    for beside in [
        "expose: [\"8000\"]",
        "ports: [\"8000\"]",
        "healthcheck: { test: [CMD, \"true\"] }",
        "command: [gunicorn, app]",
        "command: [celery, -A, app, worker]",
    ] {
        let stack = stack(
            &format!("  web:\n    image: app:${{RELEASE_TAG}}\n    restart: \"no\"\n    {beside}\n"),
            &ImageBehaviour::running(),
        );
        stack.run("v1").await.succeeded();
        assert_eq!(planned(&stack, "web").await.0, ChangeKind::Replace, "{beside}");
    }
    let stack = stack(
        "  web:\n    image: app:${RELEASE_TAG}\n",
        &ImageBehaviour::running(),
    );
    stack.run("v1").await.succeeded();
    assert_eq!(
        planned(&stack, "web").await.0,
        ChangeKind::Replace,
        "`restart` is not written"
    );
}

#[tokio::test(start_paused = true)]
async fn deploy_yml_makes_a_one_shot_of_anything() {
    let stack = stack(
        "  seed:\n    image: app:${RELEASE_TAG}\n",
        &ImageBehaviour::exits(0),
    );
    stack.edit_deploy_yml(
        "project: viatique\n",
        "project: viatique\nservices: { seed: { strategy: oneshot } }\n",
    );
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(message(&ended, "seed").as_deref(), Some("ran to its end"));
}

#[tokio::test(start_paused = true)]
async fn data_stores_are_left_alone_without_a_volume_too() {
    for (service, why) in [
        ("image: postgres:${RELEASE_TAG}", "database"),
        ("image: bitnami/postgresql:${RELEASE_TAG}", "database"),
        ("image: registry:5000/valkey:${RELEASE_TAG}", "database"),
        (
            "{ image: \"app:${RELEASE_TAG}\", command: [redis-server, /etc/redis.conf] }",
            "database",
        ),
        (
            "{ image: \"postgres:${RELEASE_TAG}\", restart: \"no\", command: [\"-c\", max_connections=9] }",
            "database",
        ),
        (
            "{ image: \"app:${RELEASE_TAG}\", volumes: [./data:/var/lib/postgresql/data] }",
            "keeps its files",
        ),
    ] {
        let text = if service.starts_with('{') {
            format!("  store: {service}\n")
        } else {
            format!("  store:\n    {service}\n")
        };
        let stack = stack(&text, &ImageBehaviour::running());
        stack.run("v1").await.succeeded();
        let before = stack.engine.peek();
        let (kind, detail) = planned(&stack, "store").await;
        assert_eq!(kind, ChangeKind::Keep, "{service}");
        assert!(detail.contains(why), "{service}: {detail}");
        let ended = stack.run("v2").await;
        ended.succeeded();
        assert_eq!(
            stack.engine.peek().container("viatique-store-1").id,
            before.container("viatique-store-1").id,
            "{service}"
        );
        assert!(
            ended.warnings().contains("viatique-deploy run --replace store"),
            "{}",
            ended.warnings()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_store_is_none() {
    for service in [
        "{ image: \"postgres:${RELEASE_TAG}\", command: [psql, -c, select] }",
        "{ image: \"app:${RELEASE_TAG}\", volumes: [\"./data:/var/lib/postgresql/data:ro\"] }",
        "{ image: \"app:${RELEASE_TAG}\", tmpfs: [/var/lib/postgresql/data] }",
    ] {
        let stack = stack(&format!("  client: {service}\n"), &ImageBehaviour::running());
        stack.run("v1").await.succeeded();
        assert_eq!(
            planned(&stack, "client").await.0,
            ChangeKind::Replace,
            "{service}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_schedulers_never_stand_side_by_side() {
    for command in [
        "[celery, -A, app, worker, -B]",
        "[sh, -c, \"exec celery -A app worker --beat\"]",
        "[celery, -A, app, beat]",
    ] {
        let stack = stack(
            &format!(
                "  beat:\n    image: app:${{RELEASE_TAG}}\n    command: {command}\n    volumes: [schedule:/var/lib/beat]\n\
                 volumes: {{ schedule: }}\n"
            ),
            &ImageBehaviour::running(),
        );
        stack.run("v1").await.succeeded();
        let (kind, detail) = planned(&stack, "beat").await;
        assert_eq!(kind, ChangeKind::ReplaceWithGap, "{command}");
        assert!(detail.contains("two of it must never run"), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_service_is_replaced_where_it_is_asked_for_by_name() {
    let stack = stack(
        "  db:\n    image: postgres:${RELEASE_TAG}\n  cache:\n    image: registry:5000/valkey:${RELEASE_TAG}\n",
        &ImageBehaviour::running(),
    );
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.run_replacing("v2", &["db"]).await.unwrap().succeeded();
    let seen = stack.engine.peek();
    assert_eq!(seen.container("viatique-db-1").label(labels::RELEASE), Some("v2"));
    assert_eq!(
        seen.container("viatique-cache-1").id,
        before.container("viatique-cache-1").id
    );
    // It holds for that run only, and replaces nothing that is as it should be.
    let again = stack.run_replacing("v2", &["db"]).await.unwrap();
    again.succeeded();
    assert_eq!(
        stack.engine.peek().container("viatique-db-1").id,
        seen.container("viatique-db-1").id
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_none_is_said_before_anything_happens() {
    let stack = Stack::viatique();
    let failure = stack.run_replacing("v1", &["db", "redsi"]).await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Configuration);
    assert_eq!(
        format!("{:#}", failure.error),
        "--replace: the Compose files have no service `redsi`; did you mean `redis`?"
    );
    assert_eq!(
        failure.hints,
        ["services there: backend, celery_beat, celery_worker, db, frontend, nginx, redis"]
    );
    assert!(stack.engine.calls().iter().all(|call| !call.changes()));
}
