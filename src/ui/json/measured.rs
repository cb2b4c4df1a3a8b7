//! What one look of `monitor` has found, on the wire. Its fields are described in `super`.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Text, texts};
use crate::clock::seconds;
use crate::pipeline::{
    DatabaseActivity, DatabaseSession, Disk, LockWait, LoggedErrors, Measured, MeasuredContainer,
    MeasuredDatabase, MeasuredRedis, Queue, Requests, WorstPage,
};

#[derive(Serialize)]
pub(super) struct WireMeasured {
    release: Text,
    so_far: &'static str,
    findings: Vec<Text>,
    elapsed: f64,
    left: f64,
    requests: Option<WireRequests>,
    containers: Vec<WireContainer>,
    errors: Vec<WireErrors>,
    further_errors: u64,
    database: Option<WireDatabase>,
    redis: Option<WireRedis>,
    queues: Vec<WireQueue>,
    disks: Vec<WireDisk>,
    unseen: Vec<Text>,
}

#[derive(Serialize)]
struct WireRequests {
    source: &'static str,
    over: f64,
    per_second: f64,
    failed_share: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    total: u64,
    failed: u64,
    pages: Vec<WirePage>,
}

#[derive(Serialize)]
struct WirePage {
    page: Text,
    requests: u64,
    failed: u64,
    p95: Option<f64>,
}

#[derive(Serialize)]
struct WireContainer {
    service: Text,
    name: Text,
    new: bool,
    state: &'static str,
    health: Option<&'static str>,
    restarts: u32,
    restarts_since: u32,
    cores: Option<f64>,
    memory: Option<u64>,
    memory_limit: Option<u64>,
    received: Option<f64>,
    sent: Option<f64>,
}

#[derive(Serialize)]
struct WireErrors {
    service: Text,
    fingerprint: Text,
    count: u64,
    first: String,
    last: String,
    news: &'static str,
}

#[derive(Serialize)]
struct WireDatabase {
    connections: u64,
    usable: u64,
    activity: Option<WireActivity>,
}

#[derive(Serialize)]
struct WireActivity {
    slow: u64,
    longest: Vec<WireSession>,
    waiting: u64,
    waits: Vec<WireWait>,
}

#[derive(Serialize)]
struct WireSession {
    pid: u32,
    state: Text,
    seconds: f64,
    wait: Option<Text>,
    statement: Text,
}

#[derive(Serialize)]
struct WireWait {
    session: WireSession,
    blocked_by: Vec<WireSession>,
}

#[derive(Serialize)]
struct WireRedis {
    clients: u64,
    memory: u64,
    memory_limit: Option<u64>,
}

#[derive(Serialize)]
struct WireQueue {
    name: Text,
    waiting: u64,
}

#[derive(Serialize)]
struct WireDisk {
    what: Text,
    free: u64,
    total: u64,
}

impl From<&Measured> for WireMeasured {
    fn from(measured: &Measured) -> Self {
        Self {
            release: (&measured.release).into(),
            so_far: measured.verdict.as_str(),
            findings: texts(&measured.findings),
            elapsed: seconds(measured.elapsed),
            left: seconds(measured.left),
            requests: measured.requests.as_ref().map(WireRequests::from),
            containers: measured.containers.iter().map(WireContainer::from).collect(),
            errors: measured.errors.iter().map(WireErrors::from).collect(),
            further_errors: measured.further_errors,
            database: measured.database.as_ref().map(WireDatabase::from),
            redis: measured.redis.as_ref().map(WireRedis::from),
            queues: measured.queues.iter().map(WireQueue::from).collect(),
            disks: measured.disks.iter().map(WireDisk::from).collect(),
            unseen: texts(&measured.unseen),
        }
    }
}

impl From<&Requests> for WireRequests {
    fn from(requests: &Requests) -> Self {
        Self {
            source: requests.source.as_str(),
            over: seconds(requests.over),
            per_second: short(requests.per_second),
            failed_share: requests.failed_share.map(short),
            p50: requests.p50.map(short),
            p95: requests.p95.map(short),
            p99: requests.p99.map(short),
            total: requests.total,
            failed: requests.failed,
            pages: requests.pages.iter().map(WirePage::from).collect(),
        }
    }
}

impl From<&WorstPage> for WirePage {
    fn from(page: &WorstPage) -> Self {
        Self {
            page: (&page.page).into(),
            requests: page.requests,
            failed: page.failed,
            p95: page.p95.map(short),
        }
    }
}

impl From<&MeasuredContainer> for WireContainer {
    fn from(container: &MeasuredContainer) -> Self {
        Self {
            service: (&container.service).into(),
            name: (&container.name).into(),
            new: container.is_new,
            state: container.state,
            health: container.health,
            restarts: container.restarts,
            restarts_since: container.restarts_since,
            cores: container.cores.map(short),
            memory: container.memory,
            memory_limit: container.memory_limit,
            received: container.received.map(f64::round),
            sent: container.sent.map(f64::round),
        }
    }
}

impl From<&LoggedErrors> for WireErrors {
    fn from(errors: &LoggedErrors) -> Self {
        Self {
            service: (&errors.service).into(),
            fingerprint: (&errors.fingerprint).into(),
            count: errors.count,
            first: moment(errors.first),
            last: moment(errors.last),
            news: errors.news.as_str(),
        }
    }
}

impl From<&MeasuredDatabase> for WireDatabase {
    fn from(database: &MeasuredDatabase) -> Self {
        Self {
            connections: database.connections,
            usable: database.usable,
            activity: database.activity.as_ref().map(WireActivity::from),
        }
    }
}

impl From<&DatabaseActivity> for WireActivity {
    fn from(activity: &DatabaseActivity) -> Self {
        Self {
            slow: activity.slow,
            longest: activity.longest.iter().map(WireSession::from).collect(),
            waiting: activity.waiting,
            waits: activity.waits.iter().map(WireWait::from).collect(),
        }
    }
}

impl From<&DatabaseSession> for WireSession {
    fn from(session: &DatabaseSession) -> Self {
        Self {
            pid: session.pid,
            state: (&session.state).into(),
            seconds: short(session.seconds),
            wait: session.wait.as_ref().map(Text::from),
            statement: (&session.statement).into(),
        }
    }
}

impl From<&LockWait> for WireWait {
    fn from(wait: &LockWait) -> Self {
        Self {
            session: (&wait.session).into(),
            blocked_by: wait.blocked_by.iter().map(WireSession::from).collect(),
        }
    }
}

impl From<&MeasuredRedis> for WireRedis {
    fn from(redis: &MeasuredRedis) -> Self {
        Self {
            clients: redis.clients,
            memory: redis.memory,
            memory_limit: redis.memory_limit,
        }
    }
}

impl From<&Queue> for WireQueue {
    fn from(queue: &Queue) -> Self {
        Self {
            name: (&queue.name).into(),
            waiting: queue.waiting,
        }
    }
}

impl From<&Disk> for WireDisk {
    fn from(disk: &Disk) -> Self {
        Self {
            what: (&disk.what).into(),
            free: disk.free,
            total: disk.total,
        }
    }
}

/// To four digits behind the point: nothing here is measured more finely.
fn short(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

fn moment(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
