//! `run`, and the subcommands that are one of its steps.

use super::drive::{Drive, Effect};
use super::session::Session;
use crate::app::http::HttpApp;
use crate::cli::{Command, GlobalOptions};
use crate::clock::SystemClock;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::ledger::Releases;
use crate::pipeline::Step;
use crate::release::{Sequence, Tag};
use crate::steps::backup::Backup;
use crate::steps::build::Build;
use crate::steps::check::Check;
use crate::steps::collectstatic::Collectstatic;
use crate::steps::deploy::Deploy;
use crate::steps::health::Health;
use crate::steps::migrate::Migrate;
use crate::ui::{self, OutputOptions};

/// Drives the steps of a subcommand.
///
/// # Errors
/// Whatever is wrong before the first step.
pub(super) async fn steps(
    global: &GlobalOptions,
    command: &Command,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let chosen = choose(command);
    // A release to be made is read from its files before the engine is asked anything.
    let (mut settings, releases) = if chosen.concerns_what_serves {
        let releases = session.releases().await?;
        let tag = session.serving_tag(global, &releases).await?;
        (session.settings(tag, releases.current().cloned())?, releases)
    } else {
        let mut settings = session.settings(session.new_tag(global).await?, None)?;
        let releases = session.releases().await?;
        settings.current = releases.current().cloned();
        (settings, releases)
    };
    let app = HttpApp::new().map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    let effect = match chosen.effect {
        Effect::Deploys { .. } => Effect::Deploys {
            returns_to: returns_to(&releases, &settings.tag),
        },
        Effect::Looks | Effect::Prepares => chosen.effect,
    };
    let drive = Drive {
        command: chosen.name,
        engine: &session.engine,
        app: &app,
        clock: &SystemClock,
        settings: &mut settings,
        steps: chosen.steps,
        effect,
        dry_run: global.dry_run,
    };
    Ok(drive.run(ui::reporter(output)).await)
}

/// What a rollback from the release about to be made goes back to: what serves now, unless that is the same tag
/// deployed again, whose own predecessor it then is.
fn returns_to(releases: &Releases, tag: &Tag) -> Option<Sequence> {
    let current = releases.current()?;
    if current.tag == *tag {
        current.previous
    } else {
        Some(current.sequence)
    }
}

struct Chosen {
    name: &'static str,
    steps: Vec<Box<dyn Step>>,
    effect: Effect,
    /// Rather than a release to be made.
    concerns_what_serves: bool,
}

fn choose(command: &Command) -> Chosen {
    let deploys = Effect::Deploys { returns_to: None };
    let one = |name, step: Box<dyn Step>, effect| Chosen {
        name,
        steps: vec![step],
        effect,
        concerns_what_serves: false,
    };
    match command {
        Command::Check => one("check", Box::new(Check { build_follows: true }), Effect::Looks),
        Command::Backup => Chosen {
            concerns_what_serves: true,
            ..one("backup", Box::new(Backup), Effect::Prepares)
        },
        Command::Build => one("build", Box::new(Build), Effect::Prepares),
        Command::Migrate => one("migrate", Box::new(Migrate), Effect::Prepares),
        Command::Collectstatic => one("collectstatic", Box::new(Collectstatic), Effect::Prepares),
        Command::Deploy => one("deploy", Box::new(Deploy), deploys),
        Command::Health => Chosen {
            concerns_what_serves: true,
            ..one("health", Box::new(Health), Effect::Looks)
        },
        Command::Run | Command::Rollback(_) | Command::Status | Command::Releases => Chosen {
            name: "run",
            steps: vec![
                Box::new(Check { build_follows: true }),
                Box::new(Backup),
                Box::new(Build),
                Box::new(Migrate),
                Box::new(Collectstatic),
                Box::new(Deploy),
                Box::new(Health),
            ],
            effect: deploys,
            concerns_what_serves: false,
        },
    }
}
