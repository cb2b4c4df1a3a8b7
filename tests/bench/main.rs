//! The benchmark: `cargo bench --bench deploys`. Deploys copies of `examples/viatique` with this tool, the workflow's
//! script, docker compose and docker-rollout, while an open-loop client asks at a fixed rate, and prints what each
//! deploy cost: requests lost, time. Needs a Docker Engine, as the tests in `tests/docker` do.
//!
//! Everything runs on a project name and a port of 127.0.0.1 of its own, and is removed at the end. Nothing here is a
//! test: what it measures is compared by people. The parts that only compute are tested in `tests/it/bench.rs`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what it is for")]

mod backups;
mod clear;
mod client;
mod http;
mod machine;
mod monitor;
mod options;
mod plot;
mod process;
mod progress;
mod record;
mod requests;
mod scale;
mod scenarios;
mod session;
mod stage;
mod statistics;
mod summary;
mod svg;
mod table;
mod tools;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use options::Options;
use table::Table;

/// In the media volume whose backups are measured.
const FILES: usize = 20_000;

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("the benchmark runs for minutes, so not as a test: cargo bench --bench deploys");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the benchmark could not be carried out: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    clear::on_interrupt()?;
    let _images = clear::ImagesCleared;
    for (words, missing) in [
        (&["version"][..], "a Docker Engine"),
        (
            &["image", "inspect", "debian:trixie-slim"],
            "the image debian:trixie-slim",
        ),
    ] {
        process::text("docker", words)
            .with_context(|| format!("{missing} is needed: run .ci/prepare-machine"))?;
    }
    let machine = machine::line();
    let show = |table: &Table| {
        let text = if options.markdown {
            table.markdown()
        } else {
            table.text()
        };
        println!("\n{text}");
    };
    if !options.scale.is_empty() {
        let (times, growth) = scale::run(&options.scale, options.rounds, &|line| eprintln!("{line}"))?;
        println!("\n{machine}; median of {}", options.rounds);
        show(&times);
        show(&growth);
        return Ok(());
    }
    if let Some(megabytes) = options.backups {
        let times = backups::run(megabytes, FILES, options.rounds, &|line| eprintln!("{line}"))?;
        println!(
            "\n{machine}; {megabytes} MB, {FILES} files; median of {}",
            options.rounds
        );
        show(&times);
        return Ok(());
    }
    if let Some(seconds) = options.monitor {
        let costs = monitor::run(seconds, &|line| eprintln!("{line}"))?;
        println!("\n{machine}; {seconds} s each");
        show(&costs);
        return Ok(());
    }
    let subtitle = format!("{machine}; {} requests/s", options.rate);
    let results = scenarios::run(options, &|line| eprintln!("{line}"), &|results| {
        write(&options.plot, &plot::draw(results, &subtitle))?;
        match &options.json {
            Some(path) => write(path, &summary::as_json(results, &machine).to_string()),
            None => Ok(()),
        }
    })?;
    println!("\n{subtitle}");
    println!("{}", summary::versions(&results));
    show(&summary::comparison(&results, options.uploads.modes()));
    show(&summary::scenarios(&results));
    if let Some(line) = summary::slowest_starts(&results) {
        println!("{line}");
    }
    println!(
        "the client started no request later than {:.0} ms after it was due",
        summary::worst_lateness(&results) * 1000.0
    );
    for problem in summary::cut_short(&results) {
        println!("cut short: {problem}");
    }
    println!("the plot is {}", options.plot.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
