//! Runs with everything in them that a report can show, made up: one that went well, and one that was taken back.

use std::collections::BTreeMap;

use viatique_deploy::account::{
    ACCOUNT_FORMAT, Account, CheckAccount, NoticeAccount, SettledAccount, StepAccount, TaskAccount,
    UnwindAccount, WarningAccount,
};
use viatique_deploy::compose::ServiceName;
use viatique_deploy::engine::ImageId;
use viatique_deploy::pipeline::{
    ErrorReport, Evidence, Looked, Outcome, StepId, StepResult, UnwindResult, Verdict,
};
use viatique_deploy::release::changes::{Changes, Code, CodeChanges, ImageSize};
use viatique_deploy::release::checklist::{Answer, CHECKLIST_FORMAT, Checklist, ChecklistLine};
use viatique_deploy::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem, ChecksRecord, WaivedBy};
use viatique_deploy::release::dependencies::DependencyChange;
use viatique_deploy::release::difference::{Change, Difference};
use viatique_deploy::release::rehearsal::{HeldLock, Rehearsal, TimedMigration, WayBack};
use viatique_deploy::release::traffic::{PageTraffic, TrafficCounts, TrafficSeries};
use viatique_deploy::release::{
    AssessedMigration, Assessment, Migration, MigrationRecord, RELEASE_FORMAT, Release, ReleasedImage, RunId,
    Sequence, Tag,
};

/// What somebody may have written anywhere.
pub(crate) const FOREIGN: &str =
    "</pre><script>alert(\"x\")</script><img src=\"http://evil.example/x\" onerror='x'>";

pub(crate) fn tag(text: &str) -> Tag {
    Tag::new(text).unwrap()
}

fn step(step: StepId, began: f64, seconds: f64, result: StepResult, message: &str) -> StepAccount {
    StepAccount {
        step,
        began: (result != StepResult::NotRun).then_some(began),
        seconds,
        result,
        message: message.to_owned(),
        tasks: Vec::new(),
    }
}

fn task(name: &str, title: &str, began: f64, seconds: f64, message: &str) -> TaskAccount {
    TaskAccount {
        task: name.to_owned(),
        title: title.to_owned(),
        began,
        seconds,
        result: StepResult::Succeeded,
        message: message.to_owned(),
    }
}

fn check(
    id: &str,
    title: &str,
    verdict: CheckVerdict,
    blocks: bool,
    problems: Vec<CheckedProblem>,
) -> CheckAccount {
    let line = problems
        .first()
        .map_or_else(|| "as it should be".to_owned(), CheckedProblem::in_words);
    let shows = !problems.is_empty();
    CheckAccount {
        step: StepId::Check,
        outcome: CheckOutcome {
            check: id.to_owned(),
            title: title.to_owned(),
            verdict,
            blocks,
            line,
            problems,
            seconds: 0.42,
        },
        evidence: if shows {
            vec![Evidence {
                title: format!("what {id} said"),
                lines: vec!["line one".to_owned(), format!("a log line {FOREIGN}")],
            }]
        } else {
            Vec::new()
        },
    }
}

fn problem(message: &str, waived: bool) -> CheckedProblem {
    CheckedProblem {
        key: "key".to_owned(),
        blocks: false,
        unverified: false,
        place: Some("config/settings.py:12".to_owned()),
        message: message.to_owned(),
        hints: vec!["SECURE_HSTS_SECONDS = 3600".to_owned()],
        waived: waived.then(|| WaivedBy {
            owner: "Camille".to_owned(),
            reason: "the proxy of the school does it".to_owned(),
            until: "2026-12-31".to_owned(),
        }),
        evidence: None,
    }
}

fn counts(requests: u64, failed: u64, half: f64) -> TrafficCounts {
    TrafficCounts {
        requests,
        failed,
        missing: requests / 90,
        p50: Some(half),
        p95: Some(half * 3.1),
        p99: Some(half * 6.4),
    }
}

