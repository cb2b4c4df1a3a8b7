//! Events as JSON for programs: one object a line on stdout, nothing left out and nothing throttled. These are types
//! of their own, so that a renamed field within the program does not rename one on the wire.
//!
//! Every line has `schema` (1; raised when a field changes its meaning or goes away, not when one is added), `event`
//! and `time` (RFC 3339, UTC). Durations are seconds. A field without a value is `null`. Steps that run side by side
//! (`backup` and `build`, `migrate` and `collectstatic`) have their events between each other's. The events:
//!
//! - `run_started`: `run`, `command`, `project`, `release`, `steps` (names, in order), `dry_run`
//! - `step_started`: `step`
//! - `task_started`: `step`, `task`, `title`
//! - `task_progress`: `step`, `task`, `message`
//! - `task_amount`: `step`, `task`, `done`, `total`, `unit` (`bytes`, `steps`)
//! - `task_output`: `step`, `task`, `line`
//! - `task_finished`: `step`, `task`, `result`, `message`, `seconds`
//! - `step_finished`: `step`, `result`, `message`, `seconds`
//! - `unwind_started`: `step`, `reason`
//! - `unwind_finished`: `step`, `result` (`reverted`, `nothing_to_do`, `left_in_place`, `failed`), `message`
//! - `checked`: `step`, `check` (its id), `title`, `verdict` (`passed`, `failed`, `not_verified`, `waived`, `skipped`),
//!   `blocks`, `line`, `seconds`, `problems` (each `key`, `blocks`, `unverified`, `place`, `message`, `hints`, `waived`:
//!   `owner`, `reason`, `until`)
//! - `measured`: `step`, `release`, `so_far` (`good`, `bad`, `inconclusive`: only `bad` is final
//!   before `settled`), `findings`, `elapsed`, `left`,
//!   `requests` (`source`: `access_log`, `prometheus`; `over`, the seconds that `per_second`, `failed_share` (5xx, 0 to 1),
//!   `p50`, `p95`, `p99` (seconds) and `pages` are of: the worst, each `page`, `requests`, `failed`, `p95`; `total` and
//!   `failed` since the watch began),
//!   `containers` (each `service`, `name`, `new`, `state`, `health` (`starting`, `healthy`, `unhealthy`), `restarts`,
//!   `restarts_since` the watch began, `cores` (1 is one whole core), `memory`, `memory_limit`, bytes, `received` and `sent`,
//!   bytes a second),
//!   `errors` in the logs since the deploy (each `service`, `fingerprint`, `count`, `first`, `last`, `news`: `new`, `known`,
//!   `unclear`), `further_errors` (how many kinds beside them, at least),
//!   `database` (`connections`, `usable`, `activity`: `slow` and `waiting` say how many sessions, `longest` and `waits` which:
//!   each `pid`, `state`, `seconds`, `wait`, `statement` without values; of `waits` each `session` and `blocked_by`),
//!   `redis` (`clients`, `memory`, `memory_limit`), `queues` (each `name`, `waiting`), `disks` (each `what`, `free`, `total`,
//!   bytes), `unseen` (what could not be looked at: a line each). One at every look of a watch
//! - `settled`: `step`, `verdict` (`good`, `bad`, `inconclusive`), `findings`, `remarks`, `looked_at` (each a list of
//!   lines), `new_errors` (in the logs), `other_errors` (of which no log tells whether they are new), `traffic`
//!   (the requests around the deploy, where they are known: `from`, a moment; `every`, the seconds of a bucket;
//!   `deployed`, `watched`, `until`, in seconds since `from`; `buckets`, `before`, `since`: each `requests`, `failed`,
//!   `missing`, and `p50`, `p95`, `p99` in seconds; `pages`: each `page`, `before`, `since`)
//! - `checklist`: `release`, `sequence`, `verdict` (`ok`, `not_ok`, `not_verified`), `lines` (each `id`, `title`, `part_of`,
//!   `step`, `seen`, `verdict`, `by`: `evidence`, `person`, `assumed` or `nobody`, `who`, `at`)
//! - `planned`: `step`, `changes` (each `kind`, `target`, `detail`; `kind` is `create`, `replace`, `replace_with_gap`,
//!   `reload`, `remove`, `run`, `write`, `keep` or `warn`); in a dry run only
//! - `warning`: `message`, `hint`
//! - `notice_planned`: `target`, `place` (scheme and host), `moments` (`start`, `success`, `failure`, `rolled_back`,
//!   `degraded`); in a dry run only
//! - `notified`: `target`, `place`, `notice` (`started`, `succeeded`, `degraded`, `failed`, `interrupted`, `rolled_back`,
//!   `stuck`), `delivered`, `why_not`, `tries`, `seconds`
//! - `reported`: `file`, in which the report of the run stands
//! - `finished`: `outcome` (`succeeded`, `failed`, `rolled_back`, `stuck`, `interrupted`), `exit_code`, `release` (that
//!   serves now), `seconds`, `steps` (each `step`, `result`, `seconds`), `error` (`chain`, `hints`, `evidence`, each of
//!   which has `title` and `lines`). Always the last line, also where a command failed before its first step.
//!
//! `result` is `succeeded`, `failed`, `unchanged`, `not_run` or `interrupted`; of a check also `warned` or
//! `not_verified`.

