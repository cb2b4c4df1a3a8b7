//! A socket between the program and the engine, which knows what of all that passes is a journal entry, and kills the
//! program right before or right after one. Everything else it hands on as it is.

use std::io::{Read, Write, copy};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tempfile::TempDir;

use super::docker::docker;

/// Where the program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The entry never reaches the engine.
    Before,
    /// It stands; the program does not hear of it.
    After,
}

/// The socket. One for each run of the program.
pub(crate) struct Between {
    folder: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    /// The container that opens the ledger.
    ledger: String,
    engine: String,
    kill: Option<(usize, Moment)>,
    entries: AtomicUsize,
    process: OnceLock<u32>,
}

impl Between {
    /// Listens. `kill` says at which of the run's writes into the ledger, from 1.
    pub(crate) fn listen(project: &str, kill: Option<(usize, Moment)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let ledger = format!("viatique-deploy-ledger-{project}");
        let shared = Arc::new(Shared {
            ledger: docker(["inspect", "--format", "{{.Id}}", &ledger]),
            engine: std::env::var("DOCKER_HOST")
                .ok()
                .and_then(|host| host.strip_prefix("unix://").map(str::to_owned))
                .unwrap_or_else(|| "/var/run/docker.sock".to_owned()),
            kill,
            entries: AtomicUsize::new(0),
            process: OnceLock::new(),
        });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&served);
                // A connection that breaks is for the program to notice.
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { folder, shared }
    }

    /// What `DOCKER_HOST` is to be.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }

    /// Which process to kill; it may have connected already.
    pub(crate) fn kills(&self, process: u32) {
        self.shared.process.set(process).unwrap();
    }

    /// How many entries it has seen.
    pub(crate) fn entries(&self) -> usize {
        self.shared.entries.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, mut client: UnixStream) -> Option<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let mut engine = UnixStream::connect(&self.engine).ok()?;
        let text = String::from_utf8_lossy(&head).into_owned();
        if text.starts_with("PUT ") && text.contains(&self.ledger) {
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().unwrap())
            });
            let mut body = vec![0; length.expect("what is written into the ledger has a length")];
            client.read_exact(&mut body).ok()?;
            head.extend(&body);
            // Signs of life come by the clock.
            if !body.windows(10).any(|part| part == b"alive.json") {
                let number = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
                match self.kill {
                    Some((at, Moment::Before)) if at == number => return self.kill(),
                    Some((at, Moment::After)) if at == number => {
                        engine.write_all(&head).ok()?;
                        // Answered means written.
                        engine.read_exact(&mut byte).ok()?;
                        return self.kill();
                    }
                    Some(_) | None => {}
                }
            }
        }
        engine.write_all(&head).ok()?;
        let (mut from, mut to) = (client.try_clone().ok()?, engine.try_clone().ok()?);
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        copy(&mut engine, &mut client).ok()?;
        client.shutdown(Shutdown::Both).ok()
    }

    fn kill(&self) -> Option<()> {
        let process = self.process.wait().to_string();
        let killed = Command::new("kill")
            .args(["-s", "KILL", &process])
            .status()
            .unwrap();
        assert!(killed.success());
        None
    }
}