/// Ten minutes before, a switch, and a watch of ten minutes; in a bad one answers fail and are slow from the switch on.
pub(crate) fn series(is_bad: bool) -> TrafficSeries {
    let watched: u32 = if is_bad { 10 } else { 120 };
    let buckets = (0..120 + 9 + watched).map(|number| {
        let wave = (f64::from(number) / 9.0).sin();
        let jitter = f64::from(number * 7919 % 13) / 13.0;
        let requests = (24.0 + 9.0 * wave + 8.0 * jitter) as u64;
        let is_after = number > 127;
        let failed = if is_bad && is_after {
            requests / 5
        } else {
            u64::from(number == 60)
        };
        let half = 0.045 + 0.012 * wave + 0.02 * jitter;
        counts(
            requests,
            failed,
            if is_bad && is_after { half * 4.0 } else { half },
        )
    });
    TrafficSeries {
        from: "2026-11-29T21:54:40Z".to_owned(),
        every: 5,
        deployed: 600.0,
        watched: 645.0,
        until: 645.0 + f64::from(watched) * 5.0,
        buckets: buckets.collect(),
        before: counts(18_240, 3, 0.052),
        since: if is_bad {
            counts(290, 58, 0.21)
        } else {
            counts(3_410, 0, 0.055)
        },
        pages: vec![
            PageTraffic {
                page: format!("/print/:n/{FOREIGN}"),
                before: counts(430, 0, 0.11),
                since: counts(41, if is_bad { 40 } else { 0 }, 0.12),
            },
            PageTraffic {
                page: "POST /api/copies/:n/annotations/".to_owned(),
                before: counts(9_120, 1, 0.06),
                since: counts(1_240, 0, 0.07),
            },
        ],
    }
}

fn migration(name: &str) -> Migration {
    Migration {
        app: "papers".to_owned(),
        name: name.to_owned(),
    }
}

fn migrations() -> MigrationRecord {
    let assessed = |name: &str, assessment: Assessment| AssessedMigration {
        migration: migration(name),
        assessment,
    };
    MigrationRecord {
        before: vec![migration("0001_initial")],
        after: vec![
            migration("0001_initial"),
            migration("0002_copy_total"),
            migration("0003_fill_totals"),
        ],
        assessed: vec![
            assessed("0002_copy_total", Assessment::default()),
            assessed(
                "0003_fill_totals",
                Assessment {
                    unsure: vec!["Run fill_totals()".to_owned()],
                    irreversible: vec!["Run fill_totals() has no way back".to_owned()],
                    ..Assessment::default()
                },
            ),
        ],
    }
}

fn rehearsal() -> Rehearsal {
    let timed = |name: &str, milliseconds: u64, locks: Vec<HeldLock>| TimedMigration {
        migration: migration(name),
        milliseconds,
        locks,
    };
    Rehearsal {
        at: "2026-11-29T22:03:40Z".to_owned(),
        backup: "20261129T220310Z-00ab12".to_owned(),
        image: ImageId("sha256:0123456789abcdef".to_owned()),
        server_version: "170002".to_owned(),
        restored_in_milliseconds: 8_400,
        migrations: vec![
            timed(
                "0002_copy_total",
                180,
                vec![HeldLock {
                    table: "papers_copy".to_owned(),
                    mode: "AccessExclusiveLock".to_owned(),
                    milliseconds: 120,
                }],
            ),
            timed("0003_fill_totals", 2_340, Vec::new()),
        ],
        way_back: WayBack::Irreversible {
            why: vec!["papers.0003_fill_totals: Run fill_totals() has no way back".to_owned()],
        },
        staging: Some(Vec::new()),
    }
}

fn images(version: &str) -> BTreeMap<ServiceName, ReleasedImage> {
    ["backend", "celery_worker", "celery_beat", "frontend", "nginx"]
        .into_iter()
        .map(|service| {
            let image = ReleasedImage {
                id: ImageId(format!("sha256:{service:0<16}{version}")),
                reference: format!("registry.example.com/viatique-{service}:{version}"),
            };
            (ServiceName::try_from(service.to_owned()).unwrap(), image)
        })
        .collect()
}

