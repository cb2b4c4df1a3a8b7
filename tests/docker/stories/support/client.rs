//! A visitor who asks for `/health/` again and again, and remembers every answer.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

const HOST: &str = "viatique.example.com";
/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(100);
/// Above what nginx itself waits for the backend: a slow answer on a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks once: the release that answers, or what is wrong with the answer.
pub(crate) fn ask(port: u16) -> Result<String, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection =
        TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| format!("connecting: {error}"))?;
    let text = (|| {
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let request = format!("GET /health/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    })()
    .map_err(|error| format!("after connecting: {error}"))?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no answer: `{text}`"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(text);
    }
    let body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {text}"))?;
    let release = body.get("release").and_then(Value::as_str);
    release
        .map(ToOwned::to_owned)
        .ok_or_else(|| format!("no release: {text}"))
}

/// What the visitor was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) failures: Vec<String>,
    /// How often each release answered.
    pub(crate) releases: BTreeMap<String, usize>,
}

impl Answers {
    /// Fails where a request failed, or where others than these releases answered.
    #[track_caller]
    pub(crate) fn expect_only(&self, releases: &[&str]) {
        let asked: usize = self.releases.values().sum::<usize>() + self.failures.len();
        assert!(
            self.failures.is_empty(),
            "{} of {asked} requests failed; {:?}; the first: {}",
            self.failures.len(),
            self.releases,
            self.failures[0]
        );
        let answered: Vec<&str> = self.releases.keys().map(String::as_str).collect();
        assert_eq!(answered, releases, "{:?}", self.releases);
    }
}

/// The visitor, on a thread until stopped.
pub(crate) struct Client {
    stop: Sender<()>,
    thread: JoinHandle<Answers>,
}

impl Client {
    /// Begins to ask.
    pub(super) fn start(port: u16) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let mut answers = Answers::default();
            // A story that failed drops the sender, which ends this too.
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                match ask(port) {
                    Ok(release) => *answers.releases.entry(release).or_default() += 1,
                    Err(failure) => answers.failures.push(failure),
                }
            }
            answers
        });
        Self { stop, thread }
    }

    /// Stops asking.
    pub(crate) fn stop(self) -> Answers {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}
