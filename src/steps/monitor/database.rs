//! The database while a release settles: its connections, which are judged, and what its sessions are at, which is only
//! shown. One question at a look, in the server's own container.

use std::time::Duration;

use super::judgement::Connections;
use super::printed::printed;
use crate::engine::{ContainerId, Engine};
use crate::pipeline::{DatabaseActivity, MeasuredDatabase};
use crate::stack::postgres::activity::{parse, sessions};
use crate::stack::postgres::{Connected, DatabaseAccess};

/// A server that can be asked.
pub(super) struct Database<'a> {
    engine: &'a dyn Engine,
    container: ContainerId,
    access: DatabaseAccess,
    /// What goes on for longer is shown.
    slow: Duration,
    pub(super) connections: Option<Connections>,
    activity: Option<DatabaseActivity>,
    pub(super) problem: Option<String>,
}

impl<'a> Database<'a> {
    /// Asks nothing yet.
    pub(super) fn new(
        engine: &'a dyn Engine,
        container: ContainerId,
        access: DatabaseAccess,
        slow: Duration,
    ) -> Self {
        Self {
            engine,
            container,
            access,
            slow,
            connections: None,
            activity: None,
            problem: None,
        }
    }

    /// Asks; `threshold` is per cent of the connections.
    pub(super) async fn look(&mut self, threshold: u32) {
        let question = sessions(&self.access, self.slow);
        let printed = printed(self.engine, &self.container, &question)
            .await
            .unwrap_or_default();
        self.activity = parse(&printed);
        let Some(Connected { used, usable }) = printed.lines().next().and_then(Connected::parse) else {
            self.problem = Some("how many connections the database has: it did not say".to_owned());
            return;
        };
        self.problem = match &self.activity {
            Some(_) => None,
            None => Some("what the database's sessions are at: it did not say".to_owned()),
        };
        let before = self.connections.map_or(0, |before| before.above);
        let is_above = used * 100 >= usable * u64::from(threshold);
        self.connections = Some(Connections {
            used,
            usable,
            above: if is_above { before + 1 } else { 0 },
        });
    }

    /// As it answered last; `None` where it did not.
    pub(super) fn measured(&self) -> Option<MeasuredDatabase> {
        let connections = self.connections?;
        Some(MeasuredDatabase {
            connections: connections.used,
            usable: connections.usable,
            activity: self.activity.clone(),
        })
    }
}
