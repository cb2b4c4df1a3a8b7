//! The new release fails, and then a call of the way back goes wrong too, each in turn: what is said then, and
//! whether the next run puts it right.

use std::pin::pin;

use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome};

use super::invariants::{KEPT, converges, nothing_else_stands, serves_one_release};
use crate::support::{Call, Ended, FOREVER, Fault, ImageBehaviour, PROJECT, Seen, Stack};

/// v1 serves, and the worker of v2 does not come up: by then everything before it has been replaced.
async fn with_a_broken_worker() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let broken = ImageBehaviour::exits(1).logging(&["no module named tasks"]);
    stack.image_is("viatique-worker:v2", broken);
    stack
}

/// The calls of the way back: from when the evidence has been read.
async fn calls_of_the_way_back(prepared: &Stack) -> Vec<(usize, Call)> {
    let stack = prepared.fork();
    stack
        .run("v2")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    let calls = stack.engine.calls();
    let evidence = calls.iter().position(|call| call.name == "logs").unwrap();
    let numbered = calls.into_iter().enumerate().skip(evidence + 1);
    numbered.map(|(index, call)| (index + 1, call)).collect()
}

/// Whatever went wrong: data is where it was, and no two schedulers run.
fn data_is_safe(seen: &Seen, before: &Seen) -> Result<(), String> {
    for service in KEPT {
        let name = format!("{PROJECT}-{service}-1");
        if seen.container(&name).id != before.container(&name).id {
            return Err(format!("{name} is another one"));
        }
    }
    match seen.running("celery_beat").len() {
        0 | 1 => Ok(()),
        _ => Err("two schedulers run".to_owned()),
    }
}

fn complaints(stack: &Stack, before: &Seen, ended: &Ended) -> Vec<String> {
    let seen = stack.engine.peek();
    let mut wrong: Vec<String> = data_is_safe(&seen, before).err().into_iter().collect();
    if !ended.message().contains("deploying celery_worker")
        || !ended.evidence().contains("no module named tasks")
    {
        wrong.push(format!("the first error is lost: {}", ended.message()));
    }
    match (ended.outcome, ended.code) {
        (Outcome::RolledBack, ExitCode::RolledBack) => {
            let mut seen = seen;
            if ended.hints().contains("viatique-deploy unlock") {
                seen.containers
                    .retain(|container| container.name != super::invariants::LOCK);
            }
            match serves_one_release(&seen, before) {
                Ok(serves) if serves == "v1" => {}
                other => wrong.push(format!("said to be rolled back, and {other:?}")),
            }
            wrong.extend(nothing_else_stands(&seen, before).err());
        }
        (Outcome::Stuck, ExitCode::Stuck) => {
            if !ended.evidence().contains("back failed too")
                || !ended.hints().contains("viatique-deploy status")
            {
                wrong.push(format!("stuck, and nobody is told why: {:?}", ended.error));
            }
        }
        other => wrong.push(format!("ended as {other:?}")),
    }
    wrong
}

async fn at_every_call_of_the_way_back(fault: Fault) {
    let prepared = with_a_broken_worker().await;
    let before = prepared.engine.peek();
    let calls = calls_of_the_way_back(&prepared).await;
    assert!(calls.len() > 20, "{calls:?}");
    let mut wrong = Vec::new();
    for (number, call) in calls {
        let stack = prepared.fork();
        stack.engine.fault_at(number, fault);
        let nobody = Interrupt::new().1;
        let typing = pin!(stack.run_interruptibly("v2", &nobody));
        let ended = tokio::time::timeout(FOREVER, typing).await;
        stack.engine.heal();
        let mut found = match &ended {
            Ok(ended) => complaints(&stack, &before, ended),
            // Killed there.
            Err(_) => data_is_safe(&stack.engine.peek(), &before)
                .err()
                .into_iter()
                .collect(),
        };
        stack.image_is("viatique-worker:v2", ImageBehaviour::running());
        found.extend(converges(&stack, "v2", &before).await);
        for complaint in found {
            wrong.push(format!(
                "call {number}, {} {}: {complaint}",
                call.name, call.target
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of them\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn any_call_of_the_way_back_may_fail() {
    at_every_call_of_the_way_back(Fault::Fail(EngineErrorKind::Other)).await;
}

#[tokio::test(start_paused = true)]
async fn any_answer_of_the_way_back_may_be_lost() {
    at_every_call_of_the_way_back(Fault::LoseReply(EngineErrorKind::TimedOut)).await;
}

#[tokio::test(start_paused = true)]
async fn the_way_back_may_be_killed_after_any_call() {
    at_every_call_of_the_way_back(Fault::HangAfter).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_interrupt_leaves_everything_as_it_stands_and_says_so() {
    let prepared = with_a_broken_worker().await;
    let before = prepared.engine.peek();
    let (number, _) = calls_of_the_way_back(&prepared)
        .await
        .into_iter()
        .rfind(|(_, call)| call.name == "start")
        .unwrap();
    let stack = prepared.fork();
    stack.engine.fault_at(number, Fault::HangBefore);
    let (sender, interrupt) = Interrupt::new();
    let mut typing = pin!(stack.run_interruptibly("v2", &interrupt));
    for times in 0..2 {
        assert!(
            tokio::time::timeout(FOREVER, &mut typing).await.is_err(),
            "ended after {times} interrupts"
        );
        sender.send_modify(|count| *count += 1);
    }
    typing
        .await
        .ended(Outcome::Stuck, ExitCode::Stuck)
        .says("deploying celery_worker")
        .shows("interrupted again while unwinding");
    stack.engine.heal();
    stack.image_is("viatique-worker:v2", ImageBehaviour::running());
    let wrong = converges(&stack, "v2", &before).await;
    assert!(wrong.is_empty(), "{wrong:?}");
}
