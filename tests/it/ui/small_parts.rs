//! Errors, tables, data, questions, colour, foreign text.

use serde_json::json;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{ErrorReport, Reply};
use viatique_deploy::ui::{
    ColorChoice, OutputFormat, OutputOptions, Surroundings, Verbosity, confirm_by_typing_on, confirm_on,
    printable_block, printable_line, render_error_on, reply_on, table, use_color, wrapped_table, write_data,
    write_error,
};

use super::script::{self, ClosedPipe, Written};

fn options(format: OutputFormat, color: bool) -> OutputOptions {
    OutputOptions {
        format,
        color,
        verbosity: Verbosity::Normal,
        stderr_is_terminal: false,
        columns: 80,
        asks: false,
    }
}

fn error_text(report: &ErrorReport, color: bool) -> String {
    let mut written = Vec::new();
    write_error(&options(OutputFormat::Human, color), report, &mut written);
    String::from_utf8_lossy(&written).into_owned()
}

#[test]
fn an_error_says_what_why_and_what_next() {
    insta::assert_snapshot!(error_text(&script::boot_failure(), false), @"
    error: cannot deploy backend
      because viatique-backend-2 never became healthy
      because it exited with code 1 after 3 s

      last log lines of viatique-backend-2
        | Traceback (most recent call last):
        | ModuleNotFoundError: No module named 'celery'

    hint: correct the cause, then: viatique-deploy run --tag v43
    hint: its whole log: docker logs viatique-backend-2
    ");
    let before_any_run = ErrorReport {
        chain: vec![
            "cannot read deploy.yml".into(),
            "unknown key `servces` at line 4\ndid you mean `services`?".into(),
        ],
        hints: vec!["every key: deploy.example.yml".into()],
        evidence: vec![],
    };
    insta::assert_snapshot!(error_text(&before_any_run, false), @"
    error: cannot read deploy.yml
      because unknown key `servces` at line 4
              did you mean `services`?
    hint: every key: deploy.example.yml
    ");
    assert!(error_text(&before_any_run, true).contains("\u{1b}[1;31merror:\u{1b}[0m"));
}

/// A program that reads stdout gets its `finished` line however early a command fails.
#[test]
fn an_error_before_a_run_is_for_people_and_programs() {
    let report = ErrorReport {
        chain: vec!["cannot read deploy.yml".into()],
        ..ErrorReport::default()
    };
    for (format, lines) in [(OutputFormat::Human, 0), (OutputFormat::Json, 1)] {
        let (stdout, mut stderr) = (Written::default(), Vec::new());
        let options = options(format, false);
        render_error_on(
            &options,
            ExitCode::Configuration,
            &report,
            Box::new(stdout.clone()),
            &mut stderr,
        );
        assert_eq!(
            String::from_utf8_lossy(&stderr),
            "error: cannot read deploy.yml\n"
        );
        assert_eq!(stdout.text().lines().count(), lines);
        for line in stdout.text().lines() {
            let finished: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(finished["event"], "finished");
            assert_eq!(finished["outcome"], "failed");
            assert_eq!(finished["exit_code"], 3);
            assert_eq!(finished["error"]["chain"][0], "cannot read deploy.yml");
        }
        render_error_on(
            &options,
            ExitCode::Configuration,
            &report,
            Box::new(ClosedPipe),
            &mut ClosedPipe,
        );
    }
}

#[test]
fn a_table_fits() {
    let rows = [
        vec![
            "backend".to_owned(),
            "v42".to_owned(),
            "healthy".to_owned(),
            "replaced 3 min ago".to_owned(),
        ],
        vec![
            "celery_worker".to_owned(),
            "v42".to_owned(),
            "running\u{7}".to_owned(),
            "x".repeat(70),
        ],
    ];
    let headers = ["service", "release", "health", "since"];
    insta::assert_snapshot!(table(&headers, &rows, 60), @"
    SERVICE        RELEASE  HEALTH    SINCE
    backend        v42      healthy   replaced 3 min ago
    celery_worker  v42      running?  xxxxxxxxxxxxxxxxxxxxxxxxx…
    ");
    assert!(table(&headers, &rows, usize::MAX).contains(&"x".repeat(70)));
    assert!(table(&headers, &rows, 3).lines().count() == 3);
    assert_eq!(table(&headers, &[], 80), "SERVICE  RELEASE  HEALTH  SINCE\n");
}

#[test]
fn the_last_column_of_a_list_is_wrapped() {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let rows = [
        row(["hsts", "stops", "browsers are told to come back over TLS only"]),
        row(["scanner-bandit\u{7}", "warns", "short"]),
    ];
    insta::assert_snapshot!(wrapped_table(&rows, 50), @"
    hsts             stops  browsers are told to
                            come back over TLS only
    scanner-bandit?  warns  short
    ");
    assert_eq!(wrapped_table(&rows, usize::MAX).lines().count(), 2);
    assert_eq!(wrapped_table(&[], 80), "");
}

#[test]
fn data_is_a_table_or_a_document() {
    let document = json!({"services": [{"name": "back\u{1b}[2Jend"}]});
    let write = |format| {
        let mut written = Vec::new();
        write_data(
            &options(format, false),
            "SERVICE\nbackend\n",
            &document,
            &mut written,
        );
        String::from_utf8_lossy(&written).into_owned()
    };
    assert_eq!(write(OutputFormat::Human), "SERVICE\nbackend\n");
    assert_eq!(
        write(OutputFormat::Json),
        "{\"services\":[{\"name\":\"backend\"}]}\n"
    );
    write_data(
        &options(OutputFormat::Json, false),
        "",
        &document,
        &mut ClosedPipe,
    );
}

#[test]
fn only_the_whole_word_is_one() {
    for (typed, agreed) in [
        ("viatique\n", true),
        (" viatique \n", true),
        ("y\n", false),
        ("Viatique\n", false),
        ("\n", false),
        ("", false),
    ] {
        let mut prompt = Vec::new();
        let answered = confirm_by_typing_on("Go?", "viatique", &mut typed.as_bytes(), &mut prompt);
        assert_eq!(answered, agreed, "{typed:?}");
        assert!(
            String::from_utf8(prompt)
                .unwrap()
                .starts_with("Go? Type viatique to go on: ")
        );
    }
}

#[test]
fn only_a_clear_yes_is_yes() {
    let ask = |answer: &str| {
        let mut prompt = Vec::new();
        let yes = confirm_on("Put v41 back?", &mut answer.as_bytes(), &mut prompt);
        assert!(String::from_utf8_lossy(&prompt).starts_with("Put v41 back? [y/N] "));
        yes
    };
    assert!(ask("y\n") && ask("Yes\n") && ask(" YES \r\n"));
    assert!(!ask("\n") && !ask("") && !ask("n\n") && !ask("yep\n") && !ask("v41\n"));
    assert!(!confirm_on(
        "Put v41 back?",
        &mut "y\n".as_bytes(),
        &mut ClosedPipe
    ));
}

#[test]
fn colour_is_decided_in_order() {
    let terminal = Surroundings {
        term: Some("xterm".into()),
        stderr_is_terminal: true,
        ..Surroundings::default()
    };
    let pipe = Surroundings {
        stderr_is_terminal: false,
        ..terminal.clone()
    };
    let with = |surroundings: &Surroundings, change: fn(&mut Surroundings)| {
        let mut surroundings = surroundings.clone();
        change(&mut surroundings);
        use_color(ColorChoice::Auto, &surroundings)
    };
    assert!(with(&terminal, |_| {}));
    assert!(!with(&pipe, |_| {}));
    assert!(!with(&terminal, |around| around.no_color = Some("1".into())));
    assert!(with(&terminal, |around| around.no_color = Some(String::new())));
    assert!(!with(&terminal, |around| around.term = Some("dumb".into())));
    assert!(!with(&terminal, |around| around.term = None));
    assert!(with(&pipe, |around| around.clicolor_force = Some("1".into())));
    assert!(!with(&pipe, |around| around.clicolor_force = Some("0".into())));
    assert!(!with(&pipe, |around| {
        around.clicolor_force = Some("1".into());
        around.no_color = Some("1".into());
    }));
    assert!(use_color(ColorChoice::Always, &Surroundings::default()));
    assert!(!use_color(ColorChoice::Never, &terminal));
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    let cases = [
        ("plain ✔ é", "plain ✔ é"),
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("\u{1b}[2J\u{1b}[1;1Hgone?", "gone?"),
        ("\u{1b}]0;title\u{7}text", "text"),
        (
            "\u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{1b}\\",
            "link",
        ),
        ("\u{1b}]0;never ends", "?0;never ends"),
        ("\u{9b}31mred", "red"),
        ("\u{1b}(Btext", "text"),
        ("\u{1b}", "?"),
        ("\u{1b}[", ""),
        ("bell\u{7} back\u{8}", "bell? back?"),
        ("error\rfine", "error?fine"),
        ("ended\r\n", "ended"),
        ("a\tb", "a    b"),
        ("two\nlines", "two lines"),
        ("\u{202e}desrever", "?desrever"),
    ];
    for (foreign, printable) in cases {
        assert_eq!(printable_line(foreign), printable, "{foreign:?}");
    }
    assert_eq!(printable_block("two\r\n\u{1b}[1mlines"), "two\nlines");
}

/// A slip of a finger says nothing about the site.
#[test]
fn how_something_is_is_asked_until_it_is_answered() {
    let ask = |typed: &str| {
        let mut prompt = Vec::new();
        let reply = reply_on("v2: sheets?", &mut typed.as_bytes(), &mut prompt);
        let prompt = String::from_utf8_lossy(&prompt);
        assert_eq!(prompt.matches("v2: sheets?\n").count(), 1, "{prompt}");
        (reply, prompt.matches("Enter: later: ").count())
    };
    for (typed, reply, asked) in [
        ("y\n", Reply::Yes, 1),
        ("YES\n", Reply::Yes, 1),
        ("n\n", Reply::No, 1),
        ("\n", Reply::Later, 1),
        ("skip\n", Reply::Later, 1),
        ("u\nno\n", Reply::No, 2),
        ("", Reply::Gone, 1),
        ("m\n", Reply::Gone, 2),
    ] {
        assert_eq!(ask(typed), (reply, asked), "{typed:?}");
    }
    let closed = reply_on("v2: sheets?", &mut "y\n".as_bytes(), &mut ClosedPipe);
    assert_eq!(closed, Reply::Gone);
}
