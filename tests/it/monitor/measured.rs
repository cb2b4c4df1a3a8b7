//! What a watch tells at each look, beside its verdict.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use viatique_deploy::app::Answer;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, Measured, News, Outcome, RequestsSource, Verdict};

use super::faults::{good_day, settled, visited_before, visitors, watched};
use crate::support::{Ended, FakeApp, FakeOutput, ImageBehaviour, Stack};

fn looks(ended: &Ended) -> Vec<Measured> {
    let mut looks = Vec::new();
    for event in &ended.events {
        if let Event::Measured { measured, .. } = event {
            looks.push((**measured).clone());
        }
    }
    looks
}

async fn by_hand(stack: &Stack, seconds: u64) -> Ended {
    let chosen = Chosen::monitor(Some(Duration::from_secs(seconds)));
    stack.command(chosen, "v1").await
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_what_the_engine_the_log_and_the_stores_say() {
    let stack = watched().await;
    visited_before(&stack);
    let _visitors = visitors(&stack, |_, number| good_day(number));
    let ended = by_hand(&stack, 30).await;
    let looks = looks(&ended);
    assert!(looks.len() >= 15, "{}", looks.len());
    assert!(looks[0].containers.iter().all(|one| one.cores.is_none()));
    let last = &looks[looks.len() - 1];
    assert_eq!((last.verdict, last.left), (Verdict::Good, Duration::ZERO));
    let requests = last.requests.as_ref().unwrap();
    assert_eq!(requests.source, RequestsSource::AccessLog);
    assert!((19.0..=21.0).contains(&requests.per_second), "{requests:?}");
    assert_eq!(requests.failed_share, Some(0.0));
    assert!((0.19..=0.21).contains(&requests.p99.unwrap()), "{requests:?}");
    assert_eq!(requests.pages[0].page, "/print/:n/", "the slowest");
    let services: Vec<&str> = last.containers.iter().map(|one| one.service.as_str()).collect();
    for service in ["backend", "celery_worker", "db", "nginx", "redis"] {
        assert!(services.contains(&service), "{services:?}");
    }
    let backend = last
        .containers
        .iter()
        .find(|one| one.service == "backend")
        .unwrap();
    assert_eq!((backend.state, backend.restarts), ("running", 0));
    assert!((0.24..=0.26).contains(&backend.cores.unwrap()), "{backend:?}");
    assert_eq!(backend.memory, Some(50 << 20));
    assert!(
        (900.0..=1100.0).contains(&backend.received.unwrap()),
        "{backend:?}"
    );
    let database = last.database.as_ref().unwrap();
    assert_eq!((database.connections, database.usable), (12, 97));
    assert_eq!(database.activity.as_ref().unwrap().slow, 0);
    assert_eq!(last.redis.unwrap().clients, 7);
    assert_eq!(
        (last.queues[0].name.as_str(), last.queues[0].waiting),
        ("celery", 0)
    );
    assert_eq!(last.disks[0].what, "the engine's data");
    assert_eq!(last.disks[0].total, 200 << 30);
    assert_eq!(last.unseen, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn traffic_that_stops_is_not_told_for_ever() {
    let stack = watched().await;
    let stops = visitors(&stack, |_, number| good_day(number));
    let watch = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stops);
    });
    let ended = by_hand(&stack, 60).await;
    watch.await.unwrap();
    let looks = looks(&ended);
    let rate = |look: &Measured| look.requests.as_ref().unwrap().per_second;
    assert!(rate(&looks[10]) > 15.0, "{}", rate(&looks[10]));
    assert!(rate(&looks[looks.len() - 1]) < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_whether_it_was_there_in_the_hour_before() {
    let stack = watched().await;
    stack.engine.writes("viatique-backend-1", "ERROR known: one 1");
    let lines = ["ERROR known: one 2", "ERROR another: léa 7", "INFO well"];
    stack.image_is("viatique-backend:v2", ImageBehaviour::healthy().logging(&lines));
    let ended = stack.run("v2").await;
    let looks = looks(&ended);
    let last = &looks[looks.len() - 1];
    let errors = last.errors.iter().filter(|one| one.service == "backend");
    let told: Vec<(&str, News)> = errors.map(|one| (one.fingerprint.as_str(), one.news)).collect();
    assert_eq!(
        told,
        [("another: léa N", News::New), ("known: one N", News::Known)]
    );
}

#[tokio::test(start_paused = true)]
async fn slow_statements_and_locks_are_told_without_values() {
    let stack = watched().await;
    stack.answer(|command| {
        let asks = command.line().contains("superuser_reserved_connections");
        let session = |pid: u32, statement: &str| {
            serde_json::json!({"pid": pid, "state": "active", "seconds": 3.5, "wait": "Lock tuple", "statement": statement})
        };
        let waits = serde_json::json!({
            "slow": 2, "longest": [session(7, "UPDATE a SET b = 'Léa'")], "waiting": 1,
            "waits": [{"session": session(7, "UPDATE a SET b = 'Léa'"), "blocked_by": [session(8, "DELETE FROM a WHERE c = 5")]}],
        });
        asks.then(|| FakeOutput::stdout(format!("12 97\n{waits}\n")))
    });
    let looks = looks(&by_hand(&stack, 10).await);
    let activity = looks[1].database.as_ref().unwrap().activity.as_ref().unwrap();
    assert_eq!((activity.slow, activity.waiting), (2, 1));
    assert_eq!(activity.longest[0].statement, "UPDATE a SET b = ?");
    assert_eq!(
        activity.waits[0].blocked_by[0].statement,
        "DELETE FROM a WHERE c = ?"
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_told_as_not_seen() {
    let stack = watched().await;
    stack.answer(|command| {
        let line = command.line();
        let asks = line.contains("superuser_reserved_connections") || line.starts_with("redis-cli");
        asks.then(|| FakeOutput::silent().exits(1))
    });
    let looks = looks(&by_hand(&stack, 10).await);
    let last = &looks[looks.len() - 1];
    assert_eq!((&last.database, last.redis), (&None, None));
    assert!(last.queues.is_empty());
    let unseen = last.unseen.join("\n");
    for what in ["connections the database has", "queue `celery`", "Redis' clients"] {
        assert!(unseen.contains(what), "{unseen}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_silent_is_told_although_another_answers() {
    let stack = watched().await;
    stack.edit_deploy_yml("monitor: { ", "monitor: { queues: [mail, celery], ");
    stack.answer(|command| {
        let line = command.line();
        let asks = line.starts_with("redis-cli") && line.ends_with(" mail");
        asks.then(|| FakeOutput::silent().exits(1))
    });
    let looks = looks(&by_hand(&stack, 10).await);
    let last = &looks[looks.len() - 1];
    let known: Vec<&str> = last.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(known, ["celery"]);
    assert_eq!(
        last.unseen,
        ["how many tasks wait in the queue `mail`: Redis did not say"]
    );
}

/// An exporter that counts twenty requests a second, of which so many in a hundred fail.
fn exporting(text: impl Fn(u64) -> String + Send + Sync + 'static) -> FakeApp {
    let asked = AtomicU64::new(0);
    FakeApp::healthy().with_site(move |call, _| {
        assert_eq!(call.url, "http://127.0.0.1:9113/metrics");
        // Asked every four seconds.
        let so_far = 80 * asked.fetch_add(1, Ordering::Relaxed);
        Ok(Answer {
            status: 200,
            headers: Vec::new(),
            body: text(so_far).into_bytes(),
            is_cut: false,
            elapsed: Duration::from_millis(1),
        })
    })
}

async fn exported() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let prometheus = "monitor: { for: 60s, prometheus: { url: \"http://127.0.0.1:9113/metrics\" } }\n";
    stack.edit_deploy_yml("health:", &format!("{prometheus}health:"));
    stack
}

fn by_status(requests: u64, failed: u64) -> String {
    let name = "django_http_responses_total_by_status_total";
    let took = "django_http_requests_latency_including_middlewares_seconds_bucket";
    format!(
        "{name}{{status=\"200\"}} {}\n{name}{{status=\"500\"}} {failed}\n{took}{{le=\"0.1\"}} {}\n\
         {took}{{le=\"0.3\"}} {requests}\n{took}{{le=\"+Inf\"}} {requests}\n",
        requests - failed,
        requests / 10 * 9
    )
}

#[tokio::test(start_paused = true)]
async fn an_exporter_stands_in_for_the_access_log() {
    let mut stack = exported().await;
    stack.app = exporting(|so_far| by_status(so_far, 0));
    let ended = by_hand(&stack, 60).await;
    let looks = looks(&ended);
    let last = looks[looks.len() - 1].requests.as_ref().unwrap();
    assert_eq!(last.source, RequestsSource::Prometheus);
    assert!((15.0..=25.0).contains(&last.per_second), "{last:?}");
    assert_eq!(last.failed_share, Some(0.0));
    assert!((0.04..=0.06).contains(&last.p50.unwrap()), "{last:?}");
    assert!((0.18..=0.22).contains(&last.p99.unwrap()), "{last:?}");
    assert_eq!(settled(&ended).0, Verdict::Good);

    let mut stack = exported().await;
    stack.app = exporting(|so_far| by_status(so_far, so_far / 4));
    let ended = by_hand(&stack, 60).await;
    ended.ended(Outcome::Failed, ExitCode::Gate).says("answered 5xx");
}

/// A counter that tells no status says nothing of failures, so it makes no release good.
#[tokio::test(start_paused = true)]
async fn an_exporter_without_statuses_makes_nothing_good() {
    let mut stack = exported().await;
    stack.edit_deploy_yml(
        "health: { url: \"http://127.0.0.1:8080/health/\", timeout: 20s }\n",
        "",
    );
    stack.app = exporting(|so_far| format!("nginx_http_requests_total {so_far}\n"));
    let ended = by_hand(&stack, 60).await;
    let looks = looks(&ended);
    let last = looks[looks.len() - 1].requests.clone().unwrap();
    assert!((15.0..=25.0).contains(&last.per_second), "{last:?}");
    assert_eq!(last.failed_share, None);
    let (verdict, _, remarks) = settled(&ended);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        remarks.join("\n").contains("no label status or code"),
        "{remarks:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_does_not_answer_is_told_as_not_seen() {
    let mut stack = exported().await;
    stack.app = FakeApp::healthy();
    let ended = by_hand(&stack, 20).await;
    let looks = looks(&ended);
    let last = &looks[looks.len() - 1];
    assert_eq!(last.requests, None);
    let unseen = last.unseen.join("\n");
    assert!(
        unseen.contains("the endpoint of monitor.prometheus does not answer"),
        "{unseen}"
    );
}
