//! What is sent to a Docker Engine to hear of its containers and to send them signals, and how its events read.

use std::time::Duration;

use futures_util::StreamExt;
use viatique_deploy::engine::docker::{DockerEngine, TimeBudgets};
use viatique_deploy::engine::{
    ContainerEvent, ContainerEventKind, ContainerFilter, Engine, EngineErrorKind, Inspect,
};

use super::wire::{container, json, refused};
use crate::support::{Asked, FakeSocket, Reply};

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// One parameter of a request's query.
fn parameter(asked: &Asked, name: &str) -> Option<String> {
    let (_, query) = asked.path.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found == name).then(|| decoded(value))
    })
}

/// Tells these events and then breaks off, in the middle of a chunked answer or in good order.
fn events_answering(actions: &'static [&'static str], in_good_order: bool) -> FakeSocket {
    FakeSocket::answering(move |asked: &Asked| {
        if asked.path.starts_with("/info") {
            return json(r#"{"SystemTime":"2026-03-01T01:00:00.00000005+01:00"}"#);
        }
        if !asked.path.starts_with("/events") {
            return json(r#""OK""#);
        }
        let mut answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned();
        for action in actions {
            let line = format!(
                "{}\n",
                serde_json::json!({"Type": "container", "Action": action, "Actor": {"ID": "c0ffee"}})
            );
            answer.push_str(&format!("{:x}\r\n{line}\r\n", line.len()));
        }
        if in_good_order {
            answer.push_str("0\r\n\r\n");
        }
        Reply::Raw(answer.into_bytes())
    })
}

#[tokio::test]
async fn only_the_wanted_events_are_asked_for_since_the_call() {
    let socket = events_answering(&["start"], true);
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    let filter = ContainerFilter::labelled("project", "shop").and_present("role");
    let mut events = engine.container_events(&filter).await.unwrap();
    assert_eq!(
        events.next().await.unwrap().unwrap(),
        ContainerEvent {
            container: container(),
            kind: ContainerEventKind::Started
        }
    );
    let all = socket.asked();
    let asked = all
        .iter()
        .find(|asked| asked.path.starts_with("/events"))
        .unwrap();
    // The engine's clock, not this machine's.
    assert_eq!(parameter(asked, "since").unwrap(), "1772323200.000000050");
    assert_eq!(parameter(asked, "until"), None);
    let filters: serde_json::Value = serde_json::from_str(&parameter(asked, "filters").unwrap()).unwrap();
    assert_eq!(
        filters,
        serde_json::json!({
            "type": ["container"],
            "event": ["start", "die", "oom", "health_status"],
            "label": ["project=shop", "role"],
        })
    );
}

#[tokio::test]
async fn events_are_told_until_the_connection_is_lost() {
    use ContainerEventKind::{Died, HealthChanged, Other, OutOfMemory, Started};
    let actions = &["start", "health_status: healthy", "oom", "die", "update"];
    for in_good_order in [true, false] {
        let socket = events_answering(actions, in_good_order);
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let events = engine
            .container_events(&ContainerFilter::default())
            .await
            .unwrap();
        let mut told: Vec<_> = events
            .map(|event| event.map(|event| event.kind).map_err(|error| error.kind))
            .collect()
            .await;
        if !in_good_order {
            assert_eq!(told.pop(), Some(Err(EngineErrorKind::ConnectionLost)));
        }
        assert_eq!(
            told,
            [Started, HealthChanged, OutOfMemory, Died, Other].map(Ok),
            "{in_good_order}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_tells_no_events() {
    let socket = FakeSocket::answering(|_| Reply::Silence);
    let budgets = TimeBudgets {
        short: Duration::from_millis(100),
        ..TimeBudgets::default()
    };
    let engine = DockerEngine::connect_within(&socket.environment(), budgets).unwrap();
    let asked = engine.container_events(&ContainerFilter::default()).await;
    assert_eq!(
        asked.map(|_| ()).map_err(|error| error.kind),
        Err(EngineErrorKind::TimedOut)
    );
}

#[tokio::test]
async fn a_signal_is_sent_as_it_is_named() {
    for (status, outcome) in [
        (204, Ok(())),
        // It does not run.
        (409, Ok(())),
        (404, Err(EngineErrorKind::NotFound)),
        (400, Err(EngineErrorKind::Invalid)),
    ] {
        let socket = FakeSocket::answering(move |_| {
            if status == 204 {
                Reply::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
            } else {
                refused(status)
            }
        });
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let sent = engine.kill(&container(), "SIGQUIT").await;
        assert_eq!(sent.map_err(|error| error.kind), outcome, "{status}");
        let asked = socket.asked();
        assert_eq!(
            (asked[0].method.as_str(), asked[0].path.as_str()),
            ("POST", "/containers/c0ffee/kill?signal=SIGQUIT")
        );
    }
}
