//! `--dry-run` of every pipeline: it changes nothing, and it is true.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::pipeline::{Change, ChangeKind, StepId};

use crate::support::{Call, Stack};

fn every_command() -> Vec<Chosen> {
    vec![
        Chosen::check(),
        Chosen::backup(),
        Chosen::build(),
        Chosen::migrate(),
        Chosen::collectstatic(),
        Chosen::deploy(),
        Chosen::health(),
        Chosen::run(),
    ]
}

/// Plans every command, and holds the engine before against the engine after.
async fn nothing_is_changed(stack: &Stack, tag: &str) {
    for chosen in every_command() {
        let name = chosen.name;
        let (before, calls) = (stack.engine.peek(), stack.engine.calls().len());
        let files = std::fs::read_dir(stack.directory.path()).unwrap().count();
        stack.dry_run(chosen, tag).await.succeeded();
        let made = &stack.engine.calls()[calls..];
        // What the migrations mean is asked in a container that is gone afterwards.
        let asks = |call: &Call| call.name == "run_one_off" && call.target.contains("-run-judge-");
        assert!(
            made.iter().all(|call| !call.changes() || asks(call)),
            "{name}: {made:?}"
        );
        assert_eq!(stack.engine.peek(), before, "{name}");
        assert_eq!(
            std::fs::read_dir(stack.directory.path()).unwrap().count(),
            files,
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_command_changes_anything() {
    let stack = Stack::viatique();
    stack.dry_run(Chosen::run(), "v1").await.succeeded();
    assert!(stack.engine.peek().containers.is_empty());
    stack.command(Chosen::build(), "v1").await.succeeded();
    nothing_is_changed(&stack, "v1").await;
    stack.run("v1").await.succeeded();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    nothing_is_changed(&stack, "v1").await;
    stack.command(Chosen::build(), "v2").await.succeeded();
    nothing_is_changed(&stack, "v2").await;
}

fn kinds(changes: &[Change], target: &str) -> Vec<ChangeKind> {
    changes
        .iter()
        .filter(|change| change.target == target)
        .map(|change| change.kind)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_is_what_the_run_then_does() {
    let stack = Stack::viatique();
    let first = stack.dry_run(Chosen::run(), "v1").await;
    let planned = first.planned(StepId::Deploy);
    for service in [
        "db",
        "redis",
        "backend",
        "frontend",
        "celery_worker",
        "celery_beat",
        "nginx",
    ] {
        assert_eq!(kinds(&planned, service), [ChangeKind::Create], "{service}");
    }
    assert_eq!(kinds(&planned, "network viatique_back"), [ChangeKind::Create]);
    assert_eq!(kinds(&planned, "volume viatique_media"), [ChangeKind::Create]);
    stack.run("v1").await.succeeded();
    stack.command(Chosen::build(), "v2").await.succeeded();
    let planned = stack
        .dry_run(Chosen::deploy(), "v2")
        .await
        .planned(StepId::Deploy);
    for service in ["backend", "frontend", "celery_worker"] {
        assert_eq!(kinds(&planned, service), [ChangeKind::Replace], "{service}");
    }
    assert_eq!(kinds(&planned, "celery_beat"), [ChangeKind::ReplaceWithGap]);
    assert_eq!(kinds(&planned, "nginx"), [ChangeKind::Reload]);
    for service in ["db", "redis"] {
        assert_eq!(kinds(&planned, service), [ChangeKind::Keep], "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_run_nothing_is_left_to_create_or_replace() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    for chosen in [Chosen::run(), Chosen::deploy()] {
        let planned = stack.dry_run(chosen, "v1").await.planned(StepId::Deploy);
        let left: Vec<&Change> = planned
            .iter()
            .filter(|change| !matches!(change.kind, ChangeKind::Keep | ChangeKind::Reload))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
