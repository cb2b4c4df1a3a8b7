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
    insta::assert_snapshot!(commands(&text), @"
    ::error file=config/settings.py,line=12,title=debug-mode%3A what debug-mode protects from does not happen::DEBUG is on: every error page shows settings and source code to whoever asks%0Ahint: write DEBUG=False into .env
    ::error file=shop/pay.py,line=7,title=scanner-bandit%3A what scanner-bandit protects from does not happen::a password in the code, 100%25 <sure> & red%0Ahint: read it from the environment
    ::warning file=shop/cart.py,line=40,title=scanner-bandit%3A what scanner-bandit protects from does not happen::random numbers that can be guessed%0Ahint: use the module secrets
    ::error title=backup-age%3A what backup-age protects from does not happen::not verified: the folder cannot be read%0Ahint: chmod u+rx backups
    ::warning title=tls-certificate%3A what tls-certificate protects from does not happen::not verified: https://shop.example:443/: no answer%0Ahint: ask from elsewhere
    ::notice title=hsts%3A what hsts protects from does not happen::HSTS is off (waived by anna until 2026-06-30: the old shop has no TLS)
    ::error title=check failed::3 problems stand in the way of a deploy%0Ahint: write DEBUG=False into .env%0Ahint: read it from the environment%0Ahint: chmod u+rx backups
    ");
    assert!(text.contains("check / hsts: ! waived by anna"), "{text}");
    assert!(
        text.contains("error: 3 problems stand in the way of a deploy\n"),
        "{text}"
    );
}

/// A problem that a check has annotated is no second annotation.
#[test]
fn a_warning_is_annotated_once() {
    let text = commands(&shown(&script::success(), None, Verbosity::Normal));
    insta::assert_snapshot!(text, @"::warning title=viatique-deploy::nginx resolves backend only once, when it starts%0Ahint: add resolver 127.0.0.11 to nginx.conf");
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
        (0, script::output(StepId::Build, "backend", "::stop-commands::x")),
        (0, script::output(StepId::Build, "backend", "##[add-mask]v42")),
        (0, warning),
    ];
    let text = shown(&script, None, Verbosity::Verbose);
    assert_eq!(commands(&text), "::warning title=viatique-deploy::fine", "{text}");
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
    insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @"
    # Before

    ### Checks of `viatique-deploy check`

    | | Check | Verdict | |
    |---|---|---|---|
    | ✔ | `host-ports` | passed | 3 ports are free |
    | ✘ | `debug-mode` | failed | config/settings.py:12: DEBUG is on |
    | ✘ | `scanner-bandit` | failed | 2 problems |
    | ? | `backup-age` | not verified | not verified: the folder cannot be read |
    | ? | `tls-certificate` | not verified | nothing found; not verified: the address shop.example has no answer for whoever asks from here |
    | ! | `hsts` | waived | waived by anna until 2026-06-30: the old shop has no TLS |
    | – | `django-deploy` | not verified | not verified: the image is not built yet |
    | – | `tests` | skipped | skipped: somebody said so |
    ");
    let missing = folder.path().join("missing").join("summary.md");
    let text = shown(&script::passing_check(), Some(missing), Verbosity::Normal);
    assert!(
        text.contains("warning: cannot write the job's summary to "),
        "{text}"
    );
}

#[test]
fn the_summary_says_where_the_report_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.md");
    let mut script = script::success();
    let reported = Event::Reported {
        file: "/srv/a|b/report.html".to_owned(),
    };
    script.insert(script.len() - 1, (0, reported));
    let text = shown(&script, Some(path.clone()), Verbosity::Normal);
    assert!(text.contains("report: /srv/a|b/report.html"), "{text}");
    let summary = std::fs::read_to_string(&path).unwrap();
    assert!(
        summary.ends_with("Report of this run: /srv/a\\|b/report.html\n\n"),
        "{summary}"
    );
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
    insta::assert_snapshot!(stdout.text(), @"::error title=viatique-deploy::cannot deploy backend: viatique-backend-2 never became healthy: it exited with code 1 after 3 s%0Ahint: correct the cause, then: viatique-deploy run --tag v43%0Ahint: its whole log: docker logs viatique-backend-2");
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

#[test]
fn a_checklist_is_a_list_in_the_summary_and_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.md");
    let mut script = script::checklist();
    script.extend(script::success().into_iter().last());
    let text = shown(&script, Some(path.clone()), Verbosity::Normal);
    insta::assert_snapshot!(commands(&text), @"::warning title=viatique-deploy::checklist of v42: logs (not OK), backup (not verified)%0Ahint: to take it back: viatique-deploy rollback");
    insta::assert_snapshot!(std::fs::read_to_string(path).unwrap(), @r"
    ### Checklist of v42

    - [x] ✔ `smoke` OK: what users do works: 1 scenario passed
      - [x] ✔ `smoke: a pupil` OK: a pupil: passed
    - [ ] ✘ `logs` not OK: no errors: 3 errors (lea@desk, 2026-03-01T03:04:05Z)
    - [ ] ? `backup` not verified: backups are made: none \| here
    - [x] ✔ `sheets` OK: the sheets look right (lea@desk, 2026-03-01T03:04:05Z)
    ");
}
