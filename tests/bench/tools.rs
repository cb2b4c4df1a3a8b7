//! What is compared, and how each deploys. A tool other than ours is a script, in `scripts/`: what one would type.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::process::{self, Ended};
use super::progress::{self, Said};
use super::stage::Stage;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// This one.
    Viatique,
    /// The workflow's script, with Compose v1 where it is installed, else v2.
    Script,
    /// `docker compose up -d`, v2.
    Compose,
    /// The docker-rollout plugin, with a reload of nginx after each service.
    Rollout,
}

/// How it is there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// What runs, for the table; and for scripts, which Compose they call.
    Installed { version: String, compose: String },
    /// What was looked for.
    NotInstalled(&'static str),
}

impl Tool {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Viatique => "viatique-deploy",
            Self::Script => "the script",
            Self::Compose => "docker compose",
            Self::Rollout => "docker-rollout",
        }
    }

    /// Of its releases: each tool builds its own.
    pub(crate) fn tag(self, number: usize) -> String {
        match self {
            Self::Viatique => format!("v{number}"),
            Self::Script => format!("s{number}"),
            Self::Compose => format!("c{number}"),
            Self::Rollout => format!("r{number}"),
        }
    }

    /// Looks whether it is installed.
    pub(crate) fn presence(self) -> Presence {
        let v1 = version("docker-compose", &["version", "--short"]);
        let v2 = version("docker", &["compose", "version", "--short"]);
        let found = match self {
            Self::Viatique => {
                return Presence::Installed {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    compose: String::new(),
                };
            }
            Self::Script => match (v1, v2) {
                (Some(v1), _) => Some((format!("docker-compose {v1}"), "docker-compose")),
                (None, Some(v2)) => Some((format!("docker compose {v2}"), "docker compose")),
                (None, None) => None,
            },
            Self::Compose => v2.map(|v2| (v2, "docker compose")),
            Self::Rollout => {
                let rollout = v2.and_then(|_| version("docker", &["rollout", "--version"]));
                rollout.map(|said| {
                    let version = said.rsplit(' ').next().unwrap_or_default();
                    (version.to_owned(), "docker compose")
                })
            }
        };
        match (found, self) {
            (Some((version, compose)), _) => Presence::Installed {
                version,
                compose: compose.to_owned(),
            },
            (None, Self::Rollout) => Presence::NotInstalled("docker rollout, with docker compose"),
            (None, Self::Compose) => Presence::NotInstalled("docker compose"),
            (None, Self::Script | Self::Viatique) => {
                Presence::NotInstalled("docker-compose or docker compose")
            }
        }
    }

    /// Brings the stack up for the first time.
    pub(crate) fn set_up(self, stage: &Stage, compose: &str) -> Result<()> {
        let tag = self.tag(1);
        let ended = match self {
            Self::Viatique => {
                return self
                    .deploy(stage, compose, &tag, |_| {})?
                    .expect(0, "v1")
                    .map(drop);
            }
            Self::Script | Self::Compose | Self::Rollout => {
                let mut command = script(stage, compose, &tag, include_str!("scripts/setup.sh"))?;
                process::run(&mut command, |_| {})?
            }
        };
        ended
            .expect(0, &format!("setting up for {}", self.name()))
            .map(drop)
    }

    /// Deploys this release; says which step it is at.
    pub(crate) fn deploy(
        self,
        stage: &Stage,
        compose: &str,
        tag: &str,
        mut said: impl FnMut(Said),
    ) -> Result<Ended> {
        let text = match self {
            Self::Viatique => return viatique(stage, &["run", "--tag", tag], said),
            Self::Script => include_str!("scripts/workflow.sh"),
            Self::Compose => include_str!("scripts/compose.sh"),
            Self::Rollout => include_str!("scripts/rollout.sh"),
        };
        let mut command = script(stage, compose, tag, text)?;
        process::run(&mut command, |line| said(progress::heading(line)))
    }
}

/// Runs our own program with these words.
pub(crate) fn viatique(stage: &Stage, words: &[&str], mut said: impl FnMut(Said)) -> Result<Ended> {
    let mut command = stage.command(env!("CARGO_BIN_EXE_viatique-deploy"), "");
    // The release is what `--tag` says.
    command
        .env_remove("RELEASE_TAG")
        .args(words)
        .args(["--yes", "--output", "json"]);
    process::run(&mut command, |line| said(progress::event(line)))
}

fn script(stage: &Stage, compose: &str, tag: &str, text: &str) -> Result<Command> {
    let file = stage.file("benchmark.sh");
    std::fs::write(&file, text).context("writing the script")?;
    let mut command = stage.command("bash", tag);
    command.arg("benchmark.sh").env("COMPOSE", compose);
    // Without buildx, Compose v2 builds only with the engine's older builder, and only when told to.
    if version("docker", &["buildx", "version"]).is_none() {
        command.env("DOCKER_BUILDKIT", "0");
    }
    Ok(command)
}

fn version(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
