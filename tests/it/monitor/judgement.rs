//! The rules by themselves, held against days that are good in the ways days are, and against each fault.

use std::time::Duration;

use viatique_deploy::config::{NewErrors, Thresholds};
use viatique_deploy::pipeline::Verdict;
use viatique_deploy::stack::logged_errors::LoggedErrorKind;
use viatique_deploy::stack::nginx::Logged;
use viatique_deploy::steps::monitor::judgement::{
    Connections, IdleWorker, Judgement, Probe, Rules, Seen, SeenContainer, SeenError,
};
use viatique_deploy::steps::monitor::traffic::{Traffic, Watched};

fn rules() -> Rules {
    Rules {
        thresholds: Thresholds::default(),
        new_errors: NewErrors::Bad,
    }
}

fn judge(seen: &Seen) -> Judgement {
    rules().judge(seen)
}

/// Always the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around 1, and now and then far above: as answers take.
    fn spread(&mut self) -> f64 {
        let sum: f64 = (0..6).map(|_| self.roll()).sum();
        let tail = if self.roll() < 0.02 { 5.0 } else { 1.0 };
        ((sum - 3.0) * 0.6).exp() * tail
    }
}

/// A path, its share of the requests, and what half of its answers take, in seconds.
const PAGES: [(&str, f64, f64); 6] = [
    ("/", 0.3, 0.004),
    ("/api/copies/", 0.25, 0.06),
    ("/api/copies/7/", 0.2, 0.09),
    ("/print/7/", 0.1, 0.25),
    ("/health/", 0.1, 0.012),
    ("/static/print.0123456789ab.css", 0.05, 0.001),
];

fn page(dice: &mut Dice) -> (&'static str, f64) {
    let mut rest = dice.roll();
    for (path, share, median) in PAGES {
        if rest < share {
            return (path, median);
        }
        rest -= share;
    }
    ("/", 0.004)
}

/// What goes on: requests a second, the share of 5xx by bad luck, and what a fault makes of an answer.
struct Day<'a> {
    seed: u64,
    requests: f64,
    failing: f64,
    slower: f64,
    fault: &'a dyn Fn(&mut Logged),
}

const GOOD: Day<'_> = Day {
    seed: 1,
    requests: 20.0,
    failing: 0.0,
    slower: 1.0,
    fault: &|_| {},
};

impl Day<'_> {
    fn answer(&self, dice: &mut Dice, slower: f64) -> Logged {
        let (path, median) = page(dice);
        let failed = dice.roll() < self.failing;
        Logged {
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: if failed { 502 } else { 200 },
            seconds: Some(median * slower * dice.spread()),
        }
    }

    fn before(&self) -> Traffic {
        let mut dice = Dice(self.seed);
        let mut before = Traffic::default();
        for _ in 0..(self.requests * 600.0) as u64 {
            before.add(&self.answer(&mut dice, 1.0));
        }
        before
    }

    /// Watches it, looking every two seconds: when it is found bad and by what, or how it stands at the end.
    fn watch(&self, seconds: u64) -> (u64, Judgement) {
        let mut seen = Seen {
            before: self.before(),
            ..Seen::default()
        };
        let mut dice = Dice(self.seed ^ 0xdead_beef);
        let mut watched = Watched::default();
        let mut due = 0.0;
        for second in 1..=seconds {
            due += self.requests;
            while due >= 1.0 {
                due -= 1.0;
                let mut logged = self.answer(&mut dice, self.slower);
                (self.fault)(&mut logged);
                watched.add(&logged, Duration::from_secs(second));
            }
            if second.is_multiple_of(2) || second == seconds {
                seen.elapsed = Duration::from_secs(second);
                seen.since = watched.all.clone();
                seen.recent = watched.recent();
                let judgement = judge(&seen);
                if judgement.verdict == Verdict::Bad || second == seconds {
                    return (second, judgement);
                }
            }
        }
        unreachable!("it has looked at the end")
    }
}

