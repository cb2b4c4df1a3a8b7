//! `build`: what is built, what is pulled, and what a failure leaves.

use std::time::Duration;

use viatique_deploy::cli::BuildArgs;
use viatique_deploy::commands::steps::{Chosen, Rehearsing};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Fault, ImageBehaviour, Stack};

const SHARED: &str = "
services:
  backend:
    build: ./backend
    image: app:latest
  worker:
    build: ./backend
    image: app:latest
  cache:
    image: cache:3
";

fn shared() -> Stack {
    let stack = Stack::of(SHARED, "project: viatique\ncompose: [docker-compose.yml]\n");
    let _ = stack
        .engine
        .clone()
        .with_registry_image("cache:3", ImageBehaviour::running());
    stack
}

#[tokio::test(start_paused = true)]
async fn services_that_share_an_image_share_its_build_and_what_is_missing_is_pulled() {
    let stack = shared();
    let ended = stack.command(Chosen::build(), "v1").await;
    ended.succeeded();
    assert_eq!(ended.step_message(StepId::Build), "app:latest, cache:3");
    assert_eq!((count(&stack, "build"), count(&stack, "pull")), (1, 1));
    assert!(
        stack
            .engine
            .peek()
            .containers
            .iter()
            .all(|container| container.name.contains("ledger"))
    );
    let again = stack.command(Chosen::build(), "v1").await;
    again.succeeded();
    assert_eq!(again.step(StepId::Build), StepResult::Unchanged);
    assert_eq!(again.step_message(StepId::Build), "every image was there already");
}

/// Two names for what is built from the same in the same way.
#[tokio::test(start_paused = true)]
async fn equal_builds_are_one_whatever_they_are_called() {
    let stack = shared();
    stack.edit_compose(
        "  worker:\n    build: ./backend\n    image: app:latest",
        "  worker:\n    build: { context: ./backend, tags: [\"app:also\"] }\n    image: jobs:latest\n  \
         beat:\n    build: { context: ./backend, target: beat }\n    image: beat:latest",
    );
    let ended = stack.command(Chosen::build(), "v1").await;
    ended.succeeded();
    assert_eq!(count(&stack, "build"), 2);
    assert_eq!(
        ended.step_message(StepId::Build),
        "app:latest, beat:latest, cache:3, jobs:latest"
    );
    let seen = stack.engine.peek();
    let image = |reference: &str| {
        let images = seen.images.iter();
        let mut found = images.filter(|(_, references)| references.contains(reference));
        found.next().map(|(id, _)| id.clone()).unwrap()
    };
    for reference in ["app:v1", "app:also", "jobs:latest", "jobs:v1"] {
        assert_eq!(image(reference), image("app:latest"), "{reference}");
    }
    assert_ne!(image("beat:latest"), image("app:latest"));
    let again = stack.command(Chosen::build(), "v1").await;
    assert_eq!(again.step(StepId::Build), StepResult::Unchanged);
}

/// How often this was asked of the engine.
fn count(stack: &Stack, name: &str) -> usize {
    let calls = stack.engine.calls();
    calls.iter().filter(|call| call.name == name).count()
}

