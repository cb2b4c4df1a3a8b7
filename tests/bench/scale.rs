//! How long projects of many small services take: fresh, with every service changed, and unchanged; this tool beside
//! `docker compose up -d`, in alternation. The services only sleep, and end at once on SIGTERM, so that what is
//! measured is the tools and the engine.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::clear::Cleared;
use super::process::{self, bounded};
use super::statistics::median;
use super::table::Table;
use super::tools::{Presence, Tool};

/// The same image for all, which is there already.
const IMAGE: &str = "debian:trixie-slim";
/// As PID 1, which without the trap would not be ended by SIGTERM.
const SLEEPS: &str = "trap 'exit 0' TERM; sleep infinity & wait";

/// Measures these sizes. The first table has the times, seconds; the second how they grow.
pub(crate) fn run(sizes: &[usize], rounds: usize, say: &dyn Fn(&str)) -> Result<(Table, Table)> {
    let compose = match Tool::Compose.presence() {
        Presence::Installed { version, .. } => Some(version),
        Presence::NotInstalled(what) => {
            say(&format!("not installed: {what}; measuring this tool alone"));
            None
        }
    };
    let mut times = Table::new(&["services", "", "viatique-deploy s", "docker compose s", "ratio"]);
    let mut growth = Table::new(&["services", "fresh ms each", "changed ms each", "plan ms each"]);
    for size in sizes {
        let mut ours = Times::default();
        let mut theirs = Times::default();
        for round in 1..=rounds {
            say(&format!("{size} services, round {round} of {rounds}"));
            measure(&Roller::Viatique, *size, &mut ours)?;
            if compose.is_some() {
                measure(&Roller::Compose, *size, &mut theirs)?;
            }
        }
        for (what, ours, theirs) in [
            ("fresh", &ours.fresh, &theirs.fresh),
            ("every one changed", &ours.changed, &theirs.changed),
            ("planned, unchanged", &ours.unchanged, &theirs.unchanged),
        ] {
            let (ours, theirs) = (median(ours), median(theirs));
            let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
            times.row(vec![
                size.to_string(),
                what.to_owned(),
                show(ours, 2),
                theirs.map_or_else(|| "not installed".to_owned(), |theirs| format!("{theirs:.2}")),
                show(ratio, 2),
            ]);
        }
        let each = |times: &[f64]| show(median(times).map(|time| time * 1000.0 / *size as f64), 1);
        growth.row(vec![
            size.to_string(),
            each(&ours.fresh),
            each(&ours.changed),
            each(&ours.unchanged),
        ]);
    }
    Ok((times, growth))
}

fn show(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[derive(Default)]
struct Times {
    fresh: Vec<f64>,
    changed: Vec<f64>,
    /// For ours `deploy --dry-run`; for Compose, which plans nothing, an `up -d` that finds nothing to do.
    unchanged: Vec<f64>,
}

enum Roller {
    Viatique,
    Compose,
}

fn measure(roller: &Roller, size: usize, times: &mut Times) -> Result<()> {
    let project = Project::new()?;
    project.write(size, "first")?;
    times.fresh.push(project.time(roller, "first", false)?);
    project.write(size, "second")?;
    times.changed.push(project.time(roller, "second", false)?);
    times.unchanged.push(project.time(roller, "second", true)?);
    Ok(())
}

/// A project of small services, in a folder of its own. Removed when dropped.
struct Project {
    name: String,
    _cleared: Cleared,
    folder: TempDir,
}

impl Project {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("vdbench-").tempdir()?;
        let name = super::stage::project_name();
        Ok(Self {
            _cleared: Cleared::at_the_end(&name, folder.path().to_owned()),
            name,
            folder,
        })
    }

    fn write(&self, size: usize, round: &str) -> Result<()> {
        let mut compose = String::from("services:\n");
        for number in 1..=size {
            // Writing to a string cannot fail.
            let _ = write!(
                compose,
                "  s{number:03}:\n    image: {IMAGE}\n    command: [sh, -c, \"{SLEEPS}\"]\n    \
                 restart: unless-stopped\n    environment: {{ ROUND: {round} }}\n"
            );
        }
        fs::write(self.folder.path().join("compose.yml"), compose).context("writing compose.yml")?;
        let deploy = format!("project: {}\ncompose: [compose.yml]\n", self.name);
        fs::write(self.folder.path().join("deploy.yml"), deploy).context("writing deploy.yml")
    }

    fn time(&self, roller: &Roller, tag: &str, unchanged: bool) -> Result<f64> {
        let mut command: Command = match roller {
            Roller::Viatique => {
                let mut command = bounded(env!("CARGO_BIN_EXE_viatique-deploy"));
                command.args(["deploy", "--yes", "--output", "json", "--tag", tag]);
                if unchanged {
                    command.arg("--dry-run");
                }
                command
            }
            Roller::Compose => {
                let mut command = bounded("docker");
                command.args(["compose", "--project-name", &self.name, "up", "--detach"]);
                command
            }
        };
        let began = Instant::now();
        let ended = process::run(command.current_dir(self.folder.path()), |_| {})?;
        let took = began.elapsed().as_secs_f64();
        ended.expect(0, &format!("{command:?}"))?;
        Ok(took)
    }
}