#[track_caller]
fn found(day: &Day<'_>, words: &[&str]) {
    let (second, judgement) = day.watch(60);
    assert_eq!(judgement.verdict, Verdict::Bad, "{judgement:?}");
    assert!(second <= 30, "only after {second} s: {judgement:?}");
    for word in words {
        assert!(
            judgement.findings.iter().any(|line| line.contains(word)),
            "{word}: {judgement:?}"
        );
    }
}

#[test]
fn good_days_are_good() {
    for seed in 0..24 {
        // Some luck and some weather: a busy machine, a site that fails now and then.
        let day = Day {
            seed,
            requests: [1.0, 3.0, 20.0, 60.0][seed as usize % 4],
            failing: [0.0, 0.002, 0.01][seed as usize % 3],
            slower: [0.7, 1.0, 1.3, 1.5][seed as usize / 4 % 4],
            ..GOOD
        };
        let (second, judgement) = day.watch(120);
        assert_eq!(
            (second, judgement.verdict),
            (120, Verdict::Good),
            "seed {seed}: {judgement:?}"
        );
    }
}

#[test]
fn next_to_no_traffic_is_inconclusive_unless_probes_decide() {
    for seed in 0..40 {
        let day = Day {
            seed,
            requests: [0.0, 0.05, 0.2, 0.4][seed as usize % 4],
            slower: 4.0,
            ..GOOD
        };
        let (second, judgement) = day.watch(60);
        assert_eq!(
            (second, judgement.verdict),
            (60, Verdict::Inconclusive),
            "{judgement:?}"
        );
        assert!(
            judgement.remarks[0].contains("next to no traffic"),
            "{judgement:?}"
        );
    }
    let probe = |succeeded, failed_in_a_row| Probe {
        address: "/health/".to_owned(),
        succeeded,
        failed_in_a_row,
        problem: Some("answers 500".to_owned()),
    };
    let with = |probes: Vec<Probe>| {
        judge(&Seen {
            probes,
            ..Seen::default()
        })
    };
    assert_eq!(with(vec![probe(3, 0)]).verdict, Verdict::Good);
    assert_eq!(
        with(vec![probe(3, 0), probe(2, 0)]).verdict,
        Verdict::Inconclusive
    );
    assert_eq!(with(vec![probe(9, 2)]).verdict, Verdict::Inconclusive);
    let bad = with(vec![probe(9, 3)]);
    assert_eq!(bad.findings, ["/health/ answers 500, 3 times in a row"]);
    // The tool's own requests are no visitors.
    let mut seen = Seen {
        since: GOOD.before(),
        ..Seen::default()
    };
    seen.own = seen.since.requests() - 49;
    assert_eq!(judge(&seen).verdict, Verdict::Inconclusive);
}

#[test]
fn one_page_that_answers_500_is_found() {
    let broken = |logged: &mut Logged| {
        if logged.path.starts_with("/print") {
            logged.status = 500;
        }
    };
    let day = Day {
        fault: &broken,
        ..GOOD
    };
    found(
        &day,
        &["/print/:n/: ", "requests answered 5xx; before the deploy 0 of"],
    );
    // Three visits of it are enough, on a site that is hardly visited.
    let mut seen = Seen::default();
    for status in [500, 500, 500] {
        seen.since.add(&Logged {
            method: "GET".to_owned(),
            path: "/print/7/".to_owned(),
            status,
            seconds: None,
        });
    }
    assert_eq!(judge(&seen).verdict, Verdict::Bad);
    // What failed as often before is no news.
    seen.before = seen.since.clone();
    for _ in 0..3 {
        let more = seen.before.clone();
        for _ in 0..more.requests() {
            seen.before.add(&Logged {
                method: "GET".to_owned(),
                path: "/print/7/".to_owned(),
                status: 500,
                seconds: None,
            });
        }
    }
    assert_eq!(judge(&seen).verdict, Verdict::Inconclusive);
}

