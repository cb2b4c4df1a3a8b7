//! The verdict on a release, from what was seen of it. Pure: the same is said of the same.
//!
//! Every rule is made to be asked again and again while the release is watched, so none of them may be true by chance
//! once in a million looks (`BY_CHANCE`). Beside the thresholds of `deploy.yml` they are:
//!
//! - **5xx**: as many on one page as `failures` says, and more than twice its usual share explains by chance. The usual
//!   share is that of the page before the deploy, drawn towards that of the whole site as if there had been `PRIOR`
//!   requests more, and half a per cent at least. The same for all pages together.
//! - **Latency**, by page, from `BEFORE` answers before and `SINCE` since: half of them took `times_slower` times the
//!   median before, and `slower_by` longer; or the slowest of them three times the 95th percentile before. Of late, too,
//!   and not in the first seconds, with cold caches. Pages with too few are judged together.
//! - **Files** under a folder of static files that are answered 404, and were not before: three times at least.
//! - **Errors** that were not in the hour before: an exception once, a line of level ERROR three times.
//! - **Containers** that restarted, ended, became unhealthy or ran out of memory; memory near its limit; memory that
//!   grew steadily, does not level off, and reaches the limit within ten minutes.
//! - **Workers** that were asked and take no task while tasks wait; **connections** of the database near their limit at
//!   three looks in a row; **probes** that failed three times in a row.
//!
//! With next to no traffic no share of it is judged: the probes decide, or the verdict is inconclusive.

use std::time::Duration;

use super::memory::{bytes, grows};
use super::processor::Processor;
use super::statistics::{Durations, chance_of_at_least};
use super::traffic::{PageCounts, Traffic};
use crate::config::{NewErrors, Thresholds};
use crate::pipeline::Verdict;
use crate::stack::logged_errors::LoggedErrorKind;
use crate::stack::nginx::is_asset;
use crate::steps::backup::size;

/// What is less likely than this is no chance.
const BY_CHANCE: f64 = 1e-6;
/// Requests that the whole site's share of failures counts for in that of one page.
const PRIOR: f64 = 20.0;
/// The share of failures that any site may have.
const USUAL: f64 = 0.005;
/// Answers of a page before the deploy, without which nothing is compared with them.
const BEFORE: u64 = 30;
/// And since.
const SINCE: u64 = 20;
/// How often in a row a probe, or a look at the connections, must say so.
pub const IN_A_ROW: u32 = 3;
/// A line of level ERROR may be written of something that was handled.
const LINES: u64 = 3;
/// Everything that was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Since the watch began.
    pub elapsed: Duration,
    /// Requests before the deploy.
    pub before: Traffic,
    pub since: Traffic,
    /// Of the last seconds.
    pub recent: Traffic,
    /// How many requests since were the tool's own.
    pub own: u64,
    /// Errors that were not there before, or of which nobody knows.
    pub errors: Vec<SeenError>,
    pub containers: Vec<SeenContainer>,
    /// Workers that were found to take nothing, and the tasks that wait for them.
    pub idle_workers: Vec<IdleWorker>,
    pub connections: Option<Connections>,
    pub probes: Vec<Probe>,
}

/// An error in the log of a container that the release has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenError {
    pub service: String,
    pub kind: LoggedErrorKind,
    pub fingerprint: String,
    pub by_visitor: bool,
    pub count: u64,
    /// There is a log from before, and it is not in it.
    pub is_new: bool,
}

/// A container of the project.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeenContainer {
    pub name: String,
    /// Since the watch began.
    pub restarts: u32,
    /// What else is wrong with it: `unhealthy`, `ended with exit code 1`.
    pub trouble: Option<String>,
    /// Seconds since the watch began, and bytes.
    pub memory: Vec<(f64, f64)>,
    /// Bytes that it may use; `None` where it has no limit of its own.
    pub limit: Option<u64>,
    /// Bytes that those before it used.
    pub before: Option<u64>,
    pub processor: Processor,
}

/// A worker that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleWorker {
    pub name: String,
    pub queue: String,
    pub waiting: u64,
}

/// Of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub used: u64,
    /// Those that are kept for superusers left out.
    pub usable: u64,
    /// At how many looks in a row they were above the threshold.
    pub above: u32,
}

