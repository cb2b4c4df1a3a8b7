//! An engine that is restarted while the program speaks to it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use viatique_deploy::engine::docker::{DockerEngine, EngineEnvironment, TimeBudgets};
use viatique_deploy::engine::{EngineErrorKind, Inspect};

use super::wire::json;
use crate::contract::kind;
use crate::support::FakeSocket;

const VOLUME: &str =
    r#"{"Name":"data","Driver":"local","Mountpoint":"/","Labels":{},"Scope":"local","Options":{}}"#;

/// A socket that plays an engine, reached by a link that can be taken away: what a client sees of a restart.
struct Restarted {
    socket: FakeSocket,
    folder: tempfile::TempDir,
}

impl Restarted {
    fn new() -> Self {
        let restarted = Self {
            socket: FakeSocket::answering(|_| json(VOLUME)),
            folder: tempfile::tempdir().unwrap(),
        };
        restarted.comes();
        restarted
    }

    fn link(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    fn comes(&self) {
        let real = self.socket.address();
        std::os::unix::fs::symlink(real.strip_prefix("unix://").unwrap(), self.link()).unwrap();
    }

    fn goes(&self) {
        fs::remove_file(self.link()).unwrap();
    }

    fn engine(&self, restart: Duration) -> DockerEngine {
        let environment = EngineEnvironment {
            docker_host: Some(format!("unix://{}", self.link().display())),
            ..EngineEnvironment::default()
        };
        let budgets = TimeBudgets {
            restart,
            ..TimeBudgets::default()
        };
        DockerEngine::connect_within(&environment, budgets).unwrap()
    }
}

const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_call_waits_for_an_engine_that_comes_back() {
    let restarted = Restarted::new();
    let engine = restarted.engine(LONG);
    engine.volume("data").await.unwrap();
    restarted.goes();
    let asked = restarted.socket.asked().len();
    let call = tokio::spawn(async move { engine.volume("data").await });

    tokio::task::yield_now().await;
    assert_eq!(restarted.socket.asked().len(), asked);
    restarted.comes();
    assert!(call.await.unwrap().unwrap().is_some());
    assert_eq!(restarted.socket.asked().len(), asked + 1);
}

/// A socket file that nobody listens at, as a daemon that was killed leaves it.
#[tokio::test]
async fn a_refused_connection_is_waited_for_too() {
    let restarted = Restarted::new();
    let engine = restarted.engine(LONG);
    engine.volume("data").await.unwrap();
    restarted.goes();
    drop(UnixListener::bind(restarted.link()).unwrap());
    let call = tokio::spawn(async move { engine.volume("data").await });
    tokio::task::yield_now().await;
    restarted.goes();
    restarted.comes();
    assert!(call.await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn an_engine_that_does_not_come_back_is_said_to_be_away() {
    let restarted = Restarted::new();
    let engine = restarted.engine(Duration::from_millis(1));
    engine.volume("data").await.unwrap();
    restarted.goes();
    assert_eq!(kind(engine.volume("data").await), EngineErrorKind::Unreachable);
}

/// With a budget of two minutes this would take as long.
#[tokio::test(start_paused = true)]
async fn an_engine_that_never_answered_is_not_waited_for() {
    let restarted = Restarted::new();
    let engine = restarted.engine(LONG);
    restarted.goes();
    let began = tokio::time::Instant::now();
    assert_eq!(kind(engine.volume("data").await), EngineErrorKind::Unreachable);
    assert!(began.elapsed() < LONG);
}
