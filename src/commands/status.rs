//! `status`: what runs, from which release, and whether somebody is deploying just now.

use super::session::{Session, ledger_error};
use crate::cli::GlobalOptions;
use crate::engine::labels;
use crate::engine::{Container, ContainerState, Health};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::steps::deploy::standing;
use crate::ui::{self, OutputOptions};
use crate::{ledger, lock};

/// Shows what stands.
///
/// # Errors
/// Whatever is wrong with the configuration, the engine or the ledger.
pub(super) async fn status(global: &GlobalOptions, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let project = session.project();
    let releases = session.releases(global).await?;
    let by_service = standing(&session.engine, project).await?;
    let holder = lock::holder(&session.engine, project).await?;
    let unfinished = ledger::unfinished_run(&session.engine, project)
        .await
        .map_err(ledger_error)?;
    let current = releases.current();
    let containers: Vec<&Container> = by_service.values().flatten().collect();
    let under_way = holder.as_ref().map(|holder| {
        format!(
            "{} by {}@{} since {}",
            holder.command, holder.owner, holder.host_name, holder.since
        )
    });
    let stopped = unfinished.filter(|_| holder.is_none()).map(|run| {
        let step = run.stopped_at();
        format!(
            "{} of {} stopped at {step} and never finished",
            run.header.command, run.header.started_at
        )
    });
    let json = serde_json::json!({
        "schema": 1,
        "project": project,
        "release": current.map(|release| serde_json::json!({
            "tag": release.tag,
            "deployed_at": release.deployed_at,
            "deployed_by": release.deployed_by,
        })),
        "run_under_way": under_way,
        "unfinished_run": stopped,
        "containers": containers.iter().map(|container| serde_json::json!({
            "service": container.label(labels::COMPOSE_SERVICE),
            "name": container.name,
            "release": container.label(labels::RELEASE),
            "state": state(container),
            "health": health(container),
            "restarts": container.restart_count,
            "image": container.image_reference,
            "image_id": container.image,
            "started_at": container.started,
        })).collect::<Vec<_>>(),
    });
    let mut human = match current {
        Some(release) => format!(
            "{project}: release {}, deployed {} by {}\n",
            release.tag, release.deployed_at, release.deployed_by
        ),
        None => format!("{project}: no release is recorded yet\n"),
    };
    if let Some(under_way) = &under_way {
        human.push_str(&format!("under way: {under_way}\n"));
    }
    if let Some(stopped) = &stopped {
        human.push_str(&format!(
            "unfinished: {stopped}; the next run or rollback takes over\n"
        ));
    }
    if containers.is_empty() {
        human.push_str("nothing runs\n");
    } else {
        let rows: Vec<Vec<String>> = containers
            .iter()
            .map(|container| {
                vec![
                    container
                        .label(labels::COMPOSE_SERVICE)
                        .unwrap_or_default()
                        .to_owned(),
                    container.label(labels::RELEASE).unwrap_or("-").to_owned(),
                    state(container),
                    health(container).unwrap_or("-").to_owned(),
                    container.restart_count.to_string(),
                    container.image.short().to_owned(),
                    container.name.clone(),
                ]
            })
            .collect();
        human.push('\n');
        let headers = [
            "SERVICE",
            "RELEASE",
            "STATE",
            "HEALTH",
            "RESTARTS",
            "IMAGE",
            "CONTAINER",
        ];
        human.push_str(&ui::table(&headers, &rows, output.columns));
    }
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}

fn state(container: &Container) -> String {
    match &container.state {
        ContainerState::Created => "created".to_owned(),
        ContainerState::Running => "running".to_owned(),
        ContainerState::Paused => "paused".to_owned(),
        ContainerState::Restarting { exit_code } => format!("restarting ({exit_code})"),
        ContainerState::Exited(exit) => format!("exited ({})", exit.code),
        ContainerState::Removing => "removing".to_owned(),
        ContainerState::Dead => "dead".to_owned(),
    }
}

const fn health(container: &Container) -> Option<&'static str> {
    match &container.health {
        None => None,
        Some(Health::Starting { .. }) => Some("starting"),
        Some(Health::Healthy) => Some("healthy"),
        Some(Health::Unhealthy { .. }) => Some("unhealthy"),
    }
}
