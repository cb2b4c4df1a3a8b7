//! Parses what was typed, runs it, and hands the exit code to the shell.

use std::process::ExitCode;

use clap::Parser as _;
use viatique_deploy::{cli::Cli, commands, exit_code};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: the work is waiting for the engine.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::from(u8::from(exit_code::ExitCode::Bug)),
    };
    // The panic itself has been written to stderr by the standard hook.
    let run = std::panic::AssertUnwindSafe(|| runtime.block_on(commands::run(cli)));
    let code = std::panic::catch_unwind(run).unwrap_or(exit_code::ExitCode::Bug);
    // Not waited for: a blocked reader of ours must not hold the shell up.
    runtime.shutdown_background();
    ExitCode::from(u8::from(code))
}
