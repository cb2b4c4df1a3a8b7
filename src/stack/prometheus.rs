//! Prometheus' text exposition format, as far as it tells of requests: counters of nginx's and Django's exporters, and
//! histograms of how long answers took. Reads one text; what changed from one to the next is `steps::monitor`'s business.
//! Holds nothing but sums, however many series there are.

use std::collections::BTreeMap;

/// Counters of requests that are known, and the histograms beside them; the first that is there counts.
const KNOWN: [(&str, &str); 5] = [
    // nginx-module-vts, and its exporter.
    (
        "nginx_vts_server_requests_total",
        "nginx_vts_server_request_duration_seconds",
    ),
    // django-prometheus.
    (
        "django_http_responses_total_by_status_total",
        "django_http_requests_latency_including_middlewares_seconds",
    ),
    (
        "django_http_responses_total_by_status",
        "django_http_requests_latency_seconds",
    ),
    ("http_requests_total", "http_request_duration_seconds"),
    // nginx-prometheus-exporter of stub_status: tells no status.
    ("nginx_http_requests_total", ""),
];

/// Labels that say how a request was answered.
const STATUS: [&str; 3] = ["status", "code", "status_code"];

/// Which counters are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The counter of requests; one that is known where `None`.
    pub requests: Option<String>,
    /// The histogram of how long they took, without `_bucket`; the one beside the counter where `None`.
    pub durations: Option<String>,
}

/// What was counted since the exporter was started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    pub requests: f64,
    /// Answered 5xx; `None` where the counter has no label of a status.
    pub failed: Option<f64>,
    /// How many took no longer than so many seconds (the bits of an `f64`, which for positive ones are in order).
    buckets: BTreeMap<u64, f64>,
}

impl Counted {
    /// Reads one text; `None` where there is no counter of requests in it.
    pub fn read(text: &str, names: &Names) -> Option<Self> {
        let (requests, durations) = match &names.requests {
            Some(requests) => (requests.as_str(), ""),
            None => {
                let mut known = KNOWN.iter().copied();
                known.find(|(name, _)| samples(text, name).next().is_some())?
            }
        };
        let durations = names.durations.as_deref().unwrap_or(durations);
        let mut counted = Self::default();
        let mut is_there = false;
        for sample in samples(text, requests) {
            is_there = true;
            // VTS has a sum of all its hosts beside them, and counts what its cache did, too.
            let is_sum = sample.label("host").is_some_and(|host| host == "*");
            let status = STATUS.iter().find_map(|label| sample.label(label));
            if is_sum || status.is_some_and(|status| status == "total") {
                continue;
            }
            match status.and_then(|status| status.chars().next()) {
                Some('5') => *counted.failed.get_or_insert_default() += sample.value,
                Some('1'..='4') => {
                    counted.failed.get_or_insert_default();
                }
                // `code="hit"` is no answer.
                Some(_) => continue,
                None => {}
            }
            counted.requests += sample.value;
        }
        if !is_there {
            return None;
        }
        if !durations.is_empty() {
            for sample in samples(text, &format!("{durations}_bucket")) {
                if sample.label("host").is_some_and(|host| host == "*") {
                    continue;
                }
                let bound: Option<f64> = sample.label("le").and_then(|bound| bound.parse().ok());
                if let Some(bound) = bound.filter(|bound| *bound >= 0.0) {
                    *counted.buckets.entry(bound.to_bits()).or_default() += sample.value;
                }
            }
        }
        Some(counted)
    }

    /// What came since then; `None` where a counter went back, because an exporter was started anew.
    pub fn since(&self, before: &Self) -> Option<Change> {
        let requests = rise(before.requests, self.requests)?;
        let failed = match (before.failed, self.failed) {
            (Some(before), Some(now)) => Some(rise(before, now)?),
            // A series of 5xx comes with the first of them.
            (None, Some(now)) if before.requests == 0.0 => Some(rise(0.0, now)?),
            (None | Some(_), _) => None,
        };
        let mut took = Vec::new();
        let (mut below, mut lower) = (0, 0.0);
        for (bits, count) in &self.buckets {
            let upper = f64::from_bits(*bits);
            let so_far = rise(before.buckets.get(bits).copied().unwrap_or_default(), *count)?;
            let seconds = if upper.is_finite() {
                f64::midpoint(lower, upper)
            } else {
                lower
            };
            took.push((seconds, so_far.saturating_sub(below)));
            (below, lower) = (so_far, upper);
        }
        took.retain(|(_, count)| *count > 0);
        Some(Change {
            requests,
            failed,
            took,
        })
    }
}

