//! The tests of the code, on this machine and in the new image.

use std::process::Command;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{CommandKind, Ended, FakeOutput, ImageBehaviour, Stack};

const COMPOSE: &str = "services:\n  web:\n    image: web:${RELEASE_TAG}\n    environment: { MODE: test }\n    ports: \
                       [\"8080:80\"]\n    volumes: [media:/srv/media]\nvolumes:\n  media:\n";

fn stack(tests: &str) -> Stack {
    let deploy_yml = format!("project: viatique\ncompose: [docker-compose.yml]\nchecks:\n  tests: {tests}\n");
    let stack = Stack::of(COMPOSE, &deploy_yml);
    let _ = stack
        .engine
        .clone()
        .with_image("web:v1", ImageBehaviour::running());
    stack
}

async fn check(stack: &Stack, tag: &str) -> Ended {
    let chosen = Chosen::check_with(Selection::of(&["tests".to_owned()], &[]).unwrap());
    stack.command(chosen, tag).await
}

fn result(ended: &Ended) -> Option<StepResult> {
    ended.task_result(StepId::Check, "tests")
}

#[tokio::test]
async fn on_this_machine_the_exit_code_decides() {
    let passed = check(&stack("[sh, -c, \"test $VIATIQUE_DEPLOY_RELEASE = v1\"]"), "v1").await;
    passed.succeeded();
    assert_eq!(result(&passed), Some(StepResult::Succeeded));
    let failed = check(&stack("[sh, -c, \"echo 1 failed; exit 1\"]"), "v1").await;
    failed
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("`sh -c echo 1 failed; exit 1` failed (exit status: 1)")
        .shows("1 failed");
    assert_eq!(result(&failed), Some(StepResult::Failed));
}

#[tokio::test]
async fn what_is_missing_or_takes_too_long_has_verified_nothing() {
    for (tests, says) in [
        ("[./run_tests.sh]", "there is no program `./run_tests.sh`"),
        (
            "{ run: [sleep, \"600\"], timeout: 50ms }",
            "`sleep 600` was not done after 0 s",
        ),
    ] {
        let ended = check(&stack(tests), "v1").await;
        ended.ended(Outcome::Failed, ExitCode::Gate).says(says);
        assert_eq!(result(&ended), Some(StepResult::NotVerified));
    }
}

/// What it started is ended with it: the output would otherwise stay open.
#[tokio::test]
async fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let stack = stack("{ run: [sh, -c, \"(sleep 20; echo survived) > pipe & wait\"], timeout: 300ms }");
    let pipe = stack.directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // At its end once nobody has it open for writing any more.
    let written = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    check(&stack, "v1").await.says("was not done");
    assert_eq!(written.join().unwrap(), "");
}

fn in_image(answer: FakeOutput) -> Stack {
    let stack = stack("{ run: [pytest, -q], in: web, timeout: 1m }");
    stack.answer(move |command| (command.line() == "pytest -q").then(|| answer.clone()));
    stack
}

#[tokio::test(start_paused = true)]
async fn in_the_image_they_have_its_environment_and_no_network() {
    let stack = in_image(FakeOutput::stdout("3 passed\n"));
    let before = stack.engine.peek();
    let ended = check(&stack, "v1").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "tests").unwrap(),
        "`pytest -q` passed in web"
    );
    let commands = stack.engine.commands();
    let ran = commands
        .iter()
        .find(|command| command.line() == "pytest -q")
        .unwrap();
    assert_eq!(ran.kind, CommandKind::OneOff);
    assert_eq!(ran.environment["MODE"], "test");
    assert_eq!(stack.engine.peek(), before);
}

#[tokio::test(start_paused = true)]
async fn in_the_image_they_fail_are_missing_or_take_too_long() {
    for (answer, says, expected) in [
        (
            FakeOutput::stdout("1 failed\n").exits(1),
            "`pytest -q` in `web` failed (exit code 1)",
            StepResult::Failed,
        ),
        (
            FakeOutput::missing(),
            "`pytest -q` cannot be run in the image of web",
            StepResult::NotVerified,
        ),
        (
            FakeOutput::silent().exits(127),
            "`pytest -q` cannot be run in the image of web",
            StepResult::NotVerified,
        ),
        (
            FakeOutput::silent().taking(std::time::Duration::from_secs(90)),
            "`pytest -q` was not done after 60 s",
            StepResult::NotVerified,
        ),
    ] {
        let stack = in_image(answer);
        let ended = check(&stack, "v1").await;
        ended.ended(Outcome::Failed, ExitCode::Gate).says(says);
        assert_eq!(result(&ended), Some(expected));
        assert!(stack.engine.peek().containers.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_build_there_is_no_image_to_ask() {
    let ended = check(&in_image(FakeOutput::silent()), "v2").await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Check, "tests").unwrap(),
        "not verified: there is no image of web yet: viatique-deploy build --tag v2"
    );
}
