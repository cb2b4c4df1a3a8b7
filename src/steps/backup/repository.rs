//! Whether what another tool saves is fresh: it then stands in for a backup of this one. Its repository is asked in the
//! container that has the tool, and left as it is.

use super::super::deploy::{containers_of, standing};
use super::database::said;
use crate::clock::timestamp;
use crate::config::BackupRepository;
use crate::engine::{ContainerState, ExecSpec};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;

/// Says how old its newest backup is; `None` where nothing of the project stands yet, which has nothing to lose.
///
/// # Errors
/// One that is older than `backup.max_age`, none at all, and what cannot be found out: that is not verified, and never
/// passes.
pub(crate) async fn fresh(
    context: Context<'_>,
    repository: &BackupRepository,
) -> Result<Option<String>, Failure> {
    let tool = repository.tool;
    let what = format!("asking {} for its newest backup", tool.name());
    let project = &context.settings.project.name;
    let standing = standing(context.engine, project).await?;
    if standing.is_empty() {
        return Ok(None);
    }
    let container = containers_of(&standing, &repository.service)
        .iter()
        .find(|one| one.state == ContainerState::Running);
    let Some(container) = container else {
        return Err(refused(format!("{what}: {} does not run", repository.service)));
    };
    let command = ExecSpec {
        command: repository.command.clone().unwrap_or_else(|| tool.command()),
        ..ExecSpec::default()
    };
    let answer = said(context.engine, &container.id, &command, &what).await;
    let answer = answer.map_err(|failure| failure.with_kind(FailureKind::Gate))?;
    let newest = tool
        .newest(&answer)
        .map_err(|error| Failure::new(FailureKind::Gate, error).context(what))?;
    let Some(newest) = newest else {
        return Err(refused(format!(
            "the repository of {} has no backup",
            tool.name()
        )));
    };
    let age = context.clock.now() - newest;
    let said = format!("the newest of {} is of {}", tool.name(), timestamp(newest));
    // One from the future is not fresh: a clock is wrong, and nothing is known.
    let is_fresh = !age.is_negative() && age <= context.settings.config.backup.max_age.0;
    if is_fresh {
        return Ok(Some(said));
    }
    Err(refused(format!("{said}, which is too old (backup.max_age)")))
}

fn refused(why: String) -> Failure {
    Failure::message(FailureKind::Gate, why).hint("make a backup with it, and check again")
}
