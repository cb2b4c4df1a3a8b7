//! What a command in a container writes, line by line as it comes: for people, or an answer of one of our own scripts.

use async_trait::async_trait;

use crate::engine::{OutputSink, OutputStream};
use crate::pipeline::Task;

/// What our own scripts put before what they say to us rather than to people.
pub(crate) const MARK: &str = "viatique-deploy:";
/// How many of the last lines are kept to show what went wrong.
const LINES_KEPT: usize = 40;

/// Hears what a command writes, line by line as it comes.
pub(crate) trait Listener: Send {
    /// A line for people.
    fn line(&mut self, line: &str);

    /// What one of our own scripts says to us, its mark taken off.
    fn answer(&mut self, _answer: &str) {}
}

impl Listener for &Task {
    fn line(&mut self, line: &str) {
        self.output(line);
    }
}

/// Takes what a command writes, and hands it on line by line.
pub(crate) struct Lines<'a> {
    listener: &'a mut dyn Listener,
    stdout: Vec<u8>,
    pending: [Vec<u8>; 2],
    last: Vec<String>,
}

/// What is left once all of it was heard.
pub(crate) struct Heard {
    /// Everything that was written on standard output.
    pub stdout: String,
    pub last_lines: Vec<String>,
}

impl<'a> Lines<'a> {
    pub(crate) fn heard_by(listener: &'a mut dyn Listener) -> Self {
        Self {
            listener,
            stdout: Vec::new(),
            pending: [Vec::new(), Vec::new()],
            last: Vec::new(),
        }
    }

    /// Hands on what came without an end of its line.
    pub(crate) fn end(mut self) -> Heard {
        for pending in std::mem::take(&mut self.pending) {
            if !pending.is_empty() {
                self.line(&pending);
            }
        }
        Heard {
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            last_lines: self.last,
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if let Some(answer) = line.strip_prefix(MARK) {
            self.listener.answer(answer);
            return;
        }
        self.listener.line(&line);
        if self.last.len() == LINES_KEPT {
            self.last.remove(0);
        }
        self.last.push(line);
    }
}

#[async_trait]
impl OutputSink for Lines<'_> {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> std::io::Result<()> {
        let index = match stream {
            OutputStream::Stdout => {
                self.stdout.extend_from_slice(bytes);
                0
            }
            OutputStream::Stderr => 1,
        };
        let mut pending = std::mem::take(&mut self.pending[index]);
        pending.extend_from_slice(bytes);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            self.line(&pending);
            pending = rest;
        }
        self.pending[index] = pending;
        Ok(())
    }
}
