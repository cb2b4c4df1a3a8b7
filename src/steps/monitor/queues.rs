//! Whether the tasks of Celery's queues are taken: how many wait is asked of Redis in its own container, and where some
//! wait for long the workers are asked what they do.

use std::collections::BTreeMap;

use super::judgement::IdleWorker;
use super::printed::printed;
use super::sides::Sides;
use crate::compose::{Project, Service};
use crate::engine::{Container, ContainerId, ContainerState, Engine, ExecSpec};
use crate::pipeline::{MeasuredRedis, Queue};
use crate::stack::celery;
use crate::stack::redis::{RedisAccess, Server};
use crate::steps::deploy::started_with;
use url::Url;

/// Where the workers' environment says which broker it is; Django's own habit first.
const BROKER: [&str; 4] = ["CELERY_BROKER_URL", "BROKER_URL", "CELERY_BROKER", "REDIS_URL"];
/// Tasks that wait so long, in seconds, are looked into: where they become more, and in any case.
const MORE: f64 = 10.0;
const AS_MANY: f64 = 25.0;
/// How many more make a difference.
const GROWN: u64 = 3;
/// Between two questions to the workers, in seconds.
const PAUSE: f64 = 8.0;

/// The queues, where there are workers, and a broker that can be asked.
pub(super) struct Queues<'a> {
    engine: &'a dyn Engine,
    broker: ContainerId,
    access: RedisAccess,
    names: &'a [String],
    workers: Vec<Worker>,
    /// By queue: when it was first seen not to shrink, with how many, and with how many last.
    waiting: BTreeMap<&'a str, (f64, u64, u64)>,
    asked: f64,
    pub(super) idle: Vec<IdleWorker>,
    redis: Option<Server>,
    silent: Silent,
}

/// What did not answer when it was asked last.
#[derive(Default)]
struct Silent {
    queues: Vec<String>,
    workers: bool,
    redis: bool,
}

struct Worker {
    name: String,
    container: ContainerId,
    count: Vec<String>,
}

/// The services' command that counts a worker's tasks; `None` where it is no worker.
pub(super) fn count_command(service: &Service, container: &ContainerId) -> Option<Vec<String>> {
    let (words, hostname) = started_with(service, container);
    celery::count_command(&words, &hostname)
}

impl<'a> Queues<'a> {
    /// Finds workers and broker; `None` where there are no workers.
    ///
    /// # Errors
    /// Why the broker cannot be asked.
    pub(super) fn of(
        engine: &'a dyn Engine,
        project: &Project,
        sides: &Sides,
        names: &'a [String],
    ) -> Result<Option<Self>, String> {
        let standing = || sides.new.iter().chain(&sides.kept);
        let service = |name: &str| {
            project
                .services
                .values()
                .find(|service| service.name.as_str() == name)
        };
        let of_workers: Vec<(&Container, Vec<String>)> = standing()
            .filter(|(_, container)| container.state == ContainerState::Running)
            .filter_map(|(name, container)| Some((container, count_command(service(name)?, &container.id)?)))
            .collect();
        let Some((first, _)) = of_workers.first() else {
            return Ok(None);
        };
        let environment = first.environment.reveal();
        let url = BROKER.iter().find_map(|name| environment.get(*name));
        let url = url.map_or("redis://redis:6379/0", String::as_str);
        // What cannot be read may hold a password.
        let url = Url::parse(url).map_err(|_| "the address of Celery's broker cannot be read".to_owned())?;
        if url.scheme() != "redis" {
            return Err(format!(
                "how many tasks wait is asked of Redis only, and not of {}",
                url.scheme()
            ));
        }
        let host = url.host_str().unwrap_or_default();
        let broker = standing().find(|(service, _)| service == host);
        let (_, broker) =
            broker.ok_or_else(|| format!("Celery's broker {host} is no service of this project"))?;
        let number = url.path().trim_matches('/');
        let workers = of_workers.into_iter().map(|(container, count)| Worker {
            name: container.name.clone(),
            container: container.id.clone(),
            count,
        });
        let password = url.password().map(|password| {
            percent_encoding::percent_decode_str(password)
                .decode_utf8_lossy()
                .into_owned()
        });
        Ok(Some(Self {
            engine,
            broker: broker.id.clone(),
            access: RedisAccess {
                port: url.port().unwrap_or(6379).to_string(),
                database: if number.is_empty() { "0" } else { number }.to_owned(),
                password,
            },
            names,
            workers: workers.collect(),
            waiting: BTreeMap::new(),
            asked: f64::NEG_INFINITY,
            idle: Vec::new(),
            redis: None,
            silent: Silent::default(),
        }))
    }

