//! A Unix socket that plays a Docker Engine word for word: for what a real engine does rarely or never, and for what
//! is sent to it. Runs on threads of its own, one per connection, and ends with the test.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use viatique_deploy::engine::docker::EngineEnvironment;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub(crate) enum Reply {
    /// A JSON body with this status.
    Json(u16, String),
    /// These bytes and then the end, whatever they are.
    Raw(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
}

/// The socket, in a folder of its own.
pub(crate) struct FakeSocket {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeSocket {
    /// Listens, and answers by the closure.
    pub(crate) fn answering(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let script = Arc::new(script);
        let remembered = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, remembered) = (Arc::clone(&script), Arc::clone(&remembered));
                std::thread::spawn(move || serve(stream.unwrap(), script.as_ref(), &remembered));
            }
        });
        Self { folder, asked }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        let socket: PathBuf = self.folder.path().join("engine.sock");
        format!("unix://{}", socket.display())
    }

    /// An environment that leads to it, with the socket's folder as configuration folder.
    pub(crate) fn environment(&self) -> EngineEnvironment {
        EngineEnvironment {
            docker_host: Some(self.address()),
            configuration_folder: Some(self.folder.path().to_owned()),
            ..EngineEnvironment::default()
        }
    }

    /// Writes `config.json`.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.folder.path().join("config.json"), text).unwrap();
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: UnixStream, script: &dyn Fn(&Asked) -> Reply, remembered: &Mutex<Vec<Asked>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut asked = Asked {
        method: first.next().unwrap().to_owned(),
        path: first.next().unwrap().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    };
    let length: usize = asked
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).unwrap();
    remembered.lock().unwrap().push(asked.clone());
    let bytes = match script(&asked) {
        Reply::Json(status, text) => format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
        .into_bytes(),
        Reply::Raw(bytes) => bytes,
        Reply::Silence => {
            // Ends when the client hangs up.
            let _ = stream.read(&mut byte);
            return;
        }
    };
    // The client may have hung up.
    let _ = stream.write_all(&bytes);
}
