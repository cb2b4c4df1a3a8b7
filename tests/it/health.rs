//! `health`: a gate that looks at every container and asks the app itself.

use std::time::Duration;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::{Ended, FOREVER, FakeApp, ImageBehaviour, Stack};

async fn serving(app: FakeApp) -> Stack {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.app = app;
    stack
}

async fn health(stack: &Stack) -> Ended {
    let before = stack.engine.peek().containers.len();
    let ended = stack.command(Chosen::health(), "v1").await;
    assert_eq!(stack.engine.peek().containers.len(), before, "it only looks");
    ended
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_well_passes_after_several_good_answers() {
    let stack = serving(FakeApp::healthy()).await;
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Health), StepResult::Unchanged);
    assert_eq!(stack.app.asked().len(), 3);
    assert_eq!(stack.app.asked()[0].url, "http://127.0.0.1:8080/health/");
}

#[tokio::test(start_paused = true)]
async fn one_bad_answer_starts_the_count_again() {
    let app = FakeApp::answering(|_, before| match before {
        2 => Ok((502, "bad gateway".to_owned())),
        _ => Ok((200, "ok".to_owned())),
    });
    let stack = serving(app).await;
    health(&stack).await.succeeded();
    assert_eq!(stack.app.asked().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_answers_badly_for_too_long_fails_the_gate() {
    let stack = serving(FakeApp::answering(|_, _| Ok((500, "database: gone".to_owned())))).await;
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("http://127.0.0.1:8080/health/ answers 500, for 20 s")
        .shows("database: gone");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_answer_fails_the_gate() {
    let stack = serving(FakeApp::unreachable()).await;
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("connection refused");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_django_refuses_is_explained() {
    let stack = serving(FakeApp::answering(|_, _| Ok((400, String::new())))).await;
    stack.edit_deploy_yml("timeout: 20s", "timeout: 20s, host: copies.example.com");
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("ALLOWED_HOSTS");
    assert_eq!(stack.app.asked()[0].host.as_deref(), Some("copies.example.com"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_must_say_what_deploy_yml_expects() {
    let answer = |text: &'static str| FakeApp::answering(move |_, _| Ok((200, text.to_owned())));
    for (text, complaint) in [
        (
            r#"{"database":"gone"}"#,
            "says database: \"gone\" instead of \"connected\"",
        ),
        ("{}", "says database: nothing instead of \"connected\""),
        ("<html>", "answers something that is not JSON"),
    ] {
        let stack = serving(answer(text)).await;
        stack.edit_deploy_yml("timeout: 20s", "timeout: 20s, expect: { database: connected }");
        health(&stack)
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(complaint);
    }
    let stack = serving(answer(r#"{"database":"connected","more":1}"#)).await;
    stack.edit_deploy_yml("timeout: 20s", "timeout: 20s, expect: { database: connected }");
    health(&stack).await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_run_fails_the_gate_and_is_named() {
    let stack = serving(FakeApp::healthy()).await;
    stack.engine.kill("viatique-celery_worker-1", 137);
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("celery_worker: 0 of 1 replicas are well")
        .hints_at("viatique-deploy status");
}

/// As after a deploy that has seen the health test pass before the engine has.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_still_starting_is_waited_for() {
    let stack = serving(FakeApp::healthy()).await;
    let since = tokio::time::Instant::now();
    let ten = Duration::from_secs(10);
    stack.engine.becomes(
        "viatique-backend-1",
        ImageBehaviour::healthy_after(since.elapsed() + ten),
    );
    let calls = stack.engine.calls().len();
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_message(StepId::Health, "backend").as_deref(),
        Some("well")
    );
    assert_eq!(stack.app.asked().len(), 3, "asked meanwhile, and once");
    // Each look inspects every container.
    let looks = stack.engine.calls().len() - calls;
    let most = usize::try_from(since.elapsed().as_millis() / 100).unwrap() + 10;
    assert!(looks <= most, "{looks} in {:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_come_up_in_time_fails_the_gate() {
    let mut stack = Stack::viatique();
    let telling = ImageBehaviour::running().logging(&["waiting for the queue"]);
    stack.image_is("viatique-backend:v1", telling);
    stack.run("v1").await.succeeded();
    stack.app = FakeApp::unreachable();
    stack
        .engine
        .becomes("viatique-backend-1", ImageBehaviour::healthy_after(FOREVER));
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("backend: 0 of 1 replicas are well after 20 s")
        .shows("last log lines of viatique-backend-1:\nwaiting for the queue");
}

#[tokio::test(start_paused = true)]
async fn a_broken_service_fails_the_gate_at_once_whatever_else_is_waited_for() {
    let stack = serving(FakeApp::unreachable()).await;
    stack
        .engine
        .becomes("viatique-backend-1", ImageBehaviour::healthy_after(FOREVER));
    stack.engine.becomes(
        "viatique-celery_worker-1",
        ImageBehaviour::never_healthy("no workers"),
    );
    stack.engine.kill("viatique-frontend-1", 1);
    let began = tokio::time::Instant::now();
    let ended = health(&stack).await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("celery_worker: 0 of 1 replicas are well")
        .says("frontend: 0 of 1 replicas are well");
    assert!(!ended.message().contains("backend"), "{}", ended.message());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(
        ended.task_result(StepId::Health, "backend"),
        Some(StepResult::Interrupted)
    );
}

/// One without a health test is watched for a while, from when the deploy first saw it run.
#[tokio::test(start_paused = true)]
async fn what_the_deploy_has_watched_long_enough_is_not_watched_again() {
    for (worker_takes, watched) in [(0, true), (10, false)] {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        let worker = ImageBehaviour::healthy_after(Duration::from_secs(worker_takes));
        stack.image_is("viatique-worker:v2", worker);
        let ended = stack.run("v2").await;
        ended.succeeded();
        let took = ended.took(StepId::Health);
        assert_eq!(
            took >= Duration::from_secs(2),
            watched,
            "{took:?} after {worker_takes} s"
        );
    }
}
