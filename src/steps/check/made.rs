//! Makes checks side by side, each within its time, and holds what they say against the waivers. What is done about it
//! is the step's business.

use std::time::Duration;

use futures_util::future::join_all;
use time::Date;
use tokio::time::Instant;

use super::registry::{Asking, At, Check, Look, Moment};
use super::shared::Shared;
use super::verdict::{Level, Problem, Verdict};
use super::waivers::{Waived, waived};
use crate::clock::seconds;
use crate::config::Waiver;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Event, Settings, StepId, StepResult, View};
use crate::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem};

/// Makes all of them, and says how each went.
///
/// # Errors
/// The first that could not be made because the engine failed.
pub(super) async fn make(
    context: Context<'_>,
    step: StepId,
    moment: Moment,
    checks: &[&'static Check],
    shared: &Shared,
) -> Result<Vec<CheckOutcome>, Failure> {
    let made = checks
        .iter()
        .map(|check| one(context, step, moment, check, shared));
    let made = join_all(made).await;
    made.into_iter().collect()
}

async fn one(
    context: Context<'_>,
    step: StepId,
    moment: Moment,
    check: &'static Check,
    shared: &Shared,
) -> Result<CheckOutcome, Failure> {
    let task = context.task(step, check.id, check.title);
    let began = Instant::now();
    let at = At {
        view: context.view(),
        moment,
    };
    let limit = limit(check, context.settings);
    let verdict = match check.look {
        Look::Reads(read) => Ok(read(at)),
        Look::Looks(look) => within(limit, look(at)).await,
        Look::Asks(ask) => {
            let asking = Asking {
                context,
                moment,
                task: &task,
                shared,
            };
            within(limit, ask(asking)).await
        }
    };
    let settings = context.settings;
    let today = context.clock.now().date();
    let outcome = verdict.map(|verdict| {
        judged(
            check,
            verdict,
            &settings.config.checks.waivers,
            today,
            began.elapsed(),
        )
    });
    let outcome = task.conclude(outcome, |outcome| (result(outcome), outcome.line.clone()))?;
    context.events.emit(Event::Checked {
        step,
        outcome: outcome.clone(),
    });
    for problem in &outcome.problems {
        if !problem.blocks && !problem.unverified && problem.waived.is_none() {
            context.warn(told(&outcome, problem), Some(problem.hints.join("; ")));
        }
    }
    Ok(outcome)
}

/// Makes those that only look, for a plan.
///
/// # Errors
/// As [`make`].
pub(super) async fn look(
    view: View<'_>,
    moment: Moment,
    checks: &[&'static Check],
) -> Result<Vec<CheckOutcome>, Failure> {
    let at = At { view, moment };
    let today = view.clock.now().date();
    let waivers = &view.settings.config.checks.waivers;
    let mut outcomes = Vec::new();
    for check in checks {
        let verdict = match check.look {
            Look::Reads(read) => read(at),
            Look::Looks(look) => within(limit(check, view.settings), look(at)).await?,
            Look::Asks(_) => continue,
        };
        outcomes.push(judged(check, verdict, waivers, today, Duration::ZERO));
    }
    Ok(outcomes)
}

fn limit(check: &Check, settings: &Settings) -> Duration {
    check
        .time_limit
        .map_or(settings.config.checks.timeout.0, |limit| limit(settings))
}

async fn within(limit: Duration, look: super::registry::Looking<'_>) -> Result<Verdict, Failure> {
    match tokio::time::timeout(limit, look).await {
        Ok(verdict) => verdict,
        Err(_) => Ok(Verdict::not_verified(format!(
            "it took longer than {} s",
            limit.as_secs()
        ))),
    }
}

/// What was left out because somebody said so.
pub(super) fn skipped(check: &Check) -> CheckOutcome {
    CheckOutcome {
        check: check.id.to_owned(),
        title: check.title.to_owned(),
        verdict: CheckVerdict::Skipped,
        blocks: false,
        line: "skipped: somebody said so".to_owned(),
        problems: Vec::new(),
        seconds: 0.0,
    }
}

/// Holds what a check says against the waivers.
pub(super) fn judged(
    check: &Check,
    verdict: Verdict,
    waivers: &[Waiver],
    today: Date,
    took: Duration,
) -> CheckOutcome {
    let (verdict, line, problems) = match verdict {
        Verdict::Passed(line) => (CheckVerdict::Passed, line, Vec::new()),
        Verdict::NotYet(why) => (
            CheckVerdict::NotVerified,
            format!("not verified: {why}"),
            Vec::new(),
        ),
        Verdict::Found(problems) => {
            let problems: Vec<CheckedProblem> = problems
                .into_iter()
                .map(|problem| held_against(check, problem, waivers, today))
                .collect();
            let verdict = of(&problems);
            (verdict, line(verdict, &problems), problems)
        }
    };
    CheckOutcome {
        check: check.id.to_owned(),
        title: check.title.to_owned(),
        verdict,
        blocks: problems.iter().any(|problem| problem.blocks),
        line,
        problems,
        seconds: seconds(took),
    }
}

fn held_against(check: &Check, problem: Problem, waivers: &[Waiver], today: Date) -> CheckedProblem {
    let level = problem.level.unwrap_or(check.level);
    let (waived, expired) = match waived(check, &problem, waivers, today) {
        Waived::By(by) => (Some(by), None),
        Waived::Expired(by) => (None, Some(by)),
        Waived::Not => (None, None),
    };
    let message = match expired {
        Some(by) => format!(
            "{} (waived by {} until {}, which is over)",
            problem.message, by.owner, by.until
        ),
        None => problem.message,
    };
    CheckedProblem {
        key: problem.key,
        blocks: level == Level::Blocks && waived.is_none(),
        unverified: problem.unverified,
        place: problem.place,
        message,
        hints: if problem.hints.is_empty() {
            vec![check.remedy.to_owned()]
        } else {
            problem.hints
        },
        waived,
        evidence: problem.evidence,
    }
}

fn of(problems: &[CheckedProblem]) -> CheckVerdict {
    let mut standing = problems.iter().filter(|problem| problem.waived.is_none());
    if standing.clone().any(|problem| !problem.unverified) {
        CheckVerdict::Failed
    } else if standing.next().is_some() {
        CheckVerdict::NotVerified
    } else {
        CheckVerdict::Waived
    }
}

/// Not all problems need a word here: each is told where it stops something, or as a warning.
fn line(verdict: CheckVerdict, problems: &[CheckedProblem]) -> String {
    let (waived, standing): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| problem.waived.is_some());
    let (unverified, wrong): (Vec<_>, Vec<_>) = standing.into_iter().partition(|problem| problem.unverified);
    let mut words = Vec::new();
    match wrong.as_slice() {
        [] => {}
        [one] if one.blocks => words.push(one.in_words()),
        wrong if wrong.iter().any(|one| one.blocks) => words.push(format!("{} problems", wrong.len())),
        [_] => words.push("1 warning".to_owned()),
        several => words.push(format!("{} warnings", several.len())),
    }
    if wrong.is_empty() && verdict == CheckVerdict::NotVerified && unverified.iter().all(|one| !one.blocks) {
        words.push("nothing found".to_owned());
    }
    if !unverified.is_empty() {
        let whys: Vec<String> = unverified.iter().map(|one| one.in_words()).collect();
        words.push(format!("not verified: {}", whys.join("; ")));
    }
    if let Some(first) = waived.first() {
        let by = first.waived.as_ref();
        let by = by.map_or_else(String::new, |by| {
            format!(" by {} until {}: {}", by.owner, by.until, by.reason)
        });
        words.push(match waived.len() {
            1 => format!("waived{by}"),
            several => format!("{several} waived, the first{by}"),
        });
    }
    words.join("; ")
}

const fn result(outcome: &CheckOutcome) -> StepResult {
    match outcome.verdict {
        CheckVerdict::Passed => StepResult::Succeeded,
        CheckVerdict::Failed if outcome.blocks => StepResult::Failed,
        CheckVerdict::Failed | CheckVerdict::Waived => StepResult::Warned,
        CheckVerdict::NotVerified if outcome.problems.is_empty() => StepResult::NotRun,
        CheckVerdict::NotVerified => StepResult::NotVerified,
        CheckVerdict::Skipped => StepResult::NotRun,
    }
}

/// A problem as it is told.
fn words(problem: &CheckedProblem) -> String {
    let what = problem.in_words();
    if problem.unverified {
        format!("not verified: {what}")
    } else {
        what
    }
}

/// The name that a waiver gives it.
fn name(outcome: &CheckOutcome, problem: &CheckedProblem) -> String {
    if problem.key.is_empty() {
        outcome.check.clone()
    } else {
        format!("{}: {}", outcome.check, problem.key)
    }
}

/// A problem as it is told, with the name that a waiver gives it.
pub(super) fn told(outcome: &CheckOutcome, problem: &CheckedProblem) -> String {
    format!("{} [{}]", words(problem), name(outcome, problem))
}

/// Each once: what several checks wait for in vain is one problem, with their names.
fn causes(blocking: &[(&CheckOutcome, &CheckedProblem)]) -> Vec<String> {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for (outcome, problem) in blocking {
        let words = words(problem);
        match causes.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(name(outcome, problem)),
            None => causes.push((words, vec![name(outcome, problem)])),
        }
    }
    let told = causes
        .into_iter()
        .map(|(words, names)| format!("{words} [{}]", names.join("], [")));
    told.collect()
}

