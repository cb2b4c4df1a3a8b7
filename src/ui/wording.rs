//! The words and signs that terminal and plain output share, so that both say the same. No layout.

use std::time::Duration;

use crate::config::Moment;
use crate::exit_code::ExitCode;
use crate::notify::What;
use crate::pipeline::{Outcome, StepId, StepResult, StepSummary, UnwindResult};
use crate::release::checklist::{Answer, Checklist, ChecklistLine, LineVerdict};
use crate::release::checks::{CheckOutcome, CheckVerdict};

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
        StepResult::Warned => (Role::Warning, "!"),
        StepResult::NotVerified => (Role::Warning, "?"),
    }
}

/// Returns the sign of a check and its colour. What could not be looked at never gets the sign of what is well.
pub(super) const fn check_sign(outcome: &CheckOutcome) -> (Role, &'static str) {
    match outcome.verdict {
        CheckVerdict::Passed => (Role::Good, "✔"),
        CheckVerdict::Failed if outcome.blocks => (Role::Bad, "✘"),
        CheckVerdict::Failed | CheckVerdict::Waived => (Role::Warning, "!"),
        CheckVerdict::NotVerified if outcome.blocks => (Role::Bad, "?"),
        // There is nothing yet that could be asked.
        CheckVerdict::NotVerified if outcome.problems.is_empty() => (Role::Faint, "–"),
        CheckVerdict::NotVerified => (Role::Warning, "?"),
        CheckVerdict::Skipped => (Role::Faint, "–"),
    }
}

/// Whether a check has a line of its own where this command has ended: `check` shows all of them; elsewhere those that
/// passed are counted in the step's line, and forty of them would push the rest off the screen.
pub(super) fn is_check_told(command: &str, outcome: &CheckOutcome) -> bool {
    command == "check" || outcome.verdict != CheckVerdict::Passed
}

/// How a step ended; where it only looks, that nothing was changed is no news.
pub(super) fn step_word(step: StepId, result: StepResult) -> &'static str {
    if step.only_looks() && result == StepResult::Unchanged {
        result_word(StepResult::Succeeded)
    } else {
        result_word(result)
    }
}

