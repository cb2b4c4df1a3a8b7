//! The top of the page: how it ended, in words that are understood at 3 am, the few facts that everybody asks for, and what
//! to do next. Then what went wrong, and what was warned of.

use super::markup::Markup;
use super::words::{self, Tone, moment, took};
use super::{Report, Told, evidence, lines};
use crate::account::Account;
use crate::pipeline::Outcome;
use crate::release::Release;

/// Writes the heading and the facts.
pub(super) fn header(page: &mut Markup, report: &Report<'_>) {
    let (tone, sign, sentence) = ending(report);
    page.element("header", &[("class", tone.class())], |header| {
        header.element("p", &[("class", "kicker")], |line| {
            line.text("Deploy report · ");
            line.text(report.project);
        });
        header.element("h1", &[], |title| {
            title.worded("span", &[("class", "sign"), ("aria-hidden", "true")], sign);
            title.text(" ");
            title.text(&sentence);
        });
        if let Some(line) = what_serves(report) {
            header.worded("p", &[("class", "standing")], &line);
        }
        header.element("dl", &[("class", "facts")], |facts| {
            for (name, value) in facts_of(report) {
                facts.element("div", &[], |fact| {
                    fact.worded("dt", &[], name);
                    fact.worded("dd", &[], &value);
                });
            }
        });
        next(header, report);
    });
}

/// How it ended, in a sentence.
fn ending(report: &Report<'_>) -> (Tone, &'static str, String) {
    let tag = report.tag;
    let Some(account) = report.account() else {
        let sentence = match report.release {
            Some(_) => format!("Release {tag} was deployed"),
            None => format!("A run of release {tag}"),
        };
        return (Tone::Faint, "?", sentence);
    };
    let (tone, sign, _) = words::outcome(account.outcome);
    let at = failed_at(account);
    let sentence = match account.outcome {
        Outcome::Succeeded => match account.command.as_str() {
            "rollback" => format!("{} went back to {tag}", report.project),
            "run" | "deploy" => format!("Release {tag} was deployed"),
            command => format!("{command} of release {tag} succeeded"),
        },
        Outcome::Failed => format!("Release {tag} was not deployed: {} failed{at}", account.command),
        Outcome::RolledBack => format!("Release {tag} failed{at} and was taken back"),
        Outcome::Stuck => format!("Release {tag} is stuck{at}: a person is needed"),
        Outcome::Interrupted => format!("The deploy of {tag} was interrupted{at}"),
    };
    (tone, sign, sentence)
}

fn failed_at(account: &Account) -> String {
    use crate::pipeline::StepResult;
    let stopped = account.steps.iter().filter(|step| match step.result {
        StepResult::Failed | StepResult::Interrupted => true,
        StepResult::Succeeded
        | StepResult::Unchanged
        | StepResult::NotRun
        | StepResult::Warned
        | StepResult::NotVerified => false,
    });
    let names: Vec<&str> = stopped.map(|step| step.step.as_str()).collect();
    if names.is_empty() || names == [account.command.as_str()] {
        String::new()
    } else {
        format!(" at {}", names.join(" and "))
    }
}

/// What stood when the run had ended, and what stands now, where that is something else.
fn what_serves(report: &Report<'_>) -> Option<String> {
    let then = report.account().and_then(|account| {
        let serves = account.serves.as_deref()?;
        Some(match account.outcome {
            Outcome::Succeeded => format!("{serves} serves"),
            Outcome::RolledBack => format!("{serves} serves again"),
            Outcome::Failed | Outcome::Interrupted => format!("production is as it was: {serves} serves"),
            Outcome::Stuck => format!("{serves} was serving last"),
        })
    });
    let now = report.serves.filter(|now| {
        let then = report
            .account()
            .and_then(|account| account.serves.as_deref())
            .unwrap_or_default();
        now.tag.as_str() != then
    });
    let now = now.map(|now| {
        format!(
            "When this page was made, {} served, deployed {}",
            now.tag,
            moment(&now.deployed_at)
        )
    });
    match (then, now) {
        (Some(then), Some(now)) => Some(format!("{then}. {now}.")),
        (Some(one), None) | (None, Some(one)) => Some(format!("{one}.")),
        (None, None) => None,
    }
}

