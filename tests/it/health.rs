//! `health`: a gate that looks at every container and asks the app itself.

use std::time::Duration;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};

use crate::support::{Ended, FOREVER, FakeApp, FakeCommand, FakeOutput, ImageBehaviour, Stack};

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

#[tokio::test(start_paused = true)]
async fn the_answer_must_come_from_the_release_that_serves() {
    let old = FakeApp::answering(|_, _| Ok((200, r#"{"release":"v0"}"#.to_owned())));
    let stack = serving(old).await;
    stack.edit_deploy_yml("timeout: 20s", "timeout: 20s, release: release");
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("says release: \"v0\" instead of \"v1\"");
    let mut stack = stack;
    stack.app = FakeApp::answering(|_, _| Ok((200, r#"{"release":"v1"}"#.to_owned())));
    health(&stack).await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_way_to_https_is_explained() {
    let stack = serving(FakeApp::answering(|_, _| Ok((301, String::new())))).await;
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("answers 301 (where django wants https: is `X-Forwarded-Proto: https` among health.headers?)");
}

fn pings(command: &FakeCommand) -> bool {
    command.line().contains("inspect ping --timeout")
}

#[tokio::test(start_paused = true)]
async fn every_worker_is_asked_for_a_ping() {
    let stack = serving(FakeApp::healthy()).await;
    let asked = || stack.engine.commands().iter().filter(|one| pings(one)).count();
    assert_eq!(
        asked(),
        0,
        "its health test asks the same, and the deploy has seen it pass"
    );
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(asked(), 1);
    assert_eq!(
        ended
            .task_message(StepId::Health, "celery_worker ping")
            .as_deref(),
        Some("answers a ping")
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_runs_and_takes_no_tasks_fails_the_gate() {
    let silent = || FakeOutput::stdout("Error: No nodes replied within time constraint\n").exits(69);
    let hangs = || FakeOutput::silent().taking(FOREVER);
    for (answer, shown) in [
        (
            silent as fn() -> FakeOutput,
            "Error: No nodes replied within time constraint",
        ),
        (hangs, "nothing, for 20 s"),
    ] {
        let stack = Stack::viatique();
        let telling = ImageBehaviour::healthy_after(Duration::ZERO).logging(&["the broker is gone"]);
        stack.image_is("viatique-worker:v1", telling);
        stack.run("v1").await.succeeded();
        stack.answer(move |command| pings(command).then(answer));
        health(&stack)
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says("viatique-celery_worker-1 runs, and does not answer a ping within 20 s")
            .shows(shown)
            .shows("last log lines of viatique-celery_worker-1:\nthe broker is gone")
            .hints_at("docker restart viatique-celery_worker-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_answer_at_work_is_not_verified() {
    let stack = Stack::viatique();
    let command = "command: [celery, -A, viatique, worker";
    stack.edit_compose(&format!("{command}]"), &format!("{command}, --pool, solo]"));
    stack.run("v1").await.succeeded();
    stack.answer(move |command| pings(command).then(|| FakeOutput::silent().exits(69)));
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_result(StepId::Health, "celery_worker ping"),
        Some(StepResult::NotVerified)
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_answers_late_is_waited_for() {
    let stack = serving(FakeApp::healthy()).await;
    let times = std::sync::atomic::AtomicU32::new(0);
    stack.answer(move |command| {
        let late = pings(command) && times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        late.then(|| FakeOutput::silent().exits(69).taking(Duration::from_secs(5)))
    });
    health(&stack).await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_name_is_not_told_is_not_verified() {
    let stack = Stack::viatique();
    let command = "command: [celery, -A, viatique, worker]";
    stack.edit_compose(command, "command: [sh, -c, exec celery -A viatique worker]");
    stack.run("v1").await.succeeded();
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_result(StepId::Health, "celery_worker ping"),
        Some(StepResult::NotVerified)
    );
}

const SENT: &str = "[INFO/MainProcess] Scheduler: Sending due task heartbeat (core.tasks.heartbeat)";

/// A beat that was started some minutes ago.
async fn beating(log: &[&str], schedule: &'static str) -> Stack {
    let stack = Stack::viatique();
    let telling = ImageBehaviour::running().logging(log);
    stack.image_is("viatique-beat:v1", telling);
    stack.run("v1").await.succeeded();
    stack.answer(move |command| {
        let asks = command.line().contains("beat_schedule");
        asks.then(|| FakeOutput::stdout(format!("viatique-deploy:{schedule}\n")))
    });
    tokio::time::sleep(Duration::from_secs(200)).await;
    stack
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_runs_and_does_not_send_what_is_due_fails_the_gate() {
    let stack = beating(
        &["beat: Starting...", SENT],
        r#"{"scheduled": 2, "overdue": ["heartbeat"]}"#,
    )
    .await;
    health(&stack)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("viatique-celery_beat-1 runs, and does not tick: it sent its last task 2")
        .says("s ago, and heartbeat should have been sent since")
        .shows("last log lines of viatique-celery_beat-1:\nbeat: Starting...")
        .hints_at("docker restart viatique-celery_beat-1");
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_has_nothing_to_send_is_well() {
    let stack = beating(&["beat: Starting..."], r#"{"scheduled": 2, "overdue": []}"#).await;
    let ended = health(&stack).await;
    ended.succeeded();
    let told = ended.task_message(StepId::Health, "celery_beat ticks").unwrap();
    assert!(told.ends_with("s ago, nothing was due since"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_known_of_a_beat_is_not_verified() {
    for (log, schedule, why) in [
        (&[][..], "{}", "its log does not tell what it sends"),
        (
            &["beat: Starting..."],
            r#"{"scheduled": 0, "overdue": []}"#,
            "its schedule does not stand in the settings",
        ),
        (&["beat: Starting..."], "?", "its schedule is not understood"),
    ] {
        let stack = beating(log, schedule).await;
        let ended = health(&stack).await;
        ended.succeeded();
        let task = "celery_beat ticks";
        assert_eq!(
            ended.task_result(StepId::Health, task),
            Some(StepResult::NotVerified)
        );
        let told = ended.task_message(StepId::Health, task).unwrap();
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_in_the_last_lines_are_told_and_fail_nothing() {
    let stack = Stack::viatique();
    let traceback = [
        "2026-11-29 06:00:00,123 ERROR django.request: Internal Server Error: /print/3/",
        "Traceback (most recent call last):",
        "  File \"/app/papers/views.py\", line 107, in print_copy",
        "    raise ValueError(copy)",
        "ValueError: copy 3",
        "2026-11-29 06:00:01,000 INFO all is well",
    ];
    let telling = ImageBehaviour::healthy_after(Duration::ZERO).logging(&traceback);
    stack.image_is("viatique-backend:v1", telling);
    let database =
        ImageBehaviour::healthy_after(Duration::ZERO).logging(&["ERROR:  relation \"x\" does not exist"]);
    stack.image_is("postgres:17", database);
    stack.run("v1").await.succeeded();
    let ended = health(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.task_result(StepId::Health, "logs"),
        Some(StepResult::Warned)
    );
    assert_eq!(
        ended.task_message(StepId::Health, "logs").as_deref(),
        Some("1 errors")
    );
    let told = "in the log of backend, 1 times: ValueError at /app/papers/views.py:print_copy";
    assert!(ended.warnings().contains(told), "{}", ended.warnings());
}

#[tokio::test(start_paused = true)]
async fn logs_without_errors_are_told_with_what_was_read() {
    let stack = serving(FakeApp::healthy()).await;
    let ended = health(&stack).await;
    let told = ended.task_message(StepId::Health, "logs").unwrap();
    assert!(
        told.starts_with("no errors in the last 100 lines of viatique-backend-1, viatique-celery_beat-1"),
        "{told}"
    );
}