mod measured;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::clock::seconds;
use crate::exit_code::ExitCode;
use crate::pipeline::{
    Change, ChangeKind, ErrorReport, Event, Outcome, Reporter, StepId, StepResult, StepSummary, Unit,
    UnwindResult,
};

use crate::release::checklist::{Answer, ChecklistLine};
use crate::release::checks::CheckedProblem;
use crate::release::traffic::{PageTraffic, TrafficCounts, TrafficSeries};

use super::clock::Clock;
use super::foreign_text::printable_block;

const SCHEMA: u8 = 1;

/// Writes one JSON object a line.
pub struct JsonReporter {
    clock: Arc<dyn Clock>,
    output: Mutex<Box<dyn Write + Send>>,
}

impl JsonReporter {
    /// Writes to this stream. Write errors are ignored.
    pub fn new(output: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            output: Mutex::new(output),
        }
    }

    /// Writes the only line of a command that failed before it began.
    pub(super) fn failed_before_start(&self, exit_code: ExitCode, report: &ErrorReport) {
        let outcome = match exit_code {
            ExitCode::Interrupted => Outcome::Interrupted,
            ExitCode::Done
            | ExitCode::Failed
            | ExitCode::Usage
            | ExitCode::Configuration
            | ExitCode::Locked
            | ExitCode::Gate
            | ExitCode::RolledBack
            | ExitCode::Stuck
            | ExitCode::Bug => Outcome::Failed,
        };
        self.event(&Event::Finished {
            outcome,
            exit_code,
            release: None,
            duration: self.clock.elapsed(),
            steps: Vec::new(),
            error: Some(report.clone()),
        });
    }
}

impl Reporter for JsonReporter {
    fn event(&self, event: &Event) {
        let body = Body::from(event);
        let line = WireLine {
            schema: SCHEMA,
            event: body.name(),
            time: self.clock.now().format(&Rfc3339).unwrap_or_default(),
            body,
        };
        // Neither a value that JSON cannot hold (there is none) nor a reader that went away may stop a deploy.
        if let Ok(mut line) = serde_json::to_string(&line) {
            line.push('\n');
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        }
    }
}

#[derive(Serialize)]
struct WireLine {
    schema: u8,
    event: &'static str,
    time: String,
    #[serde(flatten)]
    body: Body,
}

/// Text without control characters other than line breaks: `jq -r` prints it as it stands.
#[derive(Serialize)]
#[serde(transparent)]
struct Text(String);

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self(printable_block(text))
    }
}