fn facts_of(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    match (report.told, report.release) {
        (Told::Known(account), release) => {
            facts.push(("Began", moment(&account.started_at)));
            facts.push(("Took", took(account.seconds)));
            facts.push(("By", account.started_by.clone()));
            facts.push(("Command", account.command.clone()));
            let code = account.exit_code;
            facts.push(("Exit code", format!("{code}: {}", words::exit_code(code))));
            let before = account.before.as_ref();
            let before = before.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            facts.push(("Served before", before));
            if let Some(commit) = &account.commit {
                facts.push(("Commit", commit.chars().take(12).collect()));
            }
            if let Some(release) = release {
                facts.push(("Number", release.sequence.0.to_string()));
            }
            facts.push((
                "Backup",
                account.backup.clone().unwrap_or_else(|| "none made".to_owned()),
            ));
        }
        (Told::Unknown(_), Some(release)) => facts.extend(recorded(release)),
        (Told::Unknown(_), None) => {}
    }
    if let Some(run) = report.run {
        facts.push(("Run", run.to_string()));
    }
    facts
}

/// What the record tells where no account does.
fn recorded(release: &Release) -> Vec<(&'static str, String)> {
    vec![
        ("Deployed", moment(&release.deployed_at)),
        ("By", release.deployed_by.clone()),
        ("Command", release.command.clone()),
        ("Number", release.sequence.0.to_string()),
    ]
}

/// What to run.
fn next(header: &mut Markup, report: &Report<'_>) {
    let Some(account) = report.account() else {
        return;
    };
    let mut hints: Vec<&str> = account
        .error
        .iter()
        .flat_map(|error| error.hints.iter().map(String::as_str))
        .collect();
    let is_what_serves = report.serves.is_none_or(|now| now.tag == account.release);
    match account.outcome {
        Outcome::Succeeded if is_what_serves && ["run", "deploy"].contains(&account.command.as_str()) => {
            if account.before.is_some() {
                hints.push("to take it back: viatique-deploy rollback");
            }
        }
        Outcome::Stuck => hints.push("to see what stands where: viatique-deploy status"),
        Outcome::Succeeded | Outcome::Failed | Outcome::RolledBack | Outcome::Interrupted => {}
    }
    if !hints.is_empty() {
        header.element("div", &[("class", "next")], |next| {
            next.worded("b", &[], "Next");
            lines(next, hints);
        });
    }
}

/// Writes why it failed, and what was warned of.
pub(super) fn troubles(page: &mut Markup, report: &Report<'_>) {
    let Some(account) = report.account() else {
        if let Told::Unknown(why) = report.told {
            page.element("section", &[("id", "unknown")], |section| {
                super::unknown(section, "How the run went is not known", why);
            });
        }
        return;
    };
    if let Some(error) = &account.error {
        page.element("section", &[("id", "error")], |section| {
            section.worded("h2", &[], "Why it failed");
            section.element("ol", &[("class", "chain")], |list| {
                for cause in &error.chain {
                    list.worded("li", &[], cause);
                }
            });
            for one in &error.evidence {
                evidence(section, one);
            }
        });
    }
    if !account.warnings.is_empty() {
        page.element("section", &[("id", "warnings")], |section| {
            section.worded("h2", &[], "Warnings");
            section.element("ul", &[("class", "warnings")], |list| {
                for warning in &account.warnings {
                    list.element("li", &[], |item| {
                        item.worded("span", &[("class", "sign"), ("aria-hidden", "true")], "!");
                        item.text(" ");
                        item.text(&warning.message);
                        item.worded(
                            "span",
                            &[("class", "faint")],
                            &format!(" at +{}", took(warning.at)),
                        );
                        if let Some(hint) = &warning.hint {
                            item.worded("span", &[("class", "hint")], hint);
                        }
                    });
                }
            });
        });
    }
}