fn changes() -> Changes {
    let dependency = |name: &str, old: Option<&str>, new: Option<&str>| DependencyChange {
        name: name.to_owned(),
        old: old.map(ToOwned::to_owned),
        new: new.map(ToOwned::to_owned),
    };
    Changes {
        since: tag("v41"),
        code: Code::Known(CodeChanges {
            commits: 12,
            lost: 0,
            newest: vec![
                "4be12f0 Show the total of a copy".to_owned(),
                format!("91c0d2a Escape {FOREIGN}"),
                "77aa001 Ask for a note only once".to_owned(),
            ],
            migrations_added: vec![
                "papers/migrations/0002_copy_total.py".to_owned(),
                "papers/migrations/0003_fill_totals.py".to_owned(),
            ],
            migrations_removed: Vec::new(),
            dependencies: vec![
                dependency("django", Some("5.2.7"), Some("5.2.8")),
                dependency("weasyprint", None, Some("66.0")),
            ],
        }),
        differences: vec![
            Difference {
                of: "backend".to_owned(),
                what: "environment GUNICORN_WORKERS".to_owned(),
                change: Change::Changed,
            },
            Difference {
                of: "celery_worker".to_owned(),
                what: "stop_grace_period".to_owned(),
                change: Change::From {
                    from: "30s".to_owned(),
                    to: "5m".to_owned(),
                },
            },
        ],
        images: vec![ImageSize {
            service: "backend".to_owned(),
            old: Some(212_400_000),
            new: 218_900_000,
        }],
    }
}

fn checks() -> Vec<CheckAccount> {
    let mut checks = vec![
        check(
            "hsts",
            "browsers are told to come by https only",
            CheckVerdict::Waived,
            false,
            vec![problem("SECURE_HSTS_SECONDS is 0", true)],
        ),
        check(
            "pip-audit",
            "no dependency is known to be vulnerable",
            CheckVerdict::Failed,
            false,
            vec![problem(&format!("pillow 11.0.0: {FOREIGN}"), false)],
        ),
        check(
            "certificate",
            "the certificate is good for long enough",
            CheckVerdict::NotVerified,
            false,
            vec![problem("the site does not answer on port 443", false)],
        ),
    ];
    let passed = [
        "engine",
        "disk",
        "memory",
        "debug",
        "secret-key",
        "allowed-hosts",
        "tests",
        "bandit",
        "backups",
    ];
    checks.extend(passed.map(|id| {
        check(
            id,
            "something is as it should be",
            CheckVerdict::Passed,
            true,
            Vec::new(),
        )
    }));
    checks
}