pub(super) const fn result_word(result: StepResult) -> &'static str {
    match result {
        StepResult::Succeeded => "done",
        StepResult::Failed => "failed",
        StepResult::Unchanged => "nothing to do",
        StepResult::NotRun => "not run",
        StepResult::Interrupted => "interrupted",
        StepResult::Warned => "warning",
        StepResult::NotVerified => "not verified",
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

/// Returns how it ended for a log, on one line.
pub(super) fn closing_record(ending: &Ending<'_>) -> Line {
    let line = how_it_ended(ending);
    match what_stands(ending) {
        Some(standing) => line.and(Role::Plain, "; ").and(Role::Plain, &standing),
        None => line,
    }
}

/// Returns how it ended, what stands now, and what to do next, for a terminal.
pub(super) fn closing_lines(ending: &Ending<'_>) -> Vec<Line> {
    let indented = |role, text: &str| Line::of(Role::Plain, "  ").and(role, text);
    let mut lines = vec![how_it_ended(ending)];
    lines.extend(what_stands(ending).map(|standing| indented(Role::Plain, &standing)));
    lines.extend(what_next(ending).map(|next| indented(Role::Faint, next)));
    lines
}

/// Says what ended how and where, and the exit code: all that fits on one line.
fn how_it_ended(ending: &Ending<'_>) -> Line {
    let took = quantity::duration(ending.duration);
    let command = ending.command;
    let at = |result| steps_that(ending.steps, result, command);
    let (role, sign, said) = match ending.outcome {
        Outcome::Succeeded if ending.dry_run => (Role::Good, "✔", "nothing was changed (dry run)".to_owned()),
        Outcome::Succeeded => (Role::Good, "✔", format!("{command} succeeded in {took}")),
        Outcome::Failed => (
            Role::Bad,
            "✘",
            format!("{command} failed{} after {took}", at(StepResult::Failed)),
        ),
        Outcome::RolledBack => (
            Role::Bad,
            "✘",
            format!(
                "{command} failed{} and was rolled back, in {took}",
                at(StepResult::Failed)
            ),
        ),
        Outcome::Stuck => (
            Role::Bad,
            "✘",
            format!(
                "{command} is stuck{} after {took}: a person is needed",
                at(StepResult::Failed)
            ),
        ),
        Outcome::Interrupted => (
            Role::Warning,
            "–",
            format!(
                "{command} was interrupted{} after {took}",
                at(StepResult::Interrupted)
            ),
        ),
    };
    let line = Line::of(role, sign)
        .and(Role::Plain, " ")
        .and(Role::Strong, &said);
    match u8::from(ending.exit_code) {
        0 => line,
        code => line.and(Role::Faint, &format!(" (exit code {code})")),
    }
}

fn what_stands(ending: &Ending<'_>) -> Option<String> {
    let release = ending.release;
    match ending.outcome {
        Outcome::Succeeded if ending.dry_run => None,
        Outcome::Succeeded => release.map(|release| format!("{release} serves")),
        Outcome::Failed | Outcome::Interrupted if ending.dry_run => {
            Some("nothing was changed (dry run)".to_owned())
        }
        // A gate that said no changed nothing, but that production is well would be too much to say.
        Outcome::Failed if ending.exit_code == ExitCode::Gate => Some("nothing was changed".to_owned()),
        Outcome::Failed | Outcome::Interrupted => Some(match release {
            Some(release) => format!("production is as it was: {release} serves"),
            None => "production is as it was".to_owned(),
        }),
        Outcome::RolledBack => release.map(|release| format!("{release} serves again")),
        Outcome::Stuck => release.map(|release| format!("{release} was serving last")),
    }
}

/// What an error's hints do not say already.
fn what_next(ending: &Ending<'_>) -> Option<&'static str> {
    match ending.outcome {
        Outcome::Succeeded if !ending.dry_run && ["run", "deploy"].contains(&ending.command) => {
            Some("to take it back: viatique-deploy rollback")
        }
        Outcome::Stuck => Some("to see what stands where: viatique-deploy status"),
        Outcome::Succeeded | Outcome::Failed | Outcome::RolledBack | Outcome::Interrupted => None,
    }
}

/// Returns ` at deploy`, ` at backup and build`; nothing where the command is that step.
fn steps_that(steps: &[StepSummary], result: StepResult, command: &str) -> String {
    let those = steps.iter().filter(|summary| summary.result == result);
    let names: Vec<&str> = those.map(|summary| summary.step.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] if *one == command => String::new(),
        names => format!(" at {}", names.join(" and ")),
    }
}

/// Returns the steps that were not reached, for the end of a run.
pub(super) fn steps_not_run(steps: &[StepSummary]) -> impl Iterator<Item = StepId> + '_ {
    steps
        .iter()
        .filter(|summary| summary.result == StepResult::NotRun)
        .map(|summary| summary.step)
}

/// Returns the lines of a warning.
pub(super) fn warning_lines(message: &str, hint: Option<&str>) -> (Line, Option<Line>) {
    let warning = Line::of(Role::Warning, "warning:")
        .and(Role::Plain, " ")
        .and(Role::Plain, message);
    (warning, hint.map(hint_line))
}

fn hint_line(hint: &str) -> Line {
    Line::of(Role::Accent, "  hint:")
        .and(Role::Plain, " ")
        .and(Role::Plain, hint)
}

/// Returns a warning for a log, on one line.
pub(super) fn warning_record(message: &str, hint: Option<&str>) -> Line {
    let line = Line::of(Role::Warning, "warning:")
        .and(Role::Plain, " ")
        .and(Role::Plain, message);
    match hint {
        Some(hint) => line
            .and(Role::Plain, "; ")
            .and(Role::Accent, "hint:")
            .and(Role::Plain, " ")
            .and(Role::Plain, hint),
        None => line,
    }
}

/// Returns who has got a notice, of what: `notified slack (https://hooks.slack.com): succeeded`.
pub(super) fn notified(target: &str, place: &str, what: What) -> Line {
    Line::of(Role::Plain, "notified ")
        .and(Role::Strong, target)
        .and(Role::Faint, &format!(" ({place}): {}", what.as_str()))
}

/// Returns where the report of a run stands.
pub(super) fn reported(file: &str) -> Line {
    Line::of(Role::Plain, "report: ").and(Role::Strong, file)
}

/// Returns who has not, why, and what to do.
pub(super) fn not_notified(target: &str, place: &str, what: What, why: &str) -> (String, String) {
    (
        format!(
            "not notified: {target} ({place}), that the run {}: {why}",
            notice_words(what)
        ),
        format!("to try it by hand: viatique-deploy notify --test {target}"),
    )
}