/// What stops a deploy, together; `None` where nothing does.
pub(super) fn refusal(outcomes: &[CheckOutcome]) -> Option<Failure> {
    let blocking: Vec<(&CheckOutcome, &CheckedProblem)> = outcomes
        .iter()
        .flat_map(|outcome| outcome.problems.iter().map(move |problem| (outcome, problem)))
        .filter(|(_, problem)| problem.blocks)
        .collect();
    let is_gate = blocking.iter().any(|(outcome, _)| {
        super::registry::named(&outcome.check).is_some_and(|check| check.refuses_as == FailureKind::Gate)
    });
    let kind = if is_gate {
        FailureKind::Gate
    } else {
        FailureKind::Configuration
    };
    let mut causes = causes(&blocking);
    let mut failure = if causes.len() > 1 {
        let several = format!("{} problems stand in the way of a deploy", causes.len());
        Failure::message(kind, several).evidence("what stands in the way", causes)
    } else {
        Failure::message(kind, causes.pop()?)
    };
    for (_, problem) in blocking {
        if let Some(evidence) = &problem.evidence
            && !failure.evidence.contains(evidence)
        {
            failure.evidence.push(evidence.clone());
        }
        for hint in &problem.hints {
            if !failure.hints.contains(hint) {
                failure.hints.push(hint.clone());
            }
        }
    }
    Some(failure)
}