/// An address that the tool asks itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    pub address: String,
    pub succeeded: u64,
    pub failed_in_a_row: u32,
    /// What was wrong the last time.
    pub problem: Option<String>,
}

/// What a release is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub thresholds: Thresholds,
    pub new_errors: NewErrors,
}

/// The verdict, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Why it is bad.
    pub findings: Vec<String>,
    /// What is no reason, and should be known.
    pub remarks: Vec<String>,
}

impl Rules {
    /// Judges what was seen. Before the time is over only `Bad` is final.
    pub fn judge(&self, seen: &Seen) -> Judgement {
        let mut findings = self.failures(seen);
        findings.extend(self.latency(seen));
        findings.extend(missing_files(seen));
        let mut remarks = Vec::new();
        self.errors(seen, &mut findings, &mut remarks);
        for container in &seen.containers {
            findings.extend(self.container(container));
            remarks.extend(container.processor.remark(&container.name));
        }
        findings.extend(seen.idle_workers.iter().map(|worker| {
            format!(
                "the worker {} takes no tasks: {} wait in the queue `{}`, and it is at none",
                worker.name, worker.waiting, worker.queue
            )
        }));
        // Beside something else that is bad, once is enough to name it.
        let in_a_row = if findings.is_empty() { IN_A_ROW } else { 1 };
        if let Some(connections) = seen
            .connections
            .filter(|connections| connections.above >= in_a_row)
        {
            findings.push(format!(
                "the database has {} of the {} connections that it allows",
                connections.used, connections.usable
            ));
        }
        findings.extend(failing_probes(seen, in_a_row));
        let is_visited = self.visitors(seen).is_some();
        let is_probed = !seen.probes.is_empty()
            && seen
                .probes
                .iter()
                .all(|probe| probe.succeeded >= u64::from(IN_A_ROW) && probe.failed_in_a_row == 0);
        let verdict = if !findings.is_empty() {
            Verdict::Bad
        } else if is_visited || is_probed {
            Verdict::Good
        } else {
            Verdict::Inconclusive
        };
        if !is_visited {
            let by = if is_probed {
                "the probes decide"
            } else {
                "and no probes stand in for it"
            };
            remarks.push(format!(
                "next to no traffic: {} requests of {} that a verdict needs; {by}",
                seen.since.requests().saturating_sub(seen.own),
                self.thresholds.requests
            ));
        } else if seen.before.took().count() < BEFORE {
            remarks
                .push("too little is known of before the deploy to compare how long answers take".to_owned());
        }
        Judgement {
            verdict,
            findings,
            remarks,
        }
    }

    /// How many requests were not the tool's own; `None` where they are next to none.
    fn visitors(&self, seen: &Seen) -> Option<u64> {
        let visitors = seen.since.requests().saturating_sub(seen.own);
        (visitors >= u64::from(self.thresholds.requests)).then_some(visitors)
    }

    fn failures(&self, seen: &Seen) -> Vec<String> {
        let least = u64::from(self.thresholds.failures);
        let site = share(seen.before.failed(), seen.before.requests()).max(USUAL);
        let mut found: Vec<(u64, String)> = Vec::new();
        for (page, counts) in &seen.since.pages {
            let before = seen.before.pages.get(page);
            let (failed, requests) = before.map_or((0, 0), |before| (before.failed, before.requests));
            let usual = (failed as f64 + PRIOR * site) / (requests as f64 + PRIOR);
            if counts.failed >= least
                && chance_of_at_least(counts.failed, counts.requests, 2.0 * usual.max(USUAL))
                    < BY_CHANCE * 10.0
            {
                let line = format!(
                    "{page}: {} of {} requests answered 5xx; before the deploy {failed} of {requests}",
                    counts.failed, counts.requests
                );
                found.push((counts.failed, line));
            }
        }
        let (failed, requests) = (seen.since.failed(), seen.since.requests());
        if found.is_empty()
            && failed >= least.max(5)
            && chance_of_at_least(failed, requests, 2.0 * site) < BY_CHANCE
        {
            let line = format!(
                "the whole site: {failed} of {requests} requests answered 5xx; before the deploy {} of {}",
                seen.before.failed(),
                seen.before.requests()
            );
            found.push((failed, line));
        }
        the_first(found)
    }

