//! What is sent to a Docker Engine, and what is made of answers that a real one gives rarely: faults of the client
//! library that were measured, each held down here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use viatique_deploy::engine::docker::{DockerEngine, TimeBudgets};
use viatique_deploy::engine::{
    BuildEvent, BuildRequest, BuildSink, Captured, ContainerId, Engine, EngineErrorKind, ExecSpec, Inspect,
    NetworkId,
};

use crate::contract::kind;
use crate::contract::specs::build_of;
use crate::support::{Asked, FakeSocket, Reply};

struct Unheard;

impl BuildSink for Unheard {
    fn event(&self, _event: BuildEvent) {}
}

pub(super) fn json(text: &str) -> Reply {
    Reply::Json(200, text.to_owned())
}

pub(super) fn refused(status: u16) -> Reply {
    Reply::Json(status, r#"{"message":"because"}"#.to_owned())
}

pub(super) fn container() -> ContainerId {
    ContainerId("c0ffee".to_owned())
}

/// Decodes strictly by the URL-safe alphabet.
fn url_safe_decoded(text: &str) -> String {
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for character in text.trim_end_matches('=').bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            other => panic!("{} is not of the URL-safe alphabet", char::from(other)),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// `name:password` as `docker login` writes it.
fn standard_encoded(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.as_bytes()
        .chunks(3)
        .map(|chunk| {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            (0..4)
                .map(|place| {
                    if place <= chunk.len() {
                        char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize])
                    } else {
                        '='
                    }
                })
                .collect::<String>()
        })
        .collect()
}

#[tokio::test]
async fn registry_credentials_are_sent_in_the_url_safe_alphabet() {
    let socket = FakeSocket::answering(|_| refused(404));
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    // Each of these has a `+` or a `/` in the standard alphabet, and used to be dropped by the engine in silence.
    for password in ["a?b?c?d", "~~~~~~", "pass>word", "ÿÿÿ", "plain"] {
        let auth = standard_encoded(&format!("deploy:{password}"));
        socket.configure(&format!(
            r#"{{"auths":{{"registry.example.com":{{"auth":"{auth}"}}}}}}"#
        ));
        assert!(
            !engine
                .image_in_registry("registry.example.com/app:1")
                .await
                .unwrap()
        );
        let pulled = engine.pull("registry.example.com/app:1", &Unheard).await;
        assert_eq!(kind(pulled), EngineErrorKind::NotFound);
    }
    let asked = socket.asked();
    assert_eq!(asked.len(), 10);
    for (index, password) in ["a?b?c?d", "~~~~~~", "pass>word", "ÿÿÿ", "plain"]
        .iter()
        .enumerate()
    {
        for call in &asked[2 * index..2 * index + 2] {
            let text = url_safe_decoded(call.header("x-registry-auth").expect("credentials are sent"));
            let sent: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(sent["username"], "deploy");
            assert_eq!(sent["password"], *password);
            assert_eq!(sent["serveraddress"], "registry.example.com");
        }
    }
}

#[tokio::test]
async fn credentials_are_sent_only_to_their_registry() {
    let socket = FakeSocket::answering(|_| refused(404));
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    let ask = async |reference: &str| engine.image_in_registry(reference).await;
    // No configuration at all.
    assert!(!ask("registry.example.com/app:1").await.unwrap());
    socket.configure(
        r#"{"auths":{"registry.example.com":{"identitytoken":"token"},"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#,
    );
    for reference in [
        "other.example.com/app:1",
        "registry.example.com/app:1",
        "library/redis:7",
    ] {
        assert!(!ask(reference).await.unwrap());
    }
    let sent: Vec<Option<serde_json::Value>> = socket
        .asked()
        .iter()
        .map(|call| call.header("x-registry-auth"))
        .map(|header| header.map(|text| serde_json::from_str(&url_safe_decoded(text)).unwrap()))
        .collect();
    assert_eq!(sent[0], None);
    assert_eq!(sent[1], None);
    assert_eq!(sent[2].as_ref().unwrap()["identitytoken"], "token");
    assert_eq!(sent[3].as_ref().unwrap()["username"], "u");
    // Unreadable is not absent.
    socket.configure("{");
    assert_eq!(
        kind(ask("registry.example.com/app:1").await),
        EngineErrorKind::Unauthorized
    );
}

