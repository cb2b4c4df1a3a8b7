//! Runs other programs: bounded in time, in a process group of their own, so that Ctrl-C reaches the benchmark first
//! and the benchmark can end them before it clears up.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};

/// Longer than any deploy; `timeout` ends what is not done by then.
const LIMIT: &str = "900";

/// The process groups that run now.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The last lines, for a message.
    pub(crate) fn tail(&self) -> String {
        let text = format!("{}\n{}", self.stdout, self.stderr);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    pub(crate) fn expect(self, code: i32, what: &str) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "{what}: exit code {:?}, {code} expected\n{}",
            self.code,
            self.tail()
        );
        Ok(self)
    }
}

/// The program and its first words, under a time limit.
pub(crate) fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", LIMIT, program]);
    command
}

/// Runs it to its end, and hands over each line of its standard output as it comes.
pub(crate) fn run(command: &mut Command, mut line_said: impl FnMut(&str)) -> Result<Ended> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let group = child.id();
    running().push(group);
    let stderr = child.stderr.take().context("standard error is a pipe")?;
    let stderr = thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is to show.
        let _ = BufReader::new(stderr).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let mut stdout = String::new();
    for line in BufReader::new(child.stdout.take().context("standard output is a pipe")?).lines() {
        let line = line.unwrap_or_default();
        line_said(&line);
        stdout.push_str(&line);
        stdout.push('\n');
    }
    let code = child.wait()?.code();
    running().retain(|other| *other != group);
    Ok(Ended {
        code,
        stdout,
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// Runs a short command that must succeed; its output, without the line's end.
pub(crate) fn text(program: &str, words: &[&str]) -> Result<String> {
    let what = format!("{program} {}", words.join(" "));
    let ended = run(bounded(program).args(words), |_| {})?.expect(0, &what)?;
    Ok(ended.stdout.trim_end().to_owned())
}

/// Ends every program that [`run`] is running, and what it started. For the way out only.
pub(crate) fn kill_all() {
    for group in running().drain(..) {
        // One that has ended already is what was wanted.
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &format!("-{group}")])
            .status();
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
