//! What containers use a second, from what the engine counts since they were started. Holds the last count of each.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::engine::{ContainerId, Usage};
use crate::pipeline::MeasuredContainer;

/// The last counts, each with when it came.
#[derive(Debug, Default)]
pub(super) struct Uses(BTreeMap<ContainerId, (Instant, Usage)>);

impl Uses {
    /// Takes the next count of a container, and says what came of the one before. A count that went back is that of a
    /// container that was started anew: nothing is said of it yet.
    pub(super) fn add(
        &mut self,
        id: &ContainerId,
        at: Instant,
        usage: Usage,
        measured: &mut MeasuredContainer,
    ) {
        measured.memory = Some(usage.memory);
        let Some((before_at, before)) = self.0.insert(id.clone(), (at, usage)) else {
            return;
        };
        let seconds = at.duration_since(before_at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let worked = usage.processor.checked_sub(before.processor);
        measured.cores = worked.map(|worked| worked.as_secs_f64() / seconds);
        if let (Some(before), Some(now)) = (before.network, usage.network) {
            let a_second = |before: u64, now: u64| Some(now.checked_sub(before)? as f64 / seconds);
            measured.received = a_second(before.received, now.received);
            measured.sent = a_second(before.sent, now.sent);
        }
    }
}