/// One that went well.
pub(crate) fn good() -> Account {
    let mut deploy = step(
        StepId::Deploy,
        64.0,
        31.0,
        StepResult::Succeeded,
        "4 services replaced, nginx reloaded",
    );
    deploy.tasks = vec![
        task(
            "backend",
            "replacing backend",
            64.1,
            14.0,
            "viatique-backend-2 took over",
        ),
        task(
            "celery_worker",
            "replacing celery_worker",
            64.1,
            22.0,
            "its predecessor finishes 1 task",
        ),
        task(
            "celery_beat",
            "replacing celery_beat",
            64.2,
            6.0,
            "stopped for 3.1 s",
        ),
        task(
            "frontend",
            "replacing frontend",
            78.2,
            9.0,
            "viatique-frontend-2 took over",
        ),
        task("nginx reload", "reloading nginx", 88.0, 0.6, "nginx -t said yes"),
    ];
    let mut smoke = step(
        StepId::Smoke,
        101.0,
        6.2,
        StepResult::Unchanged,
        "3 scenarios passed",
    );
    smoke.tasks = vec![
        task(
            "1",
            "a teacher logs in and annotates a copy",
            101.1,
            3.4,
            "7 requests",
        ),
        task("2", "a pupil sees their copy", 104.5, 1.5, "4 requests"),
        task("3", "a stranger sees nothing", 106.0, 1.2, "2 requests"),
    ];
    let mut build = step(StepId::Build, 8.2, 38.0, StepResult::Succeeded, "5 images");
    build.tasks = vec![task(
        "backend",
        "building viatique-backend",
        8.3,
        37.0,
        "218.9 MB",
    )];
    Account {
        format: ACCOUNT_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        project: "viatique".to_owned(),
        run: RunId("20261129T220301Z-3f9a1c".to_owned()),
        command: "run".to_owned(),
        release: tag("v42"),
        before: Some(tag("v41")),
        commit: Some("4be12f0c9a7d11e2aa00bbccddeeff0011223344".to_owned()),
        changes: Some(changes()),
        started_at: "2026-11-29T22:03:01Z".to_owned(),
        started_by: "camille@ops-laptop".to_owned(),
        steps: vec![
            step(
                StepId::Check,
                0.0,
                8.1,
                StepResult::Warned,
                "9 passed, 1 failed (pip-audit), 1 not verified (certificate), 1 waived (hsts)",
            ),
            step(
                StepId::Backup,
                8.2,
                12.4,
                StepResult::Succeeded,
                "20261129T220310Z-00ab12: 41.2 MB, read back",
            ),
            build,
            step(
                StepId::Rehearse,
                46.3,
                9.0,
                StepResult::Succeeded,
                "2 migrations in 2.5 s",
            ),
            step(StepId::Gate, 55.4, 3.2, StepResult::Unchanged, "4 passed"),
            step(
                StepId::Migrate,
                58.7,
                4.6,
                StepResult::Succeeded,
                "2 migrations applied",
            ),
            step(
                StepId::Collectstatic,
                58.7,
                5.1,
                StepResult::Succeeded,
                "184 files, 3 new",
            ),
            deploy,
            step(
                StepId::Health,
                95.1,
                5.8,
                StepResult::Unchanged,
                "5 containers are well, 3 good answers",
            ),
            smoke,
            step(
                StepId::Monitor,
                107.3,
                600.4,
                StepResult::Unchanged,
                "release v42 is good",
            ),
        ],
        unwound: Vec::new(),
        checks: checks(),
        warnings: vec![WarningAccount {
            at: 8.0,
            message: format!("pillow 11.0.0: {FOREIGN} [pip-audit]"),
            hint: Some("pip install pillow==11.3.0".to_owned()),
        }],
        settled: Some(SettledAccount {
            verdict: Verdict::Good,
            findings: Vec::new(),
            remarks: vec![
                "error in the log of backend, 2 times: OSError: slow disk; no log tells whether it is new"
                    .to_owned(),
            ],
            looked: Looked::default(),
            traffic: Some(series(false)),
        }),
        notices: vec![
            NoticeAccount {
                target: "team".to_owned(),
                place: "https://hooks.slack.com".to_owned(),
                what: "succeeded".to_owned(),
                why_not: None,
            },
            NoticeAccount {
                target: "grafana".to_owned(),
                place: "https://grafana.example.com".to_owned(),
                what: "succeeded".to_owned(),
                why_not: Some(format!("403: {FOREIGN}")),
            },
        ],
        images: images("v42"),
        migrations: Some(migrations()),
        rehearsal: Some(rehearsal()),
        backup: Some("20261129T220310Z-00ab12".to_owned()),
        outcome: Outcome::Succeeded,
        exit_code: 0,
        serves: Some("v42".to_owned()),
        seconds: 708.1,
        error: None,
    }
}

