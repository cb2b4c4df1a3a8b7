//! The live view, on a terminal in memory.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{InMemoryTerm, TermLike};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, Outcome, Reporter, StepId, StepResult};
use viatique_deploy::ui::{Answers, TerminalReporter};

use super::script::{self, ManualClock, Script};

struct Shown {
    terminal: InMemoryTerm,
    reporter: TerminalReporter,
    clock: Arc<ManualClock>,
}

fn on_a_terminal(rows: u16, columns: u16, verbose: bool) -> Shown {
    let clock = Arc::new(ManualClock::default());
    let terminal = InMemoryTerm::new(rows, columns);
    let reporter = TerminalReporter::new(Arc::new(terminal.clone()), false, verbose, clock.clone());
    Shown {
        terminal,
        reporter,
        clock,
    }
}

fn after(script: &Script, rows: u16, columns: u16) -> String {
    let shown = on_a_terminal(rows, columns, false);
    script::play(script, &shown.reporter, &shown.clock);
    shown.terminal.contents()
}

#[test]
fn while_the_database_is_saved() {
    let script: Script = script::success().into_iter().take(10).collect();
    insta::assert_snapshot!(after(&script, 24, 80), @"
    run: viatique, release v42
    warning: nginx resolves backend only once, when it starts
      hint: add resolver 127.0.0.11 to nginx.conf
    ✔ check             7 checks passed                                        12 s
      ✔ tests           214 passed                                             12 s
    ⠋ backup                                                                    3 s
      ⠋ database        ████████████░░░░ 120 MB of 160 MB, 40 MB/s, 1 s left …  3 s
    · build
    · deploy
    · health
    ");
}

#[test]
fn while_an_image_is_built() {
    let script: Script = script::success().into_iter().take(16).collect();
    insta::assert_snapshot!(after(&script, 24, 80), @"
    run: viatique, release v42
    warning: nginx resolves backend only once, when it starts
      hint: add resolver 127.0.0.11 to nginx.conf
    ✔ check             7 checks passed                                        12 s
      ✔ tests           214 passed                                             12 s
    ✔ backup            20260301-030405                                       4.0 s
      ✔ database        160 MB, read back                                     4.0 s
    ⠋ build                                                                     2 s
      ⠋ backend         █████░░░░░░░░░░░ 3 of 9  building viatique-backend:v42  2 s
        │ Collecting django==5.2
    · deploy
    · health
    ");
}

#[test]
fn while_two_steps_run_side_by_side() {
    let script: Script = script::side_by_side().into_iter().take(14).collect();
    insta::assert_snapshot!(after(&script, 24, 80), @"
    run: viatique, release v42
    ✔ check             6 checks passed                                       1.0 s
    ⠋ backup                                                                    2 s
      ⠋ database               90 MB, 50 MB/s  dumping the database of viatiq…  2 s
        │ pg_dump: saving the search path
    ⠋ build                    0 of 2 done                                      2 s
      ⠋ viatique-backend:v42   ███░░░░░░░░░░░░░ 2 of 9  [3/9] RUN pip install…  2 s
        │ Collecting django==5.2
      ⠋ viatique-frontend:v42  building viatique-frontend:v42                   2 s
    · deploy
    · health
    ");
}

#[test]
fn one_of_two_steps_failed_and_stopped_the_other() {
    insta::assert_snapshot!(after(&script::side_by_side(), 40, 80), @"
    run: viatique, release v42
    ✔ check             6 checks passed                                       1.0 s
    ✘ build                    building viatique-frontend:v42: exit code: 1   4.0 s
      ✔ viatique-backend:v42   image 709eeaf69682                             3.0 s
      ✘ viatique-frontend:v42  exit code: 1                                   4.0 s
    – backup                   stopped, because build failed                  4.0 s
      – database               interrupted                                    4.0 s
    – undo build               images serve nobody until they are deployed
    ✔ undo backup              removed the unfinished backups/20260301-030405
    – deploy                   not run

    ✘ run failed at build after 6.0 s (exit code 1)
      production is as it was: v41 serves
    ");
}

#[test]
fn success() {
    insta::assert_snapshot!(after(&script::success(), 40, 80), @"
    run: viatique, release v42
    warning: nginx resolves backend only once, when it starts
      hint: add resolver 127.0.0.11 to nginx.conf
    ✔ check             7 checks passed                                        12 s
      ✔ tests           214 passed                                             12 s
    ✔ backup            20260301-030405                                       4.0 s
      ✔ database        160 MB, read back                                     4.0 s
    ✔ build             1 image built, 1 unchanged                            4.0 s
      ✔ backend         viatique-backend:v42                                  3.0 s
      ✔ frontend        nothing to do                                         1.0 s
    ✔ deploy            1 service replaced, 1 unchanged                        14 s
      ✔ backend         replaced without a gap                                 14 s
      ✔ redis           nothing to do
    ✔ health            200 in 80 ms                                          1.0 s

    ✔ run succeeded in 35 s
      v42 serves
      to take it back: viatique-deploy rollback
    ");
}

#[test]
fn failure_with_evidence_and_the_way_back() {
    insta::assert_snapshot!(after(&script::rolled_back(), 50, 80), @"
    run: viatique, release v42
    warning: nginx resolves backend only once, when it starts
      hint: add resolver 127.0.0.11 to nginx.conf
    ✔ check             7 checks passed                                        12 s
      ✔ tests           214 passed                                             12 s
    ✔ backup            20260301-030405                                       4.0 s
      ✔ database        160 MB, read back                                     4.0 s
    ✔ build             1 image built, 1 unchanged                            4.0 s
      ✔ backend         viatique-backend:v42                                  3.0 s
      ✔ frontend        nothing to do                                         1.0 s
    ✘ deploy            backend never became healthy                          3.0 s
      ✘ backend         exited with code 1 after 3 s                          3.0 s
    ✔ undo deploy       v41 serves again                                      1.0 s
      ✔ backend         viatique-backend-1 serves                             1.0 s
    – undo backup       backup 20260301-030405 is kept
    – health            not run

    error: cannot deploy backend
      because viatique-backend-2 never became healthy
      because it exited with code 1 after 3 s

      last log lines of viatique-backend-2
        | Traceback (most recent call last):
        | ModuleNotFoundError: No module named 'celery'

    hint: correct the cause, then: viatique-deploy run --tag v43
    hint: its whole log: docker logs viatique-backend-2

    ✘ run failed at deploy and was rolled back, in 24 s (exit code 6)
      v41 serves again
    ");
}

#[test]
fn interrupted() {
    insta::assert_snapshot!(after(&script::interrupted(), 40, 80), @"
    run: viatique, release v42
    warning: nginx resolves backend only once, when it starts
      hint: add resolver 127.0.0.11 to nginx.conf
    ✔ check             7 checks passed                                        12 s
      ✔ tests           214 passed                                             12 s
    ✔ backup            20260301-030405                                       4.0 s
      ✔ database        160 MB, read back                                     4.0 s
    ✔ build             1 image built, 1 unchanged                            4.0 s
      ✔ backend         viatique-backend:v42                                  3.0 s
      ✔ frontend        nothing to do                                         1.0 s
    – deploy            interrupted                                           3.0 s
      – backend         viatique-backend-2 removed                            3.0 s
    – health            not run

    – run was interrupted at deploy after 23 s (exit code 130)
      production is as it was: v41 serves
    ");
}

#[test]
fn dry_run() {
    insta::assert_snapshot!(after(&script::dry_run(), 40, 80), @"
    run: viatique, release v42 (dry run: nothing will be changed)
    build
      + create  image viatique-backend:v42  from ./backend
    migrate
      > run  shop.0007_price  adds a column
    deploy
      + create              media_worker  new in this release
      ~ replace             backend       beside the old one, drained for at most
                                          10 min
      ! replace with a gap  celery_beat   the old one is stopped first: two of them
                                          would send every task twice
      ↻ reload              nginx         nginx -s reload
      - remove              flower        no longer in the Compose files
      ~ write               release v42   recorded on the engine
      = keep                redis         unchanged
    health: nothing to do

    ✔ nothing was changed (dry run)
    ");
}

#[test]
fn a_narrow_terminal_cuts_and_never_wraps() {
    let script: Script = script::success().into_iter().take(16).collect();
    insta::assert_snapshot!(after(&script, 24, 36), @"
    run: viatique, release v42
    warning: nginx resolves backend
        only once, when it starts
      hint: add resolver 127.0.0.11 to n
    ginx.conf
    ✔ check             7 checks…  12 s
      ✔ tests           214 pass…  12 s
    ✔ backup            2026030…  4.0 s
      ✔ database        160 MB,…  4.0 s
    ⠋ build                         2 s
      ⠋ backend         3 of 9  b…  2 s
        │ Collecting django==5.2
    · deploy
    · health
    ");
}

/// Text is broken between words; commands to be copied are not broken by us.
#[test]
fn a_checklist_and_warnings_are_read_on_a_narrow_terminal() {
    let mut script = script::checklist();
    let message = "the report of this run could not be written: the disk is full".to_owned();
    let hint = Some("viatique-deploy report --run 20260301T030405Z-000001".to_owned());
    script.push((0, Event::Warning { message, hint }));
    insta::assert_snapshot!(after(&script, 24, 44).trim_start(), @"
    checklist of v42: 3 OK, 1 not OK (logs), 1
        not verified (backup)
      ✘ logs, not OK: no errors: 3 errors
        (lea@desk, 2026-03-01T03:04:05Z)
      ? backup, not verified: backups are made:
        none | here
      hint: to take it back: viatique-deploy rol
    lback
    warning: the report of this run could not
        be written: the disk is full
      hint: viatique-deploy report --run 2026030
    1T030405Z-000001
    ");
}

#[test]
fn a_low_terminal_leaves_out_what_matters_least() {
    let script: Script = script::success().into_iter().skip(1).take(15).collect();
    let shown = on_a_terminal(5, 80, false);
    shown.reporter.event(&script::run_started(
        &[StepId::Build, StepId::Deploy, StepId::Health],
        false,
    ));
    script::play(&script, &shown.reporter, &shown.clock);
    for line in ["first", "second", "third", "fourth"] {
        shown
            .reporter
            .event(&script::output(StepId::Build, "backend", line));
    }
    insta::assert_snapshot!(shown.terminal.contents(), @"
      ✔ database        160 MB, read back                                     4.0 s
    ⠋ build                                                                     2 s
      ⠋ backend         █████░░░░░░░░░░░ 3 of 9  building viatique-backend:v42  2 s
        │ third
        │ fourth
    ");
}

#[test]
fn a_run_that_ends_without_a_word_leaves_no_live_line() {
    let shown = on_a_terminal(24, 80, false);
    let script: Script = script::success().into_iter().skip(20).take(4).collect();
    script::play(&script, &shown.reporter, &shown.clock);
    drop(shown.reporter);
    insta::assert_snapshot!(shown.terminal.contents(), @"
    – deploy            interrupted
      – backend         interrupted
    ");
}

#[test]
fn verbose_keeps_every_line() {
    let shown = on_a_terminal(40, 80, true);
    script::play(&script::rolled_back(), &shown.reporter, &shown.clock);
    let text = shown.terminal.contents();
    assert!(
        text.contains("build / backend | Collecting django==5.2"),
        "{text}"
    );
    assert!(
        text.contains("deploy / backend | ModuleNotFoundError: No module named 'celery'"),
        "{text}"
    );
}

#[test]
fn time_is_seen_to_pass() {
    let clock = Arc::new(ManualClock::default());
    let terminal = InMemoryTerm::new(24, 80);
    let reporter =
        TerminalReporter::new(Arc::new(terminal.clone()), false, false, clock.clone()).refreshing();
    reporter.event(&script::step_started(StepId::Build));
    clock.advance(Duration::from_secs(7));
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !terminal.contents().contains("7 s") && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(terminal.contents().contains("7 s"), "{}", terminal.contents());
}

/// A terminal that was hung up.
#[derive(Debug)]
struct GoneTerminal;

impl TermLike for GoneTerminal {
    fn width(&self) -> u16 {
        80
    }

    fn height(&self) -> u16 {
        24
    }

    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn write_line(&self, _: &str) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn write_str(&self, _: &str) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn clear_line(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_terminal_that_is_gone_stops_nothing() {
    let clock = Arc::new(ManualClock::default());
    let reporter = TerminalReporter::new(Arc::new(GoneTerminal), true, false, clock.clone());
    script::play(&script::rolled_back(), &reporter, &clock);
}

/// What is over is not what one waits for.
#[test]
fn while_checks_are_made() {
    insta::assert_snapshot!(after(&script::checks_under_way(5), 24, 80), @"
    check: viatique, release v42
    ⠋ check              5 of 7 done                                            0 s
      ⠋ hsts             what hsts protects from does not happen                0 s
      ⠋ django-deploy    what django-deploy protects from does not happen       0 s
    ");
}

#[test]
fn a_check_that_fails() {
    insta::assert_snapshot!(after(&script::failing_checks("check"), 60, 80), @"
    check: viatique, release v42
    warning: shop/cart.py:40: random numbers that can be guessed [scanner-bandit:
        B311:shop/cart.py]
      hint: use the module secrets
    ✘ check              3 problems stand in the way of a deploy              2.0 s
      ✔ host-ports       3 ports are free                                     1.5 s
      ✘ debug-mode       config/settings.py:12: DEBUG is on                   1.5 s
      ✘ scanner-bandit   2 problems                                           1.5 s
      ? backup-age       not verified: the folder cannot be read              1.5 s
      ? tls-certificate  nothing found; not verified: the address             1.5 s
                         shop.example has no answer for whoever asks from
                         here
      ! hsts             waived by anna until 2026-06-30: the old shop has    1.5 s
                         no TLS
      – django-deploy    not verified: the image is not built yet             1.5 s
      – tests            skipped: somebody said so                            1.5 s

    error: 3 problems stand in the way of a deploy

      what stands in the way
        | config/settings.py:12: DEBUG is on: every error page shows settings and so
    urce code to whoever asks [debug-mode]
        | shop/pay.py:7: a password in the code [scanner-bandit: B105:shop/pay.py]
        | not verified: the folder cannot be read [backup-age]

    hint: write DEBUG=False into .env
    hint: read it from the environment
    hint: chmod u+rx backups

    ✘ check failed after 2.0 s (exit code 5)
      nothing was changed
    ");
}

#[test]
fn the_checks_of_a_run_that_passed_have_no_row() {
    let text = after(&script::failing_checks("run"), 60, 80);
    assert!(!text.contains("host-ports"), "{text}");
    assert!(text.contains("  ! hsts             waived by anna"), "{text}");
    assert!(text.contains("  – tests            skipped"), "{text}");
}

fn asked(answers: &'static str, rows: u16, checks: usize) -> (bool, String) {
    let clock = Arc::new(ManualClock::default());
    let terminal = InMemoryTerm::new(rows, 80);
    let reporter = TerminalReporter::new(Arc::new(terminal.clone()), false, false, clock.clone())
        .answered_by(Answers::new(Box::new(answers.as_bytes())));
    reporter.event(&script::run_started(&[StepId::Gate, StepId::Deploy], false));
    reporter.event(&script::step_started(StepId::Gate));
    assert!(reporter.asks());
    let yes = reporter.ask(&script::question(checks));
    (yes, terminal.contents())
}

#[test]
fn a_question_with_the_whole_picture() {
    let (yes, screen) = asked("y\n", 40, 2);
    assert!(yes);
    insta::assert_snapshot!(screen, @"
    run: viatique, release v42

      project     viatique
      release     v42
      serves now  v41, deployed 2026-02-20T10:00:00Z by anna@laptop, from a
                  checkout that was clean
      backup      20260301T030405Z
      checks      38 passed, 2 waived (hsts, email)
        waived-1  waived by anna until 2026-06-30
        waived-2  waived by anna until 2026-06-30

    Deploy v42? [y/N] ⠋ gate
    ⠋ gate                                                                      0 s
    · deploy
    ");
    for answer in ["\n", "n\n", "", "Deploy\n"] {
        assert!(!asked(answer, 40, 2).0, "{answer:?}");
    }
}

/// The question itself must stand on the screen together with what it is about.
#[test]
fn a_picture_that_is_too_high_is_cut_in_the_middle() {
    let (_, screen) = asked("y\n", 16, 30);
    insta::assert_snapshot!(screen, @"
      release      v42
      serves now   v41, deployed 2026-02-20T10:00:00Z by anna@laptop, from a
                   checkout that was clean
      backup       20260301T030405Z
      checks       38 passed, 2 waived (hsts, email)
        waived-1   waived by anna until 2026-06-30
      … and 24 more lines
        waived-26  waived by anna until 2026-06-30
        waived-27  waived by anna until 2026-06-30
        waived-28  waived by anna until 2026-06-30
        waived-29  waived by anna until 2026-06-30
        waived-30  waived by anna until 2026-06-30

    Deploy v42? [y/N] ⠋ gate
    ⠋ gate                                                                      0 s
    · deploy
    ");
    let (_, screen) = asked("y\n", 60, 30);
    let begin = screen.lines().position(|line| line.contains("project")).unwrap();
    let end = screen
        .lines()
        .position(|line| line.contains("Deploy v42?"))
        .unwrap();
    assert!(end - begin <= 25, "{screen}");
}

#[test]
fn without_answers_nobody_is_asked() {
    let shown = on_a_terminal(24, 80, false);
    assert!(!shown.reporter.asks() && !shown.reporter.ask(&script::question(0)));
    assert_eq!(shown.terminal.contents(), "");
}

/// Answers when the test says so.
struct Later(std::sync::mpsc::Receiver<Vec<u8>>, std::sync::mpsc::Sender<()>);

impl std::io::Read for Later {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.send(()).map_err(std::io::Error::other)?;
        let answer = self.0.recv().map_err(std::io::Error::other)?;
        buffer[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }
}

/// Ctrl-C instead of an answer: the run ends, and says so, while the thread still waits.
#[test]
fn a_question_that_nobody_answers_holds_nothing_up() {
    let (answer, answered) = std::sync::mpsc::channel();
    let (waits, waiting) = std::sync::mpsc::channel();
    let clock = Arc::new(ManualClock::default());
    let terminal = InMemoryTerm::new(40, 80);
    let reporter = Arc::new(
        TerminalReporter::new(Arc::new(terminal.clone()), false, false, clock.clone()).answered_by(
            Answers::new(Box::new(std::io::BufReader::new(Later(answered, waits)))),
        ),
    );
    reporter.event(&script::run_started(&[StepId::Gate, StepId::Deploy], false));
    reporter.event(&script::step_started(StepId::Gate));
    let asking = Arc::clone(&reporter);
    let asking = std::thread::spawn(move || asking.ask(&script::question(0)));
    waiting.recv().unwrap();
    // Nothing is drawn over it.
    let before = terminal.contents();
    reporter.refresh();
    assert_eq!(terminal.contents(), before);
    assert!(before.ends_with("Deploy v42? [y/N]"), "{before}");
    reporter.event(&script::step_finished(
        StepId::Gate,
        StepResult::Interrupted,
        "",
        1,
    ));
    reporter.event(&Event::Finished {
        outcome: Outcome::Interrupted,
        exit_code: ExitCode::Interrupted,
        release: None,
        duration: Duration::from_secs(1),
        steps: vec![script::summary(StepId::Gate, StepResult::Interrupted, 1)],
        error: None,
    });
    let screen = terminal.contents();
    assert!(screen.contains("– run was interrupted at gate"), "{screen}");
    answer.send(b"y\n".to_vec()).unwrap();
    assert!(asking.join().unwrap(), "the answer comes too late for anybody");
    assert_eq!(terminal.contents(), screen);
}
