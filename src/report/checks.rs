//! The checks, those that did not pass first and with what shows it; and the scenarios that were played as users.

use super::markup::Markup;
use super::words::{self, badge, count, took};
use super::{Report, Told, evidence, nothing, unknown};
use crate::pipeline::{Evidence, StepId};
use crate::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem, ChecksRecord};

/// Writes the checks.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    let account = report.account();
    let checks: Vec<(&CheckOutcome, &[Evidence])> = account
        .iter()
        .flat_map(|account| &account.checks)
        .map(|check| (&check.outcome, check.evidence.as_slice()))
        .collect();
    if !checks.is_empty() {
        all(page, checks);
        return;
    }
    match (
        report.release.and_then(|release| release.checks.as_ref()),
        report.told,
    ) {
        (Some(record), _) => recorded(page, record),
        (None, Told::Known(account)) => {
            let text = format!("{} made none: run does, and check.", account.command);
            nothing(page, &text);
        }
        (None, Told::Unknown(why)) => unknown(page, "What the checks came to is not known", why),
    }
}

/// How much it matters, the most first.
const fn rank(outcome: &CheckOutcome) -> u8 {
    match outcome.verdict {
        CheckVerdict::Failed if outcome.blocks => 0,
        CheckVerdict::NotVerified if outcome.blocks => 1,
        CheckVerdict::Failed => 2,
        CheckVerdict::NotVerified => 3,
        CheckVerdict::Waived => 4,
        CheckVerdict::Skipped => 5,
        CheckVerdict::Passed => 6,
    }
}

fn all(page: &mut Markup, mut checks: Vec<(&CheckOutcome, &[Evidence])>) {
    checks.sort_by_key(|(outcome, _)| rank(outcome));
    let outcomes: Vec<CheckOutcome> = checks.iter().map(|(outcome, _)| (*outcome).clone()).collect();
    page.worded("p", &[], &format!("{}.", ChecksRecord::of(&outcomes).in_words()));
    let (passed, others): (Vec<_>, Vec<_>) = checks
        .into_iter()
        .partition(|(outcome, _)| outcome.verdict == CheckVerdict::Passed);
    for (outcome, lines) in others {
        one(page, outcome, lines);
    }
    if passed.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        details.worded(
            "summary",
            &[],
            &format!("{} passed", count(passed.len(), "check", "checks")),
        );
        for (outcome, lines) in passed {
            one(details, outcome, lines);
        }
    });
}

/// Of a release whose run has no account.
fn recorded(page: &mut Markup, record: &ChecksRecord) {
    page.worded("p", &[], &format!("{}.", record.in_words()));
    for outcome in &record.others {
        one(page, outcome, &[]);
    }
    unknown(
        page,
        "Which checks passed, and the lines that show what the others found, are not known",
        "only the release's record is kept",
    );
}

fn one(page: &mut Markup, outcome: &CheckOutcome, shown: &[Evidence]) {
    page.element("article", &[("class", "check")], |article| {
        article.element("p", &[], |line| {
            badge(line, words::check(outcome));
            line.text(" ");
            line.worded("code", &[], &outcome.check);
            line.text(" ");
            line.worded("span", &[("class", "what")], &outcome.title);
            line.worded(
                "span",
                &[("class", "faint")],
                &format!(" {}", took(outcome.seconds)),
            );
        });
        if outcome.problems.is_empty() {
            article.worded("p", &[("class", "said")], &outcome.line);
        }
        for problem in &outcome.problems {
            found(article, problem);
        }
        for lines in shown {
            evidence(article, lines);
        }
    });
}

fn found(article: &mut Markup, problem: &CheckedProblem) {
    article.element("div", &[("class", "problem")], |found| {
        found.worded("p", &[], &problem.in_words());
        if let Some(by) = &problem.waived {
            let until = format!("Waived by {} until {}: {}", by.owner, by.until, by.reason);
            found.worded("p", &[("class", "faint")], &until);
        }
        for hint in &problem.hints {
            found.worded("p", &[("class", "hint")], hint);
        }
    });
}

/// Writes the scenarios.
pub(super) fn scenarios(page: &mut Markup, report: &Report<'_>) {
    let account = match report.told {
        Told::Known(account) => account,
        Told::Unknown(why) => return unknown(page, "Which scenarios were played is not known", why),
    };
    let Some(step) = account.step(StepId::Smoke) else {
        return nothing(
            page,
            "None were played: deploy.yml has no section smoke, the command plays none, or --skip-smoke was given.",
        );
    };
    page.element("p", &[], |line| {
        badge(line, words::step(step.step, step.result));
        if !step.message.is_empty() {
            line.text(": ");
            line.text(&step.message);
        }
    });
    page.element("ul", &[("class", "scenarios")], |list| {
        for task in &step.tasks {
            list.element("li", &[], |item| {
                badge(item, words::step(step.step, task.result));
                item.text(" ");
                item.worded("b", &[], &task.title);
                item.worded("span", &[("class", "faint")], &format!(" {}", took(task.seconds)));
                if !task.message.is_empty() {
                    item.worded("span", &[("class", "said")], &task.message);
                }
            });
        }
    });
}
