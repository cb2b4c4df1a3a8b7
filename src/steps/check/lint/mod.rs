//! The lint before the roll: traps in the Compose files and on the host with which a deploy that works would still
//! lose requests, tasks or time. Each rule is a pure function of [`Facts`]; asking the engine is done once, in
//! `facts`. A refusal is kept for what is certain to lose something or cannot work; what may be meant is a warning.

mod facts;
mod gaps;
mod health;
mod jobs;
mod room;
mod stopping;

use futures_util::FutureExt as _;

use super::place::written_at;
use super::registry::{At, Check, Look, Moment, When, always};
use super::verdict::{Level, Problem, Verdict};
use crate::compose::ServiceName;
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;

use facts::Facts;

/// Every rule. Its id is stable: waivers will name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    ShellAsPid1,
    StopGraceTooShort,
    SigtermReloadsUwsgi,
    NoHealthTest,
    HealthBudgetOverTimeout,
    FirstProbeAfterTimeout,
    SlowHealthInterval,
    GapByContainerName,
    GapByHostPort,
    AppNeverReplaced,
    NoRoomInMemory,
    NoRoomOnDisk,
    TwoSchedulers,
    BeatInWorker,
    OneShotNotAwaited,
    OneShotRestarts,
}

impl Rule {
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::ShellAsPid1 => "shell-as-pid-1",
            Self::StopGraceTooShort => "stop-grace-too-short",
            Self::SigtermReloadsUwsgi => "sigterm-reloads-uwsgi",
            Self::NoHealthTest => "no-health-test",
            Self::HealthBudgetOverTimeout => "health-budget-over-timeout",
            Self::FirstProbeAfterTimeout => "first-probe-after-timeout",
            Self::SlowHealthInterval => "slow-health-interval",
            Self::GapByContainerName => "gap-by-container-name",
            Self::GapByHostPort => "gap-by-host-port",
            Self::AppNeverReplaced => "app-never-replaced",
            Self::NoRoomInMemory => "no-room-in-memory",
            Self::NoRoomOnDisk => "no-room-on-disk",
            Self::TwoSchedulers => "two-schedulers",
            Self::BeatInWorker => "beat-in-worker",
            Self::OneShotNotAwaited => "one-shot-not-awaited",
            Self::OneShotRestarts => "one-shot-restarts",
        }
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The deploy does not begin.
    Refusal,
    Warning,
    /// The rule could not be tried: never counted as passed.
    NotVerified,
}

/// One thing that would go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub rule: Rule,
    pub severity: Severity,
    /// The service and the key below it, `healthcheck.interval`; `None` where the host is meant.
    pub place: Option<(ServiceName, &'static str)>,
    /// What goes wrong, and when.
    pub problem: String,
    /// What to write or run; `{service}` stands for the service's name, so that equal findings can be told as one.
    pub remedy: String,
}

impl Finding {
    fn warning(
        rule: Rule,
        service: &ServiceName,
        key: &'static str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            severity: Severity::Warning,
            place: Some((service.clone(), key)),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    fn of_the_host(rule: Rule, severity: Severity, problem: String, remedy: impl Into<String>) -> Self {
        Self {
            rule,
            severity,
            place: None,
            problem,
            remedy: remedy.into(),
        }
    }

    fn refused(self) -> Self {
        Self {
            severity: Severity::Refusal,
            ..self
        }
    }
}

/// Findings as people read them: those that say the same of several services told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub rule: Rule,
    pub severity: Severity,
    /// With its places.
    pub message: String,
    pub remedy: String,
}

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[Check {
    id: "lint",
    title: "a deploy that works loses nothing",
    protects_from: "requests, tasks or time that are lost although every container comes up",
    level: Level::Warns,
    how: "holds the Compose files, the images and what runs against rules, each named with what it finds",
    remedy: "write what the finding says into the Compose file",
    when: When::Both,
    refuses_as: FailureKind::Configuration,
    applies: always,
    look: Look::Looks(|at| lint(at).boxed()),
    time_limit: None,
}];

/// Tries every rule.
///
/// # Errors
/// The engine's.
async fn lint(at: At<'_>) -> Result<Verdict, Failure> {
    let facts = Facts::gather(at.view).await?;
    let found = match at.moment {
        Moment::Alone | Moment::First => all(&facts),
        // What stands in the files was told at the beginning; the room may have gone meanwhile.
        Moment::Gate => room::refusals(&facts),
    };
    let problems = tell(at.view.settings, found).into_iter().map(|told| {
        let problem = match told.severity {
            Severity::Refusal => Problem::wrong(told.message).level(Level::Blocks),
            Severity::Warning => Problem::wrong(told.message),
            Severity::NotVerified => Problem::unverified(told.message),
        };
        let problem = problem.key(told.rule.id());
        if told.remedy.is_empty() {
            problem
        } else {
            problem.hint(told.remedy)
        }
    });
    Ok(Verdict::of(problems.collect(), "nothing found"))
}

fn all(facts: &Facts<'_>) -> Vec<Finding> {
    let rules: [fn(&Facts<'_>) -> Vec<Finding>; 13] = [
        stopping::shell_as_pid_1,
        stopping::grace_too_short,
        stopping::sigterm_reloads_uwsgi,
        health::no_test,
        health::first_probe,
        health::budget,
        gaps::name_or_port,
        gaps::app_never_replaced,
        jobs::schedulers,
        jobs::not_awaited,
        jobs::restarts,
        room::memory,
        room::disk,
    ];
    rules.iter().flat_map(|rule| rule(facts)).collect()
}

fn tell(settings: &Settings, findings: Vec<Finding>) -> Vec<Told> {
    let mut groups: Vec<Vec<Finding>> = Vec::new();
    for finding in findings {
        let same = groups.iter_mut().find(|group| {
            group.first().is_some_and(|first| {
                let key = |one: &Finding| {
                    (
                        one.rule,
                        one.severity,
                        one.problem.clone(),
                        one.remedy.clone(),
                        one.place.as_ref().map(|(_, key)| *key),
                    )
                };
                key(first) == key(&finding)
            })
        });
        match same {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups.sort_by_key(|group| group.first().map(|first| (first.severity, first.rule)));
    groups
        .into_iter()
        .filter_map(|group| tell_one(settings, &group))
        .collect()
}

fn tell_one(settings: &Settings, group: &[Finding]) -> Option<Told> {
    let first = group.first()?;
    let places: Vec<String> = group
        .iter()
        .filter_map(|finding| finding.place.as_ref())
        .map(|(service, key)| written_at(settings, service, key))
        .collect();
    let services: Vec<&str> = group
        .iter()
        .filter_map(|finding| finding.place.as_ref())
        .map(|(service, _)| service.as_str())
        .collect();
    let service = match services.as_slice() {
        [one] => (*one).to_owned(),
        _ => "<service>".to_owned(),
    };
    let message = match (first.severity, places.is_empty()) {
        (Severity::NotVerified, _) => first.problem.clone(),
        (Severity::Refusal | Severity::Warning, true) => first.problem.clone(),
        (Severity::Refusal | Severity::Warning, false) => format!("{}: {}", places.join(", "), first.problem),
    };
    Some(Told {
        rule: first.rule,
        severity: first.severity,
        message,
        remedy: first.remedy.replace("{service}", &service),
    })
}
