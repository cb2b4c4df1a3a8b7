//! Which line of the checklist a run answers by what it has seen. Pure: the same is said of the same. What was left out,
//! could not be looked at or came to no verdict answers nothing: those lines are a person's.

use crate::account::{Seen, StepAccount, TaskAccount};
use crate::config::Config;
use crate::notify::What;
use crate::pipeline::{StepId, StepResult, Verdict};
use crate::release::checklist::{Answer, ChecklistLine, WorkflowLine};
use crate::release::checks::CheckVerdict;
use crate::steps::backup::automatic::Automatic;
use crate::steps::health::{ENDPOINT, LOGS};

/// The check that asks what another tool saves.
const REPOSITORY: &str = "backup-repository";

/// What is known of a line.
enum Known {
    /// It is so, or is not.
    Shown(bool, String),
    /// Nothing shows it, and why.
    Open(String),
}

use Known::{Open, Shown};

/// Every line, after a run that has ended well.
pub fn lines(config: &Config, seen: &Seen, backups: &Automatic) -> Vec<ChecklistLine> {
    let mut lines = Vec::new();
    for line in WorkflowLine::ALL {
        if config.checklist.left_out.contains(&line) {
            continue;
        }
        let (step, known) = match line {
            WorkflowLine::Health => (Some(StepId::Health), health(config, seen)),
            WorkflowLine::Logs => (Some(StepId::Health), logs(seen)),
            WorkflowLine::Smoke => (Some(StepId::Smoke), smoke(config, seen)),
            WorkflowLine::Metrics => (Some(StepId::Monitor), metrics(config, seen)),
            WorkflowLine::Backup => (None, backup(config, seen, backups)),
            WorkflowLine::Notified => (None, notified(config, seen)),
        };
        let (seen_of_it, answer) = match known {
            Shown(ok, seen) => (seen, Answer::Evidence { ok }),
            Open(why) => (why, Answer::Nobody),
        };
        lines.push(ChecklistLine {
            id: line.id().to_owned(),
            title: line.title().to_owned(),
            part_of: None,
            step,
            seen: seen_of_it,
            answer,
        });
        if line == WorkflowLine::Smoke {
            lines.extend(scenarios(config, seen));
        }
    }
    lines.extend(config.checklist.own.iter().map(|own| ChecklistLine {
        id: own.id.clone(),
        title: own.title.clone(),
        part_of: None,
        step: None,
        seen: String::new(),
        answer: Answer::Nobody,
    }));
    lines
}

/// A step that was run, and has ended well.
fn step(seen: &Seen, id: StepId) -> Option<&StepAccount> {
    let step = seen.steps.iter().rev().find(|one| one.step == id)?;
    match step.result {
        StepResult::Succeeded | StepResult::Unchanged => Some(step),
        StepResult::Failed
        | StepResult::NotRun
        | StepResult::Interrupted
        | StepResult::Warned
        | StepResult::NotVerified => None,
    }
}

fn task<'a>(step: &'a StepAccount, name: &str) -> Option<&'a TaskAccount> {
    step.tasks.iter().rev().find(|one| one.task == name)
}

fn health(config: &Config, seen: &Seen) -> Known {
    let Some(step) = step(seen, StepId::Health) else {
        return Open("the step health was not run to its end".to_owned());
    };
    if config.health.is_none() {
        return Open(format!(
            "{}; deploy.yml has no section `health`, so that the site itself was not asked",
            step.message
        ));
    }
    let asked = task(step, ENDPOINT).filter(|one| one.result == StepResult::Succeeded);
    let Some(asked) = asked else {
        return Open(format!(
            "{}; that the health endpoint answered is not known",
            step.message
        ));
    };
    let unknown = step
        .tasks
        .iter()
        .find(|one| one.result == StepResult::NotVerified);
    match unknown {
        Some(one) => Open(format!("{}: {}", one.task, one.message)),
        None => Shown(true, format!("{} ({})", step.message, asked.message)),
    }
}