#[test]
fn a_site_that_fails_a_little_everywhere_is_found() {
    let day = Day {
        requests: 60.0,
        ..GOOD
    };
    let count = std::cell::Cell::new(0_u32);
    let broken = |logged: &mut Logged| {
        count.set(count.get() + 1);
        if count.get().is_multiple_of(12) {
            logged.status = 502;
        }
    };
    found(
        &Day {
            fault: &broken,
            ..day
        },
        &["5xx"],
    );
}

#[test]
fn answers_three_times_slower_are_found() {
    let day = Day { slower: 3.0, ..GOOD };
    found(&day, &["half of the answers take", "before the deploy"]);
    // One page alone.
    let slow = |logged: &mut Logged| {
        if logged.path.starts_with("/print") {
            logged.seconds = logged.seconds.map(|seconds| seconds * 3.0);
        }
    };
    found(&Day { fault: &slow, ..GOOD }, &["/print/:n/: half"]);
    // Every tenth answer hangs.
    let count = std::cell::Cell::new(0_u32);
    let hangs = |logged: &mut Logged| {
        count.set(count.get() + 1);
        if count.get().is_multiple_of(6) {
            logged.seconds = Some(9.0);
        }
    };
    found(
        &Day {
            fault: &hangs,
            ..GOOD
        },
        &["5 % of the answers take"],
    );
}

#[test]
fn what_begins_slowly_is_left_alone() {
    let began = std::cell::Cell::new(0_u32);
    let cold = |logged: &mut Logged| {
        began.set(began.get() + 1);
        if began.get() < 120 {
            logged.seconds = logged.seconds.map(|seconds| seconds * 3.0);
        }
    };
    let (_, judgement) = Day { fault: &cold, ..GOOD }.watch(120);
    assert_eq!(judgement.verdict, Verdict::Good, "{judgement:?}");
}

#[test]
fn missing_static_files_are_found_and_scanners_are_not() {
    let missing = |logged: &mut Logged| {
        if logged.path.starts_with("/static") {
            // The new release's name of it.
            logged.path = "/static/print.ba9876543210.css".to_owned();
            logged.status = 404;
        }
    };
    found(
        &Day {
            fault: &missing,
            ..GOOD
        },
        &["/static/print.:hash.css: "],
    );
    let scanned = |logged: &mut Logged| {
        if logged.path == "/" {
            logged.path = "/wp-includes/js/jquery.js".to_owned();
            logged.status = 404;
        }
    };
    let (_, judgement) = Day {
        fault: &scanned,
        ..GOOD
    }
    .watch(60);
    assert_eq!(judgement.verdict, Verdict::Good, "{judgement:?}");
}

fn error(kind: LoggedErrorKind, count: u64) -> SeenError {
    SeenError {
        service: "backend".to_owned(),
        kind,
        fingerprint: "ValueError at /app/papers/views.py:print_copy".to_owned(),
        by_visitor: false,
        count,
        is_new: true,
    }
}

#[test]
fn one_new_exception_is_enough_and_of_lines_three() {
    let verdict = |error: SeenError| {
        let seen = Seen {
            errors: vec![error],
            ..Seen::default()
        };
        judge(&seen)
    };
    let bad = verdict(error(LoggedErrorKind::Exception, 1));
    assert_eq!(
        bad.findings,
        ["new exception in the log of backend, 1 times: ValueError at /app/papers/views.py:print_copy"]
    );
    assert_eq!(verdict(error(LoggedErrorKind::Line, 3)).verdict, Verdict::Bad);
    for left in [
        error(LoggedErrorKind::Line, 2),
        SeenError {
            by_visitor: true,
            ..error(LoggedErrorKind::Exception, 9)
        },
        SeenError {
            is_new: false,
            ..error(LoggedErrorKind::Exception, 9)
        },
    ] {
        let judgement = verdict(left);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert!(
            judgement.remarks[0].contains("in the log of backend"),
            "{judgement:?}"
        );
    }
    let warns = Rules {
        new_errors: NewErrors::Warn,
        ..rules()
    };
    let seen = Seen {
        errors: vec![error(LoggedErrorKind::Exception, 1)],
        ..Seen::default()
    };
    assert_eq!(warns.judge(&seen).verdict, Verdict::Inconclusive);
}

