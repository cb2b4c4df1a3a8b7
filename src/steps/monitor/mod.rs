//! `monitor`: watches a release after its deploy, against the hour before it: requests, errors in the logs, containers,
//! Celery's queues, the database's connections, and what it asks the site itself. A bad release is told as soon as it is
//! seen, with what it was seen by; within a `run` that takes it back. A good one has been watched for all of the time.
//! What is bad is said in `judgement`; here it is gathered.
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

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::containers::Containers;
use self::database::Database;
use self::disks::Disks;
use self::exporter::Exporter;
use self::judgement::{Judgement, Rules, Seen, pulse};
use self::logs::{Logs, Recorded};
use self::looked::looked;
use self::probes::Probes;
use self::queues::{Queues, count_command};
use self::sides::Sides;
use self::traffic::Traffic;
use super::deploy::{end_all, has_left};
use crate::compose::ServiceName;
use crate::config;
use crate::engine::{Container, ContainerState, Inspect};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Event, Events, Fact, Looked, Receipt, Step, StepId, StepResult, Task,
    Undone, Verdict, View,
};
use crate::release::Tag;
use crate::release::traffic::TrafficSeries;

/// Between two looks: whatever is bad is seen within several of them.
const LOOK: Duration = Duration::from_secs(2);
/// The tool's own requests are sent at every so many looks.
const PROBED: u32 = 2;
/// So is an exporter of Prometheus'.
const EXPORTED: u32 = 2;
/// Redis itself, beside the length of its queues, is asked at every so many, and disks are.
const REDIS: u32 = 5;
const DISKS: u32 = 30;
/// Lines of the proxy's log that must be readable, of ten.
const READABLE: u64 = 5;

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

/// What a watch has come to.
struct Found {
    judgement: Judgement,
    /// What it rests on.
    looked: Looked,
    /// The requests around the deploy; `None` where no log of them is known.
    traffic: Option<TrafficSeries>,
    /// The errors that are known from here on.
    known_errors: BTreeSet<String>,
}

/// A release that is being watched.
struct Watch<'a> {
    tag: &'a Tag,
    rules: Rules,
    duration: Duration,
    began: Instant,
    logs: Logs<'a>,
    exporter: Option<Exporter<'a>>,
    containers: Containers<'a>,
    database: Option<Database<'a>>,
    disks: Disks<'a>,
    queues: Option<Queues<'a>>,
    probes: Probes<'a>,
    /// What cannot be looked at at all.
    blind: Vec<String>,
}

impl<'a> Watch<'a> {
    async fn begin(
        context: Context<'a>,
        monitor: &'a config::Monitor,
        sides: &Sides,
        recorded: Option<Recorded<'a>>,
        duration: Duration,
    ) -> Result<Self, Failure> {
        let (config, project) = (&context.settings.config, &context.settings.project);
        let mut blind = Vec::new();
        let exporter = monitor.prometheus.as_ref();
        let requests = config
            .logs_requests(project)
            .filter(|_| exporter.is_none())
            .map(|service| (service.name.to_string(), monitor.access_log.format.clone()));
        if requests.is_none() && exporter.is_none() {
            blind.push(
                "requests: no service is nginx with a published port; see monitor.access_log and \
                 monitor.prometheus"
                    .to_owned(),
            );
        }
        let began_at = context.engine.time().await?;
        let began = Instant::now();
        let logs = Logs::open(context.engine, sides, requests, recorded, began_at).await;
        let database = config.backup.database.as_ref();
        let database = match database {
            None => {
                blind.push("the database's connections: backup.database is not there".to_owned());
                None
            }
            Some(database) => {
                let access = super::backup::access(context.settings, database)?;
                let mut standing = sides.new.iter().chain(&sides.kept);
                let container = standing.find(|(service, _)| service == database.service.as_str());
                let slow = monitor.slow_queries.0;
                container
                    .map(|(_, container)| Database::new(context.engine, container.id.clone(), access, slow))
            }
        };
        let queues = match Queues::of(context.engine, project, sides, &monitor.queues) {
            Ok(queues) => queues,
            Err(why) => {
                blind.push(why);
                None
            }
        };
        Ok(Self {
            tag: &context.settings.tag,
            rules: Rules {
                thresholds: monitor.thresholds,
                new_errors: monitor.new_errors,
            },
            duration,
            began,
            logs,
            exporter: exporter.map(|settings| Exporter::new(context.app, settings)),
            containers: Containers::of(context.engine, project, sides).await?,
            database,
            disks: Disks::of(context.engine, sides),
            queues,
            probes: Probes::new(
                context.app,
                config.health.as_ref(),
                &monitor.probes,
                &context.settings.tag,
            ),
            blind,
        })
    }