/// Four builds and as many pulls as there are: each takes a second of the clock that the test sets.
#[tokio::test(start_paused = true)]
async fn different_builds_run_side_by_side_as_many_as_deploy_yml_says() {
    for (parallel, seconds) in [
        ("", 1),
        ("build: { parallel: 3 }", 2),
        ("build: { parallel: 1 }", 4),
    ] {
        let stack = Stack::viatique();
        stack.edit_deploy_yml("backup:\n", &format!("{parallel}\nbackup:\n"));
        stack.engine.builds_take(Duration::from_secs(1));
        let began = tokio::time::Instant::now();
        stack.command(Chosen::build(), "v1").await.succeeded();
        assert_eq!(began.elapsed().as_secs(), seconds, "{parallel}");
        assert_eq!(count(&stack, "build"), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_ends_those_beside_it() {
    let stack = Stack::viatique();
    stack.engine.break_sources("viatique-frontend:v1", "npm ERR!");
    stack.engine.fault_on("build", 1, Fault::HangBefore);
    let ended = stack.command(Chosen::build(), "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("building viatique-frontend:v1");
    assert_eq!(
        ended.task_result(StepId::Build, "viatique-backend:v1"),
        Some(StepResult::Interrupted)
    );
}

/// The Compose file asks for one image; deploy.yml and the command line ask for all.
#[tokio::test(start_paused = true)]
async fn the_cache_is_left_aside_and_bases_are_pulled_where_that_is_asked_for() {
    let flags = |no_cache, pull| BuildArgs { no_cache, pull };
    for (deploy_yml, arguments, expected) in [
        ("", flags(false, false), [(true, false), (false, false)]),
        (
            "build: { no_cache: true }",
            flags(false, false),
            [(true, false), (true, false)],
        ),
        (
            "build: { pull: true }",
            flags(false, false),
            [(true, true), (false, true)],
        ),
        ("", flags(true, false), [(true, false), (true, false)]),
        ("", flags(false, true), [(true, true), (false, true)]),
        (
            "build: { pull: true }",
            flags(true, false),
            [(true, true), (true, true)],
        ),
    ] {
        for chosen in [
            Chosen::build_with(arguments),
            Chosen::run_with(arguments, Rehearsing::Not, Selection::All),
        ] {
            let stack = Stack::viatique();
            stack.edit_compose(
                "build: ./backend",
                "build: { context: ./backend, no_cache: true }",
            );
            stack.edit_deploy_yml("backup:\n", &format!("{deploy_yml}\nbackup:\n"));
            stack.command(chosen, "v1").await.succeeded();
            let built = |title: &str| {
                stack
                    .engine
                    .built(title)
                    .map(|build| (build.no_cache, build.pull))
            };
            assert_eq!(
                [built("viatique-backend:v1"), built("viatique-frontend:v1")],
                expected.map(Some),
                "{deploy_yml} {arguments:?}"
            );
        }
    }
}

/// A fixed reference moves with each build; the one that carries the release's tag stays.
#[tokio::test(start_paused = true)]
async fn a_release_keeps_its_image_when_a_later_build_takes_the_reference() {
    let stack = shared();
    stack.run("v1").await.succeeded();
    let v1 = stack.engine.peek().running("backend")[0].image.clone();
    stack.image_is("app:latest", ImageBehaviour::running());
    stack.run("v2").await.succeeded();
    let seen = stack.engine.peek();
    assert_ne!(seen.running("backend")[0].image, v1);
    assert!(seen.images[&v1].contains("app:v1"), "{:?}", seen.images[&v1]);
    stack.rollback(None).await.unwrap().succeeded();
    assert_eq!(stack.engine.peek().running("backend")[0].image, v1);
}

/// The same image under another tag is the same container: nothing is replaced.
#[tokio::test(start_paused = true)]
async fn an_image_that_did_not_change_replaces_nothing() {
    let stack = shared();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Deploy), StepResult::Unchanged);
    assert_eq!(stack.engine.peek().containers, before.containers);
    assert_eq!(stack.releases().await.current().unwrap().tag.as_str(), "v2");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_leaves_production_untouched() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack
        .engine
        .break_sources("viatique-frontend:v2", "npm ERR! missing script");
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("building viatique-frontend:v2")
        .says("npm ERR! missing script")
        .hints_at("production is untouched");
    assert_eq!(stack.engine.peek().containers, before.containers);
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
}

#[tokio::test(start_paused = true)]
async fn one_image_built_in_two_ways_is_refused() {
    let stack = shared();
    stack.edit_compose(
        "  worker:\n    build: ./backend",
        "  worker:\n    build: ./worker",
    );
    let ended = stack.command(Chosen::build(), "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("services backend and worker build app:latest in different ways");
    assert!(stack.engine.peek().containers.is_empty());
}
