//! One call of the engine goes wrong, for each call of a clean command in turn: it fails, it is done but its answer
//! is lost, or it never returns and the operator interrupts.

use std::pin::pin;

use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome};

use super::invariants::{LOCK, converges, nothing_else_stands, serves_one_release, unfinished_backups};
use crate::support::{Call, Ended, FOREVER, Fault, Seen, Stack};

/// Which command goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// `run --tag v2` on v1.
    Run,
    /// `rollback` from v2 to v1.
    Rollback,
}

impl Typed {
    /// What stands before it.
    pub(super) async fn prepared(self) -> Stack {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        if self == Self::Rollback {
            stack.run("v2").await.succeeded();
        }
        stack.bring_migration("copies", "0002_mark");
        stack
    }

    pub(super) const fn from(self) -> &'static str {
        match self {
            Self::Run => "v1",
            Self::Rollback => "v2",
        }
    }

    pub(super) const fn to(self) -> &'static str {
        match self {
            Self::Run => "v2",
            Self::Rollback => "v1",
        }
    }

    pub(super) async fn type_it(self, stack: &Stack, interrupt: &Interrupt) -> Ended {
        match self {
            Self::Run => stack.run_interruptibly("v2", interrupt).await,
            Self::Rollback => stack.rollback_interruptibly(Some("v1"), interrupt).await.unwrap(),
        }
    }

    /// The calls of a clean command, without those that only ask again what was asked just before.
    pub(super) async fn calls(self, stack: &Stack) -> Vec<(usize, Call)> {
        let clean = stack.fork();
        self.type_it(&clean, &Interrupt::new().1).await.succeeded();
        let calls = clean.engine.calls();
        let asks_again =
            |index: usize| index >= 2 && calls[index] == calls[index - 1] && calls[index] == calls[index - 2];
        (0..calls.len())
            .filter(|index| !asks_again(*index))
            .map(|index| (index + 1, calls[index].clone()))
            .collect()
    }
}

/// Calls that something else is waited for beside: a health test run by the deploy itself, which the engine runs too;
/// what a sidecar waits for, which has a limit; events, behind which there is a look now and then.
pub(super) fn is_not_waited_for_alone(call: &Call) -> bool {
    matches!(call.name, "exec" | "container_events" | "wait")
}

/// How the command with the fault ended; `None` where it still hangs after an interrupt.
async fn with_fault(typed: Typed, stack: &Stack, fault: Fault, call: &Call) -> Option<Ended> {
    let (sender, interrupt) = Interrupt::new();
    let mut typing = pin!(typed.type_it(stack, &interrupt));
    if let Ok(ended) = tokio::time::timeout(FOREVER, &mut typing).await {
        assert!(
            !matches!(fault, Fault::HangBefore | Fault::HangAfter) || is_not_waited_for_alone(call),
            "it came to its end though {call:?} hung"
        );
        return Some(ended);
    }
    sender.send_modify(|count| *count += 1);
    tokio::time::timeout(FOREVER, &mut typing).await.ok()
}

/// Exception 1: a call that no interrupt ends, because what it writes must be known to be written or not. The engine's
/// client ends it by its own time-out, which is [`Fault::LoseReply`] or [`Fault::Fail`] here.
fn is_seen_through(call: &Call, after_the_record: bool) -> bool {
    after_the_record || call.name == "write_files" || (call.name == "create_marker" && call.target == LOCK)
}