    /// Until it is bad, or the time is over.
    async fn run(mut self, task: &Task, events: &Events) -> Result<Found, Failure> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                _ = looks.tick() => {}
                () = self.logs.next() => continue,
            }
            self.look(number).await?;
            number += 1;
            self.logs.watched.pass(self.began.elapsed());
            let seen = self.seen();
            let judgement = self.rules.judge(&seen);
            events.emit(Event::Measured {
                step: StepId::Monitor,
                measured: Box::new(self.measured(&seen, &judgement)),
            });
            let is_over = seen.elapsed >= self.duration;
            if judgement.verdict == Verdict::Bad || is_over {
                let looked = looked(&seen, self.logs.tells_requests());
                let traffic = self.logs.traffic(seen.elapsed);
                return Ok(Found {
                    judgement: self.told(judgement),
                    looked,
                    traffic,
                    known_errors: self.logs.into_met(),
                });
            }
            let over = self.logs.watched.covers(seen.elapsed);
            let (requests, failed, slowest) = pulse(&seen.recent, over);
            let slowest =
                slowest.map_or_else(String::new, |seconds| format!(", p95 {:.0} ms", seconds * 1000.0));
            let left = self.duration.saturating_sub(seen.elapsed).as_secs();
            task.progress(format!(
                "{left} s left: {requests:.1} requests/s, {failed:.1} % 5xx{slowest}"
            ));
        }
    }

    async fn look(&mut self, number: u32) -> Result<(), Failure> {
        let now = self.began.elapsed().as_secs_f64();
        let threshold = self.rules.thresholds.connections;
        let after = self.began.elapsed();
        let exporter = async {
            match &mut self.exporter {
                Some(exporter) if number.is_multiple_of(EXPORTED) => exporter.look().await,
                Some(_) | None => None,
            }
        };
        let database = async {
            if let Some(database) = &mut self.database {
                database.look(threshold).await;
            }
        };
        let disks = async {
            if number.is_multiple_of(DISKS) {
                self.disks.look().await;
            }
        };
        let probes = async {
            if number.is_multiple_of(PROBED) {
                self.probes.ask().await;
            }
        };
        let queues = async {
            if let Some(queues) = &mut self.queues {
                queues.look(now).await;
                if number.is_multiple_of(REDIS) {
                    queues.look_at_redis().await;
                }
            }
        };
        let containers = self.containers.look(now);
        // Where the machine is busy a look takes seconds; busy logs are read on meanwhile, or they would be seen late.
        let logs = &mut self.logs;
        let (looked, (), (), (), exported, ()) = {
            let looking = async { tokio::join!(containers, database, queues, probes, exporter, disks) };
            let mut looking = pin!(looking);
            loop {
                tokio::select! {
                    biased;
                    looked = &mut looking => break looked,
                    () = logs.next() => {}
                }
            }
        };
        looked?;
        if let Some(counts) = exported {
            self.logs.watched.add_counts(exporter::SITE, &counts, after);
        }
        let containers = &self.containers;
        self.logs.refresh(|id| containers.runs(id)).await;
        Ok(())
    }

    fn seen(&self) -> Seen {
        Seen {
            elapsed: self.began.elapsed(),
            before: self.logs.before.clone(),
            since: self.judged(),
            recent: self.logs.watched.recent(),
            own: self.probes.sent,
            errors: self.logs.errors(),
            containers: self.containers.seen(),
            idle_workers: self
                .queues
                .as_ref()
                .map(|queues| queues.idle.clone())
                .unwrap_or_default(),
            connections: self.database.as_ref().and_then(|database| database.connections),
            probes: self.probes.seen(),
        }
    }

    /// The requests since the watch began; none where nothing tells how they were answered.
    fn judged(&self) -> Traffic {
        match &self.exporter {
            Some(exporter) if !exporter.tells_failures => Traffic::default(),
            Some(_) | None => self.logs.watched.all.clone(),
        }
    }

    /// With what could not be looked at.
    fn told(&self, mut judgement: Judgement) -> Judgement {
        let (unread, all) = self.logs.unread;
        if unread * 10 > all * READABLE && judgement.verdict == Verdict::Good && self.probes.seen().is_empty()
        {
            judgement.verdict = Verdict::Inconclusive;
        }
        let unseen = self.unseen().into_iter();
        judgement
            .remarks
            .extend(unseen.map(|what| format!("not looked at: {what}")));
        judgement
    }

    /// What could not be looked at.
    fn unseen(&self) -> Vec<String> {
        let (unread, all) = self.logs.unread;
        let mut unseen = self.blind.clone();
        if unread > 0 {
            unseen.push(format!(
                "{unread} of {all} lines of the access log are not of the format that monitor.access_log.format names"
            ));
        }
        unseen.extend(self.logs.problems.iter().cloned());
        unseen.extend(
            self.exporter
                .as_ref()
                .and_then(|exporter| exporter.problem.clone()),
        );
        unseen.extend(self.containers.problem.clone());
        unseen.extend(
            self.database
                .as_ref()
                .and_then(|database| database.problem.clone()),
        );
        if let Some(queues) = &self.queues {
            unseen.extend(queues.unseen());
        }
        unseen.extend(self.disks.problem.clone());
        unseen
    }
}
