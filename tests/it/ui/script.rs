//! Scripted runs, a clock that is set by hand, and a stream that can be read back.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;
use viatique_deploy::config::Moment;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::notify::What;
use viatique_deploy::pipeline::{
    Change, ChangeKind, DatabaseActivity, DatabaseSession, Disk, ErrorReport, Event, Evidence, LockWait,
    LoggedErrors, Measured, MeasuredContainer, MeasuredDatabase, MeasuredRedis, News, Outcome, Question,
    Queue, Reporter, Requests, RequestsSource, StepId, StepResult, StepSummary, TaskId, Unit, UnwindResult,
    Verdict, WorstPage,
};
use viatique_deploy::release::checklist::{Answer, CHECKLIST_FORMAT, Checklist, ChecklistLine};
use viatique_deploy::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem, WaivedBy};
use viatique_deploy::release::{RunId, Sequence, Tag};
use viatique_deploy::ui::Clock;

/// Stands still until told.
#[derive(Default)]
pub(super) struct ManualClock(Mutex<Duration>);

impl ManualClock {
    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        datetime!(2026-03-01 03:04:05 UTC) + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A pipe that nobody reads any more.
pub(super) struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

/// Seconds to wait, then what happens.
pub(super) type Script = Vec<(u64, Event)>;

/// What one look at v42 has found, while all is well.
pub(super) fn measured(number: u64) -> Measured {
    let container = |service: &str, is_new: bool, cores: f64, memory: u64| MeasuredContainer {
        service: service.into(),
        name: format!("viatique-{service}-1"),
        is_new,
        state: "running",
        health: (service != "celery_beat").then_some("healthy"),
        restarts: 0,
        restarts_since: 0,
        cores: Some(cores),
        memory: Some(memory),
        memory_limit: Some(512 << 20),
        received: Some(12_300.0),
        sent: Some(45_600.0),
    };
    let page = |page: &str, requests: u64, p95: f64| WorstPage {
        page: page.into(),
        requests,
        failed: 0,
        p95: Some(p95),
    };
    let session = |pid: u32, state: &str, seconds: f64, statement: &str| DatabaseSession {
        pid,
        state: state.into(),
        seconds,
        wait: None,
        statement: statement.into(),
    };
    let errors = |service: &str, fingerprint: &str, count: u64, news: News| LoggedErrors {
        service: service.into(),
        fingerprint: fingerprint.into(),
        count,
        first: datetime!(2026-03-01 02:10:00 UTC),
        last: datetime!(2026-03-01 03:04:00 UTC),
        news,
    };
    Measured {
        release: "v42".into(),
        verdict: Verdict::Good,
        findings: Vec::new(),
        elapsed: seconds(2 * number),
        left: seconds(600 - 2 * number),
        requests: Some(Requests {
            source: RequestsSource::AccessLog,
            over: seconds(18),
            per_second: 20.0 + (number % 7) as f64,
            failed_share: Some(0.000_4),
            p50: Some(0.0123),
            p95: Some(0.080 + 0.01 * (number % 5) as f64),
            p99: Some(0.2),
            total: 40 * number,
            failed: 1,
            pages: vec![
                page("/print/:n/", 91, 0.2),
                page("/api/copies/", 90, 0.06),
                page("/api/copies/:n/", 90, 0.04),
                page("/", 89, 0.005),
            ],
        }),
        containers: vec![
            container("backend", true, 0.123, 210 << 20),
            container("celery_beat", true, 0.0004, 90 << 20),
            container("celery_worker", true, 0.031, 180 << 20),
            container("db", false, 0.2, 60 << 20),
            container("frontend", true, 0.002, 8 << 20),
            container("nginx", false, 0.014, 12 << 20),
            container("redis", false, 0.006, 9 << 20),
        ],
        errors: vec![
            errors(
                "backend",
                "KeyError at /app/papers/views.py:print_copy",
                3,
                News::New,
            ),
            errors("celery_worker", "Task core.x[N] failed for …", 12, News::Known),
        ],
        further_errors: 0,
        database: Some(MeasuredDatabase {
            connections: 12,
            usable: 97,
            activity: Some(DatabaseActivity {
                slow: 2,
                longest: vec![session(
                    905,
                    "idle in transaction",
                    62.0,
                    "SELECT a FROM papers_copy",
                )],
                waiting: 1,
                waits: vec![LockWait {
                    session: session(919, "active", 2.1, "UPDATE papers_copy SET a = ? WHERE id = ?"),
                    blocked_by: vec![session(
                        905,
                        "idle in transaction",
                        62.0,
                        "SELECT a FROM papers_copy",
                    )],
                }],
            }),
        }),
        redis: Some(MeasuredRedis {
            clients: 7,
            memory: 1 << 20,
            memory_limit: None,
        }),
        queues: vec![Queue {
            name: "celery".into(),
            waiting: 4,
        }],
        disks: vec![Disk {
            what: "the engine's data".into(),
            free: 61_000_000_000,
            total: 120_000_000_000,
        }],
        unseen: vec!["the log of viatique-db-1: no".into()],
    }
}

pub(super) fn looked(measured: Measured) -> Event {
    Event::Measured {
        step: StepId::Monitor,
        measured: Box::new(measured),
    }
}

/// A watch by hand, which takes so many looks, and what is found at its end.
pub(super) fn watched(looks: u64) -> Script {
    let mut script = vec![
        (
            0,
            Event::RunStarted {
                run: "20260301-030405-k7".into(),
                command: "monitor".into(),
                project: "viatique".into(),
                release: Some("v42".into()),
                steps: vec![StepId::Monitor],
                dry_run: false,
            },
        ),
        (0, step_started(StepId::Monitor)),
        (0, started(StepId::Monitor, "release", "watching release v42")),
    ];
    script.extend((0..looks).map(|number| (2, looked(measured(number)))));
    script
}

pub(super) fn play(script: &Script, reporter: &dyn Reporter, clock: &ManualClock) {
    for (seconds, event) in script {
        clock.advance(Duration::from_secs(*seconds));
        reporter.event(event);
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn run_started(steps: &[StepId], dry_run: bool) -> Event {
    Event::RunStarted {
        run: "20260301-030405-k7".into(),
        command: "run".into(),
        project: "viatique".into(),
        release: Some("v42".into()),
        steps: steps.to_vec(),
        dry_run,
    }
}

pub(super) fn step_started(step: StepId) -> Event {
    Event::StepStarted { step }
}

pub(super) fn step_finished(step: StepId, result: StepResult, message: &str, took: u64) -> Event {
    Event::StepFinished {
        step,
        result,
        message: message.into(),
        duration: seconds(took),
    }
}

pub(super) fn started(step: StepId, task: &str, title: &str) -> Event {
    Event::TaskStarted {
        step,
        task: TaskId(task.into()),
        title: title.into(),
    }
}

pub(super) fn progress(step: StepId, task: &str, message: &str) -> Event {
    Event::TaskProgress {
        step,
        task: TaskId(task.into()),
        message: message.into(),
    }
}

pub(super) fn amount(step: StepId, task: &str, done: u64, total: Option<u64>, unit: Unit) -> Event {
    Event::TaskAmount {
        step,
        task: TaskId(task.into()),
        done,
        total,
        unit,
    }
}

pub(super) fn output(step: StepId, task: &str, line: &str) -> Event {
    Event::TaskOutput {
        step,
        task: TaskId(task.into()),
        line: line.into(),
    }
}

pub(super) fn finished(step: StepId, task: &str, result: StepResult, message: &str, took: u64) -> Event {
    Event::TaskFinished {
        step,
        task: TaskId(task.into()),
        result,
        message: message.into(),
        duration: seconds(took),
    }
}

pub(super) fn summary(step: StepId, result: StepResult, took: u64) -> StepSummary {
    StepSummary {
        step,
        result,
        duration: seconds(took),
    }
}

const STEPS: [StepId; 5] = [
    StepId::Check,
    StepId::Backup,
    StepId::Build,
    StepId::Deploy,
    StepId::Health,
];

fn until_deploy() -> Script {
    use StepId::{Backup, Build, Check};
    use StepResult::{Succeeded, Unchanged};
    vec![
        (0, run_started(&STEPS, false)),
        (0, step_started(Check)),
        (0, started(Check, "tests", "running ./run_tests.sh")),
        (12, finished(Check, "tests", Succeeded, "214 passed", 12)),
        (
            0,
            Event::Warning {
                message: "nginx resolves backend only once, when it starts".into(),
                hint: Some("add resolver 127.0.0.11 to nginx.conf".into()),
            },
        ),
        (0, step_finished(Check, Succeeded, "7 checks passed", 12)),
        (0, step_started(Backup)),
        (0, started(Backup, "database", "dumping viatique")),
        (
            1,
            amount(Backup, "database", 40_000_000, Some(160_000_000), Unit::Bytes),
        ),
        (
            2,
            amount(Backup, "database", 120_000_000, Some(160_000_000), Unit::Bytes),
        ),
        (1, finished(Backup, "database", Succeeded, "160 MB, read back", 4)),
        (0, step_finished(Backup, Succeeded, "20260301-030405", 4)),
        (0, step_started(Build)),
        (0, started(Build, "backend", "building viatique-backend:v42")),
        (1, amount(Build, "backend", 3, Some(9), Unit::Steps)),
        (1, output(Build, "backend", "Collecting django==5.2")),
        (
            1,
            finished(Build, "backend", Succeeded, "viatique-backend:v42", 3),
        ),
        (0, started(Build, "frontend", "building viatique-frontend:v42")),
        (1, finished(Build, "frontend", Unchanged, "", 1)),
        (
            0,
            step_finished(Build, Succeeded, "1 image built, 1 unchanged", 4),
        ),
        (0, step_started(StepId::Deploy)),
        (
            0,
            started(StepId::Deploy, "backend", "starting viatique-backend-2"),
        ),
        (
            1,
            progress(StepId::Deploy, "backend", "waiting until healthy (1 s)"),
        ),
        (
            1,
            progress(StepId::Deploy, "backend", "waiting until healthy (2 s)"),
        ),
        (
            1,
            progress(StepId::Deploy, "backend", "waiting until healthy (3 s)"),
        ),
    ]
}

/// All goes well.
pub(super) fn success() -> Script {
    use StepId::{Backup, Build, Check, Deploy, Health};
    use StepResult::{Succeeded, Unchanged};
    let mut script = until_deploy();
    script.extend([
        (8, progress(Deploy, "backend", "waiting until healthy (11 s)")),
        (1, progress(Deploy, "backend", "letting the old container finish")),
        (
            2,
            finished(Deploy, "backend", Succeeded, "replaced without a gap", 14),
        ),
        (0, started(Deploy, "redis", "comparing")),
        (0, finished(Deploy, "redis", Unchanged, "", 0)),
        (
            0,
            step_finished(Deploy, Succeeded, "1 service replaced, 1 unchanged", 14),
        ),
        (0, step_started(Health)),
        (1, step_finished(Health, Succeeded, "200 in 80 ms", 1)),
        (
            0,
            Event::Finished {
                outcome: Outcome::Succeeded,
                exit_code: ExitCode::Done,
                release: Some("v42".into()),
                duration: seconds(35),
                steps: vec![
                    summary(Check, Succeeded, 12),
                    summary(Backup, Succeeded, 4),
                    summary(Build, Succeeded, 4),
                    summary(Deploy, Succeeded, 14),
                    summary(Health, Succeeded, 1),
                ],
                error: None,
            },
        ),
    ]);
    script
}

pub(super) fn boot_failure() -> ErrorReport {
    ErrorReport {
        chain: vec![
            "cannot deploy backend".into(),
            "viatique-backend-2 never became healthy".into(),
            "it exited with code 1 after 3 s".into(),
        ],
        hints: vec![
            "correct the cause, then: viatique-deploy run --tag v43".into(),
            "its whole log: docker logs viatique-backend-2".into(),
        ],
        evidence: vec![Evidence {
            title: "last log lines of viatique-backend-2".into(),
            lines: vec![
                "Traceback (most recent call last):".into(),
                "\u{1b}[31mModuleNotFoundError\u{1b}[0m: No module named 'celery'\r".into(),
            ],
        }],
    }
}

/// The new backend does not start; the old one is put back.
pub(super) fn rolled_back() -> Script {
    use StepId::{Backup, Build, Check, Deploy, Health};
    use StepResult::{Failed, NotRun, Succeeded};
    let mut script = until_deploy();
    script.extend([
        (0, output(Deploy, "backend", "Traceback (most recent call last):")),
        (
            0,
            output(
                Deploy,
                "backend",
                "\u{1b}[31mModuleNotFoundError\u{1b}[0m: No module named 'celery'\r\n",
            ),
        ),
        (
            0,
            finished(Deploy, "backend", Failed, "exited with code 1 after 3 s", 3),
        ),
        (
            0,
            step_finished(Deploy, Failed, "backend never became healthy", 3),
        ),
        (
            0,
            Event::UnwindStarted {
                step: Deploy,
                reason: "backend never became healthy".into(),
            },
        ),
        (0, started(Deploy, "backend", "removing viatique-backend-2")),
        (
            1,
            finished(Deploy, "backend", Succeeded, "viatique-backend-1 serves", 1),
        ),
        (
            0,
            Event::UnwindFinished {
                step: Deploy,
                result: UnwindResult::Reverted,
                message: "v41 serves again".into(),
            },
        ),
        (
            0,
            Event::UnwindFinished {
                step: Backup,
                result: UnwindResult::LeftInPlace,
                message: "backup 20260301-030405 is kept".into(),
            },
        ),
        (
            0,
            Event::Finished {
                outcome: Outcome::RolledBack,
                exit_code: ExitCode::RolledBack,
                release: Some("v41".into()),
                duration: seconds(24),
                steps: vec![
                    summary(Check, Succeeded, 12),
                    summary(Backup, Succeeded, 4),
                    summary(Build, Succeeded, 4),
                    summary(Deploy, Failed, 3),
                    summary(Health, NotRun, 0),
                ],
                error: Some(boot_failure()),
            },
        ),
    ]);
    script
}

/// Ctrl-C while a container is awaited.
pub(super) fn interrupted() -> Script {
    use StepId::{Backup, Build, Check, Deploy, Health};
    use StepResult::{Interrupted, NotRun, Succeeded};
    let mut script = until_deploy();
    script.extend([
        (
            0,
            finished(Deploy, "backend", Interrupted, "viatique-backend-2 removed", 3),
        ),
        (0, step_finished(Deploy, Interrupted, "", 3)),
        (
            0,
            Event::Finished {
                outcome: Outcome::Interrupted,
                exit_code: ExitCode::Interrupted,
                release: Some("v41".into()),
                duration: seconds(23),
                steps: vec![
                    summary(Check, Succeeded, 12),
                    summary(Backup, Succeeded, 4),
                    summary(Build, Succeeded, 4),
                    summary(Deploy, Interrupted, 3),
                    summary(Health, NotRun, 0),
                ],
                error: None,
            },
        ),
    ]);
    script
}

fn change(kind: ChangeKind, target: &str, detail: &str) -> Change {
    Change {
        kind,
        target: target.into(),
        detail: detail.into(),
    }
}

/// Two steps at once, with parts of the same name: the images fail, and the dump beside them is stopped.
pub(super) fn side_by_side() -> Script {
    use StepId::{Backup, Build, Check, Deploy};
    use StepResult::{Failed, Interrupted, NotRun, Succeeded};
    vec![
        (0, run_started(&STEPS, false)),
        (0, step_started(Check)),
        (1, step_finished(Check, Succeeded, "6 checks passed", 1)),
        (0, step_started(Backup)),
        (0, step_started(Build)),
        (
            0,
            started(Build, "viatique-backend:v42", "building viatique-backend:v42"),
        ),
        (
            0,
            started(Build, "viatique-frontend:v42", "building viatique-frontend:v42"),
        ),
        (
            0,
            started(Backup, "database", "dumping the database of viatique-db-1"),
        ),
        (
            0,
            progress(
                Build,
                "viatique-backend:v42",
                "[3/9] RUN pip install -r requirements.txt",
            ),
        ),
        (0, amount(Build, "viatique-backend:v42", 2, Some(9), Unit::Steps)),
        (1, amount(Backup, "database", 40_000_000, None, Unit::Bytes)),
        (1, output(Build, "viatique-backend:v42", "Collecting django==5.2")),
        (0, output(Backup, "database", "pg_dump: saving the search path")),
        (0, amount(Backup, "database", 90_000_000, None, Unit::Bytes)),
        (
            1,
            finished(Build, "viatique-backend:v42", Succeeded, "image 709eeaf69682", 3),
        ),
        (
            1,
            finished(Build, "viatique-frontend:v42", Failed, "exit code: 1", 4),
        ),
        (0, finished(Backup, "database", Interrupted, "", 4)),
        (
            0,
            step_finished(Build, Failed, "building viatique-frontend:v42: exit code: 1", 4),
        ),
        (
            0,
            step_finished(Backup, Interrupted, "stopped, because build failed", 4),
        ),
        (
            0,
            Event::UnwindStarted {
                step: Build,
                reason: "building viatique-frontend:v42: exit code: 1".into(),
            },
        ),
        (
            0,
            Event::UnwindFinished {
                step: Build,
                result: UnwindResult::LeftInPlace,
                message: "images serve nobody until they are deployed".into(),
            },
        ),
        (
            0,
            Event::UnwindStarted {
                step: Backup,
                reason: "building viatique-frontend:v42: exit code: 1".into(),
            },
        ),
        (
            0,
            Event::UnwindFinished {
                step: Backup,
                result: UnwindResult::Reverted,
                message: "removed the unfinished backups/20260301-030405".into(),
            },
        ),
        (
            0,
            Event::Finished {
                outcome: Outcome::Failed,
                exit_code: ExitCode::Failed,
                release: Some("v41".into()),
                duration: seconds(6),
                steps: vec![
                    summary(Check, Succeeded, 1),
                    summary(Backup, Interrupted, 4),
                    summary(Build, Failed, 4),
                    summary(Deploy, NotRun, 0),
                ],
                error: None,
            },
        ),
    ]
}

/// Nothing is done.
pub(super) fn dry_run() -> Script {
    use StepId::{Build, Deploy, Health, Migrate};
    use StepResult::Succeeded;
    let steps = [Build, Migrate, Deploy, Health];
    let mut script = vec![(0, run_started(&steps, true))];
    let plans = [
        (
            Build,
            vec![change(
                ChangeKind::Create,
                "image viatique-backend:v42",
                "from ./backend",
            )],
        ),
        (
            Migrate,
            vec![change(ChangeKind::Run, "shop.0007_price", "adds a column")],
        ),
        (
            Deploy,
            vec![
                change(ChangeKind::Create, "media_worker", "new in this release"),
                change(
                    ChangeKind::Replace,
                    "backend",
                    "beside the old one, drained for at most 10 min",
                ),
                change(
                    ChangeKind::ReplaceWithGap,
                    "celery_beat",
                    "the old one is stopped first: two of them would send every task twice",
                ),
                change(ChangeKind::Reload, "nginx", "nginx -s reload"),
                change(ChangeKind::Remove, "flower", "no longer in the Compose files"),
                change(ChangeKind::Write, "release v42", "recorded on the engine"),
                change(ChangeKind::Keep, "redis", "unchanged"),
            ],
        ),
        (Health, vec![]),
    ];
    for (step, changes) in plans {
        script.push((0, step_started(step)));
        script.push((0, Event::Planned { step, changes }));
        script.push((0, step_finished(step, Succeeded, "", 0)));
    }
    script.push((
        1,
        Event::Finished {
            outcome: Outcome::Succeeded,
            exit_code: ExitCode::Done,
            release: Some("v41".into()),
            duration: seconds(1),
            steps: steps.iter().map(|step| summary(*step, Succeeded, 0)).collect(),
            error: None,
        },
    ));
    script
}

/// Who was told of a run, who was not, and who would be.
pub(super) fn notices() -> Script {
    let notified = |what, why_not: Option<&str>| Event::Notified {
        target: "slack".into(),
        place: "https://hooks.slack.com".into(),
        what,
        why_not: why_not.map(Into::into),
        tries: 2,
        duration: seconds(3),
    };
    vec![
        (0, notified(What::Started, None)),
        (
            0,
            notified(What::RolledBack, Some("it answered 404: no_\u{1b}[31mservice")),
        ),
        (
            0,
            Event::NoticePlanned {
                target: "ops".into(),
                place: "ops@example.com via smtp.example.com".into(),
                moments: vec![Moment::Failure, Moment::RolledBack],
            },
        ),
    ]
}

/// Of a release of which not everything is well, or known.
pub(super) fn checklist() -> Script {
    let line = |id: &str, title: &str, seen: &str, answer| ChecklistLine {
        id: id.into(),
        title: title.into(),
        part_of: None,
        step: None,
        seen: seen.into(),
        answer,
    };
    let person = |ok| Answer::Person {
        ok,
        who: "lea@desk".into(),
        at: "2026-03-01T03:04:05Z".into(),
    };
    let part = ChecklistLine {
        part_of: Some("smoke".into()),
        step: Some(StepId::Smoke),
        ..line(
            "smoke: a pupil",
            "a pupil",
            "passed",
            Answer::Evidence { ok: true },
        )
    };
    let checklist = Checklist {
        format: CHECKLIST_FORMAT,
        written_by: "0.1.0".into(),
        project: "viatique".into(),
        sequence: Sequence(7),
        release: Tag::new("v42").unwrap(),
        run: RunId("20260301T030405Z-000001".into()),
        at: "2026-03-01T03:04:05Z".into(),
        lines: vec![
            line(
                "smoke",
                "what users do works",
                "1 scenario passed",
                Answer::Evidence { ok: true },
            ),
            part,
            line("logs", "no errors", "3 errors\u{1b}[31m", person(false)),
            line("backup", "backups are made", "none | here", Answer::Nobody),
            line("sheets", "the sheets look right", "", person(true)),
        ],
    };
    vec![(0, Event::Checklist { checklist })]
}

pub(super) fn problem(key: &str, place: Option<&str>, message: &str, hint: &str) -> CheckedProblem {
    CheckedProblem {
        key: key.into(),
        blocks: true,
        unverified: false,
        place: place.map(Into::into),
        message: message.into(),
        hints: vec![hint.into()],
        waived: None,
        evidence: None,
    }
}

fn outcome(check: &str, verdict: CheckVerdict, line: &str, problems: Vec<CheckedProblem>) -> CheckOutcome {
    CheckOutcome {
        check: check.into(),
        title: format!("what {check} protects from does not happen"),
        verdict,
        blocks: problems.iter().any(|problem| problem.blocks),
        line: line.into(),
        problems,
        seconds: 1.5,
    }
}

/// One of every kind.
pub(super) fn outcomes() -> Vec<CheckOutcome> {
    use CheckVerdict::{Failed, NotVerified, Passed, Skipped, Waived};
    let stands = |problem: CheckedProblem| CheckedProblem {
        blocks: false,
        ..problem
    };
    vec![
        outcome("host-ports", Passed, "3 ports are free", vec![]),
        outcome(
            "debug-mode",
            Failed,
            "config/settings.py:12: DEBUG is on",
            vec![problem(
                "",
                Some("config/settings.py:12"),
                "DEBUG is on: every error page shows settings and source code to whoever asks",
                "write DEBUG=False into .env",
            )],
        ),
        outcome(
            "scanner-bandit",
            Failed,
            "2 problems",
            vec![
                problem(
                    "B105:shop/pay.py",
                    Some("shop/pay.py:7"),
                    "a password in the code, 100% <sure> & \u{1b}[31mred\u{1b}[0m",
                    "read it from the environment",
                ),
                stands(problem(
                    "B311:shop/cart.py",
                    Some("shop/cart.py:40"),
                    "random numbers that can be guessed",
                    "use the module secrets",
                )),
            ],
        ),
        outcome(
            "backup-age",
            NotVerified,
            "not verified: the folder cannot be read",
            vec![CheckedProblem {
                unverified: true,
                ..problem("", None, "the folder cannot be read", "chmod u+rx backups")
            }],
        ),
        outcome(
            "tls-certificate",
            NotVerified,
            "nothing found; not verified: the address shop.example has no answer for whoever asks from here",
            vec![stands(CheckedProblem {
                unverified: true,
                ..problem(
                    "",
                    Some("https://shop.example:443/"),
                    "no answer",
                    "ask from elsewhere",
                )
            })],
        ),
        outcome(
            "hsts",
            Waived,
            "waived by anna until 2026-06-30: the old shop has no TLS",
            vec![stands(CheckedProblem {
                waived: Some(WaivedBy {
                    owner: "anna".into(),
                    reason: "the old shop has no TLS".into(),
                    until: "2026-06-30".into(),
                }),
                ..problem("", None, "HSTS is off", "SECURE_HSTS_SECONDS")
            })],
        ),
        outcome(
            "django-deploy",
            NotVerified,
            "not verified: the image is not built yet",
            vec![],
        ),
        outcome("tests", Skipped, "skipped: somebody said so", vec![]),
    ]
}

fn result_of(outcome: &CheckOutcome) -> StepResult {
    match outcome.verdict {
        CheckVerdict::Passed => StepResult::Succeeded,
        CheckVerdict::Failed if outcome.blocks => StepResult::Failed,
        CheckVerdict::Failed | CheckVerdict::Waived => StepResult::Warned,
        CheckVerdict::NotVerified => StepResult::NotVerified,
        CheckVerdict::Skipped => StepResult::NotRun,
    }
}

fn begin_checks(command: &str, outcomes: &[CheckOutcome]) -> Script {
    use StepId::Check;
    let mut script = vec![
        (
            0,
            Event::RunStarted {
                run: "20260301-030405-k7".into(),
                command: command.into(),
                project: "viatique".into(),
                release: Some("v42".into()),
                steps: vec![Check],
                dry_run: false,
            },
        ),
        (0, step_started(Check)),
    ];
    let made = || outcomes.iter().filter(|one| one.verdict != CheckVerdict::Skipped);
    for one in made() {
        script.push((0, started(Check, &one.check, &one.title)));
    }
    script
}

/// All begin at once; this many are over.
pub(super) fn checks_under_way(over: usize) -> Script {
    use StepId::Check;
    let outcomes = outcomes();
    let mut script = begin_checks("check", &outcomes);
    for one in outcomes.iter().take(over) {
        script.push((0, finished(Check, &one.check, result_of(one), &one.line, 1)));
        script.push((
            0,
            Event::Checked {
                step: Check,
                outcome: one.clone(),
            },
        ));
    }
    script
}

/// `check`, or the first step of another command: three problems stand in the way.
pub(super) fn failing_checks(command: &str) -> Script {
    use StepId::Check;
    let outcomes = outcomes();
    let mut script = begin_checks(command, &outcomes);
    for one in &outcomes {
        if one.verdict != CheckVerdict::Skipped {
            script.push((0, finished(Check, &one.check, result_of(one), &one.line, 1)));
        }
        script.push((
            0,
            Event::Checked {
                step: Check,
                outcome: one.clone(),
            },
        ));
        for problem in &one.problems {
            if !problem.blocks && !problem.unverified && problem.waived.is_none() {
                script.push((
                    0,
                    Event::Warning {
                        message: format!("{} [{}: {}]", problem.in_words(), one.check, problem.key),
                        hint: Some(problem.hints.join("; ")),
                    },
                ));
            }
        }
    }
    let message = "3 problems stand in the way of a deploy";
    script.push((2, step_finished(Check, StepResult::Failed, message, 2)));
    script.push((
        0,
        Event::Finished {
            outcome: Outcome::Failed,
            exit_code: ExitCode::Gate,
            release: None,
            duration: seconds(2),
            steps: vec![summary(Check, StepResult::Failed, 2)],
            error: Some(ErrorReport {
                chain: vec![message.into()],
                hints: vec![
                    "write DEBUG=False into .env".into(),
                    "read it from the environment".into(),
                    "chmod u+rx backups".into(),
                ],
                evidence: vec![Evidence {
                    title: "what stands in the way".into(),
                    lines: vec![
                        "config/settings.py:12: DEBUG is on: every error page shows settings and source code to \
                         whoever asks [debug-mode]"
                            .into(),
                        "shop/pay.py:7: a password in the code [scanner-bandit: B105:shop/pay.py]".into(),
                        "not verified: the folder cannot be read [backup-age]".into(),
                    ],
                }],
            }),
        },
    ));
    script
}

/// One check, and it passed.
pub(super) fn passing_check() -> Script {
    use StepId::Check;
    let all = outcomes();
    let one = &all[..1];
    let mut script = begin_checks("check", one);
    for one in one {
        script.push((0, finished(Check, &one.check, result_of(one), &one.line, 1)));
        script.push((
            0,
            Event::Checked {
                step: Check,
                outcome: one.clone(),
            },
        ));
    }
    script.push((1, step_finished(Check, StepResult::Unchanged, "1 passed", 1)));
    script.push((
        0,
        Event::Finished {
            outcome: Outcome::Succeeded,
            exit_code: ExitCode::Done,
            release: None,
            duration: seconds(1),
            steps: vec![summary(Check, StepResult::Unchanged, 1)],
            error: None,
        },
    ));
    script
}

/// What `gate` asks, with this many checks that did not pass.
pub(super) fn question(checks: usize) -> Question {
    let line = |heading: &str, text: &str| (heading.to_owned(), text.to_owned());
    let mut lines = vec![
        line("project", "viatique"),
        line("release", "v42"),
        line(
            "serves now",
            "v41, deployed 2026-02-20T10:00:00Z by anna@laptop, from a checkout that was clean",
        ),
        line("backup", "20260301T030405Z"),
        line("checks", "38 passed, 2 waived (hsts, email)"),
    ];
    for number in 1..=checks {
        lines.push((
            format!("  waived-{number}"),
            "waived by anna until 2026-06-30".to_owned(),
        ));
    }
    Question {
        lines,
        question: "Deploy v42?".into(),
    }
}
