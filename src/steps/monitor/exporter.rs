//! Requests as an exporter of Prometheus' counts them, where `deploy.yml` names one in place of the access log. It knows no
//! pages, and nothing of the hour before the deploy: only the share of 5xx of the whole site is judged by it, and where it
//! tells no statuses nothing is.

use std::time::Duration;

use super::statistics::Durations;
use super::traffic::PageCounts;
use crate::app::{App, Call, CallBody, Method};
use crate::config;
use crate::stack::prometheus::{Change, Counted, Names};

/// As long as what it writes may be.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What stands for all of its pages.
pub(super) const SITE: &str = "(the whole site)";

/// The endpoint, and what it counted last.
pub(super) struct Exporter<'a> {
    app: &'a dyn App,
    settings: &'a config::Prometheus,
    names: Names,
    before: Option<Counted>,
    /// Whether it tells how requests were answered.
    pub(super) tells_failures: bool,
    pub(super) problem: Option<String>,
}

impl<'a> Exporter<'a> {
    /// Asks nothing yet.
    pub(super) fn new(app: &'a dyn App, settings: &'a config::Prometheus) -> Self {
        Self {
            app,
            settings,
            names: Names {
                requests: settings.requests.clone(),
                durations: settings.durations.clone(),
            },
            before: None,
            tells_failures: false,
            problem: None,
        }
    }

    /// Asks for what came since the last time.
    pub(super) async fn look(&mut self) -> Option<PageCounts> {
        let counted = match self.ask().await {
            Ok(counted) => counted,
            Err(why) => {
                self.problem = Some(format!("requests: {why}"));
                return None;
            }
        };
        let change = self.before.as_ref().and_then(|before| counted.since(before));
        self.before = Some(counted);
        self.problem = None;
        let change = change?;
        self.tells_failures = change.failed.is_some();
        if !self.tells_failures {
            self.problem = Some(
                "how requests were answered: the counter of monitor.prometheus has no label status or code"
                    .to_owned(),
            );
        }
        Some(counts(&change))
    }

    /// Whether it has counted anything yet.
    pub(super) fn has_counted(&self) -> bool {
        self.before.is_some()
    }

    async fn ask(&self) -> Result<Counted, String> {
        let call = Call {
            method: Method::Get,
            url: self.settings.url.clone(),
            host: self.settings.host.clone(),
            headers: Vec::new(),
            body: CallBody::None,
            timeout: TIMEOUT,
            limit: LONGEST,
        };
        // What its address holds beside the host may be secret.
        let place = "the endpoint of monitor.prometheus";
        let answer = self.app.call(call).await;
        let answer = answer.map_err(|error| format!("{place} does not answer: {}", error.message))?;
        if answer.status != 200 {
            return Err(format!("{place} answers {}", answer.status));
        }
        if answer.is_cut {
            return Err(format!("what {place} writes is longer than 4 MiB"));
        }
        let text = String::from_utf8_lossy(&answer.body);
        Counted::read(&text, &self.names)
            .ok_or_else(|| format!("{place} has no counter of requests; see monitor.prometheus.requests"))
    }
}

fn counts(change: &Change) -> PageCounts {
    let mut took = Durations::default();
    for (seconds, count) in &change.took {
        took.add_many(*seconds, *count);
    }
    let failed = change.failed.unwrap_or_default();
    PageCounts {
        requests: change.requests,
        failed,
        missing: 0,
        served: change.requests.saturating_sub(failed),
        took,
    }
}
