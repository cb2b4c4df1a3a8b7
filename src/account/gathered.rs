//! Gathers a run's account from its events. Bounded, whatever a run says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{
    CheckAccount, NoticeAccount, SettledAccount, StepAccount, TaskAccount, UnwindAccount, WarningAccount,
};
use crate::clock::seconds;
use crate::pipeline::{ErrorReport, Event, Evidence, Listener, StepId, StepResult};

/// So many of each kind are kept: the first.
const MOST: usize = 500;
/// So many lines of a block of evidence, the last, and so many characters of each.
const LINES: usize = 60;
const CHARACTERS: usize = 400;

/// The listener.
pub struct Gathered {
    began: Instant,
    seen: Mutex<Seen>,
}

/// What was seen so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    pub steps: Vec<StepAccount>,
    pub unwound: Vec<UnwindAccount>,
    pub checks: Vec<CheckAccount>,
    pub warnings: Vec<WarningAccount>,
    pub settled: Option<SettledAccount>,
    pub notices: Vec<NoticeAccount>,
}

impl Gathered {
    /// The run begins now.
    pub fn from_now() -> Self {
        Self {
            began: Instant::now(),
            seen: Mutex::default(),
        }
    }

    /// What was seen. A step or task that is under way counts as interrupted.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The last step of this name.
    fn step(&mut self, step: StepId) -> Option<&mut StepAccount> {
        self.steps.iter_mut().rev().find(|one| one.step == step)
    }
}

impl Listener for Gathered {
    fn hear(&self, event: &Event) {
        let at = self.began.elapsed();
        let mut seen = self.lock();
        match event {
            Event::StepStarted { step } => seen.steps.push(StepAccount {
                step: *step,
                began: Some(seconds(at)),
                seconds: 0.0,
                result: StepResult::Interrupted,
                message: String::new(),
                tasks: Vec::new(),
            }),
            Event::StepFinished {
                step,
                result,
                message,
                duration,
            } => {
                if let Some(account) = seen.step(*step) {
                    account.seconds = seconds(*duration);
                    account.result = *result;
                    account.message = shortened(message);
                }
            }
            Event::TaskStarted { step, task, title } => {
                let step = seen.step(*step);
                if let Some(account) = step.filter(|account| account.tasks.len() < MOST) {
                    account.tasks.push(TaskAccount {
                        task: task.0.clone(),
                        title: shortened(title),
                        began: seconds(at),
                        seconds: 0.0,
                        result: StepResult::Interrupted,
                        message: String::new(),
                    });
                }
            }
            Event::TaskFinished {
                step,
                task,
                result,
                message,
                duration,
            } => {
                let tasks = seen.step(*step).into_iter().flat_map(|step| step.tasks.iter_mut().rev());
                let mut named = tasks.filter(|one| one.task == task.0);
                if let Some(account) = named.next() {
                    account.seconds = seconds(*duration);
                    account.result = *result;
                    account.message = shortened(message);
                }
            }
            Event::UnwindStarted { step, reason } => push(
                &mut seen.unwound,
                UnwindAccount {
                    step: *step,
                    reason: shortened(reason),
                    began: seconds(at),
                    seconds: 0.0,
                    result: None,
                    message: String::new(),
                },
            ),
            Event::UnwindFinished {
                step,
                result,
                message,
            } => {
                if let Some(account) = seen.unwound.iter_mut().rev().find(|one| one.step == *step) {
                    account.seconds = seconds(at) - account.began;
                    account.result = Some(*result);
                    account.message = shortened(message);
                }
            }
            Event::Checked { step, outcome } => {
                let evidence = outcome.problems.iter().filter_map(|one| one.evidence.as_ref());
                let account = CheckAccount {
                    step: *step,
                    outcome: outcome.clone(),
                    evidence: evidence.map(bounded).collect(),
                };
                // The gate looks again at what goes stale: it counts as it went the last time.
                seen.checks.retain(|one| one.outcome.check != outcome.check);
                push(&mut seen.checks, account);
            }
            Event::Settled {
                verdict,
                findings,
                remarks,
                looked,
                traffic,
                ..
            } => {
                seen.settled = Some(SettledAccount {
                    verdict: *verdict,
                    findings: findings.clone(),
                    remarks: remarks.clone(),
                    looked: looked.clone(),
                    traffic: traffic.as_deref().cloned(),
                });
            }
            Event::Warning { message, hint } => push(
                &mut seen.warnings,
                WarningAccount {
                    at: seconds(at),
                    message: shortened(message),
                    hint: hint.clone(),
                },
            ),
            Event::Notified {
                target,
                place,
                what,
                why_not,
                ..
            } => push(
                &mut seen.notices,
                NoticeAccount {
                    target: target.clone(),
                    place: place.clone(),
                    what: what.as_str().to_owned(),
                    why_not: why_not.clone(),
                },
            ),
            Event::RunStarted { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
            | Event::Measured { .. }
            | Event::Planned { .. }
            | Event::NoticePlanned { .. }
            // It is made of what is gathered here.
            | Event::Checklist { .. }
            | Event::Reported { .. }
            | Event::Finished { .. } => {}
        }
    }
}

/// As much of it as an account keeps.
pub fn kept_of(error: &ErrorReport) -> ErrorReport {
    ErrorReport {
        chain: error.chain.iter().map(|line| shortened(line)).collect(),
        hints: error.hints.clone(),
        evidence: error.evidence.iter().map(bounded).collect(),
    }
}

fn bounded(evidence: &Evidence) -> Evidence {
    let skipped = evidence.lines.len().saturating_sub(LINES);
    Evidence {
        title: evidence.title.clone(),
        lines: evidence
            .lines
            .iter()
            .skip(skipped)
            .map(|line| shortened(line))
            .collect(),
    }
}

fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() < MOST {
        all.push(one);
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
