//! The errors in the logs of a release's containers, counted by service and fingerprint. Bounded, whatever is logged: of
//! those beyond the bound only the number is kept.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::judgement::SeenError;
use crate::pipeline::{LoggedErrors, News};
use crate::stack::logged_errors::LoggedError;

/// So many errors are told apart: of those that were there before, and of those that were not.
pub(super) const ERRORS: usize = 500;
/// So many are told.
const TOLD: usize = 20;

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Errors {
    counted: BTreeMap<(String, String), Counted>,
    known: usize,
    /// Times that an error came which was one too many to be told apart.
    further: u64,
}

#[derive(Debug, Clone)]
struct Counted {
    seen: SeenError,
    news: News,
    first: OffsetDateTime,
    last: OffsetDateTime,
    /// There is an hour of its log before the watch.
    is_covered: bool,
}

impl Errors {
    /// Counts one.
    pub fn add(
        &mut self,
        service: &str,
        error: LoggedError,
        at: OffsetDateTime,
        news: News,
        is_covered: bool,
    ) {
        let key = (service.to_owned(), error.fingerprint.clone());
        if let Some(counted) = self.counted.get_mut(&key) {
            counted.seen.count += 1;
            counted.first = counted.first.min(at);
            counted.last = counted.last.max(at);
            return;
        }
        // Those that are known must not crowd out those that are not.
        let is_known = news == News::Known;
        let others = if is_known {
            self.known
        } else {
            self.counted.len() - self.known
        };
        if others >= ERRORS {
            self.further += 1;
            return;
        }
        self.known += usize::from(is_known);
        let seen = SeenError {
            service: service.to_owned(),
            kind: error.kind,
            fingerprint: error.fingerprint,
            by_visitor: error.by_visitor,
            count: 1,
            is_new: news == News::New,
        };
        let counted = Counted {
            seen,
            news,
            first: at,
            last: at,
            is_covered,
        };
        self.counted.insert(key, counted);
    }

    /// How many are told apart.
    pub fn kept(&self) -> usize {
        self.counted.len()
    }

    /// Those that were not there before, or of which nobody knows.
    pub fn unknown(&self) -> Vec<SeenError> {
        let unknown = self.counted.values().filter(|one| one.news != News::Known);
        unknown.map(|one| one.seen.clone()).collect()
    }

    /// New ones first, then those that were last seen; and how many there are beside them, at least.
    pub fn told(&self, watched_since: OffsetDateTime) -> (Vec<LoggedErrors>, u64) {
        let mut all: Vec<(News, &Counted)> = self
            .counted
            .values()
            .map(|one| (one.told(watched_since), one))
            .collect();
        all.sort_by_key(|(news, one)| (*news != News::New, Reverse(one.last)));
        let beside = all.len().saturating_sub(TOLD) as u64 + u64::from(self.further > 0);
        let told = all.into_iter().take(TOLD).map(|(news, one)| LoggedErrors {
            service: one.seen.service.clone(),
            fingerprint: one.seen.fingerprint.clone(),
            count: one.seen.count,
            first: one.first,
            last: one.last,
            news,
        });
        (told.collect(), beside)
    }
}

impl Counted {
    /// Where nothing is left of before the deploy, an hour of the release's own log tells.
    fn told(&self, watched_since: OffsetDateTime) -> News {
        match self.news {
            News::New => News::New,
            News::Known => News::Known,
            News::Unclear if !self.is_covered => News::Unclear,
            News::Unclear if self.first >= watched_since => News::New,
            News::Unclear => News::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::logged_errors::LoggedErrorKind;

    fn error(fingerprint: &str) -> LoggedError {
        LoggedError {
            kind: LoggedErrorKind::Line,
            fingerprint: fingerprint.to_owned(),
            by_visitor: false,
        }
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    #[test]
    fn known_ones_do_not_crowd_out_new_ones() {
        let mut errors = Errors::default();
        for number in 0..2 * ERRORS {
            errors.add("a", error(&format!("known {number}")), at(1), News::Known, true);
        }
        errors.add("a", error("new"), at(2), News::New, true);
        errors.add("a", error("new"), at(9), News::New, true);
        assert_eq!(errors.kept(), ERRORS + 1);
        assert_eq!(errors.unknown().len(), 1);
        let (told, beside) = errors.told(at(0));
        assert_eq!((told.len(), beside), (TOLD, (ERRORS + 1 - TOLD + 1) as u64));
        assert_eq!((told[0].fingerprint.as_str(), told[0].count), ("new", 2));
        assert_eq!((told[0].first, told[0].last), (at(2), at(9)));
    }

    #[test]
    fn where_nothing_is_left_of_before_the_deploy_an_hour_of_its_own_log_tells() {
        let mut errors = Errors::default();
        errors.add("a", error("old"), at(10), News::Unclear, true);
        errors.add("a", error("fresh"), at(20), News::Unclear, true);
        errors.add("a", error("of a young container"), at(20), News::Unclear, false);
        let (told, _) = errors.told(at(15));
        let news: Vec<(&str, News)> = told
            .iter()
            .map(|one| (one.fingerprint.as_str(), one.news))
            .collect();
        assert_eq!(
            news,
            [
                ("fresh", News::New),
                ("of a young container", News::Unclear),
                ("old", News::Known)
            ]
        );
        assert_eq!(errors.unknown().len(), 3, "the verdict is not touched by it");
    }
}
