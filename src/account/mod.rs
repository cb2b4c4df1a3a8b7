//! The account of a run: what it did and found, step by step, with the time of each, for the report and the checklist
//! that are made of it later, on any machine. Values only; [`Gathered`] takes them from a run's events, and where they are
//! kept is the ledger's business. Lines that processes wrote are not in it, beside those that show why something failed.

mod gathered;

use std::collections::BTreeMap;

use crate::compose::ServiceName;
use crate::pipeline::{ErrorReport, Evidence, Looked, Outcome, StepId, StepResult, UnwindResult, Verdict};
use crate::release::changes::Changes;
use crate::release::checks::CheckOutcome;
use crate::release::rehearsal::Rehearsal;
use crate::release::traffic::TrafficSeries;
use crate::release::{MigrationRecord, ReleasedImage, RunId, Tag};

pub use gathered::{Gathered, Seen, kept_of};

/// The format of [`Account`] as it is kept.
pub const ACCOUNT_FORMAT: u32 = 1;

/// One run. Every time in it is in seconds since it began.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// See [`ACCOUNT_FORMAT`].
    pub format: u32,
    /// The tool's version.
    pub written_by: String,
    pub project: String,
    pub run: RunId,
    /// The subcommand.
    pub command: String,
    /// What it was to deploy.
    pub release: Tag,
    /// What served before it.
    pub before: Option<Tag>,
    /// The commit that was checked out, where it is of one.
    #[serde(default)]
    pub commit: Option<String>,
    /// Against what served before it; `None` where nothing did, or the run was over before it was found out.
    #[serde(default)]
    pub changes: Option<Changes>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// `user@host`.
    pub started_by: String,
    /// In the order in which they began; those that were not reached are last.
    pub steps: Vec<StepAccount>,
    /// What was put back, in that order.
    pub unwound: Vec<UnwindAccount>,
    pub checks: Vec<CheckAccount>,
    pub warnings: Vec<WarningAccount>,
    /// What watching the release came to, where it was watched.
    pub settled: Option<SettledAccount>,
    pub notices: Vec<NoticeAccount>,
    /// Those that it has built, found or been given.
    #[serde(default)]
    pub images: BTreeMap<ServiceName, ReleasedImage>,
    /// Only what the run has applied, and what it has taken back; `None` where it had no step for that.
    #[serde(default)]
    pub migrations: Option<MigrationRecord>,
    #[serde(default)]
    pub rehearsal: Option<Rehearsal>,
    /// The backup that it has made.
    #[serde(default)]
    pub backup: Option<String>,
    pub outcome: Outcome,
    pub exit_code: u8,
    /// The release that serves now.
    pub serves: Option<String>,
    pub seconds: f64,
    pub error: Option<ErrorReport>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepAccount {
    pub step: StepId,
    /// `None` where it was not reached.
    pub began: Option<f64>,
    pub seconds: f64,
    pub result: StepResult,
    pub message: String,
    pub tasks: Vec<TaskAccount>,
}

/// A part of a step.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TaskAccount {
    pub task: String,
    pub title: String,
    pub began: f64,
    pub seconds: f64,
    pub result: StepResult,
    pub message: String,
}

/// A step that was put back.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UnwindAccount {
    pub step: StepId,
    pub reason: String,
    pub began: f64,
    pub seconds: f64,
    /// `None` where it never came to an end.
    pub result: Option<UnwindResult>,
    pub message: String,
}

/// A check, with the lines that show what it found.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CheckAccount {
    pub step: StepId,
    #[serde(flatten)]
    pub outcome: CheckOutcome,
    pub evidence: Vec<Evidence>,
}

/// Something the operator should know.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WarningAccount {
    pub at: f64,
    pub message: String,
    pub hint: Option<String>,
}

/// What watching a release came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SettledAccount {
    pub verdict: Verdict,
    pub findings: Vec<String>,
    pub remarks: Vec<String>,
    #[serde(default)]
    pub looked: Looked,
    /// The requests around the deploy; `None` where no log of them is known.
    #[serde(default)]
    pub traffic: Option<TrafficSeries>,
}

/// Somebody who has got a notice, or has not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NoticeAccount {
    pub target: String,
    /// Scheme and host.
    pub place: String,
    /// Of what: `started`, `succeeded`.
    pub what: String,
    /// `None` where it was got.
    pub why_not: Option<String>,
}

impl Account {
    /// The step of this name, where the run had it.
    pub fn step(&self, step: StepId) -> Option<&StepAccount> {
        self.steps.iter().find(|one| one.step == step)
    }
}
