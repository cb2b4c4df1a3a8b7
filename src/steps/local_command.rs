//! Runs a command of the operator's on this machine, in the folder of `deploy.yml`: no shell reads it, and it is ended with
//! all that it started when it takes too long or is not waited for any more. What its end means is its caller's business.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, Task};

/// How many of its last lines are kept to show what went wrong.
pub(crate) const LINES_SHOWN: usize = 40;
/// No report is longer than this.
const LONGEST_REPORT: u64 = 64 * 1024 * 1024;

/// What becomes of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// It is for people, as standard error is.
    Heard,
    /// It is a report: kept whole, and told to nobody.
    Kept,
}

/// What is run.
pub(crate) struct LocalCommand<'a> {
    pub words: &'a [String],
    /// The folder of `deploy.yml`.
    pub folder: &'a Path,
    pub environment: BTreeMap<String, String>,
    pub time_limit: Duration,
    pub output: Output,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Ran {
    Ended(Ended),
    /// There is no such program.
    NotThere,
    TimedOut,
}

/// One that came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub status: ExitStatus,
    /// Where it was kept.
    pub report: Vec<u8>,
    pub last_lines: Vec<String>,
}

/// What a command is told through its environment.
pub(crate) fn facts(context: Context<'_>, step: StepId) -> BTreeMap<String, String> {
    let settings = context.settings;
    let serves = settings.current.as_ref().map(|release| release.tag.to_string());
    [
        ("PROJECT", settings.project.name.clone()),
        ("RELEASE", settings.tag.to_string()),
        ("RELEASE_BEFORE", serves.unwrap_or_default()),
        ("RUN", context.run.to_string()),
        ("STEP", step.as_str().to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("VIATIQUE_DEPLOY_{name}"), value))
    .collect()
}

/// Runs it to its end.
///
/// # Errors
/// It cannot be started, though it is there; its output cannot be read, or is longer than any report.
pub(crate) async fn run(command: LocalCommand<'_>, task: &Task) -> Result<Ran, Failure> {
    let Some((program, arguments)) = command.words.split_first() else {
        return Ok(Ran::NotThere);
    };
    // A path is meant from the folder of deploy.yml; a name is looked up as a shell would.
    let program = if program.contains('/') {
        std::path::absolute(command.folder.join(program)).map_err(anyhow::Error::new)?
    } else {
        program.into()
    };
    let spawned = Command::new(program)
        .args(arguments)
        .current_dir(command.folder)
        .envs(command.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // What it starts goes with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ran::NotThere),
        Err(error) => return Err(anyhow::Error::new(error).context("starting it").into()),
    };
    let group = Group(
        child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)),
    );
    let lines = Mutex::new(Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        tokio::join!(
            async {
                match command.output {
                    Output::Heard => hear(stdout, task, &lines).await.map(|()| Vec::new()),
                    Output::Kept => keep(stdout).await,
                }
            },
            hear(stderr, task, &lines),
            child.wait()
        )
    };
    let Ok((report, heard, status)) = tokio::time::timeout(command.time_limit, all).await else {
        return Ok(Ran::TimedOut);
    };
    group.ended();
    let reading = |error: std::io::Error| anyhow::Error::new(error).context("reading what it writes");
    let report = report.map_err(reading)?;
    heard.map_err(reading)?;
    let status = status.map_err(|error| anyhow::Error::new(error).context("waiting for its end"))?;
    if report.len() as u64 > LONGEST_REPORT {
        return Err(Failure::message(
            FailureKind::Failed,
            "it writes more than 64 MB, which is no report",
        ));
    }
    Ok(Ran::Ended(Ended {
        status,
        report,
        last_lines: lines.into_inner().unwrap_or_else(PoisonError::into_inner),
    }))
}

/// A command and all that it started: killed where nobody waits for its end.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        {
            tracing::debug!(%error, "a command's processes are gone already");
        }
    }
}

/// Line by line, to the task and to those that are shown if it fails.
async fn hear(
    output: Option<impl AsyncRead + Unpin>,
    task: &Task,
    lines: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let Some(output) = output else { return Ok(()) };
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        task.output(text.clone());
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_SHOWN {
            lines.remove(0);
        }
        lines.push(text);
        line.clear();
    }
    Ok(())
}

/// All of it; one byte more than the longest report, where it is longer.
async fn keep(output: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let Some(mut output) = output else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    (&mut output)
        .take(LONGEST_REPORT + 1)
        .read_to_end(&mut kept)
        .await?;
    Ok(kept)
}
