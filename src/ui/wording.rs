//! The words and signs that terminal and plain output share, so that both say the same. No layout.

use std::time::Duration;

use crate::exit_code::ExitCode;
use crate::pipeline::{Outcome, StepId, StepResult, StepSummary, UnwindResult};

use super::line::{Line, Role};
use super::quantity;

/// Returns the sign of a result and its colour.
pub(super) const fn result_sign(result: StepResult) -> (Role, &'static str) {
    match result {
        StepResult::Succeeded => (Role::Good, "✔"),
        StepResult::Failed => (Role::Bad, "✘"),
        StepResult::Unchanged => (Role::Faint, "✔"),
        StepResult::NotRun => (Role::Faint, "–"),
        StepResult::Interrupted => (Role::Warning, "–"),
    }
}

pub(super) const fn result_word(result: StepResult) -> &'static str {
    match result {
        StepResult::Succeeded => "done",
        StepResult::Failed => "failed",
        StepResult::Unchanged => "nothing to do",
        StepResult::NotRun => "not run",
        StepResult::Interrupted => "interrupted",
    }
}

pub(super) const fn unwind_sign(result: UnwindResult) -> (Role, &'static str) {
    match result {
        UnwindResult::Reverted => (Role::Good, "✔"),
        UnwindResult::NothingToDo => (Role::Faint, "✔"),
        UnwindResult::LeftInPlace => (Role::Warning, "–"),
        UnwindResult::Failed => (Role::Bad, "✘"),
    }
}

pub(super) const fn unwind_word(result: UnwindResult) -> &'static str {
    match result {
        UnwindResult::Reverted => "reverted",
        UnwindResult::NothingToDo => "nothing to revert",
        UnwindResult::LeftInPlace => "left in place",
        UnwindResult::Failed => "could not be reverted",
    }
}

/// What a closing line needs to know.
pub(super) struct Ending<'a> {
    pub(super) command: &'a str,
    pub(super) dry_run: bool,
    pub(super) outcome: Outcome,
    pub(super) exit_code: ExitCode,
    pub(super) release: Option<&'a str>,
    pub(super) duration: Duration,
    pub(super) steps: &'a [StepSummary],
}

/// Returns the closing line: how it ended, where, what serves now, and the exit code.
pub(super) fn closing_line(ending: &Ending<'_>) -> Line {
    let took = quantity::duration(ending.duration);
    let at =
        step_that(ending.steps, StepResult::Failed).map_or_else(String::new, |step| format!(" at {step}"));
    let command = ending.command;
    if ending.dry_run && ending.outcome == Outcome::Succeeded {
        return Line::of(Role::Good, "✔").and(Role::Strong, " nothing was changed (dry run)");
    }
    let (role, sign, said) = match ending.outcome {
        Outcome::Succeeded => (Role::Good, "✔", format!("{command} succeeded in {took}")),
        Outcome::Failed => (Role::Bad, "✘", format!("{command} failed{at} after {took}")),
        Outcome::RolledBack => (
            Role::Bad,
            "✘",
            format!("{command} failed{at} and was rolled back, in {took}"),
        ),
        Outcome::Stuck => (
            Role::Bad,
            "✘",
            format!("{command} is stuck{at} after {took}: a person is needed"),
        ),
        Outcome::Interrupted => {
            let at = step_that(ending.steps, StepResult::Interrupted)
                .map_or_else(String::new, |step| format!(" at {step}"));
            (
                Role::Warning,
                "–",
                format!("{command} was interrupted{at} after {took}"),
            )
        }
    };
    let standing = match (ending.outcome, ending.release) {
        (Outcome::Succeeded, Some(release)) => format!("; {release} serves"),
        (Outcome::Failed | Outcome::Interrupted, _) if ending.dry_run => {
            "; nothing was changed (dry run)".to_owned()
        }
        (Outcome::Failed | Outcome::Interrupted, Some(release)) => {
            format!("; production is as it was, {release} serves")
        }
        (Outcome::Failed | Outcome::Interrupted, None) => "; production is as it was".to_owned(),
        (Outcome::RolledBack, Some(release)) => format!("; {release} serves again"),
        (Outcome::Stuck, Some(release)) => format!("; {release} was serving last"),
        (Outcome::Succeeded | Outcome::RolledBack | Outcome::Stuck, None) => String::new(),
    };
    let code = u8::from(ending.exit_code);
    let line = Line::of(role, sign)
        .and(Role::Strong, " ")
        .and(Role::Strong, &said)
        .and(Role::Plain, &standing);
    if code == 0 {
        line
    } else {
        line.and(Role::Faint, &format!(" (exit code {code})"))
    }
}

fn step_that(steps: &[StepSummary], result: StepResult) -> Option<&'static str> {
    steps
        .iter()
        .find(|summary| summary.result == result)
        .map(|summary| summary.step.as_str())
}

/// Returns the steps that were not reached, for the end of a run.
pub(super) fn steps_not_run(steps: &[StepSummary]) -> impl Iterator<Item = StepId> + '_ {
    steps
        .iter()
        .filter(|summary| summary.result == StepResult::NotRun)
        .map(|summary| summary.step)
}

/// Returns the lines of a warning.
pub(super) fn warning_lines(message: &str, hint: Option<&str>) -> Vec<Line> {
    let mut lines = vec![
        Line::of(Role::Warning, "warning:")
            .and(Role::Plain, " ")
            .and(Role::Plain, message),
    ];
    if let Some(hint) = hint {
        lines.push(
            Line::of(Role::Accent, "hint:")
                .and(Role::Plain, " ")
                .and(Role::Plain, hint),
        );
    }
    lines
}

/// Returns what a run sets out to do: `run: viatique, v2`.
pub(super) fn opening_line(command: &str, project: &str, release: Option<&str>, dry_run: bool) -> Line {
    let line = Line::of(Role::Strong, command)
        .and(Role::Plain, ": ")
        .and(Role::Plain, project);
    let line = match release {
        Some(release) => line.and(Role::Plain, ", release ").and(Role::Strong, release),
        None => line,
    };
    if dry_run {
        line.and(Role::Warning, " (dry run: nothing will be changed)")
    } else {
        line
    }
}