/// What stands wrongly, the exceptions left out.
async fn complaints(typed: Typed, stack: &Stack, before: &Seen, ended: &Ended, fault: Fault) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = stack.engine.peek();
    let told = format!(
        "{}\n{}\n{}\n{}",
        ended.message(),
        ended.hints(),
        ended.evidence(),
        ended.warnings()
    );
    // Exception 2: what was kept for the way back stays, stopped, where it could not be cleared away. It is said, and
    // the next run clears it away.
    if ended.outcome == Outcome::Succeeded && told.contains("clearing up after deploy") {
        seen.containers
            .retain(|container| !container.name.contains("-old-"));
    }
    // The same of sidecars, after a way back too: they serve nobody.
    if told.contains("clearing up after deploy") {
        seen.containers
            .retain(|container| !container.name.contains("-sidecar-"));
    }
    // Exception 3: the lock stays where it could not be given back. It is said, with the command that removes it.
    if told.contains("the lock could not be given back") && told.contains("viatique-deploy unlock") {
        seen.containers.retain(|container| container.name != LOCK);
    }
    let serves = serves_one_release(&seen, before).unwrap_or_else(|complaint| {
        wrong.push(complaint);
        String::new()
    });
    wrong.extend(nothing_else_stands(&seen, before).err());
    let expected = match ended.outcome {
        Outcome::Succeeded => (typed.to(), ExitCode::Done),
        Outcome::Failed => (typed.from(), ExitCode::Failed),
        Outcome::RolledBack => (typed.from(), ExitCode::RolledBack),
        Outcome::Interrupted => (typed.from(), ExitCode::Interrupted),
        // Exception 4: it serves and is not recorded, which only a person can mend.
        Outcome::Stuck if told.contains("serves, but it could not be recorded") => {
            (typed.to(), ExitCode::Stuck)
        }
        Outcome::Stuck => ("nobody knows", ExitCode::Stuck),
    };
    if (serves.as_str(), ended.code) != expected {
        wrong.push(format!(
            "{:?}, {:?}, and {serves} serves",
            ended.outcome, ended.code
        ));
    }
    if ended.serves.as_deref() != Some(serves.as_str()) {
        wrong.push(format!("says that {:?} serves, and {serves} does", ended.serves));
    }
    let releases = stack.releases().await;
    let recorded = releases.current().map(|release| release.tag.as_str());
    if recorded != Some(serves.as_str()) && ended.outcome != Outcome::Stuck {
        wrong.push(format!("{recorded:?} is recorded, and {serves} serves"));
    }
    let first = match fault {
        Fault::Fail(_) => "made to fail",
        Fault::LoseReply(_) => "the answer was lost",
        Fault::HangBefore | Fault::HangAfter => "interrupted",
    };
    if ended.outcome != Outcome::Succeeded && !ended.message().contains(first) {
        wrong.push(format!("the first error is lost: {told}"));
    }
    wrong.extend(
        unfinished_backups(stack)
            .into_iter()
            .map(|folder| format!("unfinished: {folder}")),
    );
    wrong
}

/// Tries the fault at every call, and shows all that is wrong at once.
async fn at_every_call(typed: Typed, fault: Fault) {
    let prepared = typed.prepared().await;
    let before = prepared.engine.peek();
    let mut wrong = Vec::new();
    let calls = typed.calls(&prepared).await;
    assert!(calls.len() > 50, "{calls:?}");
    let recorded = calls
        .iter()
        .position(|(_, call)| call.target.contains("releases/"))
        .unwrap();
    for (index, (number, call)) in calls.iter().enumerate() {
        // A question that is never answered is as good as not asked.
        if matches!(fault, Fault::LoseReply(_) | Fault::HangAfter) && !call.changes() {
            continue;
        }
        let stack = prepared.fork();
        stack.engine.fault_at(*number, fault);
        let ended = with_fault(typed, &stack, fault, call).await;
        stack.engine.heal();
        let mut complaints = match ended {
            Some(ended) => complaints(typed, &stack, &before, &ended, fault).await,
            None if is_seen_through(call, index >= recorded) => Vec::new(),
            None => vec!["hangs in spite of an interrupt".to_owned()],
        };
        complaints.extend(converges(&stack, "v2", &before).await);
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
async fn a_run_survives_any_call_that_fails() {
    at_every_call(Typed::Run, Fault::Fail(EngineErrorKind::Other)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_survives_any_answer_that_is_lost() {
    at_every_call(Typed::Run, Fault::LoseReply(EngineErrorKind::TimedOut)).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_survives_an_interrupt_before_any_call() {
    at_every_call(Typed::Run, Fault::HangBefore).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_survives_an_interrupt_after_any_call() {
    at_every_call(Typed::Run, Fault::HangAfter).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_any_call_that_fails() {
    at_every_call(Typed::Rollback, Fault::Fail(EngineErrorKind::Other)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_any_answer_that_is_lost() {
    at_every_call(Typed::Rollback, Fault::LoseReply(EngineErrorKind::TimedOut)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_an_interrupt_before_any_call() {
    at_every_call(Typed::Rollback, Fault::HangBefore).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_survives_an_interrupt_after_any_call() {
    at_every_call(Typed::Rollback, Fault::HangAfter).await;
}
