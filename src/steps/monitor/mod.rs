//! `monitor`: watches a release after its deploy, against the hour before it: requests, errors in the logs, containers,
//! Celery's queues, the database's connections, and what it asks the site itself. A bad release is told as soon as it is
//! seen, with what it was seen by; within a `run` that takes it back. A good one has been watched for all of the time.
//! What is bad is said in `judgement`; it is gathered in `watch`.
//!
//! Within a run the containers that stood before run on for the way back, which takes seconds. Only the Celery workers
//! among them are ended when the watch begins, once each has finished its task: they would go on taking the new
//! release's tasks, some of which they may not know, and would hide that the new workers take none. The way back starts
//! them again.

mod containers;
mod database;
mod disks;
pub mod errors;
mod exporter;
pub mod judgement;
mod logs;
mod looked;
mod measure;
mod memory;
mod printed;
mod probes;
pub mod processor;
mod queues;
pub mod series;
mod sides;
pub mod statistics;
pub mod traffic;
mod uses;
mod watch;

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;

use self::judgement::Judgement;
use self::logs::Recorded;
use self::queues::count_command;
use self::sides::Sides;
use self::watch::{Found, Watch};
use super::deploy::{end_all, has_left};
use crate::compose::ServiceName;
use crate::config;
use crate::engine::{Container, ContainerState, Inspect};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Event, Fact, Receipt, Step, StepId, StepResult, Undone, Verdict, View,
};
use crate::release::Tag;

/// The step.
#[derive(Debug, Clone, Copy)]
pub enum Monitor {
    /// The last one of a run, which takes a bad release back.
    OfRun,
    /// By hand, for this long or as `deploy.yml` says: changes nothing.
    ByHand { r#for: Option<Duration> },
}

#[async_trait]
impl Step for Monitor {
    fn id(&self) -> StepId {
        StepId::Monitor
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let monitor = settings(view);
        let then = match (self, monitor.on_bad) {
            (Self::OfRun, config::OnBad::RollBack) => "; a bad one is taken back",
            (Self::OfRun, config::OnBad::Warn) | (Self::ByHand { .. }, _) => "; a bad one is told",
        };
        Ok(vec![Change {
            kind: ChangeKind::Run,
            target: format!("release {}", view.settings.tag),
            detail: format!("watched for {} s{then}", self.duration(&monitor).as_secs()),
        }])
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let (tag, project) = (&context.settings.tag, &context.settings.project);
        let monitor = settings(context.view());
        let sides = Sides::of(context.engine, &project.name, tag).await?;
        let sides = match (self, sides) {
            (Self::OfRun, Some(sides)) if !is_recorded(context) || sides.are_of(context.run) => sides,
            (Self::OfRun, Some(_) | None) => {
                return Ok(Receipt::unchanged("nothing was replaced", Fact::Nothing));
            }
            (Self::ByHand { .. }, Some(sides)) => sides,
            (Self::ByHand { .. }, None) => {
                return Err(Failure::message(
                    FailureKind::Failed,
                    format!("no container of release {tag} is there to be watched"),
                )
                .hint("viatique-deploy status"));
            }
        };
        let task = context.task(StepId::Monitor, "release", format!("watching release {tag}"));
        let recorded = self.recorded_errors(context);
        let watched = async {
            let duration = self.duration(&monitor);
            let watch = Watch::begin(context, &monitor, &sides, recorded, duration).await?;
            watch.run(&task, context.events).await
        };
        let watched = match self {
            Self::ByHand { .. } => watched.await,
            Self::OfRun => {
                let mut ending = pin!(end_old_workers(context, &sides.before));
                let mut watched = pin!(watched);
                tokio::select! {
                    done = &mut watched => done,
                    // What they are at may take longer than the watch.
                    () = &mut ending => watched.await,
                }
            }
        };
        let Found {
            judgement,
            known_errors,
            looked,
            traffic,
        } = task.conclude(watched, |Found { judgement, .. }| {
            let result = match judgement.verdict {
                Verdict::Good => StepResult::Succeeded,
                Verdict::Bad => StepResult::Failed,
                Verdict::Inconclusive => StepResult::NotVerified,
            };
            (result, judgement.verdict.as_str().to_owned())
        })?;
        context.events.emit(Event::Settled {
            step: StepId::Monitor,
            verdict: judgement.verdict,
            findings: judgement.findings.clone(),
            remarks: judgement.remarks.clone(),
            looked,
            traffic: traffic.map(Box::new),
        });
        let receipt = self.conclude(context, &monitor, judgement)?;
        Ok(Receipt {
            fact: Fact::Settled { known_errors },
            ..receipt
        })
    }

