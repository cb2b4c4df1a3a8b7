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

/// What our own scripts put before what they say to us rather than to people.
pub(crate) const MARK: &str = "viatique-deploy:";
/// How many of the last lines are kept to show what went wrong.
const LINES_KEPT: usize = 40;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    /// One word, for the container's name and for people.
    pub name: &'a str,
    pub words: &'a [String],
}

/// Hears what a one-off writes, line by line as it comes.
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

/// How a one-off went.
#[derive(Debug)]
pub(crate) struct OneOffResult {
    pub exit: Exit,
    /// Everything it wrote on standard output.
    pub stdout: String,
    name: String,
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
        .evidence(format!("last lines of {}", self.name), self.last_lines))
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
    words: &[String],
    task: &Task,
) -> Result<OneOffResult, Failure> {
    let plain = |word: &&String| word.chars().all(|character| character.is_ascii_alphanumeric());
    let name = words.iter().rfind(plain).map_or("command", String::as_str);
    let command = Command { name, words };
    run_heard(context, service, image, networks, command, &mut &*task).await
}

/// Runs a command to its end. The listener hears its output as it comes.
///
/// # Errors
/// The engine's; a command that fails is a result, not an error.
pub(crate) async fn run_heard(
    context: Context<'_>,
    service: &Service,
    image: &ImageId,
    networks: &NetworkIds,
    command: Command<'_>,
    listener: &mut dyn Listener,
) -> Result<OneOffResult, Failure> {
    let settings = context.settings;
    let name = format!(
        "{}-{}-run-{}-{}",
        settings.project.name,
        service.name,
        command.name,
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
        command: command.words.to_vec(),
        environment: std::collections::BTreeMap::new(),
    };
    let mut sink = Lines {
        listener,
        stdout: Vec::new(),
        pending: [Vec::new(), Vec::new()],
        last: Vec::new(),
    };
    let exit = context.engine.run_one_off(&spec, &mut sink).await?;
    sink.flush();
    Ok(OneOffResult {
        exit,
        stdout: String::from_utf8_lossy(&sink.stdout).into_owned(),
        name: command.name.to_owned(),
        last_lines: sink.last,
    })
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
    listener: &'a mut dyn Listener,
    stdout: Vec<u8>,
    pending: [Vec<u8>; 2],
    last: Vec<String>,
}

impl Lines<'_> {
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
