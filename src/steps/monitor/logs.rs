//! The logs of a release's containers and of the proxy before them, from an hour before the deploy on and as they are
//! written. Lines are counted as they come, and none is kept.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, SelectAll};
use futures_util::{Stream, StreamExt};
use time::OffsetDateTime;

use super::errors::{ERRORS, Errors};
use super::judgement::SeenError;
use super::series::Series;
use super::sides::Sides;
use super::traffic::{Traffic, Watched};
use crate::engine::{Container, ContainerId, Inspect, LogLine, LogRange, OutputStream, Result};
use crate::pipeline::{LoggedErrors, News};
use crate::release::traffic::TrafficSeries;
use crate::stack::logged_errors::{ErrorReader, LoggedError};
use crate::stack::nginx::LogFormat;

/// Of what stands in the proxy's log already, so many lines are read: the newest.
const REQUESTS: u32 = 200_000;
/// And of any other log.
const LINES: u32 = 20_000;
/// So many are kept with the release.
const MET: usize = 300;
/// So much of a log before the watch is enough to say that an error in the watch is new.
const HOUR: Duration = Duration::from_secs(3600);
/// What the logs of before may take to be read.
const PATIENCE: Duration = Duration::from_secs(30);

type Lines = Pin<Box<dyn Stream<Item = (usize, Option<Result<LogLine>>)> + Send>>;

/// A log that is read.
struct Source {
    service: String,
    container: ContainerId,
    name: String,
    /// Of a container that stood before: what is in it is not new.
    is_before: bool,
    /// The moment of the first line that was read of it.
    first: Option<OffsetDateTime>,
    is_open: bool,
    /// From here on, where it is opened again.
    next: OffsetDateTime,
    readers: [ErrorReader; 2],
}

/// Errors that a release's record tells of: they were there when it had settled.
#[derive(Clone, Copy)]
pub(super) struct Recorded<'a> {
    pub errors: &'a BTreeSet<String>,
    /// It is the record of what is watched: what is not in it, is new since then.
    pub tells_new: bool,
}

/// All of them, and what was counted.
pub(super) struct Logs<'a> {
    inspect: &'a dyn Inspect,
    /// Whose log tells of the requests, and how.
    requests: Option<(String, LogFormat)>,
    deployed: OffsetDateTime,
    watched_since: OffsetDateTime,
    sources: Vec<Source>,
    open: SelectAll<Lines>,
    pub(super) before: Traffic,
    pub(super) watched: Watched,
    series: Series,
    /// Lines of the proxy's since the watch began that are of another format, and all of them.
    pub(super) unread: (u64, u64),
    known: BTreeSet<String>,
    recorded: Option<Recorded<'a>>,
    /// Every error that was met, before the deploy or since, by which a later watch knows it.
    met: BTreeSet<String>,
    errors: Errors,
    /// What could not be read.
    pub(super) problems: BTreeSet<String>,
}

