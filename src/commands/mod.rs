//! One subcommand each: wires the rooms together, chooses the steps, and turns how it ended into an exit code. Rules
//! of a deploy are in `steps`; what is shown is in `ui`.

mod accounted;
mod alive;
mod backups;
mod check;
pub mod checklist;
mod drift;
pub mod drive;
mod identity;
mod locked;
pub mod logs;
mod monitor;
pub mod notices;
mod notify;
pub mod rebuilt;
mod record;
mod releases;
mod report;
pub mod reported;
mod restore;
pub mod resume;
pub mod reversing;
pub mod rollback;
pub mod secrets;
mod session;
mod signals;
mod status;
pub mod steps;
mod unfinished;

use self::steps::{Asked, Chosen};
use crate::cli::{Cli, Command, GlobalOptions, RehearseArgs, ReleasesCommand};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::pipeline::Outcome;
use crate::ui::{self, OutputOptions, Verbosity};

/// Runs what was typed.
pub async fn run(cli: Cli) -> ExitCode {
    let output = output_options(&cli.global);
    install_diagnostics(&output);
    let done = match cli.command {
        Command::Status => status::status(&cli.global, &output).await,
        Command::Releases { what: None } => releases::releases(&cli.global, &output).await,
        Command::Releases {
            what: Some(ReleasesCommand::Show { release }),
        } => releases::show(&cli.global, &release, &output).await,
        Command::Releases {
            what: Some(ReleasesCommand::Diff { from, to }),
        } => releases::diff(&cli.global, &from, &to, &output).await,
        Command::Checklist(arguments) => checklist::checklist(&cli.global, &arguments, &output).await,
        Command::Report(arguments) => report::report(&cli.global, &arguments, &output).await,
        Command::Rollback(arguments) => rollback::rollback(&cli.global, &arguments, &output).await,
        Command::Unlock(arguments) => locked::unlock(&cli.global, &arguments, &output).await,
        Command::Notify(arguments) => notify::notify(&cli.global, &arguments, &output).await,
        Command::Resume => resume::resume(&cli.global, &output).await,
        Command::Check(arguments) => check::check(&cli.global, &arguments, &output).await,
        Command::Backup { what } => backups::backup(&cli.global, what, &output).await,
        Command::Build(flags) => {
            steps::steps(&cli.global, Chosen::build_with(flags), Asked::default(), &output).await
        }
        Command::Migrate(arguments) => {
            let asked = Asked {
                allow_incompatible: arguments.allow_breaking,
                ..Asked::default()
            };
            steps::steps(&cli.global, Chosen::migrate(), asked, &output).await
        }
        Command::Rehearse(RehearseArgs { backup, migrate }) => {
            let asked = Asked {
                allow_incompatible: migrate.allow_breaking,
                ..Asked::default()
            };
            steps::steps(&cli.global, Chosen::rehearse(backup), asked, &output).await
        }
        Command::Collectstatic => {
            steps::steps(&cli.global, Chosen::collectstatic(), Asked::default(), &output).await
        }
        Command::Deploy(arguments) => {
            let asked = Asked {
                replace: &arguments.replace.replace,
                report: arguments.report.report.as_deref(),
                skip_smoke: arguments.skip_smoke,
                ..Asked::default()
            };
            steps::steps(&cli.global, Chosen::deploy(), asked, &output).await
        }
        Command::Health => steps::steps(&cli.global, Chosen::health(), Asked::default(), &output).await,
        Command::Smoke(arguments) => {
            let chosen = Chosen::smoke(arguments.only);
            steps::steps(&cli.global, chosen, Asked::default(), &output).await
        }
        Command::Logs(arguments) => logs::logs(&cli.global, &arguments, &output).await,
        Command::Monitor(arguments) => monitor::monitor(&cli.global, &arguments, &output).await,
        Command::Run(arguments) => steps::run(&cli.global, &arguments, &output).await,
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            let code = exit_code(Outcome::Failed, Some(failure.kind));
            ui::render_error(&output, code, &failure.report());
            code
        }
    }
}

/// The one place where outcomes become exit codes.
fn exit_code(outcome: Outcome, kind: Option<FailureKind>) -> ExitCode {
    match outcome {
        Outcome::Succeeded => ExitCode::Done,
        Outcome::RolledBack => ExitCode::RolledBack,
        Outcome::Stuck => ExitCode::Stuck,
        Outcome::Interrupted => ExitCode::Interrupted,
        Outcome::Failed => match kind {
            Some(FailureKind::Usage) => ExitCode::Usage,
            Some(FailureKind::Configuration) => ExitCode::Configuration,
            Some(FailureKind::Locked) => ExitCode::Locked,
            Some(FailureKind::Gate) => ExitCode::Gate,
            Some(FailureKind::Interrupted) => ExitCode::Interrupted,
            Some(FailureKind::Stuck) => ExitCode::Stuck,
            Some(FailureKind::Failed) | None => ExitCode::Failed,
        },
    }
}

fn output_options(global: &GlobalOptions) -> OutputOptions {
    let verbosity = match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Debug,
    };
    OutputOptions::detect(global.output, global.color, verbosity, global.yes)
}

/// Diagnostics of this program go to stderr: with `-vv`, or as `RUST_LOG` says.
fn install_diagnostics(output: &OutputOptions) {
    let default = if output.verbosity == Verbosity::Debug {
        "viatique_deploy=debug"
    } else {
        "off"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(output.color)
        .with_writer(std::io::stderr);
    // Already set in tests that run several commands in one process.
    let _ = subscriber.try_init();
}

/// A failure of the person's input, before anything is touched.
fn configuration(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FailureKind::Configuration, error)
}