    /// The way back that follows starts the old workers again, and must not find one that is about to end.
    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        match self {
            Self::ByHand { .. } => {}
            Self::OfRun => {
                let tag = &context.settings.tag;
                if let Some(sides) = Sides::of(context.engine, &context.settings.project.name, tag).await? {
                    end_old_workers(context, &sides.before).await;
                }
            }
        }
        Ok(Undone::NothingToDo)
    }
}

/// Whether containers of this release stand.
///
/// # Errors
/// The engine's.
pub(crate) async fn is_deployed(inspect: &dyn Inspect, project: &str, tag: &Tag) -> Result<bool, Failure> {
    Ok(Sides::of(inspect, project, tag).await?.is_some())
}

impl Monitor {
    /// Errors of which a record tells that they were there: when the release before had settled, or by hand, when this one
    /// had.
    fn recorded_errors<'a>(&self, context: Context<'a>) -> Option<Recorded<'a>> {
        let current = context.settings.current.as_ref()?;
        let is_this_one = current.tag == context.settings.tag;
        let tells_new = match self {
            Self::OfRun => false,
            Self::ByHand { .. } if is_this_one => true,
            Self::ByHand { .. } => return None,
        };
        let errors = current.known_errors.as_ref()?;
        Some(Recorded { errors, tells_new })
    }

    fn duration(&self, monitor: &config::Monitor) -> Duration {
        match self {
            Self::OfRun | Self::ByHand { r#for: None } => monitor.r#for.0,
            Self::ByHand { r#for: Some(asked) } => *asked,
        }
    }

    fn conclude(
        &self,
        context: Context<'_>,
        monitor: &config::Monitor,
        judgement: Judgement,
    ) -> Result<Receipt, Failure> {
        let tag = &context.settings.tag;
        let first = judgement.findings.first().cloned().unwrap_or_default();
        let further = judgement.findings.len().saturating_sub(1);
        let others = if further == 0 {
            String::new()
        } else {
            format!("; and {further} more")
        };
        let bad = format!("release {tag} is bad: {first}{others}");
        match (judgement.verdict, self, monitor.on_bad) {
            (Verdict::Good, _, _) => Ok(Receipt::unchanged(
                format!("release {tag} is good"),
                Fact::Nothing,
            )),
            (Verdict::Inconclusive, _, _) => {
                context.warn(
                    format!("whether release {tag} is good cannot be told: inconclusive"),
                    Some("monitor.probes in deploy.yml are asked where there is no traffic".to_owned()),
                );
                Ok(Receipt::unchanged(
                    format!("release {tag}: inconclusive"),
                    Fact::Nothing,
                ))
            }
            (Verdict::Bad, Self::OfRun, config::OnBad::Warn) => {
                for finding in &judgement.findings {
                    context.warn(finding.clone(), None);
                }
                context.warn(
                    format!("release {tag} is bad, and stays, as monitor.on_bad says"),
                    Some("to take it back: viatique-deploy rollback".to_owned()),
                );
                Ok(Receipt::unchanged(bad, Fact::Nothing))
            }
            (Verdict::Bad, Self::OfRun, config::OnBad::RollBack) => {
                Err(Failure::message(FailureKind::Gate, bad)
                    .evidence("what it was seen by", judgement.findings))
            }
            (Verdict::Bad, Self::ByHand { .. }, _) => Err(Failure::message(FailureKind::Gate, bad)
                .evidence("what it was seen by", judgement.findings)
                .hint("to take it back: viatique-deploy rollback")),
        }
    }
}

/// Whether it is the release that served before this run. One whose own run was killed while it was watched is not.
fn is_recorded(context: Context<'_>) -> bool {
    let current = context.settings.current.as_ref();
    current.is_some_and(|current| current.tag == context.settings.tag)
}

/// As `deploy.yml` has it; by hand a release is watched without the section, too.
fn settings(view: View<'_>) -> config::Monitor {
    view.settings.config.monitor.clone().unwrap_or_default()
}

/// Tells the Celery workers of before to end, each once it has finished its task, and waits for it. One that cannot be
/// told goes on as it did.
async fn end_old_workers(context: Context<'_>, before: &[(String, Container)]) {
    for service in context.settings.project.services.values() {
        let workers: Vec<Container> = before
            .iter()
            .filter(|(name, container)| {
                name == service.name.as_str()
                    && container.state == ContainerState::Running
                    && has_left(context, container)
                    && count_command(service, &container.id).is_some()
            })
            .map(|(_, container)| container.clone())
            .collect();
        let name: &ServiceName = &service.name;
        if !workers.is_empty()
            && let Err(failure) = end_all(context, name, &workers).await
        {
            context.warn(
                format!("ending the old workers of {name}: {:#}", failure.error),
                None,
            );
        }
    }
}