    /// Looks, so many seconds after the watch began.
    pub(super) async fn look(&mut self, now: f64) {
        let mut suspect = None;
        self.silent.queues.clear();
        for name in self.names {
            let Some(waiting) = self.length(name).await else {
                self.waiting.remove(name.as_str());
                self.silent.queues.push(name.clone());
                continue;
            };
            let entry = self.waiting.entry(name).or_insert((now, waiting, waiting));
            if waiting == 0 || waiting < entry.2 {
                *entry = (now, waiting, waiting);
                continue;
            }
            entry.2 = waiting;
            let (since, first, _) = *entry;
            // From none on, it was there to be taken only once the first had come.
            if first == 0 {
                *entry = (now, waiting, waiting);
                continue;
            }
            let waits = now - since;
            if (waits >= MORE && waiting >= first + GROWN) || waits >= AS_MANY {
                suspect = Some((name.clone(), waiting));
            }
        }
        match suspect {
            None => {
                self.idle.clear();
                self.silent.workers = false;
            }
            Some((queue, waiting)) if now - self.asked >= PAUSE => {
                self.asked = now;
                self.idle = self.ask_workers(&queue, waiting).await;
            }
            Some(_) => {}
        }
    }

    async fn length(&self, queue: &str) -> Option<u64> {
        let length = self.ask(&self.access.length(queue)).await?;
        length.trim().parse().ok()
    }

    /// What could not be looked at.
    pub(super) fn unseen(&self) -> impl Iterator<Item = String> {
        let queues = self.silent.queues.iter();
        let queues =
            queues.map(|queue| format!("how many tasks wait in the queue `{queue}`: Redis did not say"));
        let workers = self
            .silent
            .workers
            .then_some("what the Celery workers do: they did not say");
        let redis = self
            .silent
            .redis
            .then_some("Redis' clients and memory: it did not say");
        queues.chain(workers.into_iter().chain(redis).map(ToOwned::to_owned))
    }

    /// Asks Redis for itself, which costs more than to ask for one list.
    pub(super) async fn look_at_redis(&mut self) {
        let info = self.ask(&self.access.info()).await;
        self.redis = info.as_deref().and_then(Server::parse);
        self.silent.redis = self.redis.is_none();
    }

    /// What it prints; `None` where it does not.
    async fn ask(&self, spec: &ExecSpec) -> Option<String> {
        printed(self.engine, &self.broker, spec).await
    }

    /// As Redis answered last.
    pub(super) fn measured_redis(&self) -> Option<MeasuredRedis> {
        self.redis.map(|server| MeasuredRedis {
            clients: server.clients,
            memory: server.memory,
            memory_limit: server.memory_limit,
        })
    }

    /// The queues whose length is known.
    pub(super) fn measured(&self) -> Vec<Queue> {
        let known = self.names.iter().filter_map(|name| {
            let (_, _, waiting) = self.waiting.get(name.as_str())?;
            Some(Queue {
                name: name.clone(),
                waiting: *waiting,
            })
        });
        known.collect()
    }

    /// Those that take nothing, if none takes anything: another one's tasks are not theirs.
    async fn ask_workers(&mut self, queue: &str, waiting: u64) -> Vec<IdleWorker> {
        let engine = self.engine;
        let asked = self.workers.iter().map(|worker| async move {
            let spec = ExecSpec {
                command: worker.count.clone(),
                ..ExecSpec::default()
            };
            let printed = printed(engine, &worker.container, &spec).await?;
            celery::has_taken_nothing(&printed)
        });
        let answers = futures_util::future::join_all(asked).await;
        self.silent.workers = answers.contains(&None);
        if answers.iter().any(|answer| *answer != Some(true)) {
            return Vec::new();
        }
        self.workers
            .iter()
            .map(|worker| IdleWorker {
                name: worker.name.clone(),
                queue: queue.to_owned(),
                waiting,
            })
            .collect()
    }
}
