//! The proxy's log as a series over time, from ten minutes before the deploy to the end of the watch, for the report.
//! Judges nothing. Bounded, whatever is asked for and however long it is watched: buckets grow wider instead of more.

use time::{Duration, OffsetDateTime};

use super::statistics::Durations;
use super::traffic::{PageCounts, Traffic};
use crate::clock::timestamp;
use crate::release::traffic::{PageTraffic, TrafficCounts, TrafficSeries};
use crate::stack::nginx::Logged;

/// From so long before the deploy on.
const BEFORE: Duration = Duration::minutes(10);
/// So many buckets at most.
const MOST: usize = 360;
/// How wide they may be, in seconds: each a multiple of the one before it. The last is enough for two weeks.
const WIDTHS: [u32; 8] = [5, 10, 30, 60, 120, 360, 720, 3600];
/// So many pages are told.
const PAGES: usize = 20;

/// What is counted so far.
#[derive(Debug, Clone)]
pub struct Series {
    deployed: OffsetDateTime,
    watched: OffsetDateTime,
    /// Which of the widths.
    width: usize,
    buckets: Vec<Bucket>,
    /// The earliest request that is known.
    first: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    requests: u64,
    failed: u64,
    missing: u64,
    took: Durations,
}

impl Bucket {
    fn add_all(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.missing += other.missing;
        self.took.add_all(&other.took);
    }

    fn counts(&self) -> TrafficCounts {
        TrafficCounts {
            requests: self.requests,
            failed: self.failed,
            missing: self.missing,
            p50: self.took.quantile(0.5),
            p95: self.took.quantile(0.95),
            p99: self.took.quantile(0.99),
        }
    }
}

impl Series {
    /// Around these two moments, both by the engine's clock.
    pub const fn around(deployed: OffsetDateTime, watched: OffsetDateTime) -> Self {
        Self {
            deployed,
            watched,
            width: 0,
            buckets: Vec::new(),
            first: None,
        }
    }

    /// Counts one.
    pub fn add(&mut self, at: OffsetDateTime, logged: &Logged) {
        let Some(mut place) = self.place(at) else { return };
        while place >= MOST {
            // A moment beyond the widest is none.
            if !self.widen() {
                return;
            }
            let Some(wider) = self.place(at) else { return };
            place = wider;
        }
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        if self.buckets.len() <= place {
            self.buckets.resize_with(place + 1, Bucket::default);
        }
        let Some(bucket) = self.buckets.get_mut(place) else {
            return;
        };
        bucket.requests += 1;
        match logged.status {
            500.. => bucket.failed += 1,
            404 => bucket.missing += 1,
            _ => {}
        }
        if let Some(seconds) = logged.seconds.filter(|_| logged.status < 500) {
            bucket.took.add(seconds);
        }
    }

    /// All of it, the watch having ended at this moment.
    pub fn until(&self, end: OffsetDateTime, before: &Traffic, since: &Traffic) -> TrafficSeries {
        let mut whole = self.clone();
        let last = loop {
            match whole.place(end) {
                Some(last) if last < MOST => break last,
                Some(_) if whole.widen() => {}
                Some(_) | None => break whole.buckets.len().saturating_sub(1),
            }
        };
        // Of what was before the first known request nobody knows that there was none.
        let known = whole
            .first
            .map_or(whole.deployed, |first| first.min(whole.deployed));
        let first = whole.place(known).unwrap_or_default();
        let every = whole.every();
        let from = whole.origin() + every * i32::try_from(first).unwrap_or_default();
        let seconds = |moment: OffsetDateTime| ((moment - from).as_seconds_f64() * 1000.0).round() / 1000.0;
        let nothing = Bucket::default();
        let last = last.max(whole.buckets.len().saturating_sub(1));
        TrafficSeries {
            from: timestamp(from),
            every: WIDTHS.get(whole.width).copied().unwrap_or(1),
            deployed: seconds(whole.deployed),
            watched: seconds(whole.watched),
            until: seconds(end),
            buckets: (first..=last)
                .map(|place| whole.buckets.get(place).unwrap_or(&nothing).counts())
                .collect(),
            before: all(before),
            since: all(since),
            pages: pages(before, since),
        }
    }

    fn origin(&self) -> OffsetDateTime {
        self.deployed - BEFORE
    }

    fn every(&self) -> Duration {
        Duration::seconds(WIDTHS.get(self.width).copied().unwrap_or(1).into())
    }

    /// Which bucket a moment falls into; `None` before the first.
    fn place(&self, at: OffsetDateTime) -> Option<usize> {
        let since = (at - self.origin()).whole_milliseconds();
        let place = since.checked_div_euclid(self.every().whole_milliseconds())?;
        usize::try_from(place).ok()
    }

    /// Makes the buckets wider; says whether it could.
    fn widen(&mut self) -> bool {
        let (Some(now), Some(next)) = (WIDTHS.get(self.width), WIDTHS.get(self.width + 1)) else {
            return false;
        };
        let together = usize::try_from(next / now).unwrap_or(1).max(1);
        let wider = self.buckets.chunks(together).map(|buckets| {
            let mut one = Bucket::default();
            for bucket in buckets {
                one.add_all(bucket);
            }
            one
        });
        self.buckets = wider.collect();
        self.width += 1;
        true
    }
}

