//! `build`: what is built, what is pulled, and what a failure leaves.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::{ImageBehaviour, Stack};

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
    let named = |name: &str| {
        stack
            .engine
            .calls()
            .iter()
            .filter(|call| call.name == name)
            .count()
    };
    assert_eq!((named("build"), named("pull")), (1, 1));
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
