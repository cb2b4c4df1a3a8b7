//! What one look has found, put together to be shown. Judges nothing, and asks nothing.

use super::judgement::{Judgement, Seen, pulse};
use super::traffic::Traffic;
use super::watch::Watch;
use crate::pipeline::{Measured, Requests, RequestsSource, WorstPage};

/// So many pages are told.
const PAGES: usize = 10;

impl Watch<'_> {
    pub(super) fn measured(&self, seen: &Seen, judgement: &Judgement) -> Measured {
        let (errors, further_errors) = self.logs.told();
        Measured {
            release: self.tag.to_string(),
            verdict: judgement.verdict,
            findings: judgement.findings.clone(),
            elapsed: seen.elapsed,
            left: self.duration.saturating_sub(seen.elapsed),
            requests: self.requests(seen),
            containers: self.containers.measured(),
            errors,
            further_errors,
            database: self.database.as_ref().and_then(|database| database.measured()),
            redis: self.queues.as_ref().and_then(|queues| queues.measured_redis()),
            queues: self
                .queues
                .as_ref()
                .map(|queues| queues.measured())
                .unwrap_or_default(),
            disks: self.disks.measured(),
            unseen: self.unseen(),
        }
    }

    fn requests(&self, seen: &Seen) -> Option<Requests> {
        let (source, tells_failures) = match &self.exporter {
            // Two counts are needed for one rate.
            Some(exporter) if !exporter.has_counted() => return None,
            Some(exporter) => (RequestsSource::Prometheus, exporter.tells_failures),
            None if self.logs.tells_requests() => (RequestsSource::AccessLog, true),
            None => return None,
        };
        let over = self.logs.watched.covers(seen.elapsed);
        let (per_second, failed, _) = pulse(&seen.recent, over);
        let took = seen.recent.took();
        let all = &self.logs.watched.all;
        let is_told = tells_failures && seen.recent.requests() > 0;
        Some(Requests {
            source,
            over,
            per_second,
            failed_share: is_told.then_some(failed / 100.0),
            p50: took.quantile(0.5),
            p95: took.quantile(0.95),
            p99: took.quantile(0.99),
            total: all.requests(),
            failed: all.failed(),
            pages: worst(&seen.recent),
        })
    }
}

/// Those that failed most, then the slowest; of equal ones the busiest.
fn worst(recent: &Traffic) -> Vec<WorstPage> {
    let pages = recent.pages.iter().map(|(page, counts)| WorstPage {
        page: page.clone(),
        requests: counts.requests,
        failed: counts.failed,
        p95: counts.took.quantile(0.95),
    });
    let mut pages: Vec<WorstPage> = pages.collect();
    pages.sort_by(|a, b| {
        let slowest = |page: &WorstPage| page.p95.unwrap_or_default();
        (b.failed.cmp(&a.failed))
            .then(slowest(b).total_cmp(&slowest(a)))
            .then(b.requests.cmp(&a.requests))
    });
    pages.truncate(PAGES);
    pages
}
