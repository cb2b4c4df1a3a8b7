//! Lines for pipes.

use std::sync::Arc;
use std::time::Duration;

use viatique_deploy::pipeline::{Reporter, StepId, StepResult};
use viatique_deploy::ui::{Answers, PlainReporter, Verbosity};

use super::script::{self, ClosedPipe, ManualClock, Script, Written};

fn shown(script: &Script, verbosity: Verbosity, color: bool) -> String {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let reporter = PlainReporter::new(Box::new(written.clone()), color, verbosity, clock.clone());
    script::play(script, &reporter, &clock);
    written.text()
}

#[test]
fn success() {
    insta::assert_snapshot!(shown(&script::success(), Verbosity::Normal, false), @"
    03:04:05Z run: viatique, release v42; steps: check, backup, build, deploy, health; run 20260301-030405-k7
    03:04:05Z check: started
    warning: nginx resolves backend only once, when it starts; hint: add resolver 127.0.0.11 to nginx.conf
    03:04:17Z check / tests: done: 214 passed (12 s)
    03:04:17Z check: done: 7 checks passed (12 s)
    03:04:17Z backup: started
    03:04:17Z backup / database: dumping viatique
    03:04:18Z backup / database: 40 MB of 160 MB
    03:04:21Z backup / database: done: 160 MB, read back (4.0 s)
    03:04:21Z backup: done: 20260301-030405 (4.0 s)
    03:04:21Z build: started
    03:04:21Z build / backend: building viatique-backend:v42
    03:04:22Z build / backend: step 3 of 9
    03:04:24Z build / backend: done: viatique-backend:v42 (3.0 s)
    03:04:24Z build / frontend: building viatique-frontend:v42
    03:04:25Z build / frontend: nothing to do (1.0 s)
    03:04:25Z build: done: 1 image built, 1 unchanged (4.0 s)
    03:04:25Z deploy: started
    03:04:25Z deploy / backend: starting viatique-backend-2
    03:04:26Z deploy / backend: waiting until healthy (1 s)
    03:04:36Z deploy / backend: waiting until healthy (11 s)
    03:04:37Z deploy / backend: letting the old container finish
    03:04:39Z deploy / backend: done: replaced without a gap (14 s)
    03:04:39Z deploy / redis: comparing
    03:04:39Z deploy / redis: nothing to do
    03:04:39Z deploy: done: 1 service replaced, 1 unchanged (14 s)
    03:04:39Z health: started
    03:04:40Z health: done: 200 in 80 ms (1.0 s)
    ✔ run succeeded in 35 s; v42 serves
    ");
}

#[test]
fn two_steps_side_by_side() {
    insta::assert_snapshot!(shown(&script::side_by_side(), Verbosity::Verbose, false), @"
    03:04:05Z run: viatique, release v42; steps: check, backup, build, deploy, health; run 20260301-030405-k7
    03:04:05Z check: started
    03:04:06Z check: done: 6 checks passed (1.0 s)
    03:04:06Z backup: started
    03:04:06Z build: started
    03:04:06Z build / viatique-backend:v42: building viatique-backend:v42
    03:04:06Z build / viatique-frontend:v42: building viatique-frontend:v42
    03:04:06Z backup / database: dumping the database of viatique-db-1
    03:04:06Z build / viatique-backend:v42: [3/9] RUN pip install -r requirements.txt
    03:04:06Z build / viatique-backend:v42: step 2 of 9
    03:04:07Z backup / database: 40 MB
    03:04:08Z build / viatique-backend:v42: | Collecting django==5.2
    03:04:08Z backup / database: | pg_dump: saving the search path
    03:04:09Z build / viatique-backend:v42: done: image 709eeaf69682 (3.0 s)
    03:04:10Z build / viatique-frontend:v42: failed: exit code: 1 (4.0 s)
    03:04:10Z backup / database: interrupted (4.0 s)
    03:04:10Z build: failed: building viatique-frontend:v42: exit code: 1 (4.0 s)
    03:04:10Z backup: interrupted: stopped, because build failed (4.0 s)
    03:04:10Z undo build: started: building viatique-frontend:v42: exit code: 1
    03:04:10Z undo build: left in place: images serve nobody until they are deployed
    03:04:10Z undo backup: started: building viatique-frontend:v42: exit code: 1
    03:04:10Z undo backup: reverted: removed the unfinished backups/20260301-030405
    03:04:10Z deploy: not run
    ✘ run failed at build after 6.0 s (exit code 1); production is as it was: v41 serves
    ");
}

#[test]
fn failure_with_evidence_and_the_way_back() {
    insta::assert_snapshot!(shown(&script::rolled_back(), Verbosity::Normal, false), @"
    03:04:05Z run: viatique, release v42; steps: check, backup, build, deploy, health; run 20260301-030405-k7
    03:04:05Z check: started
    warning: nginx resolves backend only once, when it starts; hint: add resolver 127.0.0.11 to nginx.conf
    03:04:17Z check / tests: done: 214 passed (12 s)
    03:04:17Z check: done: 7 checks passed (12 s)
    03:04:17Z backup: started
    03:04:17Z backup / database: dumping viatique
    03:04:18Z backup / database: 40 MB of 160 MB
    03:04:21Z backup / database: done: 160 MB, read back (4.0 s)
    03:04:21Z backup: done: 20260301-030405 (4.0 s)
    03:04:21Z build: started
    03:04:21Z build / backend: building viatique-backend:v42
    03:04:22Z build / backend: step 3 of 9
    03:04:24Z build / backend: done: viatique-backend:v42 (3.0 s)
    03:04:24Z build / frontend: building viatique-frontend:v42
    03:04:25Z build / frontend: nothing to do (1.0 s)
    03:04:25Z build: done: 1 image built, 1 unchanged (4.0 s)
    03:04:25Z deploy: started
    03:04:25Z deploy / backend: starting viatique-backend-2
    03:04:26Z deploy / backend: waiting until healthy (1 s)
    03:04:28Z deploy / backend: failed: exited with code 1 after 3 s (3.0 s)
    03:04:28Z deploy: failed: backend never became healthy (3.0 s)
    03:04:28Z undo deploy: started: backend never became healthy
    03:04:28Z undo deploy / backend: removing viatique-backend-2
    03:04:29Z undo deploy / backend: done: viatique-backend-1 serves (1.0 s)
    03:04:29Z undo deploy: reverted: v41 serves again
    03:04:29Z undo backup: left in place: backup 20260301-030405 is kept
    03:04:29Z health: not run
    error: cannot deploy backend
      because viatique-backend-2 never became healthy
      because it exited with code 1 after 3 s

      last log lines of viatique-backend-2
        | Traceback (most recent call last):
        | ModuleNotFoundError: No module named 'celery'

    hint: correct the cause, then: viatique-deploy run --tag v43
    hint: its whole log: docker logs viatique-backend-2
    ✘ run failed at deploy and was rolled back, in 24 s (exit code 6); v41 serves again
    ");
}

#[test]
fn quiet_shows_the_error_and_the_outcome() {
    insta::assert_snapshot!(shown(&script::rolled_back(), Verbosity::Quiet, false), @"
    error: cannot deploy backend
      because viatique-backend-2 never became healthy
      because it exited with code 1 after 3 s

      last log lines of viatique-backend-2
        | Traceback (most recent call last):
        | ModuleNotFoundError: No module named 'celery'

    hint: correct the cause, then: viatique-deploy run --tag v43
    hint: its whole log: docker logs viatique-backend-2
    ✘ run failed at deploy and was rolled back, in 24 s (exit code 6); v41 serves again
    ");
    insta::assert_snapshot!(shown(&script::success(), Verbosity::Quiet, false), @"✔ run succeeded in 35 s; v42 serves");
}

#[test]
fn interrupted() {
    let text = shown(&script::interrupted(), Verbosity::Normal, false);
    let end: Vec<&str> = text.lines().rev().take(4).collect();
    insta::assert_snapshot!(end.into_iter().rev().collect::<Vec<_>>().join("\n"), @"
    03:04:28Z deploy / backend: interrupted: viatique-backend-2 removed (3.0 s)
    03:04:28Z deploy: interrupted (3.0 s)
    03:04:28Z health: not run
    – run was interrupted at deploy after 23 s (exit code 130); production is as it was: v41 serves
    ");
}

#[test]
fn dry_run() {
    insta::assert_snapshot!(shown(&script::dry_run(), Verbosity::Normal, false), @"
    03:04:05Z run: viatique, release v42 (dry run: nothing will be changed); steps: build, migrate, deploy, health; run 20260301-030405-k7
    build: + create  image viatique-backend:v42  from ./backend
    migrate: > run  shop.0007_price  adds a column
    deploy: + create              media_worker  new in this release
    deploy: ~ replace             backend       beside the old one, drained for at most 10 min
    deploy: ! replace with a gap  celery_beat   the old one is stopped first: two of them would send every task twice
    deploy: ↻ reload              nginx         nginx -s reload
    deploy: - remove              flower        no longer in the Compose files
    deploy: ~ write               release v42   recorded on the engine
    deploy: = keep                redis         unchanged
    health: nothing to do
    ✔ nothing was changed (dry run)
    ");
}

#[test]
fn verbose_shows_what_processes_write() {
    let text = shown(&script::rolled_back(), Verbosity::Verbose, false);
    assert!(
        text.contains("build / backend: | Collecting django==5.2\n"),
        "{text}"
    );
    assert!(
        text.contains("deploy / backend: | ModuleNotFoundError: No module named 'celery'\n"),
        "{text}"
    );
}

#[test]
fn without_colour_nothing_but_text_is_written() {
    for script in [
        script::success(),
        script::rolled_back(),
        script::dry_run(),
        script::interrupted(),
    ] {
        let text = shown(&script, Verbosity::Verbose, false);
        assert!(
            text.chars()
                .all(|character| character == '\n' || !character.is_control()),
            "{text:?}"
        );
    }
    assert!(shown(&script::success(), Verbosity::Normal, true).contains("\u{1b}[32mdone\u{1b}[0m"));
}

#[test]
fn the_same_kind_of_progress_is_said_every_ten_seconds() {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let reporter = PlainReporter::new(Box::new(written.clone()), false, Verbosity::Normal, clock.clone());
    for second in 0..25 {
        reporter.event(&script::progress(
            StepId::Deploy,
            "backend",
            &format!("waiting ({second} s)"),
        ));
        reporter.event(&script::progress(StepId::Deploy, "worker", "draining"));
        clock.advance(Duration::from_secs(1));
    }
    insta::assert_snapshot!(written.text(), @"
    03:04:05Z deploy / backend: waiting (0 s)
    03:04:05Z deploy / worker: draining
    03:04:15Z deploy / backend: waiting (10 s)
    03:04:25Z deploy / backend: waiting (20 s)
    ");
}

#[test]
fn a_closed_pipe_stops_nothing() {
    let clock = Arc::new(ManualClock::default());
    let reporter = PlainReporter::new(Box::new(ClosedPipe), false, Verbosity::Verbose, clock.clone());
    script::play(&script::rolled_back(), &reporter, &clock);
}

#[test]
fn a_check_that_fails() {
    insta::assert_snapshot!(shown(&script::failing_checks("check"), Verbosity::Normal, false), @"
    03:04:05Z check: viatique, release v42; steps: check; run 20260301-030405-k7
    03:04:05Z check: started
    03:04:05Z check / host-ports: ✔ 3 ports are free (1.5 s)
    03:04:05Z check / debug-mode: ✘ config/settings.py:12: DEBUG is on (1.5 s)
    03:04:05Z check / scanner-bandit: ✘ 2 problems (1.5 s)
    warning: shop/cart.py:40: random numbers that can be guessed [scanner-bandit: B311:shop/cart.py]; hint: use the module secrets
    03:04:05Z check / backup-age: ? not verified: the folder cannot be read (1.5 s)
    03:04:05Z check / tls-certificate: ? nothing found; not verified: the address shop.example has no answer for whoever asks from here (1.5 s)
    03:04:05Z check / hsts: ! waived by anna until 2026-06-30: the old shop has no TLS (1.5 s)
    03:04:05Z check / django-deploy: – not verified: the image is not built yet (1.5 s)
    03:04:05Z check / tests: – skipped: somebody said so (1.5 s)
    03:04:07Z check: failed: 3 problems stand in the way of a deploy (2.0 s)
    error: 3 problems stand in the way of a deploy

      what stands in the way
        | config/settings.py:12: DEBUG is on: every error page shows settings and source code to whoever asks [debug-mode]
        | shop/pay.py:7: a password in the code [scanner-bandit: B105:shop/pay.py]
        | not verified: the folder cannot be read [backup-age]

    hint: write DEBUG=False into .env
    hint: read it from the environment
    hint: chmod u+rx backups
    ✘ check failed after 2.0 s (exit code 5); nothing was changed
    ");
}

/// What passed is counted in the step's line.
#[test]
fn the_checks_of_a_run_that_passed_have_no_line() {
    let text = shown(&script::failing_checks("run"), Verbosity::Normal, false);
    assert!(!text.contains("host-ports"), "{text}");
    assert!(text.contains("check / hsts: ! waived by anna"), "{text}");
    assert!(text.contains("check / tests: – skipped"), "{text}");
}

/// How one ended is said once, and at the latest with its step.
#[test]
fn a_check_that_came_to_nothing_is_said_with_its_step() {
    let script = vec![
        (0, script::started(StepId::Check, "hsts", "asking the site")),
        (
            0,
            script::finished(StepId::Check, "hsts", StepResult::Failed, "the engine is gone", 1),
        ),
        (
            0,
            script::step_finished(StepId::Check, StepResult::Failed, "the engine is gone", 1),
        ),
    ];
    insta::assert_snapshot!(shown(&script, Verbosity::Normal, false), @"
    03:04:05Z check / hsts: failed: the engine is gone (1.0 s)
    03:04:05Z check: failed: the engine is gone (1.0 s)
    ");
}

#[test]
fn nobody_is_asked_unless_somebody_answers() {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let silent = PlainReporter::new(Box::new(written.clone()), false, Verbosity::Normal, clock.clone());
    assert!(!silent.asks() && !silent.ask(&script::question(0)));
    assert_eq!(written.text(), "");
    let answered = PlainReporter::new(Box::new(written.clone()), false, Verbosity::Quiet, clock)
        .answered_by(Answers::new(Box::new("y\n".as_bytes())));
    assert!(answered.asks() && answered.ask(&script::question(1)));
    insta::assert_snapshot!(written.text(), @"
      project     viatique
      release     v42
      serves now  v41, deployed 2026-02-20T10:00:00Z by anna@laptop, from a checkout that was clean
      backup      20260301T030405Z
      checks      38 passed, 2 waived (hsts, email)
        waived-1  waived by anna until 2026-06-30

    Deploy v42? [y/N]
    ");
}

#[test]
fn a_checklist_says_in_full_what_is_not_well() {
    insta::assert_snapshot!(shown(&script::checklist(), Verbosity::Normal, false), @"
    checklist of v42: 3 OK, 1 not OK (logs), 1 not verified (backup)
      ✘ logs, not OK: no errors: 3 errors (lea@desk, 2026-03-01T03:04:05Z)
      ? backup, not verified: backups are made: none | here
      hint: to take it back: viatique-deploy rollback
    ");
    assert_eq!(
        shown(&script::checklist(), Verbosity::Quiet, false),
        "  ✘ logs, not OK: no errors: 3 errors (lea@desk, 2026-03-01T03:04:05Z)\n  \
         hint: to take it back: viatique-deploy rollback\n"
    );
}

#[test]
fn a_watch_is_a_block_every_ten_seconds() {
    insta::assert_snapshot!(shown(&script::watched(8), Verbosity::Normal, false), @"
    03:04:05Z monitor: viatique, release v42; steps: monitor; run 20260301-030405-k7
    03:04:05Z monitor: started
    03:04:05Z monitor / release: watching release v42
    03:04:07Z monitor: good so far, 10 min 00 s left: 20.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 80 ms, p99 200 ms
    03:04:07Z monitor: backend 12 % 220 MB, celery_beat < 0.1 % 94 MB, celery_worker 3.1 % 188 MB, db 20 % 62 MB, frontend 0.2 % 8.3 MB, nginx 1.4 % 12 MB, redis 0.6 % 9.4 MB
    03:04:07Z monitor: database 12 of 97 connections, 2 slow, 1 wait for locks; redis 7 clients, 1.0 MB; queue celery 4; the engine's data: 61 GB free of 120 GB
    03:04:07Z monitor: database: 919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET a = ? WHERE id = ?
    03:04:07Z monitor: new error in the log of backend, 3 times: KeyError at /app/papers/views.py:print_copy
    03:04:07Z monitor: not looked at: the log of viatique-db-1: no
    03:04:17Z monitor: good so far, 9 min 50 s left: 25.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 80 ms, p99 200 ms
    03:04:17Z monitor: backend 12 % 220 MB, celery_beat < 0.1 % 94 MB, celery_worker 3.1 % 188 MB, db 20 % 62 MB, frontend 0.2 % 8.3 MB, nginx 1.4 % 12 MB, redis 0.6 % 9.4 MB
    03:04:17Z monitor: database 12 of 97 connections, 2 slow, 1 wait for locks; redis 7 clients, 1.0 MB; queue celery 4; the engine's data: 61 GB free of 120 GB
    03:04:17Z monitor: database: 919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET a = ? WHERE id = ?
    03:04:17Z monitor: new error in the log of backend, 3 times: KeyError at /app/papers/views.py:print_copy
    ");
    let quiet = shown(&script::watched(8), Verbosity::Quiet, false);
    assert_eq!(quiet, "");
}

#[test]
fn a_verdict_that_changes_and_a_new_error_are_said_at_once() {
    let mut script = script::watched(1);
    let mut bad = script::measured(1);
    bad.verdict = viatique_deploy::pipeline::Verdict::Bad;
    script.push((2, script::looked(bad.clone())));
    script.push((2, script::looked(bad.clone())));
    bad.errors[1].news = viatique_deploy::pipeline::News::New;
    script.push((2, script::looked(bad)));
    let text = shown(&script, Verbosity::Normal, false);
    let verdicts: Vec<&str> = text.lines().filter(|line| line.contains("left: ")).collect();
    insta::assert_snapshot!(verdicts.join("\n"), @"
    03:04:07Z monitor: good so far, 10 min 00 s left: 20.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 80 ms, p99 200 ms
    03:04:09Z monitor: bad, 9 min 58 s left: 21.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 90 ms, p99 200 ms
    03:04:13Z monitor: bad, 9 min 58 s left: 21.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 90 ms, p99 200 ms
    ");
}