impl<'a> Logs<'a> {
    /// Reads what was before, and opens what goes on.
    pub(super) async fn open(
        inspect: &'a dyn Inspect,
        sides: &Sides,
        requests: Option<(String, LogFormat)>,
        recorded: Option<Recorded<'a>>,
        watched_since: OffsetDateTime,
    ) -> Self {
        let mut logs = Self {
            inspect,
            requests,
            deployed: sides.began,
            watched_since,
            sources: Vec::new(),
            open: SelectAll::new(),
            before: Traffic::default(),
            watched: Watched::default(),
            series: Series::around(sides.began, watched_since),
            unread: (0, 0),
            known: BTreeSet::new(),
            recorded,
            met: BTreeSet::new(),
            errors: Errors::default(),
            problems: BTreeSet::new(),
        };
        for one in &sides.before {
            logs.add(one, true, sides.since()).await;
        }
        let reading = async {
            while let Some((source, line)) = logs.open.next().await {
                logs.take(source, line);
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            logs.problems
                .insert("the logs of before the deploy could not be read to their end in time".to_owned());
            logs.open.clear();
        }
        for one in &sides.new {
            logs.add(one, false, sides.began).await;
        }
        for one in &sides.kept {
            if logs.is_proxy(&one.0) {
                logs.add(one, false, sides.since()).await;
            }
        }
        logs
    }

    /// The requests so far, so long after the watch began; `None` where no log tells of them.
    pub(super) fn traffic(&self, after: Duration) -> Option<TrafficSeries> {
        self.requests.as_ref()?;
        let end = self.watched_since + after;
        Some(self.series.until(end, &self.before, &self.watched.all))
    }

    /// Whether one of them is an access log.
    pub(super) fn tells_requests(&self) -> bool {
        self.requests.is_some()
    }

    fn is_proxy(&self, service: &str) -> bool {
        self.requests.as_ref().is_some_and(|(proxy, _)| proxy == service)
    }

    async fn add(
        &mut self,
        (service, container): &(String, Container),
        is_before: bool,
        since: OffsetDateTime,
    ) {
        self.sources.push(Source {
            service: service.clone(),
            container: container.id.clone(),
            name: container.name.clone(),
            is_before,
            first: None,
            is_open: false,
            next: since,
            readers: Default::default(),
        });
        self.open_source(self.sources.len() - 1).await;
    }

    async fn open_source(&mut self, number: usize) {
        let Some(source) = self.sources.get(number) else {
            return;
        };
        let range = LogRange {
            since: source.next,
            newest: if self.is_proxy(&source.service) {
                REQUESTS
            } else {
                LINES
            },
            follow: !source.is_before,
        };
        let opened = self.inspect.log_lines(&source.container, &range).await;
        let Some(source) = self.sources.get_mut(number) else {
            return;
        };
        match opened {
            Ok(lines) => {
                source.is_open = true;
                let lines = lines.map(Some).chain(stream::iter([None]));
                self.open.push(Box::pin(lines.map(move |line| (number, line))));
            }
            Err(error) => {
                self.problems
                    .insert(format!("the log of {}: {error}", source.name));
            }
        }
    }

    /// Waits for the next line, and counts it. Never returns where nothing is open.
    pub(super) async fn next(&mut self) {
        match self.open.next().await {
            Some((source, line)) => self.take(source, line),
            None => std::future::pending().await,
        }
    }

    /// Opens what has ended although its container runs, as after a restart, and takes what errors are whole.
    pub(super) async fn refresh(&mut self, runs: impl Fn(&ContainerId) -> bool) {
        for number in 0..self.sources.len() {
            let is_due = self
                .sources
                .get(number)
                .is_some_and(|source| !source.is_open && !source.is_before && runs(&source.container));
            if is_due {
                self.open_source(number).await;
            }
            let held: Vec<LoggedError> = self
                .sources
                .get_mut(number)
                .map(|source| source.readers.iter_mut().filter_map(ErrorReader::take).collect())
                .unwrap_or_default();
            for error in held {
                self.logged(number, error);
            }
        }
    }

    fn take(&mut self, number: usize, line: Option<Result<LogLine>>) {
        let Some(source) = self.sources.get_mut(number) else {
            return;
        };
        let line = match line {
            Some(Ok(line)) => line,
            Some(Err(error)) => {
                self.problems
                    .insert(format!("the log of {}: {error}", source.name));
                return;
            }
            None => {
                source.is_open = false;
                let held: Vec<LoggedError> =
                    source.readers.iter_mut().filter_map(ErrorReader::take).collect();
                for error in held {
                    self.logged(number, error);
                }
                return;
            }
        };
        source.next = line.at + Duration::from_nanos(1);
        source.first.get_or_insert(line.at);
        match &self.requests {
            Some((proxy, format)) if *proxy == source.service => {
                let logged = format.read(&line.text);
                if line.at >= self.watched_since && line.stream == OutputStream::Stdout {
                    self.unread.1 += 1;
                    self.unread.0 += u64::from(logged.is_none());
                }
                let Some(logged) = logged else { return };
                self.series.add(line.at, &logged);
                if line.at < self.deployed {
                    self.before.add(&logged);
                } else if let Ok(after) = Duration::try_from(line.at - self.watched_since) {
                    self.watched.add(&logged, after);
                }
            }
            Some(_) | None => {
                let [stdout, stderr] = &mut source.readers;
                let reader = match line.stream {
                    OutputStream::Stdout => stdout,
                    OutputStream::Stderr => stderr,
                };
                if let Some(error) = reader.line(&line.text) {
                    self.logged(number, error);
                }
            }
        }
    }

    fn logged(&mut self, number: usize, error: LoggedError) {
        let Some(source) = self.sources.get(number) else {
            return;
        };
        if !error.by_visitor && self.met.len() < MET {
            self.met.insert(error.fingerprint.clone());
        }
        if source.is_before {
            if self.known.len() < ERRORS {
                self.known.insert(error.fingerprint);
            }
            return;
        }
        let has_before = self
            .sources
            .iter()
            .any(|one| one.is_before && one.service == source.service);
        let recorded = self.recorded;
        let is_recorded = recorded.is_some_and(|recorded| recorded.errors.contains(&error.fingerprint));
        let news = if is_recorded || self.known.contains(&error.fingerprint) {
            News::Known
        } else if has_before || recorded.is_some_and(|recorded| recorded.tells_new) {
            News::New
        } else {
            News::Unclear
        };
        let at = source.next - Duration::from_nanos(1);
        // What stood before its first line may have been thrown away.
        let first = source.first;
        let is_covered = first.is_some_and(|first| first <= self.watched_since - HOUR);
        self.errors.add(&source.service, error, at, news, is_covered);
    }

    /// What a later watch knows.
    pub(super) fn into_met(self) -> BTreeSet<String> {
        self.met
    }

    /// Errors that are not known from before.
    pub(super) fn errors(&self) -> Vec<SeenError> {
        self.errors.unknown()
    }

    /// Those that are to be told first, and how many there are beside them.
    pub(super) fn told(&self) -> (Vec<LoggedErrors>, u64) {
        self.errors.told(self.watched_since)
    }
}
