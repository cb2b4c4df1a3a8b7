//! The requests of a time, counted by page. Bounded, whatever is asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::statistics::Durations;
use crate::stack::nginx::{Logged, page};

/// So many pages are told apart; further ones are counted as one.
const PAGES: usize = 500;
const FURTHER: &str = "(further pages)";

/// Of one page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageCounts {
    pub requests: u64,
    /// Answered 5xx.
    pub failed: u64,
    /// Answered 404.
    pub missing: u64,
    /// Answered 2xx or 304.
    pub served: u64,
    /// Of those that were answered below 500: what fails at once is not fast.
    pub took: Durations,
}

/// Of all pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    pub pages: BTreeMap<String, PageCounts>,
}

impl Traffic {
    /// Counts one.
    pub fn add(&mut self, logged: &Logged) {
        let page = page(&logged.method, &logged.path);
        let page = if self.pages.contains_key(&page) || self.pages.len() < PAGES {
            page
        } else {
            FURTHER.to_owned()
        };
        let counts = self.pages.entry(page).or_default();
        counts.requests += 1;
        match logged.status {
            500.. => counts.failed += 1,
            404 => counts.missing += 1,
            200..=299 | 304 => counts.served += 1,
            _ => {}
        }
        if logged.status < 500
            && let Some(seconds) = logged.seconds
        {
            counts.took.add(seconds);
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (page, counts) in &other.pages {
            self.add_counts(page, counts);
        }
    }

    fn add_counts(&mut self, page: &str, counts: &PageCounts) {
        let all = self.pages.entry(page.to_owned()).or_default();
        all.requests += counts.requests;
        all.failed += counts.failed;
        all.missing += counts.missing;
        all.served += counts.served;
        all.took.add_all(&counts.took);
    }

    pub fn requests(&self) -> u64 {
        self.pages.values().map(|counts| counts.requests).sum()
    }

    pub fn failed(&self) -> u64 {
        self.pages.values().map(|counts| counts.failed).sum()
    }

    pub fn took(&self) -> Durations {
        let mut all = Durations::default();
        for counts in self.pages.values() {
            all.add_all(&counts.took);
        }
        all
    }
}

/// The requests since the watch began, and those of late.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    pub all: Traffic,
    slices: VecDeque<Traffic>,
    /// How many slices there have been.
    begun: u64,
}

/// Before this nothing is said of how long answers take.
const WARM: Duration = Duration::from_secs(10);
/// How finely lateness is told.
const SLICE: Duration = Duration::from_secs(5);
/// How many of them are of late.
const LATE: usize = 4;
/// What they cover, with the one under way.
pub const RECENT: Duration = Duration::from_secs(20);

impl Watched {
    /// Counts one, so long after the watch began. How long the first ones took is not: caches are cold.
    pub fn add(&mut self, logged: &Logged, after: Duration) {
        let seconds = logged.seconds.filter(|_| after >= WARM);
        let logged = &Logged {
            seconds,
            ..logged.clone()
        };
        self.all.add(logged);
        if let Some(slice) = self.slice(after) {
            slice.add(logged);
        }
    }

    /// Counts those that somebody else has counted, so long after the watch began.
    pub fn add_counts(&mut self, page: &str, counts: &PageCounts, after: Duration) {
        self.all.add_counts(page, counts);
        if let Some(slice) = self.slice(after) {
            slice.add_counts(page, counts);
        }
    }

    /// The one under way.
    fn slice(&mut self, after: Duration) -> Option<&mut Traffic> {
        let number = after.as_secs() / SLICE.as_secs();
        while self.begun <= number {
            // After a long silence the empty ones need not be made one by one.
            self.begun = (self.begun + 1).max((number + 1).saturating_sub(LATE as u64));
            self.slices.push_back(Traffic::default());
        }
        while self.slices.len() > LATE {
            self.slices.pop_front();
        }
        self.slices.back_mut()
    }

    /// Says what time it is: without requests it passes, too.
    pub fn pass(&mut self, after: Duration) {
        self.slice(after);
    }

    /// How long [`Watched::recent`] covers, so long after the watch began: less than [`RECENT`] where the slice under way
    /// has just begun.
    pub fn covers(&self, after: Duration) -> Duration {
        let first = self.begun.saturating_sub(self.slices.len() as u64);
        after.saturating_sub(SLICE.saturating_mul(u32::try_from(first).unwrap_or(u32::MAX)))
    }

    /// Those of late.
    pub fn recent(&self) -> Traffic {
        let mut recent = Traffic::default();
        for slice in &self.slices {
            recent.add_all(slice);
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(path: &str) -> Logged {
        Logged {
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: 200,
            seconds: Some(0.1),
        }
    }

    #[test]
    fn pages_are_bounded_and_nothing_is_lost() {
        let mut traffic = Traffic::default();
        for number in 0..2000 {
            let word: String = format!("{number}")
                .bytes()
                .map(|byte| char::from(byte + 50))
                .collect();
            traffic.add(&logged(&format!("/{word}/")));
        }
        assert_eq!(traffic.pages.len(), PAGES + 1);
        assert_eq!(traffic.requests(), 2000);
    }

    #[test]
    fn what_is_covered_is_known_to_the_second() {
        let mut watched = Watched::default();
        for (second, covered) in [(0, 0), (4, 4), (5, 5), (19, 19), (20, 15), (24, 19), (3601, 16)] {
            let after = Duration::from_secs(second);
            watched.pass(after);
            assert_eq!(
                watched.covers(after),
                Duration::from_secs(covered),
                "after {second} s"
            );
        }
    }

    #[test]
    fn of_late_is_the_last_20_seconds() {
        let mut watched = Watched::default();
        for second in 0..60 {
            watched.add(&logged("/"), Duration::from_secs(second));
        }
        assert_eq!(watched.all.requests(), 60);
        assert_eq!(watched.recent().requests(), 20);
        watched.add(&logged("/"), Duration::from_secs(86_400));
        assert_eq!(watched.recent().requests(), 1);
        watched.pass(Duration::from_secs(86_430));
        assert_eq!(watched.recent().requests(), 0, "nothing comes any more");
    }
}
