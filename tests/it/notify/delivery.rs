//! That a notice is tried until it is got, and not beyond its time; that only 2xx counts; that no secret is told of why not.

use futures_util::future::join_all;

use super::{CANARY, failed, got, sent, target};
use crate::support::{Receiver, Say};

/// Each kind that is reached over HTTP; how many requests a notice takes.
const KINDS: [(&str, usize); 9] = [
    ("slack:\n      url: ${HOOK}", 1),
    ("mattermost:\n      url: ${HOOK}", 1),
    ("discord:\n      url: ${HOOK}", 1),
    ("teams:\n      url: ${HOOK}", 1),
    ("webhook:\n      url: ${HOOK}", 1),
    (
        "sentry:\n      url: ${HOOK}\n      organization: o\n      projects: [p]\n      token: ${TOKEN}",
        2,
    ),
    ("grafana:\n      url: ${HOOK}\n      token: ${TOKEN}", 1),
    ("healthchecks:\n      url: ${HOOK}", 1),
    ("pushgateway:\n      url: ${HOOK}", 1),
];

fn entry(kind: &str, timeout: &str, receiver: &Receiver) -> viatique_deploy::notify::Target {
    let url = format!("{}/{CANARY}/hook", receiver.url());
    let entry = format!("  - {kind}\n    timeout: {timeout}\n");
    target(&entry, &[("HOOK", &url), ("TOKEN", CANARY)])
}

#[tokio::test]
async fn what_fails_for_a_moment_is_tried_again_and_told_once() {
    // All at once: each waits before its second try.
    let tried = KINDS.map(|(kind, requests)| async move {
        let receiver = Receiver::saying(&[Say::Status(500, "out of order")]);
        let delivered = sent(&entry(kind, "60s", &receiver), &failed()).await;
        got(&delivered);
        assert_eq!(delivered.tries as usize, requests + 1, "{kind}");
        let heard = receiver.heard();
        assert_eq!(heard.len(), requests + 1, "{kind}");
        assert_eq!((&heard[0].path, &heard[0].body), (&heard[1].path, &heard[1].body));
    });
    join_all(tried).await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    for (kind, _) in KINDS {
        for status in [301, 400, 403, 404] {
            let receiver = Receiver::saying(&[Say::Status(status, "no_service")]);
            let delivered = sent(&entry(kind, "60s", &receiver), &failed()).await;
            let why = delivered.why_not.unwrap();
            assert_eq!(why, format!("it answered {status}: no_service"), "{kind}");
            assert_eq!(receiver.heard().len(), 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn one_that_hangs_is_given_up_when_its_time_is_over() {
    for (kind, _) in KINDS {
        let receiver = Receiver::saying(&[Say::Nothing, Say::Nothing]);
        let delivered = sent(&entry(kind, "200ms", &receiver), &failed()).await;
        let why = delivered.why_not.unwrap();
        assert!(
            why.starts_with("no answer in time; given up after"),
            "{kind}: {why}"
        );
        assert!(why.ends_with("and 0.2 s"), "{why}");
    }
    // It leaves time for a second try.
    let receiver = Receiver::saying(&[Say::Nothing]);
    got(&sent(&entry(KINDS[0].0, "4s", &receiver), &failed()).await);
    assert_eq!(receiver.heard().len(), 2);
}

#[tokio::test]
async fn whoever_asks_to_wait_is_waited_for_as_far_as_there_is_time() {
    let receiver = Receiver::saying(&[Say::Later(429, "0.01")]);
    let delivered = sent(&entry(KINDS[0].0, "60s", &receiver), &failed()).await;
    got(&delivered);
    let receiver = Receiver::saying(&[Say::Later(429, "3600")]);
    let delivered = sent(&entry(KINDS[0].0, "60s", &receiver), &failed()).await;
    let why = delivered.why_not.unwrap();
    assert_eq!(why, "it answered 429; given up after 1 try and 60 s");
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn a_check_that_healthchecks_does_not_know_is_not_told() {
    let receiver = Receiver::saying(&[Say::Status(200, "OK (not found)")]);
    let delivered = sent(
        &entry("healthchecks:\n      url: ${HOOK}", "60s", &receiver),
        &failed(),
    )
    .await;
    assert_eq!(
        delivered.why_not.unwrap(),
        "it knows no such check, although it answered 200"
    );
    let receiver = Receiver::saying(&[Say::Status(200, "OK (rate limited)")]);
    got(&sent(
        &entry("healthchecks:\n      url: ${HOOK}", "60s", &receiver),
        &failed(),
    )
    .await);
    assert_eq!(receiver.heard().len(), 2);
}

#[tokio::test]
async fn why_nobody_got_it_tells_no_secret() {
    // A server that tells one where one was.
    let receiver = Receiver::saying(&[Say::Status(404, "no such hook: /canary-4f1d2c77/hook")]);
    for (kind, _) in KINDS {
        let delivered = sent(&entry(kind, "1s", &receiver), &failed()).await;
        assert!(!format!("{delivered:?}").contains(CANARY), "{delivered:?}");
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = format!("http://user:{CANARY}@127.0.0.1:{port}/{CANARY}");
    let target = target(
        "  - slack:\n      url: ${HOOK}\n    timeout: 100ms\n",
        &[("HOOK", &url)],
    );
    let delivered = sent(&target, &failed()).await;
    let why = delivered.why_not.unwrap();
    assert!(why.contains("Connection refused"), "{why}");
    assert!(!why.contains(CANARY), "{why}");
    assert_eq!(target.place(), format!("http://127.0.0.1:{port}"));
    assert!(!format!("{target:?}").contains(CANARY), "{target:?}");
}
