//! Whether the team has been told of the deploy: a command of the operator's says so. It is asked, and tells nobody
//! anything: a check changes nothing. That a run has begun is told by the run itself, which is `notify`'s business, and too
//! late for this.

use futures_util::FutureExt as _;

use super::registry::{Asking, Check, Look, When};
use super::verdict::{Level, Problem, Verdict};
use crate::error::{Failure, FailureKind};
use crate::pipeline::StepId;
use crate::steps::local_command::{self, LocalCommand, Output, Ran};

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[Check {
    id: "team",
    title: "the team has been told of the deploy",
    protects_from: "a deploy in the middle of somebody else's lesson, incident or release",
    level: Level::Blocks,
    how: "runs checks.team.run on this machine: it ends with 0 where the team knows",
    remedy: "tell the team, and check again",
    when: When::First,
    refuses_as: FailureKind::Gate,
    applies: |settings| settings.config.checks.team.is_some(),
    look: Look::Asks(|asking| told(asking).boxed()),
    time_limit: Some(|settings| {
        let team = settings.config.checks.team.as_ref();
        team.map_or(settings.config.checks.timeout.0, |team| team.timeout.0 * 2)
    }),
}];

async fn told(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let context = asking.context;
    let Some(team) = &context.settings.config.checks.team else {
        return Ok(Verdict::NotYet("deploy.yml names no command".to_owned()));
    };
    let line = team.run.join(" ");
    let command = LocalCommand {
        words: &team.run,
        folder: context.settings.config.directory(),
        environment: local_command::facts(context, StepId::Check),
        time_limit: team.timeout.0,
        output: Output::Heard,
    };
    Ok(match local_command::run(command, asking.task).await {
        Err(failure) => Verdict::found(Problem::unverified_for(
            failure.context(format!("running `{line}`")),
        )),
        Ok(Ran::Ended(ended)) if ended.status.success() => Verdict::Passed(format!("`{line}` says so")),
        Ok(Ran::Ended(ended)) => Verdict::found(
            Problem::wrong(format!(
                "`{line}` says that the team does not know ({})",
                ended.status
            ))
            .evidence(format!("what `{line}` wrote"), ended.last_lines),
        ),
        Ok(Ran::NotThere) => Verdict::not_verified(format!("there is no program `{line}`")),
        Ok(Ran::TimedOut) => Verdict::not_verified(format!(
            "`{line}` was not done after {} s (checks.team.timeout)",
            team.timeout.0.as_secs()
        )),
    })
}