/// From one reading to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub requests: u64,
    /// Answered 5xx; `None` where that is not told.
    pub failed: Option<u64>,
    /// About so many seconds, the middle of a bucket, and how many took them.
    pub took: Vec<(f64, u64)>,
}

fn rise(before: f64, now: f64) -> Option<u64> {
    let rise = now - before;
    // A counter of requests is far below 2^53.
    (rise >= 0.0 && rise.is_finite()).then_some(rise.round() as u64)
}

struct Sample<'a> {
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    /// A label's value; escapes in it are left as they are.
    fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((key, behind)) = rest.split_once("=\"") {
            let end = end_of_value(behind)?;
            if key.trim_matches([',', ' ']) == name {
                return behind.get(..end);
            }
            rest = behind.get(end + 1..)?;
        }
        None
    }
}

/// Where a quoted value ends.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// The lines of one metric: `name{label="value"} 12 1700000000`.
fn samples<'a>(text: &'a str, name: &str) -> impl Iterator<Item = Sample<'a>> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(behind) => {
                let end = end_of_labels(behind)?;
                (behind.get(..end)?, behind.get(end + 1..)?)
            }
            None => ("", rest.strip_prefix([' ', '\t'])?),
        };
        let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
        value.is_finite().then_some(Sample { labels, value })
    })
}

/// Where the labels end: a `}` may stand in a value.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let found = at + rest.find(['"', '}'])?;
        if text.get(found..)?.starts_with('}') {
            return Some(found);
        }
        at = found + 1 + end_of_value(text.get(found + 1..)?)? + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Counted {
        Counted::read(text, &Names::default()).unwrap()
    }

    #[test]
    fn django_tells_statuses_and_how_long_answers_took() {
        let text = |ok: u32, failed: u32, fast: u32, all: u32| {
            format!(
                "# HELP django_http_responses_total_by_status_total Count of responses by status.\n\
                 # TYPE django_http_responses_total_by_status_total counter\n\
                 django_http_responses_total_by_status_total{{status=\"200\"}} {ok}.0\n\
                 django_http_responses_total_by_status_total{{status=\"503\"}} {failed}.0 1700000000\n\
                 django_http_requests_latency_including_middlewares_seconds_bucket{{le=\"0.1\"}} {fast}.0\n\
                 django_http_requests_latency_including_middlewares_seconds_bucket{{le=\"0.5\"}} {all}.0\n\
                 django_http_requests_latency_including_middlewares_seconds_bucket{{le=\"+Inf\"}} {all}.0\n"
            )
        };
        let change = read(&text(100, 7, 90, 107)).since(&read(&text(60, 4, 60, 64)));
        let expected = Change {
            requests: 43,
            failed: Some(3),
            took: vec![(0.05, 30), (0.3, 13)],
        };
        assert_eq!(change, Some(expected));
        let restarted = read(&text(1, 0, 1, 1)).since(&read(&text(60, 4, 60, 64)));
        assert_eq!(restarted, None);
    }

    #[test]
    fn what_is_a_sum_of_the_others_is_not_counted_again() {
        let text = "nginx_vts_server_requests_total{host=\"a}\\\"b\",code=\"2xx\"} 10\n\
                    nginx_vts_server_requests_total{host=\"a\",code=\"5xx\"} 2\n\
                    nginx_vts_server_requests_total{host=\"a\",code=\"total\"} 12\n\
                    nginx_vts_server_requests_total{host=\"*\",code=\"2xx\"} 10\n";
        let counted = read(text);
        assert_eq!((counted.requests, counted.failed), (12.0, Some(2.0)));
    }

    #[test]
    fn what_tells_no_status_says_nothing_of_failures() {
        let counted = read("nginx_http_requests_total 5\nnginx_http_requests_total_more{a=\"b\"} 7\n");
        assert_eq!((counted.requests, counted.failed), (5.0, None));
        assert_eq!(counted.since(&counted).unwrap().failed, None);
    }

    #[test]
    fn a_metric_of_ones_own_is_read_by_its_name() {
        let names = Names {
            requests: Some("app_requests".to_owned()),
            durations: Some("app_seconds".to_owned()),
        };
        let text = "app_requests{code=\"500\",path=\"/\"} 1e3\napp_seconds_bucket{le=\"+Inf\"} 4\n";
        let counted = Counted::read(text, &names).unwrap();
        assert_eq!((counted.requests, counted.failed), (1000.0, Some(1000.0)));
        assert_eq!(counted.buckets.len(), 1);
        for text in [
            "",
            "app_requests",
            "app_requests{",
            "app_requests{a=\"",
            "app_requests{} NaN",
            "<html>",
        ] {
            assert_eq!(Counted::read(text, &names), None, "{text}");
        }
    }
}