/// Returns the document with its texts made safe to print. Keys are ours.
pub(super) fn printable_value(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(printable_block(text)),
        Value::Array(values) => Value::Array(values.iter().map(printable_value).collect()),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), printable_value(value)));
            Value::Object(fields.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn texts(texts: &[String]) -> Vec<Text> {
    texts.iter().map(Text::from).collect()
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body {
    RunStarted {
        run: Text,
        command: Text,
        project: Text,
        release: Option<Text>,
        steps: Vec<&'static str>,
        dry_run: bool,
    },
    StepStarted {
        step: &'static str,
    },
    TaskStarted {
        step: &'static str,
        task: Text,
        title: Text,
    },
    TaskProgress {
        step: &'static str,
        task: Text,
        message: Text,
    },
    TaskAmount {
        step: &'static str,
        task: Text,
        done: u64,
        total: Option<u64>,
        unit: &'static str,
    },
    TaskOutput {
        step: &'static str,
        task: Text,
        line: Text,
    },
    TaskFinished {
        step: &'static str,
        task: Text,
        result: &'static str,
        message: Text,
        seconds: f64,
    },
    StepFinished {
        step: &'static str,
        result: &'static str,
        message: Text,
        seconds: f64,
    },
    UnwindStarted {
        step: &'static str,
        reason: Text,
    },
    UnwindFinished {
        step: &'static str,
        result: &'static str,
        message: Text,
    },
    Checked {
        step: &'static str,
        check: Text,
        title: Text,
        verdict: &'static str,
        blocks: bool,
        line: Text,
        seconds: f64,
        problems: Vec<WireProblem>,
    },
    Measured {
        step: &'static str,
        #[serde(flatten)]
        measured: Box<measured::WireMeasured>,
    },
    Settled {
        step: &'static str,
        verdict: &'static str,
        findings: Vec<Text>,
        remarks: Vec<Text>,
        looked_at: Vec<Text>,
        new_errors: u64,
        other_errors: u64,
        traffic: Option<Box<WireTraffic>>,
    },
    Checklist {
        release: Text,
        sequence: u64,
        verdict: &'static str,
        lines: Vec<WireChecklistLine>,
    },
    Planned {
        step: &'static str,
        changes: Vec<WireChange>,
    },
    Warning {
        message: Text,
        hint: Option<Text>,
    },
    NoticePlanned {
        target: Text,
        place: Text,
        moments: Vec<&'static str>,
    },
    Notified {
        target: Text,
        place: Text,
        notice: &'static str,
        delivered: bool,
        why_not: Option<Text>,
        tries: u32,
        seconds: f64,
    },
    Reported {
        file: Text,
    },
    Finished {
        outcome: &'static str,
        exit_code: u8,
        release: Option<Text>,
        seconds: f64,
        steps: Vec<WireStep>,
        error: Option<WireError>,
    },
}

#[derive(Serialize)]
struct WireTraffic {
    from: Text,
    every: u32,
    deployed: f64,
    watched: f64,
    until: f64,
    buckets: Vec<WireCounts>,
    before: WireCounts,
    since: WireCounts,
    pages: Vec<WirePage>,
}

#[derive(Serialize)]
struct WireCounts {
    requests: u64,
    failed: u64,
    missing: u64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize)]
struct WirePage {
    page: Text,
    before: WireCounts,
    since: WireCounts,
}

#[derive(Serialize)]
struct WireChange {
    kind: &'static str,
    target: Text,
    detail: Text,
}

#[derive(Serialize)]
struct WireProblem {
    key: Text,
    blocks: bool,
    unverified: bool,
    place: Option<Text>,
    message: Text,
    hints: Vec<Text>,
    waived: Option<WireWaiver>,
}

#[derive(Serialize)]
struct WireChecklistLine {
    id: Text,
    title: Text,
    part_of: Option<Text>,
    step: Option<&'static str>,
    seen: Text,
    verdict: &'static str,
    by: &'static str,
    who: Option<Text>,
    at: Option<Text>,
}

#[derive(Serialize)]
struct WireWaiver {
    owner: Text,
    reason: Text,
    until: Text,
}

#[derive(Serialize)]
struct WireStep {
    step: &'static str,
    result: &'static str,
    seconds: f64,
}

#[derive(Serialize)]
struct WireError {
    chain: Vec<Text>,
    hints: Vec<Text>,
    evidence: Vec<WireEvidence>,
}

#[derive(Serialize)]
struct WireEvidence {
    title: Text,
    lines: Vec<Text>,
}

impl Body {
    const fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::StepStarted { .. } => "step_started",
            Self::TaskStarted { .. } => "task_started",
            Self::TaskProgress { .. } => "task_progress",
            Self::TaskAmount { .. } => "task_amount",
            Self::TaskOutput { .. } => "task_output",
            Self::TaskFinished { .. } => "task_finished",
            Self::StepFinished { .. } => "step_finished",
            Self::UnwindStarted { .. } => "unwind_started",
            Self::UnwindFinished { .. } => "unwind_finished",
            Self::Checked { .. } => "checked",
            Self::Measured { .. } => "measured",
            Self::Settled { .. } => "settled",
            Self::Checklist { .. } => "checklist",
            Self::Planned { .. } => "planned",
            Self::Warning { .. } => "warning",
            Self::NoticePlanned { .. } => "notice_planned",
            Self::Notified { .. } => "notified",
            Self::Reported { .. } => "reported",
            Self::Finished { .. } => "finished",
        }
    }
}

