//! How a reload of nginx is seen to be complete. `nginx -s reload` only sends a signal and returns; the new
//! configuration serves once new workers exist and the old ones say that they are shutting down. The titles are
//! nginx's own (`ngx_setproctitle` in its source) and are read on the host, so the container needs no tools.

use std::collections::BTreeSet;

const WORKER: &str = "nginx: worker process";
const SHUTTING_DOWN: &str = "nginx: worker process is shutting down";

/// The workers that take new connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workers(BTreeSet<u32>);

impl Workers {
    /// Picks them out of a container's processes.
    pub fn among(processes: &[(u32, String)]) -> Self {
        Self(
            processes
                .iter()
                .filter(|(_, title)| title.contains(WORKER) && !title.contains(SHUTTING_DOWN))
                .map(|(id, _)| *id)
                .collect(),
        )
    }

    /// The workers of an earlier configuration that still finish what they have.
    pub fn leaving(processes: &[(u32, String)]) -> Self {
        Self(
            processes
                .iter()
                .filter(|(_, title)| title.contains(SHUTTING_DOWN))
                .map(|(id, _)| *id)
                .collect(),
        )
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether every one of `before` has been replaced. Where no worker can be seen at all (titles are hidden), there
    /// is nothing to wait for.
    pub fn have_replaced(&self, before: &Self) -> bool {
        before.0.is_empty() || (!self.0.is_empty() && self.0.is_disjoint(&before.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(titles: &[(u32, &str)]) -> Workers {
        let processes: Vec<_> = titles
            .iter()
            .map(|(id, title)| (*id, (*title).to_owned()))
            .collect();
        Workers::among(&processes)
    }

    #[test]
    fn a_reload_is_complete_when_no_old_worker_takes_connections() {
        let master = (1, "nginx: master process nginx -g daemon off;");
        let before = workers(&[master, (10, WORKER), (11, WORKER)]);
        assert!(!workers(&[master, (10, WORKER), (11, WORKER)]).have_replaced(&before));
        assert!(!workers(&[master, (10, SHUTTING_DOWN), (11, WORKER), (12, WORKER)]).have_replaced(&before));
        assert!(workers(&[master, (10, SHUTTING_DOWN), (12, WORKER), (13, WORKER)]).have_replaced(&before));
        assert!(
            !workers(&[master]).have_replaced(&before),
            "no worker at all serves nobody"
        );
    }
}