fn logs(seen: &Seen) -> Known {
    let Some(read) = step(seen, StepId::Health).and_then(|step| task(step, LOGS)) else {
        return Open("no logs were read".to_owned());
    };
    let watched = seen.settled.as_ref().map(|settled| &settled.looked);
    if let Some(looked) = watched
        && looked.new_errors > 0
    {
        let new = format!(
            "{} errors that were not there before the deploy",
            looked.new_errors
        );
        return Shown(false, format!("{new}: viatique-deploy logs"));
    }
    match read.result {
        StepResult::Succeeded => {}
        StepResult::Warned => {
            return Open(format!(
                "{} in the last lines; whether they are critical is for a person to say: viatique-deploy logs",
                read.message
            ));
        }
        StepResult::Failed
        | StepResult::Unchanged
        | StepResult::NotRun
        | StepResult::Interrupted
        | StepResult::NotVerified => return Open(read.message.clone()),
    }
    match watched {
        Some(looked) if looked.other_errors > 0 => Open(format!(
            "{} errors while it was watched, of which no log tells whether they are new",
            looked.other_errors
        )),
        Some(_) => Shown(true, format!("{}, and none while it was watched", read.message)),
        None => Shown(true, read.message.clone()),
    }
}

fn smoke(config: &Config, seen: &Seen) -> Known {
    if config.smoke.is_none() {
        return Open("deploy.yml has no scenarios that play the site's users".to_owned());
    }
    let Some(step) = step(seen, StepId::Smoke) else {
        return Open("the scenarios of deploy.yml were not played".to_owned());
    };
    let scenarios = scenarios(config, seen);
    let missing = config.smoke.iter().flat_map(|smoke| &smoke.scenarios).count() - scenarios.len();
    if scenarios.is_empty() || missing > 0 {
        return Open(format!(
            "{missing} scenarios of deploy.yml were not played to their end"
        ));
    }
    Shown(true, step.message.clone())
}

/// A line for each scenario that passed: one that did not has failed the run.
fn scenarios(config: &Config, seen: &Seen) -> Vec<ChecklistLine> {
    let Some(step) = step(seen, StepId::Smoke) else {
        return Vec::new();
    };
    let played = config.smoke.iter().flat_map(|smoke| &smoke.scenarios);
    let played = played.filter_map(|scenario| {
        let played = task(step, &scenario.name)?;
        (played.result == StepResult::Succeeded).then(|| ChecklistLine {
            id: format!("{}: {}", WorkflowLine::Smoke.id(), scenario.name),
            title: scenario.name.clone(),
            part_of: Some(WorkflowLine::Smoke.id().to_owned()),
            step: Some(StepId::Smoke),
            seen: played.message.clone(),
            answer: Answer::Evidence { ok: true },
        })
    });
    played.collect()
}

fn metrics(config: &Config, seen: &Seen) -> Known {
    let Some(settled) = &seen.settled else {
        return Open(match step(seen, StepId::Monitor) {
            Some(step) => step.message.clone(),
            None if config.monitor.is_none() => {
                "deploy.yml has no section `monitor`, so that nothing was watched".to_owned()
            }
            None => "the release was not watched".to_owned(),
        });
    };
    let looked = settled.looked.at.join(", ");
    let first = |lines: &[String]| lines.first().cloned().unwrap_or_default();
    match settled.verdict {
        Verdict::Good => Shown(true, format!("good: {looked}")),
        Verdict::Bad => Shown(false, format!("bad: {}", first(&settled.findings))),
        Verdict::Inconclusive => Open(format!("inconclusive: {}", first(&settled.remarks))),
    }
}

fn backup(config: &Config, seen: &Seen, backups: &Automatic) -> Known {
    let asked = seen
        .checks
        .iter()
        .rev()
        .find(|one| one.outcome.check == REPOSITORY);
    match (asked, backups) {
        (Some(asked), _) if asked.outcome.verdict == CheckVerdict::Passed => {
            Shown(true, asked.outcome.line.clone())
        }
        (_, Automatic::Yes(shown)) => Shown(true, shown.clone()),
        (Some(asked), Automatic::Unknown(_)) if config.backup.repository.is_some() => Open(format!(
            "{}: {}",
            asked.outcome.verdict.in_words(),
            asked.outcome.line
        )),
        (_, Automatic::Unknown(why)) => Open(why.clone()),
    }
}