const fn notice_words(what: What) -> &'static str {
    match what {
        What::Started => "has begun",
        What::Succeeded => "succeeded",
        What::Degraded => "succeeded, but not all is well",
        What::Failed => "failed",
        What::Interrupted => "was interrupted",
        What::RolledBack => "was rolled back",
        What::Stuck => "is stuck",
    }
}

/// Returns who would be told, and when.
pub(super) fn notice_planned(target: &str, place: &str, moments: &[Moment]) -> Line {
    let moments: Vec<&str> = moments.iter().map(|moment| moment.as_str()).collect();
    Line::of(Role::Plain, "would notify ")
        .and(Role::Strong, target)
        .and(Role::Faint, &format!(" ({place}) of: {}", moments.join(", ")))
}

/// Returns the sign of a line of a checklist and its colour.
pub(super) const fn line_sign(verdict: LineVerdict) -> (Role, &'static str) {
    match verdict {
        LineVerdict::Ok => (Role::Good, "✔"),
        LineVerdict::NotOk => (Role::Bad, "✘"),
        LineVerdict::NotVerified => (Role::Warning, "?"),
    }
}

/// Returns a line of a checklist with what is known of it, and from whom.
pub(super) fn line_in_words(line: &ChecklistLine) -> String {
    let mut said = line.title.clone();
    if !line.seen.is_empty() {
        said.push_str(&format!(": {}", line.seen));
    }
    match &line.answer {
        Answer::Evidence { .. } | Answer::Nobody => {}
        Answer::Person { .. } | Answer::Assumed { .. } => {
            said.push_str(&format!(" ({})", line.answer.in_words()));
        }
    }
    said
}

/// Returns a line of a checklist as a row of a table: sign, id, verdict, and all that is known.
pub fn checklist_row(line: &ChecklistLine) -> Vec<String> {
    let (_, sign) = line_sign(line.verdict());
    // A part's id begins with that of the whole: its title says the rest.
    let (id, said) = match &line.part_of {
        None => (line.id.clone(), line_in_words(line)),
        Some(_) => (String::new(), line_in_words(line)),
    };
    vec![sign.to_owned(), id, line.verdict().in_words().to_owned(), said]
}

/// Returns how many lines of a checklist are well and those that are not in full; beside them what to do about them.
/// `quiet`: nothing but those that are not.
pub(super) fn checklist_lines(checklist: &Checklist, quiet: bool) -> (Vec<Line>, Option<Line>) {
    let told = |line: &&ChecklistLine| match line.verdict() {
        LineVerdict::Ok => false,
        LineVerdict::NotVerified => !quiet,
        LineVerdict::NotOk => true,
    };
    let told: Vec<&ChecklistLine> = checklist.lines.iter().filter(told).collect();
    let mut lines = Vec::new();
    if !quiet {
        lines.push(
            Line::of(Role::Strong, "checklist")
                .and(Role::Plain, &format!(" of {}: ", checklist.release))
                .and(Role::Plain, &checklist.in_words()),
        );
    }
    lines.extend(told.iter().map(|line| {
        let (role, sign) = line_sign(line.verdict());
        Line::of(Role::Plain, "  ")
            .and(role, sign)
            .and(Role::Plain, " ")
            .and(Role::Strong, &line.id)
            .and(Role::Plain, &format!(", {}: ", line.verdict().in_words()))
            .and(Role::Plain, &line_in_words(line))
    }));
    let hint = checklist_hint(checklist).filter(|_| !told.is_empty());
    (lines, hint.as_deref().map(hint_line))
}

/// What to do about a checklist. The release serves whatever it says: that is for a person to decide.
pub(super) fn checklist_hint(checklist: &Checklist) -> Option<String> {
    let is_refused = |line: &ChecklistLine| matches!(line.answer, Answer::Person { ok: false, .. });
    let is_unasked = |line: &ChecklistLine| matches!(line.answer, Answer::Nobody);
    if checklist.lines.iter().any(is_refused) {
        Some("to take it back: viatique-deploy rollback".to_owned())
    } else if checklist.lines.iter().any(is_unasked) {
        let release = &checklist.release;
        Some(format!(
            "to answer what is open: viatique-deploy checklist {release}"
        ))
    } else if checklist.verdict() == LineVerdict::NotOk {
        Some("to see what stands: viatique-deploy status".to_owned())
    } else {
        None
    }
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
