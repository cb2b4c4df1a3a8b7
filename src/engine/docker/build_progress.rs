//! BuildKit's status messages as build events, and as the explanation of a failure. BuildKit repeats itself: each
//! step is told once when it starts and once when it ends.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bollard::errors::Error;
use bollard::moby::buildkit::v1::StatusResponse;

use crate::engine::{BuildEvent, BuildSink, EngineError, EngineErrorKind};

/// How much of a failed step's output an error carries.
const LINES_KEPT: usize = 30;

pub(super) struct BuildProgress<'sink> {
    sink: &'sink dyn BuildSink,
    steps: HashMap<String, Step>,
    failed: Option<String>,
}

#[derive(Default)]
struct Step {
    title: String,
    started: bool,
    finished: bool,
    open_line: Vec<u8>,
    last_lines: VecDeque<String>,
}

impl<'sink> BuildProgress<'sink> {
    pub(super) fn new(sink: &'sink dyn BuildSink) -> Self {
        Self {
            sink,
            steps: HashMap::new(),
            failed: None,
        }
    }

    pub(super) fn take(&mut self, status: &StatusResponse) {
        for vertex in &status.vertexes {
            let step = self.steps.entry(vertex.digest.clone()).or_default();
            step.title.clone_from(&vertex.name);
            if vertex.started.is_some() && !step.started {
                step.started = true;
                self.sink.event(BuildEvent::StepStarted {
                    id: vertex.digest.clone(),
                    title: step.title.clone(),
                });
            }
            if !vertex.error.is_empty() && self.failed.is_none() {
                self.failed = Some(vertex.digest.clone());
            }
        }
        // A step's beginning, its words and its end may come together.
        for log in &status.logs {
            let step = self.steps.entry(log.vertex.clone()).or_default();
            step.open_line.extend_from_slice(&log.msg);
            while let Some(end) = step.open_line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = step.open_line.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                step.keep(&line);
                self.sink.event(BuildEvent::Output {
                    id: log.vertex.clone(),
                    line,
                });
            }
        }
        for vertex in &status.vertexes {
            let step = self.steps.entry(vertex.digest.clone()).or_default();
            if let Some(started) = &vertex.started
                && let Some(completed) = &vertex.completed
                && !step.finished
            {
                step.finished = true;
                if let Some(line) = step.rest_of_line() {
                    self.sink.event(BuildEvent::Output {
                        id: vertex.digest.clone(),
                        line,
                    });
                }
                self.sink.event(BuildEvent::StepFinished {
                    id: vertex.digest.clone(),
                    title: step.title.clone(),
                    cached: vertex.cached,
                    duration: between(
                        (started.seconds, started.nanos),
                        (completed.seconds, completed.nanos),
                    ),
                });
            }
        }
    }

    /// Adds which step failed and what it wrote last.
    pub(super) fn explain(&mut self, mut error: EngineError, cause: &Error) -> EngineError {
        if matches!(cause, Error::DockerStreamError { .. }) {
            error.kind = EngineErrorKind::BuildFailed;
        }
        let failed = self.failed.as_ref().and_then(|digest| self.steps.get_mut(digest));
        if let Some(step) = failed {
            step.rest_of_line();
            error.message = format!("{}: {}", step.title, error.message);
            error.detail = step.last_lines.iter().cloned().collect();
        }
        error
    }
}

impl Step {
    /// What it wrote after its last line break.
    fn rest_of_line(&mut self) -> Option<String> {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.open_line))
            .trim_end()
            .to_owned();
        if rest.is_empty() {
            return None;
        }
        self.keep(&rest);
        Some(rest)
    }

    fn keep(&mut self, line: &str) {
        if self.last_lines.len() == LINES_KEPT {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.to_owned());
    }
}

/// Both as seconds and nanoseconds.
fn between(start: (i64, i32), end: (i64, i32)) -> Duration {
    let nanoseconds = |(seconds, nanos): (i64, i32)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let passed = nanoseconds(end) - nanoseconds(start);
    Duration::from_nanos(u64::try_from(passed).unwrap_or_default())
}
