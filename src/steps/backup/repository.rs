//! Whether what another tool saves is fresh: it then stands in for a backup of this one. Its repository is asked in the
//! container that has the tool, and left as it is.

use super::super::deploy::{containers_of, standing};
use super::database::said;
use crate::clock::timestamp;
use crate::config::BackupRepository;
use crate::engine::{ContainerState, ExecSpec};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;
use crate::steps::check::verdict::{Problem, Verdict};

/// How old its newest backup is, as a verdict. Where nothing of the project stands yet there is nothing to lose.
///
/// # Errors
/// The engine's.
pub(crate) async fn fresh(context: Context<'_>, repository: &BackupRepository) -> Result<Verdict, Failure> {
    let tool = repository.tool;
    let what = format!("asking {} for its newest backup", tool.name());
    let project = &context.settings.project.name;
    let standing = standing(context.engine, project).await?;
    if standing.is_empty() {
        return Ok(Verdict::NotYet("nothing runs yet".to_owned()));
    }
    let container = containers_of(&standing, &repository.service)
        .iter()
        .find(|one| one.state == ContainerState::Running);
    let Some(container) = container else {
        return Ok(Verdict::not_verified(format!(
            "{what}: {} does not run",
            repository.service
        )));
    };
    let command = ExecSpec {
        command: repository.command.clone().unwrap_or_else(|| tool.command()),
        ..ExecSpec::default()
    };
    let answer = said(context.engine, &container.id, &command, &what).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            return Ok(Verdict::found(Problem::unverified_for(failure)));
        }
    };
    let newest = match tool.newest(&answer) {
        Ok(newest) => newest,
        Err(error) => {
            let failure = Failure::new(FailureKind::Gate, error).context(what);
            return Ok(Verdict::found(Problem::unverified_for(failure)));
        }
    };
    let Some(newest) = newest else {
        let none = format!("the repository of {} has no backup", tool.name());
        return Ok(Verdict::found(Problem::wrong(none)));
    };
    let age = context.clock.now() - newest;
    let said = format!("the newest of {} is of {}", tool.name(), timestamp(newest));
    // One from the future is not fresh: a clock is wrong, and nothing is known.
    let is_fresh = !age.is_negative() && age <= context.settings.config.backup.max_age.0;
    if is_fresh {
        return Ok(Verdict::Passed(said));
    }
    let too_old = format!("{said}, which is too old (backup.max_age)");
    Ok(Verdict::found(Problem::wrong(too_old)))
}
