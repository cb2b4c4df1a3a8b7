//! Whether a container's memory grows as it does where something is never given back. Pure, as all of the verdict.

use super::judgement::SeenContainer;
use super::statistics::growth;
use crate::steps::backup::size;

/// Of memory: looks, seconds, and how far ahead its growth is drawn out.
const MEMORY_LOOKS: usize = 8;
const MEMORY_SECONDS: f64 = 14.0;
const MEMORY_AHEAD: f64 = 600.0;
/// And how much it must have grown by, in bytes.
const MEMORY_GROWN: f64 = 32.0 * 1024.0 * 1024.0;

/// Memory that grows and does not level off, over the last looks that are enough, as code that is loaded at first use
/// does.
pub(super) fn grows(container: &SeenContainer) -> Option<String> {
    let (end, _) = container.memory.last()?;
    // A whole minute where there is one: what grows in bursts is seen, too.
    let memory = &container.memory;
    let from = memory.partition_point(|(at, _)| *at < end - 60.0);
    let window = memory.get(from..)?;
    let (start, _) = window.first()?;
    let seconds = end - start;
    if window.len() < MEMORY_LOOKS || seconds < MEMORY_SECONDS {
        return None;
    }
    let growth = growth(window)?;
    let grown = growth.last - growth.first;
    let ceiling = ceiling(container, growth.first);
    let enough = MEMORY_GROWN.max(0.05 * ceiling);
    let reached = growth.last + growth.per_second * MEMORY_AHEAD >= ceiling;
    (grown >= enough && growth.steadiness >= 0.8 && growth.goes_on >= 0.6 && reached).then(|| {
        format!(
            "memory grows by {} a second, from {} to {} in {seconds:.0} s",
            bytes(growth.per_second),
            bytes(growth.first),
            bytes(growth.last)
        )
    })
}

/// What it must not come to: its limit, or where it has none four times what it began with.
fn ceiling(container: &SeenContainer, first: f64) -> f64 {
    container
        .limit
        .map_or_else(|| 4.0 * first.max(8.0 * MEMORY_GROWN), |limit| limit as f64)
}

/// Bytes as people read them.
pub(super) fn bytes(bytes: f64) -> String {
    let whole = bytes.max(0.0) as u64;
    size(whole)
}
