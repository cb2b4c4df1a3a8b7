//! The open-loop client: starts each request when it is due, whatever became of those before it, each on a connection
//! of its own. It has a thread and a single-threaded runtime to itself, so that nothing else holds it up.
//!
//! It can address nothing but a port of 127.0.0.1, and ends by itself: after [`MOST_REQUESTS`], and each request after
//! [`PATIENCE`](super::http::PATIENCE).

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::http::{self, PATIENCE};
use super::record::{Kind, Problem, Record};
use super::requests::{self, Request, Visitor};

/// Three quarters of an hour at 100 a second.
const MOST_REQUESTS: usize = 270_000;
/// Between one upload's beginning and the next.
const UPLOAD_EVERY: Duration = Duration::from_secs(2);
/// How long an upload's bytes take to send.
pub(crate) const UPLOAD_TAKES: Duration = Duration::from_secs(6);
/// In this many equal pieces.
const UPLOAD_PIECES: u32 = 60;

/// How hard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// Requests a second, uploads not counted.
    pub(crate) rate: u32,
    pub(crate) uploads: bool,
}

/// The load, while it lasts.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Lateness>,
    began: Instant,
    began_at: SystemTime,
    pressure: Pressure,
}

/// How late requests were started, seconds: above some milliseconds the client is the bottleneck.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lateness {
    pub(crate) worst: f64,
}

/// What a load leaves.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) records: Vec<Record>,
    pub(crate) lateness: Lateness,
    /// When the last request was due, seconds since the load began.
    pub(crate) ended: f64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    records: Mutex<Vec<Record>>,
    recorded: Condvar,
}

impl Load {
    /// Begins to ask.
    pub(crate) fn start(port: u16, visitor: Visitor, pressure: Pressure) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the client's runtime")?;
        let began = Instant::now();
        let began_at = SystemTime::now();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || runtime.block_on(drive(port, Arc::new(visitor), pressure, shared, began))
        });
        Ok(Self {
            shared,
            thread,
            began,
            began_at,
            pressure,
        })
    }

    /// Seconds since it began.
    pub(crate) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// A moment of the wall clock, in seconds since it began.
    pub(crate) fn at(&self, moment: SystemTime) -> f64 {
        match moment.duration_since(self.began_at) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        }
    }

    /// Waits until the requests of the last `seconds` have all been answered well; at most `limit`.
    pub(crate) fn settle(&self, seconds: u32, limit: Duration) -> Result<()> {
        let wanted = (self.pressure.rate * seconds) as usize;
        let from = self.records().len();
        let records = self.records();
        let settled = |records: &mut Vec<Record>| {
            let new = &records[from..];
            let streak = new.iter().rev().take_while(|record| record.outcome.is_ok());
            streak.count() < wanted
        };
        let (records, waited) = self
            .shared
            .recorded
            .wait_timeout_while(records, limit, settled)
            .unwrap_or_else(PoisonError::into_inner);
        let last = records.iter().rev().find(|record| record.outcome.is_err());
        ensure!(
            !waited.timed_out(),
            "the stack does not answer every request within {} s; the last failure: {last:?}",
            limit.as_secs()
        );
        Ok(())
    }

    /// Starts no more requests, and waits for those in flight.
    pub(crate) fn stop(self) -> Result<Recorded> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.began.elapsed().as_secs_f64();
        let lateness = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the client's thread panicked"))?;
        let mut records =
            std::mem::take(&mut *self.shared.records.lock().unwrap_or_else(PoisonError::into_inner));
        records.sort_by(|one, other| one.at.total_cmp(&other.at));
        Ok(Recorded {
            records,
            lateness,
            ended,
        })
    }

    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn record(&self, record: Record) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
        self.recorded.notify_all();
    }
}

async fn drive(
    port: u16,
    visitor: Arc<Visitor>,
    pressure: Pressure,
    shared: Arc<Shared>,
    began: Instant,
) -> Lateness {
    let mix = Schedule {
        every: Duration::from_secs(1) / pressure.rate,
        kind: requests::kind,
        most: MOST_REQUESTS,
    };
    let uploads = Schedule {
        every: UPLOAD_EVERY,
        kind: |_| Kind::Upload,
        most: if pressure.uploads { visitor.uploads() } else { 0 },
    };
    let (mix, uploads) = tokio::join!(
        mix.keep(port, &visitor, &shared, began),
        uploads.keep(port, &visitor, &shared, began)
    );
    Lateness {
        worst: mix.worst.max(uploads.worst),
    }
}

struct Schedule {
    every: Duration,
    kind: fn(usize) -> Kind,
    most: usize,
}

impl Schedule {
    async fn keep(
        &self,
        port: u16,
        visitor: &Arc<Visitor>,
        shared: &Arc<Shared>,
        began: Instant,
    ) -> Lateness {
        let mut lateness = Lateness::default();
        let mut running = JoinSet::new();
        for number in 0..self.most {
            let due = began + self.every.mul_f64(number as f64);
            sleep_until(due).await;
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let kind = (self.kind)(number);
            let (visitor, shared) = (Arc::clone(visitor), Arc::clone(shared));
            lateness.worst = lateness.worst.max(due.elapsed().as_secs_f64());
            running.spawn(async move {
                let request = visitor.request(kind, number);
                let outcome = timeout(PATIENCE, exchange(port, kind, request))
                    .await
                    .unwrap_or(Err(Problem::TimedOut));
                shared.record(Record {
                    at: (due - began).as_secs_f64(),
                    kind,
                    latency: due.elapsed().as_secs_f64(),
                    outcome,
                });
            });
            while running.try_join_next().is_some() {}
        }
        running.join_all().await;
        lateness
    }
}

async fn exchange(port: u16, kind: Kind, request: Request) -> Result<Option<String>, Problem> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|_| Problem::Refused)?;
    send(&mut connection, kind, &request.bytes)
        .await
        .map_err(|_| Problem::CutOff)?;
    let mut bytes = Vec::with_capacity(8 * 1024);
    let answer = loop {
        let read = connection
            .read_buf(&mut bytes)
            .await
            .map_err(|_| Problem::CutOff)?;
        match http::answer(&bytes, read == 0) {
            Some(answer) => break answer,
            None if read == 0 => return Err(Problem::CutOff),
            None => {}
        }
    };
    if answer.status == request.expected {
        Ok(requests::release(kind, &answer))
    } else {
        Err(Problem::Status(answer.status))
    }
}

async fn send(connection: &mut TcpStream, kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
    if kind != Kind::Upload {
        return connection.write_all(bytes).await;
    }
    let began = Instant::now();
    let pieces = bytes.chunks(bytes.len().div_ceil(UPLOAD_PIECES as usize));
    for (number, piece) in (1..).zip(pieces) {
        sleep_until(began + UPLOAD_TAKES * number / UPLOAD_PIECES).await;
        connection.write_all(piece).await?;
    }
    Ok(())
}
