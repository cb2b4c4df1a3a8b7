//! Removes what the benchmark made, by label and by the project's name: at the end, after a failure, and on Ctrl-C.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::process;

/// The projects so far, and their folders.
static PROJECTS: Mutex<Vec<(String, PathBuf)>> = Mutex::new(Vec::new());

/// Removes a project's containers, networks and volumes when dropped.
pub(crate) struct Cleared {
    project: String,
}

impl Cleared {
    pub(crate) fn at_the_end(project: &str, folder: PathBuf) -> Self {
        projects().push((project.to_owned(), folder));
        Self {
            project: project.to_owned(),
        }
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        // Held meanwhile, so that this and what Ctrl-C does never remove the same things at once.
        let _projects = projects();
        containers_and_volumes(&self.project);
    }
}

/// Removes the images of all projects when dropped. Not sooner: the engine's older builder takes its cache from them,
/// and every tool would build from nothing.
pub(crate) struct ImagesCleared;

impl Drop for ImagesCleared {
    fn drop(&mut self) {
        for (project, _) in projects().drain(..) {
            images(&project);
        }
    }
}

/// From now on, Ctrl-C and SIGTERM clear up and end the benchmark with 130.
#[expect(
    clippy::exit,
    reason = "the rest of the program is in the middle of something"
)]
pub(crate) fn on_interrupt() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("waiting for Ctrl-C")?;
        (
            interrupt,
            signal(SignalKind::terminate()).context("waiting for SIGTERM")?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        process::kill_all();
        // Not given back: the rest of the program, whose children were just killed, waits here to the end.
        let mut projects = projects();
        for (project, folder) in projects.drain(..) {
            containers_and_volumes(&project);
            images(&project);
            // Left in the temporary folder at worst.
            let _ = std::fs::remove_dir_all(folder);
        }
        std::process::exit(130);
    });
    Ok(())
}

/// Removes a project's containers, networks and volumes.
fn containers_and_volumes(project: &str) {
    for (list, remove) in [
        (&["ps", "--all"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm"]),
    ] {
        for filter in [
            format!("label=com.docker.compose.project={project}"),
            format!("label=viatique-deploy.project={project}"),
            format!("name={project}"),
        ] {
            let listed = docker(&[list, &["--quiet", "--filter", &filter]].concat());
            let ids: Vec<&str> = listed.lines().collect();
            if !ids.is_empty() {
                docker(&[remove, &ids].concat());
            }
        }
    }
}

/// Removes a project's images: those named after it.
fn images(project: &str) {
    let own = format!("reference={project}-*");
    let listed = docker(&["images", "--filter", &own, "--format", "{{.Repository}}:{{.Tag}}"]);
    let references: Vec<&str> = listed.lines().collect();
    if !references.is_empty() {
        docker(&[&["image", "rm", "--force"], &references[..]].concat());
    }
}

/// Clearing up goes on whatever fails: what cannot be removed is said, and the rest removed.
#[expect(clippy::print_stderr, reason = "nobody else is left to say it")]
fn docker(words: &[&str]) -> String {
    match Command::new("docker").args(words).output() {
        Ok(output) => {
            if !output.status.success() {
                eprintln!(
                    "docker {}: {}",
                    words.join(" "),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Err(error) => {
            eprintln!("docker {}: {error}", words.join(" "));
            String::new()
        }
    }
}

fn projects() -> std::sync::MutexGuard<'static, Vec<(String, PathBuf)>> {
    PROJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}