    fn latency(&self, seen: &Seen) -> Vec<String> {
        // A share of next to nothing says nothing.
        if self.visitors(seen).is_none() {
            return Vec::new();
        }
        let mut found: Vec<(u64, String)> = Vec::new();
        let (mut slow, mut all) = (0, 0);
        for (page, counts) in &seen.since.pages {
            let Some(before) = seen.before.pages.get(page) else {
                continue;
            };
            let late = seen.recent.pages.get(page).map(|late| &late.took);
            let Some(limit) = self.slow(&before.took) else {
                continue;
            };
            slow += counts.took.longer_than(limit);
            all += counts.took.count();
            if let Some(line) = self.slower(page, before, counts, late) {
                found.push((counts.requests, line));
            }
        }
        if found.is_empty() && all >= SINCE && 2 * slow >= all && is_slow_of_late(self, seen) {
            let line = format!(
                "the whole site: {slow} of {all} answers took more than {} times as long as half of their page's before \
                 the deploy",
                self.thresholds.times_slower
            );
            found.push((all, line));
        }
        the_first(found)
    }

    /// What is slow for a page, in seconds; `None` where it is not known well enough, or was so before.
    fn slow(&self, before: &Durations) -> Option<f64> {
        let median = before.quantile(0.5).filter(|_| before.count() >= BEFORE)?;
        let limit = (median * f64::from(self.thresholds.times_slower))
            .max(median + self.thresholds.slower_by.0.as_secs_f64());
        (4 * before.longer_than(limit) < before.count()).then_some(limit)
    }

    fn slower(
        &self,
        page: &str,
        before: &PageCounts,
        since: &PageCounts,
        late: Option<&Durations>,
    ) -> Option<String> {
        let (before, since) = (&before.took, &since.took);
        if since.count() < SINCE {
            return None;
        }
        let compared = |part: f64, which: &str| {
            let (then, now) = (before.quantile(part)?, since.quantile(part)?);
            Some(format!(
                "{page}: {which} of the answers take {} and more; before the deploy {} ({} requests, {} before)",
                milliseconds(now),
                milliseconds(then),
                since.count(),
                before.count()
            ))
        };
        let limit = self.slow(before)?;
        let half = |durations: &Durations| 2 * durations.longer_than(limit) >= durations.count();
        if half(since) && late.is_none_or(|late| late.count() < SINCE / 2 || half(late)) {
            return compared(0.5, "half");
        }
        let tail = before.quantile(0.95)?;
        let limit = (3.0 * tail).max(tail + 10.0 * self.thresholds.slower_by.0.as_secs_f64());
        let usual = 2.0 * (before.longer_than(limit) as f64 + 1.0) / (before.count() as f64 + 2.0);
        let many = |durations: &Durations| {
            let longer = durations.longer_than(limit);
            10 * longer >= durations.count()
                && chance_of_at_least(longer, durations.count(), usual.max(0.01)) < BY_CHANCE
        };
        if many(since) && late.is_none_or(|late| 10 * late.longer_than(limit) >= late.count()) {
            return compared(0.95, "5 %");
        }
        None
    }

    fn errors(&self, seen: &Seen, findings: &mut Vec<String>, remarks: &mut Vec<String>) {
        for error in &seen.errors {
            let (what, enough) = match error.kind {
                LoggedErrorKind::Exception => ("exception", true),
                LoggedErrorKind::Line => ("error", error.count >= LINES),
            };
            let said = |new: &str| {
                format!(
                    "{new}{what} in the log of {}, {} times: {}",
                    error.service, error.count, error.fingerprint
                )
            };
            let is_bad = match self.new_errors {
                NewErrors::Bad => enough && !error.by_visitor && error.is_new,
                NewErrors::Warn => false,
            };
            if is_bad {
                findings.push(said("new "));
            } else if error.is_new {
                remarks.push(said("new "));
            } else {
                remarks.push(format!("{}; no log tells whether it is new", said("")));
            }
        }
    }

