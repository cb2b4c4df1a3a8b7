//! The gate: what may be otherwise by now is looked at again once everything is built and saved, and whoever sits at a
//! terminal is asked once, with the whole picture.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::Stack;

async fn serving() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack
}

#[tokio::test(start_paused = true)]
async fn whoever_sits_there_is_asked_once_with_the_whole_picture() {
    let mut stack = serving().await;
    stack.person = Some(true);
    let ended = stack.run("v2").await;
    ended.succeeded();
    let [question] = ended.questions.as_slice() else {
        panic!("{:?}", ended.questions);
    };
    assert_eq!(question.question, "Deploy v2?");
    let line = |name: &str| {
        let found = question.lines.iter().find(|(heading, _)| heading == name);
        found.map(|(_, line)| line.as_str()).unwrap_or_default()
    };
    assert_eq!(line("project"), "viatique");
    assert_eq!(line("release"), "v2");
    assert!(
        line("serves now").starts_with("v1, deployed 2026-"),
        "{question:?}"
    );
    assert_eq!(line("backup"), ended.run.to_string());
    assert!(line("checks").contains(" passed"), "{question:?}");
}

#[tokio::test(start_paused = true)]
async fn a_no_changes_nothing_and_keeps_the_backup() {
    let mut stack = serving().await;
    let before = stack.engine.peek();
    stack.person = Some(false);
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("the question was not answered with yes")
        .hints_at("--yes");
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    assert_eq!(stack.engine.peek().containers, before.containers);
    assert!(stack.backups().join(ended.run.to_string()).exists());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_nobody_sits_and_by_no_other_command() {
    let mut stack = serving().await;
    assert_eq!(stack.run("v2").await.questions, []);
    stack.person = Some(false);
    let ended = stack.rollback(None).await.unwrap();
    ended.succeeded();
    assert_eq!(ended.questions, [], "its own question comes before");
    let ended = stack.command(Chosen::check(), "v2").await;
    assert_eq!(ended.questions, []);
}

/// GitLab, 2017: dumps of a few bytes, for days, and nobody looked.
#[tokio::test(start_paused = true)]
async fn a_dump_that_is_suddenly_small_stops_the_run_before_anything_is_changed() {
    let stack = serving().await;
    stack.run("v1").await.succeeded();
    crate::check_backups::edit_newest(&stack, |manifest| {
        for file in manifest["files"].as_array_mut().unwrap() {
            file["bytes"] = 1_000_000.into();
        }
    });
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("of the database is suddenly small")
        .hints_at("viatique-deploy backup show");
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn room_that_went_away_since_the_first_look_is_found() {
    let stack = serving().await;
    let before = stack.engine.peek();
    let engine = stack.engine.clone();
    stack.answer(move |command| {
        // The backup is under way: the first look is over.
        if command.words.iter().any(|word| word == "pg_dump") {
            engine.has_room(|room| room.disk_available = Some(1 << 20));
        }
        None
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("[lint: no-room-on-disk]");
    assert_eq!(ended.step(StepId::Check), StepResult::Unchanged);
    assert_eq!(ended.step(StepId::Gate), StepResult::Failed);
    assert_eq!(stack.engine.peek().containers, before.containers);
}

#[tokio::test(start_paused = true)]
async fn the_record_of_the_release_says_what_the_checks_came_to() {
    let stack = serving().await;
    stack.run("v2").await.succeeded();
    let releases = stack.releases().await;
    let record = releases.current().unwrap().checks.clone().unwrap();
    assert!(record.passed > 5, "{record:?}");
    assert!(record.others.iter().all(|one| !one.blocks), "{record:?}");
}