fn notified(config: &Config, seen: &Seen) -> Known {
    if config.notify.is_empty() {
        return Open("deploy.yml has no section `notify`".to_owned());
    }
    let is_of_success = |what: &str| {
        [What::Succeeded, What::Degraded]
            .iter()
            .any(|one| one.as_str() == what)
    };
    let is_somebody = |name: &str| {
        let mut entries = config.notify.iter();
        entries.any(|entry| entry.name == name && entry.channel.reaches_people())
    };
    let told = seen.notices.iter();
    let told: Vec<_> = told
        .filter(|one| is_of_success(&one.what) && is_somebody(&one.target))
        .collect();
    let got: Vec<String> = told
        .iter()
        .filter(|one| one.why_not.is_none())
        .map(|one| format!("{} ({})", one.target, one.what))
        .collect();
    let not: Vec<String> = told
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.target, one.why_not.as_ref()?)))
        .collect();
    match (got.as_slice(), not.as_slice()) {
        ([], []) => Open("of what `notify` names, no person is told that a deploy succeeded".to_owned()),
        (got, []) => Shown(true, format!("told {}", got.join(", "))),
        ([], not) => Shown(false, format!("nobody has got it: {}", not.join("; "))),
        (got, not) => Open(format!("told {}, and not {}", got.join(", "), not.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::account::{CheckAccount, NoticeAccount, SettledAccount};
    use crate::config;
    use crate::pipeline::Looked;
    use crate::release::checklist::LineVerdict;
    use crate::release::checks::CheckOutcome;

    const WHOLE: &str = "
health: { url: 'http://127.0.0.1/health/' }
monitor: { for: 10m }
notify:
  - { name: team, slack: { url: '${HOOK}' } }
  - { name: mail, email: { host: smtp.test, from: a@b.test, to: [ops@b.test] }, on: [success] }
  - { name: graph, grafana: { url: 'https://graph.test', token: '${TOKEN}' } }
smoke:
  scenarios:
    - { name: a teacher logs in, steps: [{ get: / }] }
    - { name: a pupil logs in, steps: [{ get: / }] }
checklist:
  sheets: the printed sheets look right
";

    fn parsed(more: &str) -> Config {
        config::parse(
            Path::new("deploy.yml"),
            &format!("project: a\ncompose: a.yml\n{more}"),
        )
        .unwrap()
    }

    fn part(name: &str, result: StepResult, message: &str) -> TaskAccount {
        TaskAccount {
            task: name.to_owned(),
            title: String::new(),
            began: 0.0,
            seconds: 0.0,
            result,
            message: message.to_owned(),
        }
    }

    fn did(step: StepId, message: &str, tasks: Vec<TaskAccount>) -> StepAccount {
        StepAccount {
            step,
            began: Some(0.0),
            seconds: 1.0,
            result: StepResult::Unchanged,
            message: message.to_owned(),
            tasks,
        }
    }

    fn notice(target: &str, what: What, why_not: Option<&str>) -> NoticeAccount {
        NoticeAccount {
            target: target.to_owned(),
            place: String::new(),
            what: what.as_str().to_owned(),
            why_not: why_not.map(ToOwned::to_owned),
        }
    }

    /// A run that has shown all there is to show.
    fn good() -> Seen {
        let ok = StepResult::Succeeded;
        Seen {
            steps: vec![
                did(
                    StepId::Health,
                    "7 services are well",
                    vec![
                        part("backend", ok, "well"),
                        part(LOGS, ok, "no errors in the last 100 lines of backend-1"),
                        part(ENDPOINT, ok, "200, 4 ms"),
                    ],
                ),
                did(
                    StepId::Smoke,
                    "2 scenarios passed",
                    vec![
                        part("a teacher logs in", ok, "passed"),
                        part("a pupil logs in", ok, "passed"),
                    ],
                ),
                did(StepId::Monitor, "release v2 is good", Vec::new()),
            ],
            settled: Some(SettledAccount {
                verdict: Verdict::Good,
                findings: Vec::new(),
                remarks: Vec::new(),
                looked: Looked {
                    at: vec!["600 s".to_owned(), "412 requests of visitors".to_owned()],
                    ..Looked::default()
                },
                traffic: None,
            }),
            notices: vec![
                notice("team", What::Started, None),
                notice("team", What::Succeeded, None),
                notice("mail", What::Succeeded, None),
                notice("graph", What::Succeeded, Some("503")),
            ],
            ..Seen::default()
        }
    }

    fn nightly() -> Automatic {
        Automatic::Yes("made with nobody at a terminal".to_owned())
    }

    #[track_caller]
    fn comes_to(lines: &[ChecklistLine], id: &str, verdict: LineVerdict, said: &str) {
        let line = lines.iter().find(|line| line.id == id).unwrap();
        assert_eq!(line.verdict(), verdict, "{line:?}");
        assert!(line.seen.contains(said), "{line:?}");
    }

    /// The line, after a good run that was otherwise in this.
    #[track_caller]
    fn otherwise(change: impl FnOnce(&mut Seen), id: &str, verdict: LineVerdict, said: &str) {
        let mut seen = good();
        change(&mut seen);
        comes_to(&lines(&parsed(WHOLE), &seen, &nightly()), id, verdict, said);
    }

    fn of(seen: &mut Seen, step: StepId) -> &mut StepAccount {
        seen.steps.iter_mut().find(|one| one.step == step).unwrap()
    }

    #[test]
    fn a_run_that_has_shown_all_leaves_only_lines_of_ones_own() {
        let lines = lines(&parsed(WHOLE), &good(), &nightly());
        let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "health",
                "logs",
                "smoke",
                "smoke: a teacher logs in",
                "smoke: a pupil logs in",
                "metrics",
                "backup",
                "notified",
                "sheets"
            ]
        );
        for line in &lines {
            let expected = if line.id == "sheets" {
                Answer::Nobody
            } else {
                Answer::Evidence { ok: true }
            };
            assert_eq!(line.answer, expected, "{line:?}");
        }
        comes_to(
            &lines,
            "health",
            LineVerdict::Ok,
            "7 services are well (200, 4 ms)",
        );
        comes_to(&lines, "metrics", LineVerdict::Ok, "good: 600 s, 412 requests");
        comes_to(
            &lines,
            "notified",
            LineVerdict::Ok,
            "told team (succeeded), mail (succeeded)",
        );
    }

    #[test]
    fn what_deploy_yml_does_not_have_looked_at_is_not_verified() {
        let bare = lines(&parsed(""), &good(), &Automatic::Unknown("none here".to_owned()));
        for (id, why) in [
            ("health", "no section `health`"),
            ("smoke", "no scenarios"),
            ("backup", "none here"),
            ("notified", "no section `notify`"),
        ] {
            comes_to(&bare, id, LineVerdict::NotVerified, why);
        }
        let nothing = lines(&parsed(""), &Seen::default(), &nightly());
        comes_to(
            &nothing,
            "metrics",
            LineVerdict::NotVerified,
            "no section `monitor`",
        );
        comes_to(&nothing, "logs", LineVerdict::NotVerified, "no logs were read");
        comes_to(&nothing, "health", LineVerdict::NotVerified, "was not run");
    }

    #[test]
    fn a_line_that_is_turned_off_is_not_there() {
        let config = parsed("checklist: { metrics: false, sheets: the sheets look right, backup: false }");
        let lines = lines(&config, &good(), &nightly());
        let ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        assert_eq!(ids, ["health", "logs", "smoke", "notified", "sheets"]);
    }

    #[test]
    fn health_is_not_shown_by_containers_alone() {
        let without = |name: &'static str| {
            move |seen: &mut Seen| of(seen, StepId::Health).tasks.retain(|one| one.task != name)
        };
        otherwise(
            without(ENDPOINT),
            "health",
            LineVerdict::NotVerified,
            "is not known",
        );
        let beat = |seen: &mut Seen| {
            let unknown = part("celery_beat ticks", StepResult::NotVerified, "whether it ticks");
            of(seen, StepId::Health).tasks.push(unknown);
        };
        otherwise(
            beat,
            "health",
            LineVerdict::NotVerified,
            "celery_beat ticks: whether",
        );
    }

    #[test]
    fn errors_in_the_logs_are_for_a_person_and_new_ones_are_not_well() {
        let warned = |seen: &mut Seen| {
            let tasks = &mut of(seen, StepId::Health).tasks;
            let logs = tasks.iter_mut().find(|one| one.task == LOGS).unwrap();
            logs.result = StepResult::Warned;
            logs.message = "3 errors".to_owned();
        };
        otherwise(
            warned,
            "logs",
            LineVerdict::NotVerified,
            "3 errors in the last lines",
        );
        let looked = |new_errors, other_errors| {
            move |seen: &mut Seen| {
                let looked = &mut seen.settled.as_mut().unwrap().looked;
                (looked.new_errors, looked.other_errors) = (new_errors, other_errors);
            }
        };
        otherwise(
            looked(2, 0),
            "logs",
            LineVerdict::NotOk,
            "2 errors that were not there",
        );
        otherwise(
            looked(0, 1),
            "logs",
            LineVerdict::NotVerified,
            "no log tells whether",
        );
        let unwatched = |seen: &mut Seen| seen.settled = None;
        otherwise(
            unwatched,
            "logs",
            LineVerdict::Ok,
            "no errors in the last 100 lines",
        );
    }

    #[test]
    fn scenarios_that_were_not_played_show_nothing() {
        let skipped = |seen: &mut Seen| seen.steps.retain(|one| one.step != StepId::Smoke);
        otherwise(skipped, "smoke", LineVerdict::NotVerified, "were not played");
        let half = |seen: &mut Seen| {
            of(seen, StepId::Smoke).tasks.pop();
        };
        otherwise(
            half,
            "smoke",
            LineVerdict::NotVerified,
            "1 scenarios of deploy.yml",
        );
    }

    #[test]
    fn only_a_good_verdict_shows_that_a_release_has_settled() {
        let settled = |verdict| {
            move |seen: &mut Seen| {
                let settled = seen.settled.as_mut().unwrap();
                settled.verdict = verdict;
                settled.findings = vec!["/: 9 of 9 requests answered 5xx".to_owned()];
                settled.remarks = vec!["next to no traffic".to_owned()];
            }
        };
        otherwise(
            settled(Verdict::Bad),
            "metrics",
            LineVerdict::NotOk,
            "bad: /: 9 of 9",
        );
        let said = "inconclusive: next to no traffic";
        otherwise(
            settled(Verdict::Inconclusive),
            "metrics",
            LineVerdict::NotVerified,
            said,
        );
        let unchanged = |seen: &mut Seen| {
            seen.settled = None;
            of(seen, StepId::Monitor).message = "nothing was replaced".to_owned();
        };
        otherwise(
            unchanged,
            "metrics",
            LineVerdict::NotVerified,
            "nothing was replaced",
        );
    }

    #[test]
    fn a_repository_stands_in_for_backups_only_where_it_is_fresh() {
        let config = parsed("backup: { repository: { tool: restic, service: db } }");
        let unknown = Automatic::Unknown("no backup here".to_owned());
        for (verdict, expected) in [
            (CheckVerdict::Passed, LineVerdict::Ok),
            (CheckVerdict::Waived, LineVerdict::NotVerified),
            (CheckVerdict::Skipped, LineVerdict::NotVerified),
            (CheckVerdict::NotVerified, LineVerdict::NotVerified),
        ] {
            let mut seen = good();
            seen.checks.push(CheckAccount {
                step: StepId::Gate,
                outcome: CheckOutcome {
                    check: REPOSITORY.to_owned(),
                    title: String::new(),
                    verdict,
                    blocks: false,
                    line: "the newest of restic is of tonight".to_owned(),
                    problems: Vec::new(),
                    seconds: 0.0,
                },
                evidence: Vec::new(),
            });
            let lines = lines(&config, &seen, &unknown);
            comes_to(&lines, "backup", expected, "the newest of restic");
        }
        let bare = parsed("backup: { database: { service: db } }");
        let lines = lines(&bare, &good(), &unknown);
        comes_to(&lines, "backup", LineVerdict::NotVerified, "no backup here");
    }

    #[test]
    fn the_team_is_who_reads_and_has_got_it() {
        let only = |notices: Vec<NoticeAccount>| move |seen: &mut Seen| seen.notices = notices;
        let (ok, refused) = (What::Succeeded, Some("403"));
        let graph = vec![notice("graph", ok, None), notice("team", What::Started, None)];
        otherwise(
            only(graph),
            "notified",
            LineVerdict::NotVerified,
            "no person is told",
        );
        let nobody = vec![notice("team", ok, refused), notice("mail", ok, refused)];
        otherwise(
            only(nobody),
            "notified",
            LineVerdict::NotOk,
            "team: 403; mail: 403",
        );
        let half = vec![notice("team", ok, None), notice("mail", ok, refused)];
        let said = "told team (succeeded), and not mail: 403";
        otherwise(only(half), "notified", LineVerdict::NotVerified, said);
        let degraded = vec![notice("team", What::Degraded, None)];
        otherwise(
            only(degraded),
            "notified",
            LineVerdict::Ok,
            "told team (degraded)",
        );
    }
}