impl From<&Event> for Body {
    fn from(event: &Event) -> Self {
        match event {
            Event::RunStarted {
                run,
                command,
                project,
                release,
                steps,
                dry_run,
            } => Self::RunStarted {
                run: run.into(),
                command: command.into(),
                project: project.into(),
                release: release.as_ref().map(Text::from),
                steps: steps.iter().map(|step| step.as_str()).collect(),
                dry_run: *dry_run,
            },
            Event::StepStarted { step } => Self::StepStarted { step: step.as_str() },
            Event::TaskStarted { step, task, title } => Self::TaskStarted {
                step: step.as_str(),
                task: (&task.0).into(),
                title: title.into(),
            },
            Event::TaskProgress { step, task, message } => Self::TaskProgress {
                step: step.as_str(),
                task: (&task.0).into(),
                message: message.into(),
            },
            Event::TaskAmount {
                step,
                task,
                done,
                total,
                unit,
            } => Self::TaskAmount {
                step: step.as_str(),
                task: (&task.0).into(),
                done: *done,
                total: *total,
                unit: unit_name(*unit),
            },
            Event::TaskOutput { step, task, line } => Self::TaskOutput {
                step: step.as_str(),
                task: (&task.0).into(),
                line: line.into(),
            },
            Event::TaskFinished {
                step,
                task,
                result,
                message,
                duration,
            } => Self::TaskFinished {
                step: step.as_str(),
                task: (&task.0).into(),
                result: result_name(*result),
                message: message.into(),
                seconds: seconds(*duration),
            },
            Event::StepFinished {
                step,
                result,
                message,
                duration,
            } => Self::StepFinished {
                step: step.as_str(),
                result: result_name(*result),
                message: message.into(),
                seconds: seconds(*duration),
            },
            Event::UnwindStarted { step, reason } => Self::UnwindStarted {
                step: step.as_str(),
                reason: reason.into(),
            },
            Event::UnwindFinished {
                step,
                result,
                message,
            } => Self::UnwindFinished {
                step: step.as_str(),
                result: unwind_result_name(*result),
                message: message.into(),
            },
            Event::Checked { step, outcome } => Self::Checked {
                step: step.as_str(),
                check: (&outcome.check).into(),
                title: (&outcome.title).into(),
                verdict: outcome.verdict.as_str(),
                blocks: outcome.blocks,
                line: (&outcome.line).into(),
                seconds: outcome.seconds,
                problems: outcome.problems.iter().map(WireProblem::from).collect(),
            },
            Event::Measured { step, measured } => Self::Measured {
                step: step.as_str(),
                measured: Box::new(measured::WireMeasured::from(&**measured)),
            },
            Event::Settled {
                step,
                verdict,
                findings,
                remarks,
                looked,
                traffic,
            } => Self::Settled {
                step: step.as_str(),
                verdict: verdict.as_str(),
                findings: texts(findings),
                remarks: texts(remarks),
                looked_at: texts(&looked.at),
                new_errors: looked.new_errors,
                other_errors: looked.other_errors,
                traffic: traffic
                    .as_ref()
                    .map(|series| Box::new(WireTraffic::from(&**series))),
            },
            Event::Checklist { checklist } => Self::Checklist {
                release: Text(checklist.release.to_string()),
                sequence: checklist.sequence.0,
                verdict: checklist.verdict().as_str(),
                lines: checklist.lines.iter().map(WireChecklistLine::from).collect(),
            },
            Event::Planned { step, changes } => Self::Planned {
                step: step.as_str(),
                changes: changes.iter().map(WireChange::from).collect(),
            },
            Event::Warning { message, hint } => Self::Warning {
                message: message.into(),
                hint: hint.as_ref().map(Text::from),
            },
            Event::NoticePlanned {
                target,
                place,
                moments,
            } => Self::NoticePlanned {
                target: target.into(),
                place: place.into(),
                moments: moments.iter().map(|moment| moment.as_str()).collect(),
            },
            Event::Notified {
                target,
                place,
                what,
                why_not,
                tries,
                duration,
            } => Self::Notified {
                target: target.into(),
                place: place.into(),
                notice: what.as_str(),
                delivered: why_not.is_none(),
                why_not: why_not.as_ref().map(Text::from),
                tries: *tries,
                seconds: seconds(*duration),
            },
            Event::Reported { file } => Self::Reported { file: file.into() },
            Event::Finished {
                outcome,
                exit_code,
                release,
                duration,
                steps,
                error,
            } => Self::Finished {
                outcome: outcome_name(*outcome),
                exit_code: (*exit_code).into(),
                release: release.as_ref().map(Text::from),
                seconds: seconds(*duration),
                steps: steps.iter().map(WireStep::from).collect(),
                error: error.as_ref().map(WireError::from),
            },
        }
    }
}

impl From<&Change> for WireChange {
    fn from(change: &Change) -> Self {
        Self {
            kind: change_name(change.kind),
            target: (&change.target).into(),
            detail: (&change.detail).into(),
        }
    }
}

