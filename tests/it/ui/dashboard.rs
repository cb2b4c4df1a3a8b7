//! The dashboard: how it looks on screens of two sizes, what its keys do, and that the terminal is given back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Style;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, Outcome, Reporter, StepId, StepResult, Verdict};
use viatique_deploy::ui::{
    DashboardModel, DashboardReporter, Key, PlainReporter, Screen, Verbosity, draw_dashboard,
};

use super::script::{self, ManualClock, Script, Written};

fn after(script: &Script) -> DashboardModel {
    let mut model = DashboardModel::new();
    let mut now = 0;
    for (seconds, event) in script {
        now += seconds;
        model.event(event, Duration::from_secs(now));
    }
    model
}

fn drawn_at(model: &DashboardModel, columns: u16, rows: u16, now: u64, color: bool) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal
        .draw(|frame| draw_dashboard(model, Duration::from_secs(now), color, frame))
        .unwrap();
    terminal.backend().clone()
}

fn drawn(model: &DashboardModel, columns: u16, rows: u16) -> String {
    let backend = drawn_at(model, columns, rows, 80, false);
    let text = backend.to_string();
    // Each line of the backend stands in quotes.
    let lines = text.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<&str>>().join("\n")
}

#[test]
fn eighty_by_twenty_four() {
    insta::assert_snapshot!(drawn(&after(&script::watched(40)), 80, 24), @"
    viatique  v42   good so far                  1 min 18 s watched, 8 min 42 s left
     24.0 requests/s  < 0.1 % 5xx  p50 12 ms  p95 120 ms  p99 200 ms ───────────────
    req/s █▆▆▆▇▇▇█▆▆▆▇▇▇█▆▆▆▇▇ p95   ▆▆▇█▅▆▆▇█▅▆▆▇█▅▆▆▇█ 5xx
        91 requests      0 5xx  p95  200 ms  /print/:n/
        90 requests      0 5xx  p95   60 ms  /api/copies/
        90 requests      0 5xx  p95   40 ms  /api/copies/:n/
    ▸services        state          cpu   memory  limit      in/s     out/s restarts
    • backend        healthy       12 %   220 MB   41 %     12 kB     45 kB        0
    • celery_beat    running    < 0.1 %    94 MB   18 %     12 kB     45 kB        0
    • celery_worker  healthy      3.1 %   188 MB   35 %     12 kB     45 kB        0
      db             healthy       20 %    62 MB   12 %     12 kB     45 kB        0
    • frontend       healthy      0.2 %   8.3 MB    2 %     12 kB     45 kB        0
      nginx          healthy      1.4 %    12 MB    2 %     12 kB     45 kB        0
      redis          healthy      0.6 %   9.4 MB    2 %     12 kB     45 kB        0
     errors in the logs: 1 new of 2 kinds ──────────────────────────────────────────
    new        3×  03:04:00Z  backend: KeyError at /app/papers/views.py:print_copy
    known     12×  03:04:00Z  celery_worker: Task core.x[N] failed for …
     database  12 of 97 connections  2 slow  1 wait for locks ──────────────────────
    919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET
    905 idle in transaction 1 min 02 s: SELECT a FROM papers_copy
     redis, queues, disks ──────────────────────────────────────────────────────────
    redis 7 clients, 1.0 MB   queue celery 4 waiting
    the engine's data: 61 GB free of 120 GB
    q ends  s sorts: name  Tab ↑ ↓ scroll  ? helps   not seen: the log of viatique-…
    ");
}

#[test]
fn a_hundred_and_twenty_by_forty() {
    insta::assert_snapshot!(drawn(&after(&script::watched(40)), 120, 40), @"
    viatique  v42   good so far                                                          1 min 18 s watched, 8 min 42 s left
     24.0 requests/s  < 0.1 % 5xx  p50 12 ms  p95 120 ms  p99 200 ms ───────────────────────────────────────────────────────
    req/s ▂▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆▇█▂▃▄▅▆ p95   ▄▆█ ▂▄▆█ ▂▄▆█ ▂▄▆█ ▂▄▆█ ▂▄▆█ ▂▄▆█ 5xx
          █████████████████████████████████       █████████████████████████████████
          █████████████████████████████████       █████████████████████████████████
        91 requests      0 5xx  p95  200 ms  /print/:n/
        90 requests      0 5xx  p95   60 ms  /api/copies/
        90 requests      0 5xx  p95   40 ms  /api/copies/:n/
        89 requests      0 5xx  p95  5.0 ms  /
    ▸services                                                state          cpu   memory  limit      in/s     out/s restarts
    • backend                                                healthy       12 %   220 MB   41 %     12 kB     45 kB        0
    • celery_beat                                            running    < 0.1 %    94 MB   18 %     12 kB     45 kB        0
    • celery_worker                                          healthy      3.1 %   188 MB   35 %     12 kB     45 kB        0
      db                                                     healthy       20 %    62 MB   12 %     12 kB     45 kB        0
    • frontend                                               healthy      0.2 %   8.3 MB    2 %     12 kB     45 kB        0
      nginx                                                  healthy      1.4 %    12 MB    2 %     12 kB     45 kB        0
      redis                                                  healthy      0.6 %   9.4 MB    2 %     12 kB     45 kB        0
     errors in the logs: 1 new of 2 kinds ──────────────────────────────────────────────────────────────────────────────────
    new        3×  03:04:00Z  backend: KeyError at /app/papers/views.py:print_copy
    known     12×  03:04:00Z  celery_worker: Task core.x[N] failed for …
     database  12 of 97 connections  2 slow  1 wait for locks ──────────────────────────────────────────────────────────────
    919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET a = ? WHERE id = ?
    905 idle in transaction 1 min 02 s: SELECT a FROM papers_copy
     redis, queues, disks ──────────────────────────────────────────────────────────────────────────────────────────────────
    redis 7 clients, 1.0 MB   queue celery 4 waiting
    the engine's data: 61 GB free of 120 GB













    q ends  s sorts: name  Tab ↑ ↓ scroll  ? helps   not seen: the log of viatique-db-1: no
    ");
}

#[test]
fn a_bad_release_says_by_what() {
    let mut script = script::watched(1);
    let mut bad = script::measured(39);
    bad.verdict = Verdict::Bad;
    bad.findings = vec!["/print/:n/: 9 of 91 requests answered 5xx; before the deploy 0 of 90".into()];
    bad.requests.as_mut().unwrap().failed_share = Some(0.1);
    bad.requests.as_mut().unwrap().pages[0].failed = 9;
    bad.containers[0].health = Some("unhealthy");
    bad.containers[0].restarts = 2;
    bad.containers[0].restarts_since = 2;
    bad.containers[3].state = "exited";
    bad.containers[3].cores = None;
    bad.containers[3].memory = None;
    script.push((78, script::looked(bad)));
    insta::assert_snapshot!(drawn(&after(&script), 80, 24), @"
    viatique  v42   bad                          1 min 18 s watched, 8 min 42 s left
    ✘ /print/:n/: 9 of 91 requests answered 5xx; before the deploy 0 of 90
     24.0 requests/s  10 % 5xx  p50 12 ms  p95 120 ms  p99 200 ms ──────────────────
    req/s ▆█                   p95   ▅█                  5xx    █
        91 requests      9 5xx  p95  200 ms  /print/:n/
        90 requests      0 5xx  p95   60 ms  /api/copies/
    ▸services        state          cpu   memory  limit      in/s     out/s restarts
    • backend        unhealthy     12 %   220 MB   41 %     12 kB     45 kB        2
    • celery_beat    running    < 0.1 %    94 MB   18 %     12 kB     45 kB        0
    • celery_worker  healthy      3.1 %   188 MB   35 %     12 kB     45 kB        0
      db             exited           –        –      –     12 kB     45 kB        0
    • frontend       healthy      0.2 %   8.3 MB    2 %     12 kB     45 kB        0
      nginx          healthy      1.4 %    12 MB    2 %     12 kB     45 kB        0
      redis          healthy      0.6 %   9.4 MB    2 %     12 kB     45 kB        0
     errors in the logs: 1 new of 2 kinds ──────────────────────────────────────────
    new        3×  03:04:00Z  backend: KeyError at /app/papers/views.py:print_copy
    known     12×  03:04:00Z  celery_worker: Task core.x[N] failed for …
     database  12 of 97 connections  2 slow  1 wait for locks ──────────────────────
    919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET
    905 idle in transaction 1 min 02 s: SELECT a FROM papers_copy
     redis, queues, disks ──────────────────────────────────────────────────────────
    redis 7 clients, 1.0 MB   queue celery 4 waiting
    the engine's data: 61 GB free of 120 GB
    q ends  s sorts: name  Tab ↑ ↓ scroll  ? helps   not seen: the log of viatique-…
    ");
}

#[test]
fn what_is_not_known_is_not_shown_as_nothing() {
    let mut nothing = script::measured(0);
    nothing.requests = None;
    nothing.database = None;
    nothing.redis = None;
    nothing.queues.clear();
    nothing.disks.clear();
    nothing.errors.clear();
    nothing.verdict = Verdict::Inconclusive;
    for container in &mut nothing.containers {
        (container.cores, container.received, container.sent) = (None, None, None);
    }
    let mut script = script::watched(0);
    script.push((0, script::looked(nothing)));
    insta::assert_snapshot!(drawn(&after(&script), 80, 24), @"
    viatique  v42   too little seen so far                    no news for 1 min 20 s
     requests: not known ───────────────────────────────────────────────────────────
    ▸services        state          cpu   memory  limit      in/s     out/s restarts
    • backend        healthy          –   220 MB   41 %         –         –        0
    • celery_beat    running          –    94 MB   18 %         –         –        0
    • celery_worker  healthy          –   188 MB   35 %         –         –        0
      db             healthy          –    62 MB   12 %         –         –        0
    • frontend       healthy          –   8.3 MB    2 %         –         –        0
      nginx          healthy          –    12 MB    2 %         –         –        0
      redis          healthy          –   9.4 MB    2 %         –         –        0
     errors in the logs ────────────────────────────────────────────────────────────
    none
     database: not known ───────────────────────────────────────────────────────────
    what its sessions are at is not known
     redis, queues, disks ──────────────────────────────────────────────────────────
    not known







    q ends  s sorts: name  Tab ↑ ↓ scroll  ? helps   not seen: the log of viatique-…
    ");
}

/// Whatever the size and whatever stands in it: it fits, and nothing moves a cursor.
#[test]
fn any_size_can_be_drawn_and_no_text_escapes() {
    let mut hostile = script::measured(3);
    let page = &mut hostile.requests.as_mut().unwrap().pages[0].page;
    *page = "/\u{1b}[2J\u{9b}31m\u{202e}léa/".repeat(40);
    hostile.errors[0].fingerprint = "\u{1b}]0;x\u{7}\n\n".repeat(40);
    hostile.containers[0].service = "é\u{1b}[1m".repeat(40);
    let mut script = script::watched(3);
    script.push((2, script::looked(hostile)));
    let mut model = after(&script);
    for (columns, rows) in [(1, 1), (39, 10), (40, 3), (40, 10), (80, 12), (200, 60), (500, 5)] {
        for helps in [false, true] {
            if helps {
                model.key(Key::Help);
            }
            let text = drawn(&model, columns, rows);
            assert!(
                text.chars()
                    .all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')),
                "{text:?}"
            );
        }
        model.key(Key::Other);
    }
}

#[test]
fn without_colour_there_is_none() {
    let model = after(&script::watched(3));
    let has_style = |color| {
        let backend = drawn_at(&model, 80, 24, 6, color);
        let plain = Style::new()
            .fg(ratatui::style::Color::Reset)
            .bg(ratatui::style::Color::Reset);
        let mut cells = backend.buffer().content().iter();
        cells.any(|cell| {
            let style = cell.style();
            (style.fg, style.bg, style.add_modifier) != (plain.fg, plain.bg, plain.add_modifier)
        })
    };
    assert!(has_style(true) && !has_style(false));
}

#[test]
fn keys_sort_scroll_and_end() {
    let mut model = after(&script::watched(3));
    let services = |model: &DashboardModel| {
        let text = drawn(model, 80, 40);
        let lines = text
            .lines()
            .skip_while(|line| !line.contains("services"))
            .skip(1)
            .take(2)
            .map(|line| {
                line.trim_start_matches([' ', '•'])
                    .split(' ')
                    .next()
                    .unwrap()
                    .to_owned()
            });
        lines.collect::<Vec<String>>()
    };
    assert_eq!(services(&model), ["backend", "celery_beat"]);
    model.key(Key::Sort);
    assert_eq!(services(&model), ["db", "backend"], "by processor time");
    model.key(Key::Sort);
    assert_eq!(services(&model), ["backend", "celery_worker"], "by memory");
    // Twelve lines have room for two services.
    model.key(Key::Sort);
    model.key(Key::Sort);
    let small = |model: &DashboardModel| drawn(model, 80, 14);
    assert!(small(&model).contains("services 1-2/7"), "{}", small(&model));
    for _ in 0..20 {
        model.key(Key::Down);
    }
    assert!(small(&model).contains("services 6-7/7"), "{}", small(&model));
    model.key(Key::PageUp);
    model.key(Key::Up);
    assert!(small(&model).contains("services 1-2/7"), "{}", small(&model));
    assert!(!model.key(Key::Help));
    assert!(drawn(&model, 80, 24).contains("this help"));
    assert!(!model.key(Key::Sort), "closes the help, and does nothing else");
    assert!(model.key(Key::End));
    assert!(drawn(&model, 80, 24).contains("ending"));
}

#[test]
fn an_engine_that_has_fallen_silent_is_said() {
    let model = after(&script::watched(3));
    let text = drawn_at(&model, 80, 24, 40, false).to_string();
    assert!(text.contains("no news for 34 s"), "{text}");
}

/// A screen that only remembers.
#[derive(Clone, Default)]
struct FakeScreen(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    opened: u32,
    closed: u32,
    fails: bool,
    is_gone: bool,
}

impl Screen for FakeScreen {
    fn open(&mut self, _: Arc<Mutex<DashboardModel>>) -> std::io::Result<()> {
        let mut seen = self.0.lock().unwrap();
        if seen.fails {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        seen.opened += 1;
        Ok(())
    }

    fn is_open(&self) -> bool {
        !self.0.lock().unwrap().is_gone
    }

    fn close(&mut self) {
        self.0.lock().unwrap().closed += 1;
    }
}

struct Shown {
    reporter: DashboardReporter,
    screen: FakeScreen,
    written: Written,
    clock: Arc<ManualClock>,
}

fn shown() -> Shown {
    let (screen, written) = (FakeScreen::default(), Written::default());
    let clock = Arc::new(ManualClock::default());
    let lines = PlainReporter::new(Box::new(written.clone()), false, Verbosity::Normal, clock.clone());
    let reporter = DashboardReporter::before(
        Arc::new(lines),
        Box::new(screen.clone()),
        Box::new(written.clone()),
        false,
        clock.clone(),
    );
    Shown {
        reporter,
        screen,
        written,
        clock,
    }
}

fn finished() -> Event {
    Event::Finished {
        outcome: Outcome::Succeeded,
        exit_code: ExitCode::Done,
        release: Some("v42".into()),
        duration: Duration::from_secs(20),
        steps: Vec::new(),
        error: None,
    }
}

#[test]
fn what_was_seen_last_stays_on_the_screen() {
    let shown = shown();
    script::play(&script::watched(8), &shown.reporter, &shown.clock);
    assert_eq!(shown.written.text(), "", "the screen is the dashboard's");
    shown.reporter.event(&Event::Warning {
        message: "something else".into(),
        hint: None,
    });
    shown.reporter.event(&script::step_finished(
        StepId::Monitor,
        StepResult::Succeeded,
        "good",
        20,
    ));
    shown.reporter.event(&finished());
    let seen = shown.screen.0.lock().unwrap();
    assert_eq!((seen.opened, seen.closed), (1, 1));
    drop(seen);
    insta::assert_snapshot!(shown.written.text(), @"
    good so far, 9 min 46 s left: 20.0 requests/s, < 0.1 % 5xx, p50 12 ms, p95 100 ms, p99 200 ms
    backend 12 % 220 MB, celery_beat < 0.1 % 94 MB, celery_worker 3.1 % 188 MB, db 20 % 62 MB, frontend 0.2 % 8.3 MB, nginx 1.4 % 12 MB, redis 0.6 % 9.4 MB
    database 12 of 97 connections, 2 slow, 1 wait for locks; redis 7 clients, 1.0 MB; queue celery 4; the engine's data: 61 GB free of 120 GB
    database: 919 waits 2.1 s for a lock of 905 (idle in transaction): UPDATE papers_copy SET a = ? WHERE id = ?
    new error in the log of backend, 3 times: KeyError at /app/papers/views.py:print_copy
    03:04:21Z monitor: viatique, release v42; steps: monitor; run 20260301-030405-k7
    03:04:21Z monitor: started
    03:04:21Z monitor / release: watching release v42
    warning: something else
    03:04:21Z monitor: done: good (20 s)
    ✔ monitor succeeded in 20 s; v42 serves
    ");
    let before = shown.written.text();
    drop(shown.reporter);
    assert_eq!(shown.written.text(), before);
}

#[test]
fn a_reporter_that_is_dropped_gives_the_terminal_back() {
    let shown = shown();
    script::play(&script::watched(2), &shown.reporter, &shown.clock);
    drop(shown.reporter);
    assert_eq!(shown.screen.0.lock().unwrap().closed, 1);
    assert!(shown.written.text().contains("watching release v42"));
}

#[test]
fn without_a_terminal_there_are_lines() {
    let shown = shown();
    shown.screen.0.lock().unwrap().fails = true;
    script::play(&script::watched(8), &shown.reporter, &shown.clock);
    let text = shown.written.text();
    assert!(text.contains("requests/s"), "{text}");
}

#[test]
fn a_terminal_that_goes_away_leaves_the_watch_to_lines() {
    let shown = shown();
    script::play(&script::watched(3), &shown.reporter, &shown.clock);
    shown.screen.0.lock().unwrap().is_gone = true;
    script::play(&script::watched(8), &shown.reporter, &shown.clock);
    let text = shown.written.text();
    assert!(
        text.contains("requests/s") && text.contains("watching release v42"),
        "{text}"
    );
    assert_eq!(shown.screen.0.lock().unwrap().opened, 1);
}
