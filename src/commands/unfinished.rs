//! A run that stopped half-way: what is said of it, where it is refused to go on as if nothing had happened.

use crate::engine::{Container, ContainerState, Health, Inspect, labels};
use crate::error::{Failure, FailureKind};
use crate::ledger::UnfinishedRun;
use crate::steps::deploy::standing;

/// In one sentence.
pub(super) fn sentence(run: &UnfinishedRun) -> String {
    let header = &run.header;
    let release = header
        .release
        .as_ref()
        .map_or_else(String::new, |tag| format!(" of {tag}"));
    format!(
        "{}{release}, begun {} by {}, stopped at {} and never finished",
        header.command,
        header.started_at,
        header.started_by,
        run.stopped_at()
    )
}

/// Why nothing else is deployed until it is finished.
///
/// # Errors
/// The engine's.
pub(super) async fn refusal(
    inspect: &dyn Inspect,
    project: &str,
    run: &UnfinishedRun,
    serves: Option<&str>,
) -> Result<Failure, Failure> {
    let mut failure = Failure::message(FailureKind::Locked, sentence(run))
        .evidence("what stands", what_stands(inspect, project).await?);
    let forward = run.header.release.as_ref();
    failure.hints.push(format!(
        "to finish it{}: viatique-deploy resume",
        forward.map_or_else(String::new, |tag| format!(", so that {tag} serves"))
    ));
    failure.hints.push(
        "to finish it with a release in which it is mended: viatique-deploy resume --tag <TAG>".to_owned(),
    );
    failure
        .hints
        .extend(serves.map(|tag| format!("to take it back, so that {tag} serves: viatique-deploy rollback")));
    Ok(failure)
}

/// A line for each service.
async fn what_stands(inspect: &dyn Inspect, project: &str) -> Result<Vec<String>, Failure> {
    let standing = standing(inspect, project).await?;
    let widest = standing.keys().map(String::len).max().unwrap_or_default();
    let line = |(service, containers): (&String, &Vec<Container>)| {
        let each: Vec<String> = containers.iter().map(in_words).collect();
        format!("{service:widest$}  {}", each.join("; "))
    };
    Ok(standing.iter().map(line).collect())
}

fn in_words(container: &Container) -> String {
    let release = container.label(labels::RELEASE).unwrap_or("no release");
    let state = match (&container.state, &container.health) {
        (ContainerState::Running, Some(Health::Healthy)) => "runs, healthy",
        (ContainerState::Running, Some(Health::Unhealthy { .. })) => "runs, unhealthy",
        (ContainerState::Running, Some(Health::Starting { .. })) => "is starting",
        (ContainerState::Running, None) => "runs",
        (ContainerState::Created, _) => "was never started",
        (ContainerState::Exited(_) | ContainerState::Dead | ContainerState::Removing, _) => "is stopped",
        (ContainerState::Restarting { .. }, _) => "keeps ending",
        (ContainerState::Paused, _) => "is paused",
    };
    format!("{release} {state} ({})", container.name)
}
