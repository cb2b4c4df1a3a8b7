//! The program under test as a process: with nothing in its environment but what it is given, and never for longer
//! than it may take.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::secrets::no_secret_in;

/// Far above what anything here takes: a deadline for what hangs, not a measure.
const DEADLINE: Duration = Duration::from_secs(300);

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Itself, if it ended with this exit code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails where standard error does not say this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "`{text}` is not said in {self}");
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Standard output as one JSON document a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a run that ended with {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// A run under way. Killed when it is dropped, so that a failed story leaves none behind.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: String,
    stderr: Option<JoinHandle<String>>,
    deadline: Instant,
}

impl Running {
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is what there is to show.
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            child,
            lines,
            seen: String::new(),
            stderr: Some(stderr),
            deadline: Instant::now() + DEADLINE,
        }
    }

    /// The process's number.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Reads standard output, which must be events, up to the first one that is meant.
    #[track_caller]
    pub(crate) fn wait_for_event(&mut self, what: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(line) = self.next_line() else {
                panic!("the program ended without {what}:\n{}", self.seen);
            };
            let event: Value = serde_json::from_str(&line).unwrap();
            if is_meant(&event) {
                return event;
            }
        }
    }

    /// Reads events until the frontend has been replaced, while the scheduler, which must run for a while before it
    /// counts, has not.
    #[track_caller]
    pub(crate) fn wait_until_half_way(&mut self) {
        self.wait_for_event("a replaced frontend", |event| {
            event["event"] == "task_finished" && event["step"] == "deploy" && event["task"] == "frontend"
        });
    }

    /// Sends the signal with this name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.process().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        // Standard output ends with the process.
        while self.next_line().is_some() {}
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let status: ExitStatus = self.child.wait().unwrap();
        let stdout = std::mem::take(&mut self.seen);
        no_secret_in("standard output", &stdout);
        no_secret_in("standard error and the log", &stderr);
        Finished {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    #[track_caller]
    fn next_line(&mut self) -> Option<String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.seen.push_str(&line);
                self.seen.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                // Ended, so that its standard error ends and can be shown.
                let _ = self.child.kill();
                let stderr = self.stderr.take().map(|reader| reader.join().unwrap());
                panic!(
                    "the program still runs after {} s:\n{}\n{}",
                    DEADLINE.as_secs(),
                    self.seen,
                    stderr.unwrap_or_default()
                );
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
