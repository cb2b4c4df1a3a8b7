//! Figures out of records and times. Pure; its tests are in `tests/it/bench.rs`.

use std::collections::BTreeMap;

use super::record::{Kind, Problem, Record};

/// The value that this share (0 to 1) of the values does not exceed: nearest rank. None without values.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The middle value; of an even number, the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The largest.
pub(crate) fn maximum(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

/// How often each way of failing occurred.
pub(crate) fn failures(records: &[Record]) -> BTreeMap<Problem, usize> {
    let mut counts = BTreeMap::new();
    for problem in records.iter().filter_map(|record| record.outcome.as_ref().err()) {
        *counts.entry(*problem).or_default() += 1;
    }
    counts
}

/// Latencies of what succeeded, without uploads, which take as long as they are made to.
pub(crate) fn latencies(records: &[Record]) -> Vec<f64> {
    let counted = records
        .iter()
        .filter(|record| record.kind != Kind::Upload && record.outcome.is_ok());
    counted.map(|record| record.latency).collect()
}

/// The longest time in which no request of one kind ended well, of all kinds but the rare uploads: static files that
/// are served on do not hide that Django is gone. From 0, when the load begins, to `end`.
pub(crate) fn longest_gap(records: &[Record], end: f64) -> f64 {
    let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Upload);
    kinds
        .filter(|kind| records.iter().any(|record| record.kind == **kind))
        .map(|kind| {
            let successes = records
                .iter()
                .filter(|record| record.kind == *kind && record.outcome.is_ok());
            let mut moments: Vec<f64> = successes.map(Record::ended).filter(|at| *at < end).collect();
            moments.extend([0.0, end]);
            moments.sort_by(f64::total_cmp);
            moments
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .fold(0.0, f64::max)
        })
        .fold(0.0, f64::max)
}
