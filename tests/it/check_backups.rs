//! Whether what must not be lost is saved: the checks `backup-database` and `backup-media` read manifests, and nothing
//! else says how old a backup is.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId};
use viatique_deploy::release::checks::CheckVerdict;

use crate::support::{Ended, Stack};

/// Served, with so many backups.
async fn saved(backups: usize) -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    for _ in 0..backups {
        stack.command(Chosen::backup(), "v1").await.succeeded();
    }
    stack
}

async fn check(stack: &Stack) -> Ended {
    stack.command(Chosen::check(), "v1").await
}

/// Changes the newest manifest.
pub(crate) fn edit_newest(stack: &Stack, change: impl FnOnce(&mut serde_json::Value)) {
    let mut folders: Vec<_> = std::fs::read_dir(stack.backups())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("manifest.json"))
        .filter(|path| path.exists())
        .collect();
    folders.sort();
    let path = folders.last().unwrap();
    let mut manifest = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, manifest.to_string()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_has_nothing_to_lose() {
    let stack = Stack::viatique();
    let ended = check(&stack).await;
    ended.succeeded();
    for id in ["backup-database", "backup-media"] {
        let outcome = ended.check(id);
        assert_eq!(outcome.verdict, CheckVerdict::NotVerified, "never passed");
        assert_eq!(
            ended.task_message(StepId::Check, id).as_deref(),
            Some("not verified: nothing runs yet, so there is nothing to lose")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_one_passes_and_is_named() {
    let stack = saved(2).await;
    let ended = check(&stack).await;
    ended.succeeded();
    for id in ["backup-database", "backup-media"] {
        assert_eq!(ended.check(id).verdict, CheckVerdict::Passed);
        assert!(ended.check(id).line.contains(" old, "), "{:?}", ended.check(id));
    }
}

#[tokio::test(start_paused = true)]
async fn none_at_all_stops_a_deploy() {
    let stack = saved(0).await;
    let ended = check(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("2 problems stand in the way of a deploy")
        .shows("there is no backup of the database [backup-database]")
        .shows("there is no backup of the media [backup-media]")
        .hints_at("viatique-deploy backup");
    // A run makes one itself.
    stack.run("v2").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_or_from_the_future_stops_a_deploy() {
    for (completed, says) in [
        (
            "2025-12-29T00:00:00Z",
            "days old, and may be 24 h (backup.max_age)",
        ),
        ("2030-01-01T00:00:00Z", "is from the future"),
    ] {
        let stack = saved(1).await;
        edit_newest(&stack, |manifest| manifest["completed_at"] = completed.into());
        let ended = check(&stack).await;
        ended.ended(Outcome::Failed, ExitCode::Gate);
        let told = format!("{}\n{}", ended.message(), ended.evidence());
        assert!(told.contains(says), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_suddenly_small_is_not_taken_for_one() {
    let stack = saved(2).await;
    edit_newest(&stack, |manifest| {
        for file in manifest["files"].as_array_mut().unwrap() {
            file["bytes"] = 1.into();
        }
    });
    let ended = check(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("of the database is suddenly small")
        .hints_at("viatique-deploy backup show");
    assert_eq!(ended.check("backup-media").verdict, CheckVerdict::Passed);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_say_when_it_was_made_is_not_verified() {
    let stack = saved(1).await;
    edit_newest(&stack, |manifest| manifest["completed_at"] = "yesterday".into());
    let ended = check(&stack).await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    for id in ["backup-database", "backup-media"] {
        assert_eq!(ended.check(id).verdict, CheckVerdict::NotVerified);
        assert!(
            ended
                .check(id)
                .line
                .contains("does not say when it was completed: `yesterday`"),
            "{:?}",
            ended.check(id)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn backups_that_cannot_be_read_are_not_verified() {
    let stack = saved(1).await;
    edit_newest(&stack, |manifest| manifest["format"] = 99.into());
    let ended = check(&stack).await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    assert_eq!(ended.check("backup-media").verdict, CheckVerdict::NotVerified);
    assert!(
        ended
            .check("backup-media")
            .line
            .contains("cannot be read: it is damaged, or of a newer version")
    );
}
