//! Listens to the engine, beside the tools: when which container of the project started, and first was healthy.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// One container's beginning.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) container: String,
    pub(crate) service: String,
    pub(crate) started: SystemTime,
    /// None where it has no health test, or never passed it.
    pub(crate) healthy: Option<SystemTime>,
}

/// Listens until stopped.
pub(crate) struct Watch {
    events: Child,
    reader: JoinHandle<()>,
    starts: Arc<Mutex<Vec<Start>>>,
}

impl Watch {
    pub(crate) fn begin(project: &str) -> Result<Self> {
        let mut events = Command::new("docker")
            .args(["events", "--format", "{{json .}}", "--filter", "type=container"])
            .arg("--filter")
            .arg(format!("label=com.docker.compose.project={project}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("listening to the engine's events")?;
        let lines = BufReader::new(events.stdout.take().context("standard output is a pipe")?).lines();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let starts = Arc::clone(&starts);
            move || {
                for line in lines.map_while(Result::ok) {
                    if let Ok(event) = serde_json::from_str(&line) {
                        take(&mut starts.lock().unwrap_or_else(PoisonError::into_inner), &event);
                    }
                }
            }
        });
        Ok(Self {
            events,
            reader,
            starts,
        })
    }

    /// Stops listening; what was heard.
    pub(crate) fn stop(mut self) -> Vec<Start> {
        // Both fail only where it has ended by itself.
        let _ = self.events.kill();
        let _ = self.events.wait();
        let _ = self.reader.join();
        std::mem::take(&mut self.starts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn take(starts: &mut Vec<Start>, event: &Value) {
    let attributes = &event["Actor"]["Attributes"];
    let (Some(container), Some(service), Some(nanoseconds)) = (
        event["Actor"]["ID"].as_str(),
        attributes["com.docker.compose.service"].as_str(),
        event["timeNano"].as_u64(),
    ) else {
        return;
    };
    let one_off = attributes["com.docker.compose.oneoff"].as_str();
    if one_off.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return;
    }
    let moment = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    match event["Action"].as_str() {
        Some("start") => starts.push(Start {
            container: container.to_owned(),
            service: service.to_owned(),
            started: moment,
            healthy: None,
        }),
        Some("health_status: healthy") => {
            let start = starts.iter_mut().rev().find(|start| start.container == container);
            if let Some(start) = start {
                start.healthy.get_or_insert(moment);
            }
        }
        Some(_) | None => {}
    }
}