fn all(traffic: &Traffic) -> TrafficCounts {
    let mut all = Bucket::default();
    for counts in traffic.pages.values() {
        all.add_all(&of_page(counts));
    }
    all.counts()
}

fn of_page(counts: &PageCounts) -> Bucket {
    Bucket {
        requests: counts.requests,
        failed: counts.failed,
        missing: counts.missing,
        took: counts.took.clone(),
    }
}

/// Those that fail first, and then the busiest.
fn pages(before: &Traffic, since: &Traffic) -> Vec<PageTraffic> {
    let mut names: Vec<&String> = before.pages.keys().chain(since.pages.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut pages: Vec<PageTraffic> = names
        .into_iter()
        .map(|page| {
            let counts = |traffic: &Traffic| {
                let counts = traffic.pages.get(page);
                counts.map_or_else(TrafficCounts::default, |counts| of_page(counts).counts())
            };
            PageTraffic {
                page: page.clone(),
                before: counts(before),
                since: counts(since),
            }
        })
        .collect();
    pages.sort_by_key(|page| {
        let requests = page.before.requests + page.since.requests;
        std::cmp::Reverse((page.since.failed, requests))
    });
    pages.truncate(PAGES);
    pages
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const DEPLOYED: OffsetDateTime = datetime!(2026-11-29 10:00:02 UTC);
    const WATCHED: OffsetDateTime = datetime!(2026-11-29 10:01:00 UTC);

    fn logged(status: u16, seconds: f64) -> Logged {
        Logged {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            status,
            seconds: Some(seconds),
        }
    }

    fn until(series: &Series, end: OffsetDateTime) -> TrafficSeries {
        series.until(end, &Traffic::default(), &Traffic::default())
    }

    #[test]
    fn each_request_is_in_the_bucket_of_its_moment() {
        let mut series = Series::around(DEPLOYED, WATCHED);
        // Before the ten minutes, and within them.
        series.add(DEPLOYED - Duration::minutes(11), &logged(200, 0.1));
        series.add(DEPLOYED - Duration::seconds(60), &logged(200, 0.1));
        series.add(DEPLOYED - Duration::seconds(56), &logged(404, 0.1));
        series.add(DEPLOYED + Duration::seconds(4), &logged(503, 0.001));
        let told = until(&series, WATCHED + Duration::seconds(20));
        assert_eq!((told.from.as_str(), told.every), ("2026-11-29T09:59:02Z", 5));
        assert_eq!((told.deployed, told.watched, told.until), (60.0, 118.0, 138.0));
        assert_eq!(told.buckets.len(), 28, "up to the end, although nothing came");
        assert_eq!((told.buckets[0].requests, told.buckets[0].missing), (2, 1));
        assert!((told.buckets[0].p50.unwrap() / 0.1 - 1.0).abs() < 0.05);
        assert_eq!((told.buckets[12].requests, told.buckets[12].failed), (1, 1));
        assert_eq!(told.buckets[12].p50, None, "what fails at once is not fast");
        assert_eq!(told.buckets.iter().map(|one| one.requests).sum::<u64>(), 3);
    }

    #[test]
    fn where_no_request_is_known_it_begins_at_the_deploy() {
        let told = until(&Series::around(DEPLOYED, WATCHED), WATCHED);
        assert_eq!((told.from.as_str(), told.deployed), ("2026-11-29T10:00:02Z", 0.0));
        assert_eq!(told.buckets, vec![TrafficCounts::default(); 12]);
    }

    #[test]
    fn a_day_has_no_more_buckets_than_an_hour_and_loses_nothing() {
        let mut series = Series::around(DEPLOYED, WATCHED);
        for minute in -10..=(24 * 60) {
            series.add(DEPLOYED + Duration::minutes(minute), &logged(200, 0.2));
        }
        let told = until(&series, WATCHED + Duration::hours(24));
        assert_eq!(told.every, 360);
        assert!(told.buckets.len() <= MOST, "{}", told.buckets.len());
        let requests: u64 = told.buckets.iter().map(|one| one.requests).sum();
        assert_eq!(requests, 24 * 60 + 11);
    }

    #[test]
    fn a_moment_far_away_is_none() {
        let mut series = Series::around(DEPLOYED, WATCHED);
        series.add(datetime!(9999-12-31 23:59:59 UTC), &logged(200, 0.2));
        series.add(datetime!(0001-01-01 0:00 UTC), &logged(200, 0.2));
        assert!(series.buckets.is_empty());
    }

    #[test]
    fn failing_pages_are_told_before_busy_ones() {
        let mut since = Traffic::default();
        for _ in 0..50 {
            since.add(&logged(200, 0.1));
        }
        let failing = Logged {
            path: "/print/".to_owned(),
            ..logged(500, 0.1)
        };
        since.add(&failing);
        let pages = pages(&Traffic::default(), &since);
        let told: Vec<(&str, u64)> = pages
            .iter()
            .map(|page| (page.page.as_str(), page.since.failed))
            .collect();
        assert_eq!(told, [("/print/", 1), ("/", 0)]);
    }
}
