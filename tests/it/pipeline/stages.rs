//! Steps side by side: what runs beside what, what waits for what, and what becomes of the others when one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome, StepId, StepResult, UnwindResult};

use crate::support::{
    DUMP, Database, Ended, FOREVER, FakeCommand, FakeEngine, FakeOutput, Fault, ImageBehaviour, Seen, Stack,
};

use super::invariants::{nothing_else_stands, serves_one_release, unfinished_backups};

const A_WHILE: Duration = Duration::from_secs(10);

async fn serving() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack
}

fn dumps(command: &FakeCommand) -> bool {
    command.words.first().is_some_and(|word| word == "pg_dump")
}

/// A migration that takes its time.
fn slowly(database: &mut Database) -> FakeOutput {
    let asked = database.answer();
    let pending = std::mem::take(&mut database.pending);
    database.applied.extend(pending);
    FakeOutput::stdout(format!("{asked}{}", database.answer())).taking(A_WHILE)
}

/// Whatever was under way when it failed, nothing of it is left.
#[track_caller]
fn v1_serves_and_nothing_is_left(stack: &Stack, before: &Seen) {
    let seen = stack.engine.peek();
    assert_eq!(serves_one_release(&seen, before).as_deref(), Ok("v1"));
    assert_eq!(nothing_else_stands(&seen, before), Ok(()));
    assert_eq!(unfinished_backups(stack), Vec::<String>::new());
}

fn overlap(ended: &Ended, one: StepId, other: StepId) -> bool {
    let (one, other) = (ended.span(one), ended.span(other));
    one.start < other.end && other.start < one.end
}

