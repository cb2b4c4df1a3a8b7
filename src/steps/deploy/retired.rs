//! Old containers that have given their place to new ones in this run: they run on for the way back until the run has
//! succeeded, or until no more may stand at once. Here they end.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::replace;
use super::standing::{Standing, is_alive};
use super::target::{retired_suffix, stale_suffix};
use crate::compose::ServiceName;
use crate::engine::{Container, ContainerState};
use crate::error::Failure;
use crate::pipeline::Context;

/// Ends the old containers that ran on for the way back, and removes all that have left; says how many it ended. One
/// that has not ended after its drain is killed, and that is said.
///
/// # Errors
/// The engine's, once all have been tried.
pub(super) async fn see_out(context: Context<'_>, standing: &Standing) -> Result<usize, Failure> {
    let turns = Semaphore::new(STOPS_AT_ONCE);
    let leaving = standing.iter().flat_map(|(name, containers)| {
        let gone = containers.iter().filter(|one| has_left(context, one));
        gone.map(move |container| (name, container))
    });
    let ends = join_all(leaving.map(|(name, container)| async {
        let ended = is_alive(container);
        if ended {
            end(context, name, container, &turns).await?;
        }
        context.engine.remove_container(&container.id).await?;
        Ok::<bool, Failure>(ended)
    }));
    let mut count = 0;
    for ended in ends.await {
        count += usize::from(ended?);
    }
    Ok(count)
}

/// Ends containers of this service within its drain, and keeps them for the way back.
///
/// # Errors
/// The engine's, once all have been tried.
pub(crate) async fn end_all(
    context: Context<'_>,
    name: &ServiceName,
    containers: &[Container],
) -> Result<(), Failure> {
    let turns = Semaphore::new(STOPS_AT_ONCE);
    let ends = containers
        .iter()
        .map(|container| end(context, name.as_str(), container, &turns));
    join_all(ends).await.into_iter().collect()
}

/// Ends one container of this service within its drain.
async fn end(
    context: Context<'_>,
    name: &str,
    container: &Container,
    turns: &Semaphore,
) -> Result<(), Failure> {
    let mut services = context.settings.project.services.values();
    let service = services.find(|service| service.name.as_str() == name);
    let limit = service.map_or(Duration::ZERO, |service| replace::drain(context, service));
    // The semaphore is never closed.
    let turn = turns.acquire().await;
    let stop = context.engine.stop(&container.id, Some(limit));
    tokio::pin!(stop);
    tokio::select! {
        biased;
        stopped = &mut stop => stopped?,
        () = tokio::time::sleep(TURN) => {
            // It finishes what it has in flight; nobody waits for that.
            drop(turn);
            stop.await?;
        }
    }
    let now = context.engine.container(&container.id.0).await?;
    if let Some(ContainerState::Exited(exit)) = now.map(|now| now.state)
        && exit.code == KILLED
    {
        context.warn(
            format!(
                "the old container of {name} did not end within its drain of {} s, and was killed",
                limit.as_secs()
            ),
            Some(format!(
                "what it was doing may be lost; to give it longer: services.{name}.drain in deploy.yml"
            )),
        );
    }
    Ok(())
}

/// Measured on two cores: an engine that is told to stop 50 containers at once takes a third longer than one that is
/// told so by eights.
const STOPS_AT_ONCE: usize = 8;
/// After this a stop that is still under way lets the next one begin.
const TURN: Duration = Duration::from_millis(250);
/// 128 + SIGKILL.
const KILLED: i64 = 137;

/// Whether the container has given its place to another one in this run, and is kept for the way back only.
pub(crate) fn has_left(context: Context<'_>, container: &Container) -> bool {
    [retired_suffix(context.run), stale_suffix(context.run)]
        .iter()
        .any(|suffix| container.name.ends_with(suffix))
}
