//! A run that stopped half-way: nothing else is deployed until it is finished, forward or back.

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::Outcome;

use crate::support::{FOREVER, Fault, Stack};

const LOCK: &str = "viatique-deploy-lock-viatique";
/// Above the highest number that Linux gives to a process.
const NO_PROCESS: &str = "4194305";

/// Kills a run of this release at the n-th start of a container from now.
async fn killed(stack: &Stack, tag: &str, nth: usize) {
    let calls = stack.engine.calls();
    let starts = calls.iter().filter(|call| call.name == "start").count();
    stack.engine.fault_on("start", starts + nth, Fault::HangAfter);
    let killed = tokio::time::timeout(FOREVER, stack.run(tag)).await;
    assert!(killed.is_err(), "it came to its end");
    stack.engine.heal();
    stack
        .engine
        .relabel(LOCK, "viatique-deploy.lock.process", NO_PROCESS);
}

#[track_caller]
fn serves(stack: &Stack, tag: &str) {
    let seen = stack.engine.peek();
    for service in ["backend", "frontend", "celery_worker", "celery_beat"] {
        assert_eq!(seen.releases(service), [tag], "{service}");
    }
    assert_eq!(seen.containers.len(), 8, "{:?}", seen.names());
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_deployed_and_what_stands_is_said() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    killed(&stack, "v2", 3).await;
    let before = stack.engine.peek();
    let ended = stack.run("v3").await;
    ended
        .ended(Outcome::Failed, ExitCode::Locked)
        .says("run of v2, begun 2026-01-01T")
        .says("stopped at deploy and never finished")
        .shows("v1 runs")
        .shows("v2 ")
        .hints_at("so that v2 serves: viatique-deploy resume")
        .hints_at("so that v1 serves: viatique-deploy rollback");
    let mut seen = stack.engine.peek();
    seen.containers.retain(|container| container.name != LOCK);
    let stood: Vec<_> = before
        .containers
        .iter()
        .filter(|one| one.name != LOCK)
        .cloned()
        .collect();
    assert_eq!(seen.containers, stood);
    // What changes nothing of what serves is not refused, and finishes nothing.
    stack
        .command(viatique_deploy::commands::steps::Chosen::backup(), "v1")
        .await
        .succeeded();
    stack.run("v3").await.ended(Outcome::Failed, ExitCode::Locked);
}

#[tokio::test(start_paused = true)]
async fn it_is_finished_forward() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    killed(&stack, "v2", 3).await;
    let ended = stack.resume().await.unwrap().unwrap();
    ended.succeeded();
    assert!(
        ended.warnings().contains("what it left is brought to v2"),
        "{}",
        ended.warnings()
    );
    serves(&stack, "v2");
    let releases = stack.releases().await;
    let current = releases.current().unwrap();
    assert_eq!((current.tag.as_str(), current.command.as_str()), ("v2", "run"));
    // And then there is nothing to finish.
    assert!(stack.resume().await.unwrap().is_none());
    stack.run("v3").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_back_to_what_served_when_it_began() {
    let stack = Stack::viatique();
    for tag in ["v1", "v2"] {
        stack.run(tag).await.succeeded();
    }
    killed(&stack, "v3", 3).await;
    // Not to v1, which `rollback` would go to from v2.
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v2");
    assert!(stack.resume().await.unwrap().is_none());
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v1");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_can_itself_stop_half_way() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    killed(&stack, "v2", 3).await;
    let calls = stack.engine.calls();
    let starts = calls.iter().filter(|call| call.name == "start").count();
    stack.engine.fault_on("start", starts + 2, Fault::HangBefore);
    assert!(tokio::time::timeout(FOREVER, stack.resume()).await.is_err());
    stack.engine.heal();
    stack
        .engine
        .relabel(LOCK, "viatique-deploy.lock.process", NO_PROCESS);
    stack.run("v3").await.ended(Outcome::Failed, ExitCode::Locked);
    stack.resume().await.unwrap().unwrap().succeeded();
    serves(&stack, "v2");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_stopped_is_finished_forward_and_back() {
    for forward in [true, false] {
        let stack = Stack::viatique();
        for tag in ["v1", "v2"] {
            stack.run(tag).await.succeeded();
        }
        let calls = stack.engine.calls();
        let starts = calls.iter().filter(|call| call.name == "start").count();
        stack.engine.fault_on("start", starts + 3, Fault::HangAfter);
        assert!(tokio::time::timeout(FOREVER, stack.rollback(None)).await.is_err());
        stack.engine.heal();
        stack
            .engine
            .relabel(LOCK, "viatique-deploy.lock.process", NO_PROCESS);
        stack.run("v3").await.ended(Outcome::Failed, ExitCode::Locked);
        if forward {
            stack.resume().await.unwrap().unwrap().succeeded();
            serves(&stack, "v1");
        } else {
            stack.rollback(None).await.unwrap().succeeded();
            serves(&stack, "v2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_stopped_can_only_be_finished_forward() {
    let stack = Stack::viatique();
    killed(&stack, "v1", 4).await;
    let report = stack.rollback(None).await.unwrap_err().report();
    assert_eq!(
        report.chain,
        ["the first deploy has stopped half-way: there is no release to go back to"]
    );
    assert_eq!(report.hints, ["to finish it: viatique-deploy resume"]);
    stack.resume().await.unwrap().unwrap().succeeded();
    serves(&stack, "v1");
}

#[tokio::test(start_paused = true)]
async fn one_that_had_changed_nothing_needs_no_end() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let calls = stack.engine.calls();
    let builds = calls.iter().filter(|call| call.name == "build").count();
    stack.engine.fault_on("build", builds + 1, Fault::HangBefore);
    assert!(tokio::time::timeout(FOREVER, stack.run("v2")).await.is_err());
    stack.engine.heal();
    stack
        .engine
        .relabel(LOCK, "viatique-deploy.lock.process", NO_PROCESS);
    assert!(stack.resume().await.unwrap().is_none());
    stack.run("v3").await.succeeded();
    serves(&stack, "v3");
}
