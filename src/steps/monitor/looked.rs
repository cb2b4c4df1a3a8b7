//! What a verdict rests on, in words and numbers, for whoever answers for a release. Judges nothing.

use super::judgement::{Seen, SeenError};
use super::memory::bytes;
use crate::pipeline::Looked;

/// Says what was looked at.
pub(super) fn looked(seen: &Seen, logs_requests: bool) -> Looked {
    let mut at = vec![format!("{} s", seen.elapsed.as_secs())];
    if logs_requests {
        let visitors = seen.since.requests().saturating_sub(seen.own);
        at.push(format!(
            "{visitors} requests of visitors, {} of all answered 5xx",
            seen.since.failed()
        ));
    }
    let asked: u64 = seen.probes.iter().map(|probe| probe.succeeded).sum();
    if asked > 0 {
        at.push(format!("{asked} probes answered well"));
    }
    let memory: Vec<f64> = seen
        .containers
        .iter()
        .filter_map(|container| container.memory.last().map(|(_, bytes)| *bytes))
        .collect();
    if !memory.is_empty() {
        at.push(format!(
            "memory of {} containers, {}",
            memory.len(),
            bytes(memory.iter().sum())
        ));
    }
    let busy = seen
        .containers
        .iter()
        .filter_map(|container| container.processor.busy());
    if let Some(processors) = busy.reduce(|one, other| one + other) {
        at.push(format!("{processors:.2} processors busy, which is not judged"));
    }
    if let Some(connections) = seen.connections {
        at.push(format!(
            "{} of {} connections of the database",
            connections.used, connections.usable
        ));
    }
    let errors = |is_meant: &dyn Fn(&SeenError) -> bool| {
        let errors = seen.errors.iter().filter(|error| !error.by_visitor);
        errors.filter(|error| is_meant(error)).count() as u64
    };
    Looked {
        at,
        new_errors: errors(&|error| error.is_new),
        other_errors: errors(&|error| !error.is_new),
    }
}
