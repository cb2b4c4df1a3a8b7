//! Replicas in batches: how many stand at once, and that an address which is free again is given to nobody while a
//! proxy knows it.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use viatique_deploy::engine::{ContainerState, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ChangeKind, Outcome, StepId};

use crate::support::{FakeEngine, ImageBehaviour, Seen, Stack};

const DEPLOY_YML: &str = "project: viatique\ncompose: [docker-compose.yml]\n";

/// So many replicas of one service, replaced as `deploy.yml` says.
fn replicas(count: usize, manner: &str) -> Stack {
    let compose =
        format!("services:\n  web:\n    image: web:${{RELEASE_TAG}}\n    deploy: {{ replicas: {count} }}\n");
    let stack = Stack::of(
        &compose,
        &format!("{DEPLOY_YML}services: {{ web: {{{manner}}} }}\n"),
    );
    for tag in ["v1", "v2"] {
        let _ = stack
            .engine
            .clone()
            .with_image(&format!("web:{tag}"), ImageBehaviour::running());
    }
    stack
}

/// How many ran at the least and at the most, over all calls.
fn ran(watched: &[(crate::support::Call, Seen)]) -> RangeInclusive<usize> {
    let counts: Vec<usize> = watched
        .iter()
        .map(|(_, seen)| seen.running("web").len())
        .collect();
    *counts.iter().min().unwrap()..=*counts.iter().max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_more_stand_and_no_fewer_serve_than_deploy_yml_allows() {
    for (count, manner, stood) in [
        (1, "", 1..=2),
        (3, "", 3..=4),
        (5, "max_surge: 2", 5..=7),
        (3, "max_surge: 3", 3..=6),
        (3, "max_surge: 9", 3..=6),
        (4, "max_surge: 0, max_unavailable: 1", 3..=4),
        (4, "max_surge: 0, max_unavailable: 2", 2..=4),
        (3, "max_surge: 1, max_unavailable: 1", 2..=4),
        // One of them serves, whatever may be missing.
        (2, "max_surge: 0, max_unavailable: 5", 1..=2),
    ] {
        let stack = replicas(count, manner);
        stack.run("v1").await.succeeded();
        stack.engine.watch();
        stack.run("v2").await.succeeded();
        let ran = ran(&stack.engine.watched());
        assert!(
            stood.contains(ran.start()) && ran.end() == stood.end(),
            "{count} replicas with {{{manner}}}: {ran:?} ran, not {stood:?}"
        );
        assert_eq!(stack.engine.peek().releases("web"), vec!["v2"; count], "{manner}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_back_keeps_to_it_too() {
    for (count, manner, most) in [
        (3, "", 4),
        (4, "max_surge: 2", 6),
        (4, "max_surge: 0, max_unavailable: 1", 4),
    ] {
        let stack = replicas(count, manner);
        stack.run("v1").await.succeeded();
        let before = stack.engine.peek();
        // The last new one does not come up.
        stack.engine.fault_on(
            "start",
            stack
                .engine
                .calls()
                .iter()
                .filter(|call| call.name == "start")
                .count()
                + count,
            crate::support::Fault::Fail(viatique_deploy::engine::EngineErrorKind::StartFailed),
        );
        stack.engine.watch();
        stack
            .run("v2")
            .await
            .ended(Outcome::RolledBack, ExitCode::RolledBack);
        let watched = stack.engine.watched();
        let ran = ran(&watched);
        assert!(
            *ran.start() >= 1 && *ran.end() <= most,
            "{count}, {{{manner}}}: {ran:?}"
        );
        let seen = stack.engine.peek();
        assert_eq!(seen.releases("web"), vec!["v1"; count], "{manner}");
        assert_eq!(seen.names(), before.names());
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_room_for_a_second_is_replaced_in_its_own_place_and_the_plan_says_so() {
    let stack = replicas(1, "max_surge: 0, max_unavailable: 1");
    stack.run("v1").await.succeeded();
    let plan = stack
        .dry_run(viatique_deploy::commands::steps::Chosen::deploy(), "v2")
        .await;
    let planned = plan.planned(StepId::Deploy);
    let change = planned.iter().find(|change| change.target == "web").unwrap();
    assert_eq!(change.kind, ChangeKind::ReplaceWithGap);
    assert!(change.detail.contains("`max_surge: 0`"), "{change:?}");
    stack.engine.watch();
    stack.run("v2").await.succeeded();
    assert_eq!(ran(&stack.engine.watched()), 0..=1);
}

/// Two replicas behind nginx: the first old one ends before the second new one starts.
#[tokio::test(start_paused = true)]
async fn an_address_that_is_free_again_goes_to_nobody_while_a_proxy_knows_it() {
    let stack = Stack::viatique();
    stack.edit_compose("  backend:\n", "  backend:\n    deploy: { replicas: 2 }\n");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let first = before.container("viatique-backend-1");
    let address = first
        .networks
        .iter()
        .find_map(|network| network.ip_address.clone());
    let address = address.unwrap();
    // Every command, with how many calls were made before it.
    let commands: Arc<Mutex<Vec<(usize, String)>>> = Arc::default();
    let (engine, heard) = (stack.engine.clone(), Arc::clone(&commands));
    stack.answer(move |command| {
        heard.lock().unwrap().push((calls(&engine), command.line()));
        None
    });
    let began = calls(&stack.engine);
    stack.run("v2").await.succeeded();
    let made = stack.engine.calls();
    let next = |name: &str, from: usize| {
        let found = made.iter().skip(from).position(|call| call.name == name);
        from + found.unwrap()
    };
    let stopped = made
        .iter()
        .skip(began)
        .position(|call| call.name == "stop" && call.target == first.id.0)
        .unwrap()
        + began;
    let started = next("start", stopped);
    let between = |what: &str| {
        let commands = commands.lock().unwrap();
        commands
            .iter()
            .any(|(at, line)| (stopped..=started).contains(at) && line.contains(what))
    };
    assert!(between("nginx -s reload"), "{:?}", commands.lock().unwrap());
    let forgotten = format!("[\"{address}\",\"{address}\"]");
    assert!(between(&forgotten), "{:?}", commands.lock().unwrap());
}

fn calls(engine: &FakeEngine) -> usize {
    engine.calls().len()
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_out_of_memory_is_said_to() {
    let stack = replicas(2, "");
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    for restart in ["", "    restart: always\n"] {
        stack.edit_compose("    deploy:", &format!("{restart}    deploy:"));
        let tag = if restart.is_empty() { "once" } else { "always" };
        let image = format!("web:{tag}");
        let _ = stack
            .engine
            .clone()
            .with_image(&image, ImageBehaviour::out_of_memory());
        stack
            .run(tag)
            .await
            .ended(Outcome::RolledBack, ExitCode::RolledBack)
            .says("the kernel killed it for want of memory")
            .hints_at("deploy.resources.limits.memory");
    }
    let seen = stack.engine.peek();
    assert_eq!(seen.releases("web"), ["v1", "v1"]);
    assert_eq!(seen.names(), before.names());
    for container in seen.running("web") {
        assert_eq!(container.state, ContainerState::Running);
        assert!(container.label(labels::RELEASE).is_some());
    }
}
