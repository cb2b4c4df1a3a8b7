//! The step in whole runs on the simulated engine: what is found is taken back, what is good is left alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::{ContainerState, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, Interrupt, Outcome, StepId, StepResult, Verdict};

use crate::support::{Ended, FakeApp, FakeCommand, FakeEngine, FakeOutput, ImageBehaviour, Stack};

const NGINX: &str = "viatique-nginx-1";

/// v1 serves, and from now on releases are watched for a minute.
pub(super) async fn watched() -> Stack {
    watched_as("").await
}

async fn watched_as(more: &str) -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.edit_deploy_yml("health:", &format!("monitor: {{ for: 60s{more} }}\nhealth:"));
    stack
}

/// Twenty requests a second, and what else goes on; stopped when dropped.
pub(super) struct Visitors(JoinHandle<()>);

impl Drop for Visitors {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn line(path: &str, status: u16, seconds: f64) -> String {
    format!(
        "10.0.0.9 - - [01/Jan/2026:00:00:00 +0000] \"GET {path} HTTP/1.1\" {status} 12 \"-\" \"-\" {seconds:.3}"
    )
}

/// The pages that are visited in turn, on a good day.
pub(super) fn good_day(number: u64) -> String {
    match number % 4 {
        0 => line("/", 200, 0.005),
        1 => line("/print/7/", 200, 0.200),
        2 => line("/api/copies/", 200, 0.060),
        _ => line("/api/copies/3/", 200, 0.040),
    }
}

pub(super) fn visitors(
    stack: &Stack,
    line: impl Fn(&FakeEngine, u64) -> String + Send + 'static,
) -> Visitors {
    let engine = stack.engine.clone();
    Visitors(tokio::spawn(async move {
        for number in 0.. {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let line = line(&engine, number);
            engine.writes(NGINX, &line);
        }
    }))
}

/// Visits of the hour before.
pub(super) fn visited_before(stack: &Stack) {
    for number in 0..1000 {
        stack.engine.writes(NGINX, &good_day(number));
    }
}

/// Whether the new release is what answers.
fn is_switched(engine: &FakeEngine) -> bool {
    engine.peek().releases("backend").contains(&"v2")
}

pub(super) fn settled(ended: &Ended) -> (Verdict, Vec<String>, Vec<String>) {
    let told = ended.events.iter().find_map(|event| {
        let Event::Settled {
            verdict,
            findings,
            remarks,
            ..
        } = event
        else {
            return None;
        };
        Some((*verdict, findings.clone(), remarks.clone()))
    });
    told.unwrap_or_else(|| panic!("no verdict: {:#?}", ended.error))
}

#[track_caller]
fn taken_back(stack: &Stack, ended: &Ended, finding: &str) {
    ended
        .ended(Outcome::RolledBack, ExitCode::RolledBack)
        .says("release v2 is bad")
        .shows(finding);
    assert_eq!(ended.step(StepId::Monitor), StepResult::Failed);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    let seen = stack.engine.peek();
    for service in ["backend", "celery_worker", "celery_beat", "frontend"] {
        assert_eq!(seen.releases(service), ["v1"], "{service}");
    }
    let took = ended.took(StepId::Monitor);
    assert!(took <= Duration::from_secs(31), "only after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_good_release_is_watched_for_all_of_the_time() {
    let stack = watched().await;
    visited_before(&stack);
    let _visitors = visitors(&stack, |_, number| good_day(number));
    let ended = stack.run("v2").await;
    ended.succeeded();
    let (verdict, findings, remarks) = settled(&ended);
    assert_eq!((verdict, findings), (Verdict::Good, Vec::new()), "{remarks:?}");
    assert!(ended.took(StepId::Monitor) >= Duration::from_secs(60));
    assert_eq!(ended.step_message(StepId::Monitor), "release v2 is good");
    assert_eq!(stack.engine.peek().releases("celery_worker"), ["v2"]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_replaced_there_is_nothing_to_watch() {
    let stack = watched().await;
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.step_message(StepId::Monitor), "nothing was replaced");
}

#[tokio::test(start_paused = true)]
async fn next_to_no_traffic_leaves_it_to_the_probes() {
    let stack = watched_as(", probes: [/]").await;
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(settled(&ended).0, Verdict::Good);
    let asked = stack.app.asked();
    assert!(
        asked.iter().any(|one| one.url == "http://127.0.0.1:8080/"),
        "{asked:?}"
    );

    let stack = watched().await;
    stack.edit_deploy_yml(
        "health: { url: \"http://127.0.0.1:8080/health/\", timeout: 20s }\n",
        "",
    );
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(settled(&ended).0, Verdict::Inconclusive);
    assert!(ended.warnings().contains("inconclusive"), "{}", ended.warnings());
    assert_eq!(ended.step_message(StepId::Monitor), "release v2: inconclusive");
}

#[tokio::test(start_paused = true)]
async fn one_page_that_answers_500_takes_the_release_back() {
    let stack = watched().await;
    visited_before(&stack);
    let _visitors = visitors(&stack, |engine, number| match good_day(number) {
        page if page.contains("/print/") && is_switched(engine) => line("/print/7/", 500, 0.2),
        page => page,
    });
    let ended = stack.run("v2").await;
    taken_back(&stack, &ended, "/print/:n/: ");
    assert_eq!(settled(&ended).0, Verdict::Bad);
    is_kept_with_its_requests(&stack, &ended).await;
}

/// What was seen of it goes into its report, although it was taken back.
async fn is_kept_with_its_requests(stack: &Stack, ended: &Ended) {
    let memory = stack.memory().await;
    let account = memory.accounts[&ended.run].read(&ended.run).unwrap();
    let series = account.settled.unwrap().traffic.unwrap();
    let (before, since) = (series.before, series.since);
    assert_eq!((before.requests >= 1000, before.failed), (true, 0), "{before:?}");
    assert!(since.failed >= 3, "{since:?}");
    assert_eq!(series.pages[0].page, "/print/:n/", "what fails is told first");
    let failed: u64 = series.buckets.iter().map(|bucket| bucket.failed).sum();
    assert!(failed >= since.failed, "{failed} and {since:?}");
    assert!(series.deployed <= series.watched && series.watched <= series.until);
    let span = series.buckets.len() as f64 * f64::from(series.every);
    assert!(series.until <= span && series.until > span - 2.0 * f64::from(series.every));
}

#[tokio::test(start_paused = true)]
async fn answers_three_times_slower_take_it_back() {
    let stack = watched().await;
    visited_before(&stack);
    let _visitors = visitors(&stack, |engine, number| {
        if is_switched(engine) {
            line("/print/7/", 200, 0.6)
        } else {
            good_day(number)
        }
    });
    let ended = stack.run("v2").await;
    taken_back(&stack, &ended, "half of the answers take");
}

#[tokio::test(start_paused = true)]
async fn a_new_exception_takes_it_back_and_a_known_one_does_not() {
    let traceback = [
        "Traceback (most recent call last):",
        "  File \"/app/papers/tasks.py\", line 3, in compute_total",
        "KeyError: 'léa'",
    ];
    let stack = watched().await;
    let failing = ImageBehaviour::healthy().logging(&traceback);
    stack.image_is("viatique-backend:v2", failing.clone());
    let ended = stack.run("v2").await;
    taken_back(
        &stack,
        &ended,
        "new exception in the log of backend, 1 times: KeyError at /app/papers/tasks.py:compute_total",
    );
    assert!(
        !ended.evidence().contains("léa"),
        "what was in a message is nobody's business"
    );

    let stack = watched().await;
    for line in traceback {
        stack.engine.writes("viatique-backend-1", line);
    }
    stack.image_is("viatique-backend:v2", failing);
    stack.run("v2").await.succeeded();
}

/// What was there when a release had settled is known to whoever watches later, whether or not a log still tells of it.
#[tokio::test(start_paused = true)]
async fn errors_of_a_settled_release_are_remembered() {
    let traceback = |exception: &str| {
        [
            "Traceback (most recent call last):".to_owned(),
            "  File \"/app/papers/tasks.py\", line 3, in compute_total".to_owned(),
            format!("{exception}: 'léa'"),
        ]
    };
    let write = |stack: &Stack, exception: &str| {
        for line in traceback(exception) {
            stack.engine.writes("viatique-backend-1", &line);
        }
        // What ends it.
        stack.engine.writes("viatique-backend-1", "INFO ready");
    };
    let stack = watched().await;
    write(&stack, "KeyError");
    stack.run("v2").await.succeeded();
    let releases = stack.releases().await;
    let known = releases.current().unwrap().known_errors.clone().unwrap();
    let known: Vec<&String> = known.iter().collect();
    assert_eq!(known, ["KeyError at /app/papers/tasks.py:compute_total"]);

    // By hand: what is in no log of before is told from what is new since then.
    let watch = || stack.command(Chosen::monitor(Some(Duration::from_secs(20))), "v2");
    write(&stack, "KeyError");
    let _visitors = visitors(&stack, |_, number| good_day(number));
    let ended = watch().await;
    ended.succeeded();
    assert_eq!(settled(&ended).1, Vec::<String>::new());
    write(&stack, "TypeError");
    watch().await.ended(Outcome::Failed, ExitCode::Gate).shows(
        "new exception in the log of backend, 1 times: TypeError at /app/papers/tasks.py:compute_total",
    );

    // And by the next run, though the old container has not written it.
    let stack = watched().await;
    write(&stack, "KeyError");
    stack.run("v2").await.succeeded();
    let lines = traceback("KeyError");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    stack.image_is("viatique-backend:v3", ImageBehaviour::healthy().logging(&lines));
    stack.run("v3").await.succeeded();
    // What is not met any more is forgotten with the release after.
    stack.run("v4").await.succeeded();
    let releases = stack.releases().await;
    let known = |tag: &str| {
        releases
            .tagged(&viatique_deploy::release::Tag::new(tag).unwrap())
            .unwrap()
            .known_errors
            .clone()
    };
    assert_eq!(known("v3").unwrap().len(), 1);
    assert_eq!(known("v1"), None, "nobody watched it");
}

#[tokio::test(start_paused = true)]
async fn memory_that_grows_takes_it_back() {
    let stack = watched().await;
    let _visitors = visitors(&stack, |engine, number| {
        if is_switched(engine) {
            let grown = ImageBehaviour::healthy().using((100 << 20) + number * (200 << 10));
            engine.becomes("viatique-backend-1", grown);
        }
        good_day(number)
    });
    let ended = stack.run("v2").await;
    taken_back(&stack, &ended, "viatique-backend-1: memory grows by");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_takes_it_back() {
    let stack = watched().await;
    let _visitors = visitors(&stack, |engine, number| {
        if is_switched(engine) && number % 400 == 399 {
            engine.kill("viatique-frontend-1", 3);
        }
        good_day(number)
    });
    let ended = stack.run("v2").await;
    taken_back(&stack, &ended, "viatique-frontend-1 ended with exit code 3");
}

/// So many tasks wait, one more at each question, and the worker is counted so.
fn tasks_wait(stack: &Stack, counted: &'static str) {
    let waiting = AtomicU64::new(0);
    stack.answer(move |command: &FakeCommand| {
        let words = command.line();
        if words.starts_with("redis-cli") {
            if words == "redis-cli -p 6379 -n 0 info" {
                return None;
            }
            assert_eq!(words, "redis-cli -p 6379 -n 0 llen celery");
            let waiting = waiting.fetch_add(1, Ordering::Relaxed);
            return Some(FakeOutput::stdout(format!("{waiting}\n")));
        }
        words
            .contains("control.inspect(destination")
            .then(|| FakeOutput::stdout(counted))
    });
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_takes_no_tasks_takes_it_back_and_one_that_is_busy_does_not() {
    let stack = watched().await;
    let idle =
        "viatique-deploy:{\"taken\": 2, \"active\": 0}\nviatique-deploy:{\"taken\": 2, \"active\": 0}\n";
    tasks_wait(&stack, idle);
    let ended = stack.run("v2").await;
    taken_back(
        &stack,
        &ended,
        "the worker viatique-celery_worker-1 takes no tasks",
    );

    let stack = watched().await;
    let busy =
        "viatique-deploy:{\"taken\": 2, \"active\": 1}\nviatique-deploy:{\"taken\": 2, \"active\": 1}\n";
    tasks_wait(&stack, busy);
    stack.run("v2").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn connections_at_their_limit_take_it_back() {
    let stack = watched().await;
    stack.answer(|command| {
        let asks = command.line().contains("superuser_reserved_connections");
        asks.then(|| FakeOutput::stdout("95 97\n"))
    });
    let ended = stack.run("v2").await;
    taken_back(
        &stack,
        &ended,
        "the database has 95 of the 97 connections that it allows",
    );
}

/// A stylesheet that the start page names.
#[tokio::test(start_paused = true)]
async fn a_missing_static_file_takes_it_back() {
    let mut stack = watched_as(", probes: [/]").await;
    stack.app = FakeApp::answering(|request, _| match request.url.rsplit('/').next() {
        Some("a.css") => Ok((404, String::new())),
        Some(_) | None => Ok((200, "<link href=\"/static/a.css\">".to_owned())),
    });
    let ended = stack.run("v2").await;
    taken_back(&stack, &ended, "/static/a.css answers 404, 3 times in a row");
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_stays_where_deploy_yml_wants_it_so() {
    let stack = watched_as(", on_bad: warn").await;
    stack.answer(|command| {
        let asks = command.line().contains("superuser_reserved_connections");
        asks.then(|| FakeOutput::stdout("95 97\n"))
    });
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(settled(&ended).0, Verdict::Bad);
    assert!(
        ended.warnings().contains("release v2 is bad, and stays"),
        "{}",
        ended.warnings()
    );
    assert_eq!(stack.engine.peek().releases("backend"), ["v2"]);
}

/// They would go on taking the new release's tasks; the way back starts them again.
#[tokio::test(start_paused = true)]
async fn old_workers_end_when_the_watch_begins() {
    let stack = watched().await;
    let (interrupts, interrupt) = Interrupt::new();
    let engine = stack.engine.clone();
    let seen = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(40)).await;
        let seen = engine.peek();
        interrupts.send_modify(|count| *count += 1);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(interrupts);
        seen
    });
    let ended = stack.run_interruptibly("v2", &interrupt).await;
    ended.ended(Outcome::Interrupted, ExitCode::Interrupted);
    assert_eq!(ended.step(StepId::Monitor), StepResult::Interrupted);
    let seen = seen.await.unwrap();
    assert_eq!(seen.releases("celery_worker"), ["v2"]);
    assert_eq!(seen.running("backend").len(), 2, "the old backend runs on");
    let mut kept = seen.containers.iter().filter(|one| {
        one.label(labels::COMPOSE_SERVICE) == Some("celery_worker")
            && one.label(labels::RELEASE) == Some("v1")
    });
    assert!(matches!(
        kept.next_back().unwrap().state,
        ContainerState::Exited(_)
    ));
    assert_eq!(stack.engine.peek().releases("celery_worker"), ["v1"]);
    assert_eq!(stack.engine.peek().releases("backend"), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn by_hand_it_only_looks() {
    let stack = watched().await;
    visited_before(&stack);
    let ended = {
        let _visitors = visitors(&stack, |_, number| good_day(number));
        stack.run("v2").await.succeeded();
        let before = stack.engine.peek().containers.len();
        let ended = stack
            .command(Chosen::monitor(Some(Duration::from_secs(20))), "v2")
            .await;
        assert_eq!(stack.engine.peek().containers.len(), before);
        ended
    };
    ended.succeeded();
    assert_eq!(settled(&ended).0, Verdict::Good);
    let _visitors = visitors(&stack, |_, _| line("/print/7/", 500, 0.2));
    let ended = stack.command(Chosen::monitor(None), "v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("release v2 is bad")
        .hints_at("viatique-deploy rollback");
    assert_eq!(stack.engine.peek().releases("backend"), ["v2"]);
    stack
        .command(Chosen::monitor(None), "v9")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("no container of release v9 is there to be watched");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_that_it_will_be_watched() {
    let stack = watched().await;
    let ended = stack.dry_run(Chosen::run(), "v2").await;
    let planned = ended.planned(StepId::Monitor);
    assert_eq!(planned[0].detail, "watched for 60 s; a bad one is taken back");
}