/// One that the watch found bad, and that was taken back.
pub(crate) fn taken_back() -> Account {
    let mut account = good();
    account.run = RunId("20261129T220301Z-77aa00".to_owned());
    account.outcome = Outcome::RolledBack;
    account.exit_code = 6;
    account.serves = Some("v41".to_owned());
    account.seconds = 171.0;
    let monitor = account.steps.last_mut().unwrap();
    (monitor.seconds, monitor.result) = (50.2, StepResult::Failed);
    monitor.message = "release v42 is bad: /print/:n/: 40 of 41 requests answered 5xx".to_owned();
    let undone = |step, began, seconds, result, message: &str| UnwindAccount {
        step,
        reason: "release v42 is bad".to_owned(),
        began,
        seconds,
        result: Some(result),
        message: message.to_owned(),
    };
    account.unwound = vec![
        undone(StepId::Monitor, 157.6, 0.3, UnwindResult::NothingToDo, ""),
        undone(
            StepId::Deploy,
            158.0,
            11.4,
            UnwindResult::Reverted,
            "v41 serves again",
        ),
        undone(
            StepId::Collectstatic,
            169.5,
            0.9,
            UnwindResult::Reverted,
            "the files of v41 are named again",
        ),
        undone(
            StepId::Migrate,
            170.5,
            0.1,
            UnwindResult::LeftInPlace,
            "2 migrations stay applied, and v41 fits them",
        ),
    ];
    let finding = "/print/:n/: 40 of 41 requests answered 5xx; before the deploy 0 of 430".to_owned();
    account.error = Some(ErrorReport {
        chain: vec![
            "watching release v42".to_owned(),
            format!("release v42 is bad: {finding}"),
        ],
        hints: vec!["viatique-deploy logs --since 10m --grep '(?i)error' backend".to_owned()],
        evidence: vec![Evidence {
            title: "last log lines of viatique-backend-2".to_owned(),
            lines: vec![
                "Traceback (most recent call last):".to_owned(),
                "  File \"/app/papers/print.py\", line 41, in render".to_owned(),
                format!("ValueError: {FOREIGN}"),
            ],
        }],
    });
    account.settled = Some(SettledAccount {
        verdict: Verdict::Bad,
        findings: vec![
            finding,
            "new exception in the log of backend, 40 times: ValueError".to_owned(),
        ],
        remarks: Vec::new(),
        looked: Looked::default(),
        traffic: Some(series(true)),
    });
    account
}

/// The record that the good one has made.
pub(crate) fn release() -> Release {
    let account = good();
    let outcomes: Vec<CheckOutcome> = account.checks.iter().map(|one| one.outcome.clone()).collect();
    Release {
        format: RELEASE_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: Sequence(17),
        tag: tag("v42"),
        run: account.run.clone(),
        command: "run".to_owned(),
        deployed_at: "2026-11-29T22:14:49Z".to_owned(),
        deployed_by: account.started_by.clone(),
        previous: Some(Sequence(16)),
        images: account.images.clone(),
        compose: Vec::new(),
        project: serde_json::Value::Null,
        migrations: account.migrations.clone(),
        rehearsal: account.rehearsal.clone(),
        backup: account.backup,
        checks: Some(ChecksRecord::of(&outcomes)),
        known_errors: None,
    }
}

/// What is verified of it.
pub(crate) fn checklist() -> Checklist {
    let line = |id: &str, part_of: Option<&str>, title: &str, seen: &str, answer: Answer| ChecklistLine {
        id: id.to_owned(),
        title: title.to_owned(),
        part_of: part_of.map(ToOwned::to_owned),
        step: None,
        seen: seen.to_owned(),
        answer,
    };
    let seen = |ok| Answer::Evidence { ok };
    let person = |ok| Answer::Person {
        ok,
        who: FOREIGN.to_owned(),
        at: "2026-11-29T22:20:00Z".to_owned(),
    };
    let release = release();
    Checklist {
        format: CHECKLIST_FORMAT,
        written_by: release.written_by.clone(),
        project: "viatique".to_owned(),
        sequence: release.sequence,
        release: release.tag.clone(),
        run: release.run,
        at: release.deployed_at,
        lines: vec![
            line(
                "health",
                None,
                "the site and its services answer that they are well",
                "200, 4 ms",
                seen(true),
            ),
            line(
                "smoke",
                None,
                "what users do works",
                "2 scenarios passed",
                seen(true),
            ),
            line(
                "smoke: a teacher logs in",
                Some("smoke"),
                "a teacher logs in",
                "passed",
                seen(true),
            ),
            line(
                "backup",
                None,
                "backups are made by themselves",
                FOREIGN,
                Answer::Nobody,
            ),
            line("sheets", None, FOREIGN, "only a person can tell", person(false)),
            line(
                "paper",
                None,
                "the paper is in",
                "only a person can tell",
                person(true),
            ),
        ],
    }
}
