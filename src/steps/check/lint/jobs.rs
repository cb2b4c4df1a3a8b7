//! Rules about what runs once, and what must run only once.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::compose::{DependencyCondition, RestartPolicy, Service};
use crate::stack::program::Program;
use crate::steps::deploy::strategy::Strategy;

/// Two schedulers send every task twice.
pub(super) fn schedulers(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let program = facts.program(service).filter(|program| program.schedules())?;
        if service.replicas > 1 {
            return Some(
                Finding::warning(
                    Rule::TwoSchedulers,
                    &service.name,
                    "deploy.replicas",
                    format!("{} schedulers send every scheduled task {0} times", service.replicas),
                    "leave `deploy.replicas` and `scale` out; workers in a service of their own can be several",
                )
                .refused(),
            );
        }
        match (facts.strategy(service), program) {
            (Strategy::Rolling, _) => Some(
                Finding::warning(
                    Rule::TwoSchedulers,
                    &service.name,
                    "command",
                    "while it is rolled two schedulers stand side by side, and every task that falls due is sent twice",
                    "write `services.{service}.strategy: singleton` in deploy.yml",
                )
                .refused(),
            ),
            (Strategy::Singleton, Program::CeleryWorker { .. }) => Some(Finding::warning(
                Rule::BeatInWorker,
                &service.name,
                "command",
                "worker and beat are one process (-B), of which two must never stand: it is replaced with a gap in \
                 which no task runs, however long the old one takes to finish its own",
                "run beat in a service of its own: `command: [\"celery\", \"-A\", \"<app>\", \"beat\"]`, and leave `-B` \
                 out here",
            )),
            (
                Strategy::Singleton
                | Strategy::Recreate(_)
                | Strategy::Reload
                | Strategy::Untouched(_)
                | Strategy::OneShot,
                _,
            ) => None,
        }
    };
    facts.services().filter_map(judge).collect()
}

/// A job that somebody depends on, without waiting for its end.
pub(super) fn not_awaited(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in facts.services() {
        for (name, dependency) in &service.depends_on {
            let job = facts
                .settings
                .project
                .services
                .get(name)
                .is_some_and(|other| facts.strategy(other) == Strategy::OneShot);
            let waits = match dependency.condition {
                DependencyCondition::CompletedSuccessfully => true,
                DependencyCondition::Started | DependencyCondition::Healthy => false,
            };
            if job && !waits {
                findings.push(Finding::warning(
                    Rule::OneShotNotAwaited,
                    &service.name,
                    "depends_on",
                    format!(
                        "{name} runs to its end, and this service starts as soon as {name} has started: before it is \
                         done, and also where it fails"
                    ),
                    format!("write `depends_on: {{ {name}: {{ condition: service_completed_successfully }} }}`"),
                ));
            }
        }
    }
    findings
}

/// A job that the engine starts again when it has ended.
pub(super) fn restarts(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let again = match service.restart {
            Some(RestartPolicy::Always | RestartPolicy::UnlessStopped) => true,
            Some(RestartPolicy::No | RestartPolicy::OnFailure { .. }) | None => false,
        };
        (again && facts.strategy(service) == Strategy::OneShot).then(|| {
            Finding::warning(
                Rule::OneShotRestarts,
                &service.name,
                "restart",
                "it is meant to run once, and the engine starts it again each time it has ended, beside the release \
                 that serves",
                "write `restart: \"no\"`",
            )
        })
    };
    facts.services().filter_map(judge).collect()
}