    fn container(&self, container: &SeenContainer) -> Vec<String> {
        let mut found = Vec::new();
        let name = &container.name;
        if container.restarts > 0 {
            found.push(format!(
                "{name} was restarted {} times by the engine",
                container.restarts
            ));
        }
        found.extend(
            container
                .trouble
                .iter()
                .map(|trouble| format!("{name} {trouble}")),
        );
        let Some((_, last)) = container.memory.last().copied() else {
            return found;
        };
        let before = container.before.map_or_else(String::new, |bytes| {
            format!("; before the deploy {}", size(bytes))
        });
        if let Some(limit) = container.limit {
            let most = limit as f64 * f64::from(self.thresholds.memory) / 100.0;
            let was_so = container.before.is_some_and(|bytes| bytes as f64 >= most);
            if last >= most && !was_so {
                found.push(format!(
                    "{name} uses {} of memory, and may use {}{before}",
                    bytes(last),
                    size(limit)
                ));
                return found;
            }
        }
        found.extend(grows(container).map(|line| format!("{name}: {line}{before}")));
        found
    }
}

/// Whether most answers of the last seconds are slow, of whatever page.
fn is_slow_of_late(rules: &Rules, seen: &Seen) -> bool {
    let (mut slow, mut all) = (0, 0);
    for (page, counts) in &seen.recent.pages {
        let before = seen.before.pages.get(page).map(|before| &before.took);
        if let Some(limit) = before.and_then(|before| rules.slow(before)) {
            slow += counts.took.longer_than(limit);
            all += counts.took.count();
        }
    }
    2 * slow >= all
}

/// A file that pages are made of, answered 404 three times and more, which was served before; or was never asked for
/// before, and others of its folder are served or were.
fn missing_files(seen: &Seen) -> Vec<String> {
    let mut found: Vec<(u64, String)> = Vec::new();
    let nothing = PageCounts::default();
    for (page, counts) in &seen.since.pages {
        if counts.missing < 3 || counts.missing <= counts.served || !is_asset(page) {
            continue;
        }
        let before = seen.before.pages.get(page).unwrap_or(&nothing);
        let is_known = before.served > 0 || is_of_the_site(page, seen);
        if before.missing == 0 && is_known {
            let line = format!(
                "{page}: {} of {} requests answered 404; before the deploy none of {}",
                counts.missing, counts.requests, before.requests
            );
            found.push((counts.missing, line));
        }
    }
    the_first(found)
}

/// Whether its first folder is one that files come from; `/static/` is one by its name. What scanners ask for is of none.
fn is_of_the_site(page: &str, seen: &Seen) -> bool {
    let folder = |page: &str| -> Option<String> {
        let (folder, _) = page.strip_prefix('/')?.split_once('/')?;
        Some(folder.to_owned())
    };
    let Some(own) = folder(page) else { return false };
    let served = |traffic: &Traffic| {
        let mut pages = traffic.pages.iter();
        pages.any(|(other, counts)| {
            counts.served > 0 && is_asset(other) && folder(other).as_ref() == Some(&own)
        })
    };
    own == "static" || served(&seen.before) || served(&seen.since)
}

fn failing_probes(seen: &Seen, in_a_row: u32) -> impl Iterator<Item = String> {
    let failing = seen
        .probes
        .iter()
        .filter(move |probe| probe.failed_in_a_row >= in_a_row);
    failing.map(|probe| {
        format!(
            "{} {}, {} times in a row",
            probe.address,
            probe.problem.as_deref().unwrap_or("does not answer well"),
            probe.failed_in_a_row
        )
    })
}

/// The heaviest first, and how many there are beside them.
fn the_first(mut found: Vec<(u64, String)>) -> Vec<String> {
    const SHOWN: usize = 5;
    found.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let further = found.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = found.into_iter().take(SHOWN).map(|(_, line)| line).collect();
    if further > 0 {
        lines.push(format!("and {further} further pages"));
    }
    lines
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}

/// Of late: requests a second, the share of 5xx in per cent, and the 95th percentile in seconds.
pub fn pulse(recent: &Traffic, over: Duration) -> (f64, f64, Option<f64>) {
    let seconds = over.as_secs_f64().max(1.0);
    let requests = recent.requests();
    (
        requests as f64 / seconds,
        100.0 * share(recent.failed(), requests),
        recent.took().quantile(0.95),
    )
}