#[tokio::test(start_paused = true)]
async fn what_does_not_need_each_other_runs_side_by_side_and_the_rest_waits() {
    use StepId::{Backup, Build, Check, Collectstatic, Deploy, Gate, Health, Migrate};
    let stack = serving().await;
    stack.bring_migration("copies", "0002_mark");
    // Each dump takes its time, and so does each of Django's containers.
    let database = Arc::clone(&stack.database);
    stack.answer(move |command| {
        if dumps(command) {
            return Some(FakeOutput::stdout(DUMP).taking(A_WHILE));
        }
        command
            .orders("migrate")
            .then(|| slowly(&mut database.lock().unwrap()))
    });
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert!(overlap(&ended, Backup, Build));
    assert!(overlap(&ended, Migrate, Collectstatic));
    for (before, after) in [
        (Check, Backup),
        (Check, Build),
        // No migration before the backup is whole and read back.
        (Backup, Migrate),
        (Build, Migrate),
        (Backup, Gate),
        (Build, Gate),
        (Gate, Migrate),
        (Gate, Collectstatic),
        (Build, Collectstatic),
        (Migrate, Deploy),
        (Collectstatic, Deploy),
        (Deploy, Health),
    ] {
        assert!(
            ended.span(before).end < ended.span(after).start,
            "{before:?} before {after:?}"
        );
    }
    let order: Vec<StepId> = ended.steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(
        order,
        [Check, Backup, Build, Gate, Migrate, Collectstatic, Deploy, Health]
    );
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_stops_the_backup_beside_it_at_once() {
    let stack = serving().await;
    let before = stack.engine.peek();
    stack.answer(|command| dumps(command).then(|| FakeOutput::stdout("PGDMP").taking(FOREVER * 2)));
    // The dump is under way by then.
    stack.engine.builds_take(A_WHILE);
    stack
        .engine
        .break_sources("viatique-backend:v2", "no such package");
    let ended = tokio::time::timeout(FOREVER, stack.run("v2")).await.unwrap();
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("no such package");
    assert_eq!(ended.step(StepId::Build), StepResult::Failed);
    assert_eq!(ended.step(StepId::Backup), StepResult::Interrupted);
    assert_eq!(
        ended.step_message(StepId::Backup),
        "stopped, because build failed"
    );
    assert_eq!(ended.undo(StepId::Backup).unwrap().0, UnwindResult::Reverted);
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
    v1_serves_and_nothing_is_left(&stack, &before);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_fails_stops_the_build_beside_it_at_once() {
    let stack = serving().await;
    let before = stack.engine.peek();
    stack.answer(|command| dumps(command).then(|| FakeOutput::silent().exits(1).taking(A_WHILE)));
    stack.engine.fault_on("build", 5, Fault::HangBefore);
    let ended = tokio::time::timeout(FOREVER, stack.run("v2")).await.unwrap();
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("pg_dump ended");
    assert_eq!(ended.step(StepId::Backup), StepResult::Failed);
    assert_eq!(ended.step(StepId::Build), StepResult::Interrupted);
    assert_eq!(
        ended.step_message(StepId::Build),
        "stopped, because backup failed"
    );
    v1_serves_and_nothing_is_left(&stack, &before);
}

/// Half a migration would be worse than all of it.
#[tokio::test(start_paused = true)]
async fn a_migration_under_way_is_finished_though_the_step_beside_it_failed() {
    let stack = serving().await;
    let before = stack.engine.peek();
    stack.bring_migration("copies", "0002_mark");
    let database = Arc::clone(&stack.database);
    stack.answer(move |command| {
        if command.collects_static_files() {
            return Some(FakeOutput::silent().exits(1));
        }
        command
            .orders("migrate")
            .then(|| slowly(&mut database.lock().unwrap()))
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("static files could not be collected");
    assert_eq!(ended.step(StepId::Collectstatic), StepResult::Failed);
    assert_eq!(ended.step(StepId::Migrate), StepResult::Succeeded);
    assert_eq!(
        ended.undo(StepId::Migrate).unwrap(),
        (
            UnwindResult::LeftInPlace,
            "the migrations stay applied: copies.0002_mark".to_owned()
        )
    );
    v1_serves_and_nothing_is_left(&stack, &before);
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_fails_stops_what_runs_beside_it() {
    let stack = serving().await;
    let before = stack.engine.peek();
    stack.bring_migration("copies", "0002_mark");
    stack.answer(|command| {
        let forever = || FakeOutput::silent().taking(FOREVER * 2);
        let fails = || FakeOutput::silent().exits(1).taking(A_WHILE);
        match (command.collects_static_files(), command.orders("migrate")) {
            (true, _) => Some(forever()),
            (false, migrates) => migrates.then(fails),
        }
    });
    let ended = tokio::time::timeout(FOREVER, stack.run("v2")).await.unwrap();
    ended.ended(Outcome::Failed, ExitCode::Failed);
    assert_eq!(ended.step(StepId::Migrate), StepResult::Failed);
    assert_eq!(ended.step(StepId::Collectstatic), StepResult::Interrupted);
    v1_serves_and_nothing_is_left(&stack, &before);
}

#[tokio::test(start_paused = true)]
async fn where_both_fail_the_first_is_told_first_and_the_second_beside_it() {
    let stack = serving().await;
    stack.bring_migration("copies", "0002_mark");
    let database = Arc::clone(&stack.database);
    stack.answer(move |command| {
        if command.collects_static_files() {
            return Some(FakeOutput::silent().and_stderr("no room on the disk\n").exits(1));
        }
        command.orders("migrate").then(|| {
            FakeOutput::stdout(database.lock().unwrap().answer())
                .and_stderr("column exists\n")
                .exits(1)
                .taking(A_WHILE)
        })
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("static files could not be collected")
        .shows("no room on the disk")
        .shows("migrate failed too:\nthe migration failed (exit code 1)")
        .shows("column exists")
        .hints_at("none of the pending migrations stands");
    assert!(!ended.message().contains("the migration failed"));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_stops_everything_that_is_under_way() {
    for (hangs, during) in [
        ("backup and build", [StepId::Backup, StepId::Build]),
        (
            "migrate and collectstatic",
            [StepId::Migrate, StepId::Collectstatic],
        ),
    ] {
        let stack = serving().await;
        stack.bring_migration("copies", "0002_mark");
        let before = stack.engine.peek();
        if hangs == "backup and build" {
            stack.engine.fault_on("build", 5, Fault::HangBefore);
            stack.answer(|command| dumps(command).then(|| FakeOutput::silent().taking(FOREVER * 2)));
        } else {
            stack.answer(|command| {
                (command.orders("migrate") || command.collects_static_files())
                    .then(|| FakeOutput::silent().taking(FOREVER * 2))
            });
        }
        let (sender, interrupt) = Interrupt::new();
        let mut typing = std::pin::pin!(stack.run_interruptibly("v2", &interrupt));
        assert!(tokio::time::timeout(FOREVER, &mut typing).await.is_err());
        sender.send_modify(|count| *count += 1);
        let ended = typing.await;
        ended
            .ended(Outcome::Interrupted, ExitCode::Interrupted)
            .says(&format!("interrupted during {hangs}"));
        for step in during {
            assert_eq!(ended.step(step), StepResult::Interrupted);
        }
        stack.engine.heal();
        v1_serves_and_nothing_is_left(&stack, &before);
    }
}

/// On a first deploy both steps need a database, and two on one volume would be the end of it.
#[tokio::test(start_paused = true)]
async fn what_both_need_is_started_once() {
    let stack = Stack::viatique();
    stack.engine.image_behaves(
        &FakeEngine::image_id("postgres:17"),
        ImageBehaviour::healthy_after(A_WHILE),
    );
    let began = tokio::time::Instant::now();
    let early = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&early);
    stack.answer(move |command| {
        let is_early =
            (command.orders("migrate") || command.collects_static_files()) && began.elapsed() < A_WHILE;
        seen.fetch_or(is_early, Ordering::Relaxed);
        None
    });
    stack.run("v1").await.succeeded();
    assert!(
        !early.load(Ordering::Relaxed),
        "neither begins before the database is well"
    );
    let created = |service: &str| {
        let calls = stack.engine.calls();
        let name = format!("viatique-{service}-");
        calls
            .iter()
            .filter(|call| call.name == "create_container" && call.target.starts_with(&name))
            .count()
    };
    assert_eq!((created("db"), created("redis")), (1, 1));
    let networks = stack.engine.calls();
    let networks = networks.iter().filter(|call| call.name == "create_network");
    assert_eq!(networks.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_does_not_start_is_not_started_again_by_the_other_step() {
    let stack = Stack::viatique();
    stack.engine.image_behaves(
        &FakeEngine::image_id("postgres:17"),
        ImageBehaviour::healthy_after(FOREVER),
    );
    let ended = stack.run("v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("deploying db");
    assert_eq!(ended.step(StepId::Migrate), StepResult::Failed);
    assert_eq!(ended.step(StepId::Collectstatic), StepResult::Interrupted);
    let calls = stack.engine.calls();
    let created = calls
        .iter()
        .filter(|call| call.name == "create_container" && call.target.starts_with("viatique-db-"));
    assert_eq!(created.count(), 1);
    assert_eq!(
        stack.engine.peek().names().into_iter().collect::<Vec<_>>(),
        ["viatique-deploy-ledger-viatique"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_killed_says_every_step_that_was_under_way() {
    let stack = serving().await;
    stack.bring_migration("copies", "0002_mark");
    stack.answer(|command| {
        let of_the_gate = command.orders("judge") || command.asks_for_production();
        let manages = command.line().starts_with("python manage.py") && !of_the_gate;
        manages.then(|| FakeOutput::silent().taking(FOREVER * 2))
    });
    assert!(tokio::time::timeout(FOREVER, stack.run("v2")).await.is_err());
    stack.engine.heal();
    stack.answer(|_| None);
    super::invariants::bury_the_holder(&stack);
    let ended = stack.resume().await.unwrap().unwrap();
    ended.succeeded();
    assert!(
        ended.warnings().contains("stopped at migrate and collectstatic"),
        "{}",
        ended.warnings()
    );
}
