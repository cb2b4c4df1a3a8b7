//! A command is killed at every call that changes the engine: nothing is undone, and the lock stays with a dead process. The
//! next command takes over and leaves nothing that no release owns.

use viatique_deploy::pipeline::Interrupt;

use super::faults::{Typed, is_not_waited_for_alone};
use super::invariants::{bury_the_holder, converges, holds_after};
use crate::support::{FOREVER, Fault};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Run,
    Rollback,
}

async fn killed_at_every_call(fault: Fault, next: Next) {
    let typed = Typed::Run;
    let prepared = typed.prepared().await;
    let before = prepared.engine.peek();
    let mut wrong = Vec::new();
    for (number, call) in typed.calls(&prepared).await {
        // Between two changes it does not matter where.
        if !call.changes() {
            continue;
        }
        let stack = prepared.fork();
        stack.engine.fault_at(number, fault);
        let nobody = Interrupt::new().1;
        let killed = tokio::time::timeout(FOREVER, typed.type_it(&stack, &nobody)).await;
        assert!(
            killed.is_err() || is_not_waited_for_alone(&call),
            "it came to its end before call {number}"
        );
        stack.engine.heal();
        let complaints = match next {
            Next::Run => converges(&stack, "v2", &before).await,
            Next::Rollback => {
                bury_the_holder(&stack);
                let ended = stack.rollback(Some("v1")).await.unwrap();
                holds_after(&stack, &ended, "v1", &before)
            }
        };
        for complaint in complaints {
            wrong.push(format!(
                "call {number}, {} {}: {complaint}",
                call.name, call.target
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of them\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_before_any_call_is_finished_by_the_next() {
    killed_at_every_call(Fault::HangBefore, Next::Run).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_after_any_call_is_finished_by_the_next() {
    killed_at_every_call(Fault::HangAfter, Next::Run).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_before_any_call_can_be_rolled_back() {
    killed_at_every_call(Fault::HangBefore, Next::Rollback).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_after_any_call_can_be_rolled_back() {
    killed_at_every_call(Fault::HangAfter, Next::Rollback).await;
}
