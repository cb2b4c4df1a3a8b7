//! What happens to containers, as the engine tells it. What to make of an event is the caller's affair.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::{StreamExt, stream};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::DockerEngine;
use super::containers::{label_filter, shown};
use super::failure::failed;
use crate::engine::{
    ContainerEvent, ContainerEventKind, ContainerEvents, ContainerFilter, ContainerId, EngineError,
    EngineErrorKind, Result,
};

const OPERATION: &str = "listening for events of containers with";

/// The events that are asked for. Every run of a health test is an exec with three events of its own, so these must
/// not be sent at all. `health_status` stands for all its values: the engine compares by the beginning.
const WANTED: [&str; 4] = ["start", "die", "oom", "health_status"];

impl DockerEngine {
    /// bollard sends the request when the stream is first polled, and the engine answers before it listens to its own
    /// events. So the request names the moment of this call, by the engine's own clock, and the engine begins with what
    /// it remembers since then.
    pub(super) async fn events_of(&self, filter: &ContainerFilter) -> Result<ContainerEvents> {
        let labels = label_filter(filter);
        let target = shown(&labels);
        let now = self.clock(OPERATION, &target).await?;
        // As the engine's filters want a moment.
        let since = format!("{}.{:09}", now.unix_timestamp(), now.nanosecond());
        let mut filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), WANTED.map(str::to_owned).to_vec()),
        ]);
        if !labels.is_empty() {
            filters.insert("label".to_owned(), labels);
        }
        let options = EventsOptions {
            since: Some(since),
            until: None,
            filters: Some(filters),
        };
        let mut events = Box::pin(self.client.events(Some(options))).fuse();
        // Sends the request now: it has gone out by the time that another one is answered.
        let first = tokio::select! {
            biased;
            first = events.next() => first,
            answered = self.short(OPERATION, &target, self.client.ping()) => {
                answered?;
                None
            }
        };
        let endpoint = self.endpoint.clone();
        let events = stream::iter(first).chain(events);
        Ok(Box::pin(events.filter_map(move |event| {
            let event = event
                .map(container_event)
                .map_err(|error| failed(&endpoint, OPERATION, &target, &error))
                .transpose();
            std::future::ready(event)
        })))
    }

    /// What the engine's clock shows.
    pub(super) async fn clock(&self, operation: &'static str, target: &str) -> Result<OffsetDateTime> {
        let told = self.short(operation, target, self.client.info()).await?;
        let text = told.system_time.unwrap_or_default();
        OffsetDateTime::parse(&text, &Rfc3339).map_err(|error| {
            EngineError::new(
                "reading the clock of",
                &self.endpoint.address,
                EngineErrorKind::Other,
                format!("`{text}` is not a moment: {error}"),
            )
        })
    }
}

/// `None` for what names no container.
fn container_event(event: EventMessage) -> Option<ContainerEvent> {
    let container = ContainerId(event.actor?.id?);
    let action = event.action.unwrap_or_default();
    // `health_status: healthy`.
    let kind = match action.split(':').next().unwrap_or_default() {
        "start" => ContainerEventKind::Started,
        "die" => ContainerEventKind::Died,
        "oom" => ContainerEventKind::OutOfMemory,
        "health_status" => ContainerEventKind::HealthChanged,
        _ => ContainerEventKind::Other,
    };
    Some(ContainerEvent { container, kind })
}
