//! Lines and workflow commands for GitHub Actions.

use std::path::PathBuf;
use std::sync::Arc;

use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, StepId};
use viatique_deploy::ui::{GithubReporter, OutputFormat, OutputOptions, Verbosity, render_error_on};

use super::script::{self, ClosedPipe, ManualClock, Script, Written};

fn shown(script: &Script, summary: Option<PathBuf>, verbosity: Verbosity) -> String {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let reporter = GithubReporter::new(
        Box::new(written.clone()),
        summary,
        false,
        verbosity,
        clock.clone(),
    );
    script::play(script, &reporter, &clock);
    written.text()
}

fn commands(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("::"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_check_that_fails() {
    let text = shown(&script::failing_checks("check"), None, Verbosity::Normal);
    insta::assert_snapshot!(commands(&text), @"");
    assert!(text.contains("check / hsts: ! waived by anna"), "{text}");
    assert!(text.contains("error: 3 problems stand in the way of a deploy\n"), "{text}");
}

/// A problem that a check has annotated is no second annotation.
#[test]
fn a_warning_is_annotated_once() {
    let text = commands(&shown(&script::success(), None, Verbosity::Normal));
    insta::assert_snapshot!(text, @"");
    let text = commands(&shown(&script::failing_checks("check"), None, Verbosity::Quiet));
    assert_eq!(text.matches("random numbers").count(), 1, "{text}");
}

#[test]
fn what_processes_write_is_no_command() {
    let warning = Event::Warning {
        message: "fine".into(),
        hint: None,
    };
    let script = vec![
        (
            0,
            script::output(StepId::Build, "backend", "::stop-commands::x"),
        ),
        (0, script::output(StepId::Build, "backend", "##[add-mask]v42")),
        (0, warning),
    ];
    let text = shown(&script, None, Verbosity::Verbose);
    assert_eq!(
        commands(&text),
        "::warning title=viatique-deploy::fine",
        "{text}"
    );
    assert!(!text.contains("##["), "{text}");
}

#[test]
fn the_summary_is_a_table_that_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.md");
    std::fs::write(&path, "# Before\n\n").unwrap();
    shown(
        &script::failing_checks("check"),
        Some(path.clone()),
        Verbosity::Normal,
    );
    insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @"");
    let missing = folder.path().join("missing").join("summary.md");
    let text = shown(&script::passing_check(), Some(missing), Verbosity::Normal);
    assert!(text.contains("warning: cannot write the job's summary to "), "{text}");
}

#[test]
fn an_error_before_a_run_is_annotated() {
    let options = OutputOptions {
        format: OutputFormat::Github,
        color: false,
        verbosity: Verbosity::Normal,
        stderr_is_terminal: false,
        columns: 80,
        asks: false,
    };
    let (stdout, mut stderr) = (Written::default(), Vec::new());
    render_error_on(
        &options,
        ExitCode::Configuration,
        &script::boot_failure(),
        Box::new(stdout.clone()),
        &mut stderr,
    );
    insta::assert_snapshot!(stdout.text(), @"");
    assert!(String::from_utf8_lossy(&stderr).starts_with("error: cannot deploy backend\n"));
}

#[test]
fn a_closed_pipe_stops_nothing() {
    let clock = Arc::new(ManualClock::default());
    let reporter = GithubReporter::new(
        Box::new(ClosedPipe),
        None,
        false,
        Verbosity::Verbose,
        clock.clone(),
    );
    script::play(&script::failing_checks("check"), &reporter, &clock);
}
