//! Running a command once, in a container of its own made like a service's: migrations, static files, tests of a
//! configuration. The container is labelled with the run, so that what a killed run leaves is found and removed.

use async_trait::async_trait;

use super::deploy::infrastructure::NetworkIds;
use super::deploy::target::{Purpose, container_spec};
use crate::compose::Service;
use crate::engine::{ContainerFilter, Engine, Exit, ImageId, OneOffSpec, OutputSink, OutputStream, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task};
use crate::release::RunId;

/// How many of the last lines are kept to show what went wrong.
const LINES_KEPT: usize = 40;

/// How a one-off went.
#[derive(Debug)]
pub(crate) struct OneOffResult {
    pub exit: Exit,
    /// Everything it wrote on standard output.
    pub stdout: String,
    command: String,
    last_lines: Vec<String>,
}

impl OneOffResult {
    /// Hands the result on where the process reports success.
    ///
    /// # Errors
    /// `what` failed, with the exit code and the last lines.
    pub(crate) fn require_success(self, what: &str) -> Result<Self, Failure> {
        if self.exit.success() {
            return Ok(self);
        }
        let why = if self.exit.out_of_memory {
            ", killed for want of memory"
        } else {
            ""
        };
        Err(Failure::message(
            FailureKind::Failed,
            format!("{what} (exit code {}{why})", self.exit.code),
        )
        .evidence(format!("last lines of {}", self.command), self.last_lines))
    }
}

/// Runs a command to its end. Its output goes to the task as it comes.
///
/// # Errors
/// The engine's; a command that fails is a result, not an error.
pub(crate) async fn run(
    context: Context<'_>,
    service: &Service,
    image: &ImageId,
    networks: &NetworkIds,
    command: &[String],
    task: &Task,
) -> Result<OneOffResult, Failure> {
    let settings = context.settings;
    let shown = shown(command);
    let word = command
        .iter()
        .rev()
        .find(|word| !word.contains([' ', '\n', '-']))
        .map_or("run", String::as_str);
    let word: String = word.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!(
        "{}-{}-run-{word}-{}",
        settings.project.name,
        service.name,
        context.run.suffix()
    );
    let purpose = Purpose {
        role: labels::Role::OneOff,
        number: 1,
        name: &name,
        tag: &settings.tag,
        run: context.run,
    };
    let container = container_spec(&settings.project, service, image, networks, None, purpose)?;
    let spec = OneOffSpec {
        container,
        command: command.to_vec(),
        environment: std::collections::BTreeMap::new(),
    };
    let mut sink = Lines {
        task,
        stdout: Vec::new(),
        pending: [Vec::new(), Vec::new()],
        last: Vec::new(),
    };
    let exit = context.engine.run_one_off(&spec, &mut sink).await?;
    sink.flush();
    Ok(OneOffResult {
        exit,
        stdout: String::from_utf8_lossy(&sink.stdout).into_owned(),
        command: shown,
        last_lines: sink.last,
    })
}

/// A command as people read it: a script given as a word is not repeated.
fn shown(command: &[String]) -> String {
    let words: Vec<&str> = command
        .iter()
        .map(|word| if word.contains('\n') { "…" } else { word.as_str() })
        .collect();
    words.join(" ")
}

/// Removes the one-offs and backup containers of this run, and with `others` those of killed runs too, their sidecars
/// included. This run's own sidecars are the deploy's business.
///
/// # Errors
/// The engine's.
pub(crate) async fn sweep(
    engine: &dyn Engine,
    project: &str,
    run: &RunId,
    others: bool,
) -> Result<u32, Failure> {
    let mut removed = 0;
    let sidecars = others.then_some(labels::Role::Sidecar);
    for role in [labels::Role::OneOff, labels::Role::Backup]
        .into_iter()
        .chain(sidecars)
    {
        let mut filter = ContainerFilter::labelled(labels::PROJECT, project).and(labels::ROLE, role.as_str());
        if !others {
            filter = filter.and(labels::RUN, &run.0);
        }
        for container in engine.containers(&filter).await? {
            engine.remove_container(&container.id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

struct Lines<'a> {
    task: &'a Task,
    stdout: Vec<u8>,
    pending: [Vec<u8>; 2],
    last: Vec<String>,
}

impl Lines<'_> {
    fn line(&mut self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        // Answers to our own scripts are read by us, not by people.
        if line.starts_with("viatique-deploy:") {
            return;
        }
        self.task.output(line.clone());
        if self.last.len() == LINES_KEPT {
            self.last.remove(0);
        }
        self.last.push(line);
    }

    fn flush(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if !pending.is_empty() {
                self.line(&pending);
            }
        }
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