#[tokio::test]
async fn a_registry_that_says_no_refuses_or_fails_is_told_apart() {
    for (status, outcome) in [
        (200, Ok(true)),
        (404, Ok(false)),
        (401, Err(EngineErrorKind::Unauthorized)),
        (403, Err(EngineErrorKind::Unauthorized)),
        (500, Err(EngineErrorKind::Other)),
    ] {
        let socket = FakeSocket::answering(move |_| {
            if status == 200 {
                json(r#"{"Descriptor":{},"Platforms":[]}"#)
            } else {
                refused(status)
            }
        });
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let answer = engine.image_in_registry("registry.example.com/app:1").await;
        assert_eq!(answer.map_err(|error| error.kind), outcome, "{status}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_has_not_failed() {
    let socket = FakeSocket::answering(|_| Reply::Silence);
    let budgets = TimeBudgets {
        short: Duration::from_millis(100),
        beyond_grace: Duration::from_millis(200),
        ..TimeBudgets::default()
    };
    let engine = DockerEngine::connect_within(&socket.environment(), budgets).unwrap();
    let error = engine.container("c0ffee").await.expect_err("it does not answer");
    assert_eq!(error.kind, EngineErrorKind::TimedOut);
    assert!(
        error.to_string().contains("the engine may still do it"),
        "{error}"
    );
    assert_eq!(
        kind(engine.remove_network(&NetworkId("n".to_owned())).await),
        EngineErrorKind::TimedOut
    );
    // Stopping is given the grace and some more.
    let before = Instant::now();
    let stopped = engine.stop(&container(), Some(Duration::from_millis(300))).await;
    assert_eq!(kind(stopped), EngineErrorKind::TimedOut);
    assert!(before.elapsed() >= Duration::from_millis(500));
    assert!(
        socket.asked()[2].path.ends_with("/stop?t=1"),
        "{}",
        socket.asked()[2].path
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_lost_connection() {
    let socket = FakeSocket::answering(|_| {
        Reply::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"Id\":"
                .to_vec(),
        )
    });
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    assert_eq!(
        kind(engine.container("c0ffee").await),
        EngineErrorKind::ConnectionLost
    );
    let socket = FakeSocket::answering(|_| Reply::Raw(Vec::new()));
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    assert_eq!(
        kind(engine.container("c0ffee").await),
        EngineErrorKind::ConnectionLost
    );
}

/// An answer in these chunks, and the regular end.
fn in_chunks(chunks: &[&str]) -> Reply {
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in chunks.iter().chain(&[""]) {
        answer.extend(format!("{:x}\r\n{chunk}\r\n", chunk.len()).into_bytes());
    }
    Reply::Raw(answer)
}

/// Between the last line and its line break two pieces may meet: the client library then takes the break for a line that
/// was cut off. Met on a real engine, once in some hundred builds.
#[tokio::test]
async fn a_build_whose_last_line_comes_in_two_pieces_has_succeeded() {
    let id = format!("sha256:{}", "ab".repeat(32));
    let image = format!(r#"{{"Id":"{id}","RepoTags":["web:v2"]}}"#);
    let told = format!(r#"{{"id":"moby.image.id","aux":{{"ID":"{id}"}}}}"#);
    let socket = FakeSocket::answering(move |asked: &Asked| match asked.path.split(['?']).next() {
        Some("/build") => in_chunks(&[&told, "\r\n"]),
        Some("/session" | "/grpc") => Reply::Silence,
        Some(path) if path.ends_with("/json") => json(&image),
        Some(path) if path.ends_with("/tag") => Reply::Json(201, String::new()),
        other => panic!("unexpected {other:?}"),
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    let request = BuildRequest {
        title: "web".to_owned(),
        build: build_of(folder.path()),
        tags: vec!["web:v2".to_owned()],
        labels: BTreeMap::new(),
    };
    let built = engine.build(&request, &Unheard).await.unwrap();
    assert_eq!(built.0, id);
}

/// Whether it is whole, only a second pull tells, which finds what the first has brought.
#[tokio::test]
async fn a_pull_whose_last_line_comes_in_two_pieces_is_asked_again() {
    let id = format!("sha256:{}", "ab".repeat(32));
    let image = format!(r#"{{"Id":"{id}","RepoTags":["web:v2"]}}"#);
    let pulled = AtomicUsize::new(0);
    let socket = FakeSocket::answering(move |asked: &Asked| match asked.path.split(['?']).next() {
        Some("/images/create") if pulled.fetch_add(1, Ordering::Relaxed) == 0 => in_chunks(&[
            r#"{"status":"Status: Downloaded newer image for web:v2"}"#,
            "\r\n",
        ]),
        Some("/images/create") => in_chunks(&["{\"status\":\"Status: Image is up to date for web:v2\"}\r\n"]),
        Some(path) if path.ends_with("/json") => json(&image),
        other => panic!("unexpected {other:?}"),
    });
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    assert_eq!(engine.pull("web:v2", &Unheard).await.unwrap().0, id);
    let pulls = socket.asked();
    let pulls = pulls
        .iter()
        .filter(|asked| asked.path.starts_with("/images/create"));
    assert_eq!(pulls.count(), 2);
}

/// One exec: its stream, and what the engine says about it afterwards.
fn exec_answering(stream: &'static [u8], exit: &'static str, running: bool) -> FakeSocket {
    FakeSocket::answering(
        move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/containers/c0ffee/exec") => Reply::Json(201, r#"{"Id":"e1"}"#.to_owned()),
            ("POST", "/exec/e1/start") => {
                let head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
                Reply::Raw([head, stream].concat())
            }
            ("GET", "/exec/e1/json") => json(&format!(r#"{{"ID":"e1","Running":false,"ExitCode":{exit}}}"#)),
            ("GET", "/containers/c0ffee/json") => json(&format!(
                r#"{{"Id":"c0ffee","State":{{"Running":{running},"OOMKilled":{}}}}}"#,
                !running
            )),
            other => panic!("unexpected {other:?}"),
        },
    )
}

async fn exec_on(socket: &FakeSocket) -> (viatique_deploy::engine::Result<i64>, Captured) {
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    let mut output = Captured::default();
    let outcome = engine
        .exec(&container(), &ExecSpec::command(&["pg_dump"]), None, &mut output)
        .await;
    (outcome.map(|exit| exit.code), output)
}

/// Not shown on a real engine: one that does not have every capability itself cannot give them.
#[tokio::test]
async fn a_command_is_privileged_where_it_is_said() {
    for privileged in [false, true] {
        let socket = exec_answering(b"", "0", true);
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let command = ExecSpec {
            privileged,
            ..ExecSpec::command(&["true"])
        };
        let exit = engine
            .exec(&container(), &command, None, &mut Captured::default())
            .await
            .unwrap();
        assert!(exit.success());
        let sent: serde_json::Value = serde_json::from_slice(&socket.asked()[0].body).unwrap();
        assert_eq!(sent["Privileged"], privileged);
    }
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_no_success() {
    let whole = b"\x01\0\0\0\0\0\0\x04dump\x02\0\0\0\0\0\0\x04note";
    let (outcome, output) = exec_on(&exec_answering(whole, "0", true)).await;
    assert_eq!(outcome.unwrap(), 0);
    assert_eq!(
        (output.stdout_text().as_str(), output.stderr_text().as_str()),
        ("dump", "note")
    );

    for broken in [
        &b"\x01\0\0\0\0\0\0\x04dump\x01\0\0\0\0\0\0\x40half"[..],
        &b"\x01\0\0\0\0\0\0\x04dump\x01\0\0"[..],
        &b"OCI runtime exec failed"[..],
    ] {
        let (outcome, _) = exec_on(&exec_answering(broken, "0", true)).await;
        assert_eq!(kind(outcome), EngineErrorKind::ConnectionLost);
    }
}

#[tokio::test]
async fn an_unknown_end_is_no_success() {
    let whole = b"\x01\0\0\0\0\0\0\x04dump";
    // The engine does not know the code.
    assert_eq!(
        kind(exec_on(&exec_answering(whole, "null", true)).await.0),
        EngineErrorKind::ConnectionLost
    );
    // It says 0, but the container is gone under the command.
    assert_eq!(
        kind(exec_on(&exec_answering(whole, "0", false)).await.0),
        EngineErrorKind::ConnectionLost
    );
    // Killed is told as it is.
    assert_eq!(
        exec_on(&exec_answering(whole, "137", false)).await.0.unwrap(),
        137
    );
}

#[tokio::test]
async fn an_archive_that_breaks_off_is_no_success() {
    let socket = FakeSocket::answering(|_| {
        // What an engine does that cannot go on: it ends the answer in good order.
        Reply::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Length: 4\r\n\r\nhalf".to_vec(),
        )
    });
    let engine = DockerEngine::connect(&socket.environment()).unwrap();
    let outcome = engine
        .archive(&container(), "/data", &mut Captured::default())
        .await;
    assert_eq!(kind(outcome), EngineErrorKind::ConnectionLost);
    assert_eq!(
        kind(engine.read_files(&container(), "/data").await),
        EngineErrorKind::ConnectionLost
    );
}

#[tokio::test]
async fn a_wait_without_an_answer_asks_the_container() {
    for (running, outcome) in [(false, Ok(3)), (true, Err(EngineErrorKind::ConnectionLost))] {
        let socket = FakeSocket::answering(move |asked: &Asked| {
            if asked.path.contains("/wait") {
                Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())
            } else {
                json(&format!(
                    r#"{{"Id":"c0ffee","State":{{"Running":{running},"ExitCode":3}}}}"#
                ))
            }
        });
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let waited = engine.wait(&container()).await;
        assert_eq!(waited.map(|exit| exit.code).map_err(|error| error.kind), outcome);
    }
}

#[tokio::test]
async fn statuses_are_kinds() {
    for (status, kind_wanted) in [
        (400, EngineErrorKind::Invalid),
        (401, EngineErrorKind::Unauthorized),
        (409, EngineErrorKind::Conflict),
        (500, EngineErrorKind::Other),
    ] {
        let socket = FakeSocket::answering(move |_| refused(status));
        let engine = DockerEngine::connect(&socket.environment()).unwrap();
        let error = engine.volume("data").await.expect_err("refused");
        assert_eq!(error.kind, kind_wanted);
        assert_eq!(error.to_string(), "inspecting volume data: because");
    }
}