impl From<&ChecklistLine> for WireChecklistLine {
    fn from(line: &ChecklistLine) -> Self {
        let (by, who, at) = match &line.answer {
            Answer::Evidence { .. } => ("evidence", None, None),
            Answer::Person { who, at, .. } => ("person", Some(who), Some(at)),
            Answer::Assumed { who, at } => ("assumed", Some(who), Some(at)),
            Answer::Nobody => ("nobody", None, None),
        };
        Self {
            id: (&line.id).into(),
            title: (&line.title).into(),
            part_of: line.part_of.as_ref().map(Text::from),
            step: line.step.map(StepId::as_str),
            seen: (&line.seen).into(),
            verdict: line.verdict().as_str(),
            by,
            who: who.map(Text::from),
            at: at.map(Text::from),
        }
    }
}

impl From<&TrafficSeries> for WireTraffic {
    fn from(series: &TrafficSeries) -> Self {
        Self {
            from: (&series.from).into(),
            every: series.every,
            deployed: series.deployed,
            watched: series.watched,
            until: series.until,
            buckets: series.buckets.iter().map(WireCounts::from).collect(),
            before: (&series.before).into(),
            since: (&series.since).into(),
            pages: series.pages.iter().map(WirePage::from).collect(),
        }
    }
}

impl From<&TrafficCounts> for WireCounts {
    fn from(counts: &TrafficCounts) -> Self {
        Self {
            requests: counts.requests,
            failed: counts.failed,
            missing: counts.missing,
            p50: counts.p50.map(rounded),
            p95: counts.p95.map(rounded),
            p99: counts.p99.map(rounded),
        }
    }
}

/// To a tenth of a millisecond.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10_000.0).round() / 10_000.0
}

impl From<&PageTraffic> for WirePage {
    fn from(page: &PageTraffic) -> Self {
        Self {
            page: (&page.page).into(),
            before: (&page.before).into(),
            since: (&page.since).into(),
        }
    }
}

impl From<&CheckedProblem> for WireProblem {
    fn from(problem: &CheckedProblem) -> Self {
        Self {
            key: (&problem.key).into(),
            blocks: problem.blocks,
            unverified: problem.unverified,
            place: problem.place.as_ref().map(Text::from),
            message: (&problem.message).into(),
            hints: texts(&problem.hints),
            waived: problem.waived.as_ref().map(|waived| WireWaiver {
                owner: (&waived.owner).into(),
                reason: (&waived.reason).into(),
                until: (&waived.until).into(),
            }),
        }
    }
}

impl From<&StepSummary> for WireStep {
    fn from(summary: &StepSummary) -> Self {
        Self {
            step: summary.step.as_str(),
            result: result_name(summary.result),
            seconds: seconds(summary.duration),
        }
    }
}

impl From<&ErrorReport> for WireError {
    fn from(report: &ErrorReport) -> Self {
        let evidence = report.evidence.iter();
        Self {
            chain: texts(&report.chain),
            hints: texts(&report.hints),
            evidence: evidence
                .map(|block| WireEvidence {
                    title: (&block.title).into(),
                    lines: texts(&block.lines),
                })
                .collect(),
        }
    }
}

const fn result_name(result: StepResult) -> &'static str {
    match result {
        StepResult::Succeeded => "succeeded",
        StepResult::Failed => "failed",
        StepResult::Unchanged => "unchanged",
        StepResult::NotRun => "not_run",
        StepResult::Interrupted => "interrupted",
        StepResult::Warned => "warned",
        StepResult::NotVerified => "not_verified",
    }
}

const fn unwind_result_name(result: UnwindResult) -> &'static str {
    match result {
        UnwindResult::Reverted => "reverted",
        UnwindResult::NothingToDo => "nothing_to_do",
        UnwindResult::LeftInPlace => "left_in_place",
        UnwindResult::Failed => "failed",
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::RolledBack => "rolled_back",
        Outcome::Stuck => "stuck",
        Outcome::Interrupted => "interrupted",
    }
}

const fn change_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Create => "create",
        ChangeKind::Replace => "replace",
        ChangeKind::ReplaceWithGap => "replace_with_gap",
        ChangeKind::Reload => "reload",
        ChangeKind::Remove => "remove",
        ChangeKind::Run => "run",
        ChangeKind::Write => "write",
        ChangeKind::Keep => "keep",
        ChangeKind::Warn => "warn",
    }
}

const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "bytes",
        Unit::Steps => "steps",
    }
}