const MB: f64 = 1024.0 * 1024.0;

fn container(memory: impl Fn(f64) -> f64, seconds: u32, limit: Option<u64>) -> Seen {
    let looks = (0..=seconds / 2).map(|look| f64::from(look) * 2.0);
    Seen {
        containers: vec![SeenContainer {
            name: "viatique-backend-1".to_owned(),
            memory: looks.map(|at| (at, memory(at) * MB)).collect(),
            limit,
            before: Some(120 << 20),
            ..SeenContainer::default()
        }],
        ..Seen::default()
    }
}

#[test]
fn memory_that_grows_is_found_and_what_levels_off_is_not() {
    let limit = Some(512 << 20);
    let leak = judge(&container(|at| 100.0 + 4.0 * at, 20, limit));
    assert!(leak.findings[0].contains("memory grows by"), "{leak:?}");
    assert!(
        leak.findings[0].contains("before the deploy 125.8 MB"),
        "{leak:?}"
    );
    assert_eq!(
        judge(&container(|at| 100.0 + 4.0 * at, 20, None)).verdict,
        Verdict::Bad
    );
    let full = judge(&container(|_| 480.0, 2, limit));
    assert!(full.findings[0].contains("may use"), "{full:?}");
    let good: [&dyn Fn(f64) -> f64; 5] = [
        &|at| 100.0 + 80.0 * (1.0 - (-at / 5.0).exp()),
        &|at| 100.0 + at.min(8.0) * 10.0,
        &|at| 200.0 + 40.0 * (at * 1.3).sin(),
        &|at| 150.0 + 0.02 * at,
        &|at| 150.0 + if at > 30.0 { 60.0 } else { 0.0 },
    ];
    for (number, memory) in good.into_iter().enumerate() {
        for seconds in (2..=120).step_by(2) {
            let judgement = judge(&container(memory, seconds, limit));
            assert_eq!(
                judgement.verdict,
                Verdict::Inconclusive,
                "{number} at {seconds} s: {judgement:?}"
            );
        }
    }
}

#[test]
fn what_else_is_bad_is_named() {
    let troubled = SeenContainer {
        name: "viatique-celery_beat-1".to_owned(),
        restarts: 2,
        trouble: Some("ran out of memory".to_owned()),
        ..SeenContainer::default()
    };
    let seen = Seen {
        containers: vec![troubled],
        idle_workers: vec![IdleWorker {
            name: "viatique-celery_worker-1".to_owned(),
            queue: "celery".to_owned(),
            waiting: 14,
        }],
        connections: Some(Connections {
            used: 96,
            usable: 97,
            above: 1,
        }),
        ..Seen::default()
    };
    assert_eq!(
        judge(&seen).findings,
        [
            "viatique-celery_beat-1 was restarted 2 times by the engine",
            "viatique-celery_beat-1 ran out of memory",
            "the worker viatique-celery_worker-1 takes no tasks: 14 wait in the queue `celery`, and it is at none",
            "the database has 96 of the 97 connections that it allows",
        ]
    );
    let mut alone = Seen {
        connections: seen.connections,
        ..Seen::default()
    };
    assert_eq!(judge(&alone).verdict, Verdict::Inconclusive);
    alone.connections = Some(Connections {
        used: 96,
        usable: 97,
        above: 3,
    });
    assert_eq!(judge(&alone).verdict, Verdict::Bad);
}
