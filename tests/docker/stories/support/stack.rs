//! One story's stack: the example under a project of its own, and the program to deploy it with. Removed when dropped,
//! after a failed story too.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, ask};
use super::docker::{docker_compose, remove_everything_of, require_engine};
use super::example::Example;
use super::program::{Finished, Running};
use super::snapshot::Snapshot;

const PROGRAM: &str = env!("CARGO_BIN_EXE_viatique-deploy");

/// The stack; nothing of it is deployed to begin with.
pub(crate) struct Stack {
    pub(crate) project: String,
    pub(crate) port: u16,
    pub(crate) example: Example,
}

impl Stack {
    /// Makes the copy of the example.
    pub(crate) fn new(story: &str) -> Self {
        require_engine();
        let random = RandomState::new().build_hasher().finish() & 0xff_ffff;
        let project = format!("vt-{story}-{random:06x}");
        let port = free_port();
        Self {
            example: Example::copy(&project, port),
            project,
            port,
        }
    }

    /// The program with these words, in the example's folder and with nothing else in its environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .current_dir(self.example.folder())
            .env_clear()
            // All that it can log: it is searched for secrets.
            .env("RUST_LOG", "viatique_deploy=trace")
            .env("HTTP_PORT", self.port.to_string());
        for kept in ["PATH", "HOME", "DOCKER_HOST"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Finished {
        self.start(words).finish()
    }

    /// Starts the program.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        self.start_command(&mut self.command(words))
    }

    /// Starts the program as [`Stack::command`] and the story prepared it.
    pub(crate) fn start_command(&self, command: &mut Command) -> Running {
        Running::start(command)
    }

    /// `docker-compose` on the same files, for the release with this tag.
    pub(crate) fn compose(&self, tag: &str) -> Command {
        let mut command = docker_compose();
        command
            .current_dir(self.example.folder())
            .env("HTTP_PORT", self.port.to_string())
            .env("RELEASE_TAG", tag)
            .args(["-p", &self.project, "-f", "docker-compose.prod.yml"]);
        command
    }

    /// What stands now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.project, &self.example.file("backups"))
    }

    /// Begins to poll it.
    pub(crate) fn poll(&self) -> Client {
        Client::start(self.port)
    }

    /// Waits until it answers well at all.
    #[track_caller]
    pub(crate) fn wait_until_served(&self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while let Err(problem) = ask(self.port) {
            assert!(Instant::now() < deadline, "{problem}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The release that answers now.
    #[track_caller]
    pub(crate) fn serves(&self) -> String {
        ask(self.port).unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let problems = remove_everything_of(&self.project);
        // A second panic while one unwinds would end the process, and the other stories with it.
        assert!(
            problems.is_empty() || thread::panicking(),
            "could not be removed:\n{}",
            problems.join("\n")
        );
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
