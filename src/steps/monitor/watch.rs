//! A release under watch: looks again and again, at all that can be looked at, until it is found bad or the time is over.
//! Judges nothing, and decides nothing about what becomes of it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::containers::Containers;
use super::database::Database;
use super::disks::Disks;
use super::exporter::{self, Exporter};
use super::judgement::{Judgement, Rules, Seen, pulse};
use super::logs::{Logs, Recorded};
use super::looked::looked;
use super::probes::Probes;
use super::queues::Queues;
use super::sides::Sides;
use super::traffic::Traffic;
use crate::config;
use crate::error::Failure;
use crate::pipeline::{Context, Event, Events, Looked, StepId, Task, Verdict};
use crate::release::Tag;
use crate::release::traffic::TrafficSeries;
use crate::steps::backup;

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

/// What a watch has come to.
pub(super) struct Found {
    pub(super) judgement: Judgement,
    /// What it rests on.
    pub(super) looked: Looked,
    /// The requests around the deploy; `None` where no log of them is known.
    pub(super) traffic: Option<TrafficSeries>,
    /// The errors that are known from here on.
    pub(super) known_errors: BTreeSet<String>,
}

/// A release that is being watched.
pub(super) struct Watch<'a> {
    pub(super) tag: &'a Tag,
    rules: Rules,
    pub(super) duration: Duration,
    began: Instant,
    pub(super) logs: Logs<'a>,
    pub(super) exporter: Option<Exporter<'a>>,
    pub(super) containers: Containers<'a>,
    pub(super) database: Option<Database<'a>>,
    pub(super) disks: Disks<'a>,
    pub(super) queues: Option<Queues<'a>>,
    probes: Probes<'a>,
    /// What cannot be looked at at all.
    blind: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(super) async fn begin(
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
                let access = backup::access(context.settings, database)?;
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
    pub(super) async fn run(mut self, task: &Task, events: &Events) -> Result<Found, Failure> {
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
    pub(super) fn unseen(&self) -> Vec<String> {
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
