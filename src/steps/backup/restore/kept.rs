//! Databases that stand beside the one that serves, and go: those that were replaced longer than `backup.keep_replaced`
//! ago, and those that a killed run was filling. Only what carries the project's own mark is looked at. Called under the
//! deploy lock.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::{database_container, size};
use super::database::Target;
use crate::error::Failure;
use crate::pipeline::{Context, StepId, StepResult};
use crate::stack::postgres::beside::{Marked, State};

/// Drops what goes. What it was, in words; `None` where nothing goes, or no database runs that could be asked.
///
/// # Errors
/// A database that does not answer, or does not let itself be dropped.
pub(crate) async fn drop_old(context: Context<'_>, step: StepId) -> Result<Option<String>, Failure> {
    let Some(configured) = &context.settings.config.backup.database else {
        return Ok(None);
    };
    let running = database_container(context.engine, context.view(), configured).await;
    if !matches!(running, Ok(Some(_))) {
        return Ok(None);
    }
    let target = Target::of(context).await?;
    let marked = target.marked().await?;
    let goes: Vec<&Marked> = marked.iter().filter(|one| goes(context, one)).collect();
    if goes.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = goes.iter().map(|one| one.name.as_str()).collect();
    let what = format!("dropping {}", names.join(", "));
    let task = context.task(step, "replaced", what);
    let dropped = async {
        for one in &goes {
            target.remove(&one.name).await?;
        }
        Ok(())
    };
    let bytes = goes.iter().map(|one| one.bytes).sum();
    let done = format!("dropped {}, {}", names.join(", "), size(bytes));
    task.conclude(dropped.await, |()| (StepResult::Succeeded, done.clone()))?;
    Ok(Some(done))
}

fn goes(context: Context<'_>, one: &Marked) -> bool {
    match one.mark.state {
        State::Incoming => one.mark.run != context.run.0,
        State::Replaced | State::TakenBack => {
            let since = OffsetDateTime::parse(&one.mark.at, &Rfc3339);
            let keep = context.settings.config.backup.keep_replaced.0;
            since.is_ok_and(|since| since + keep < context.clock.now())
        }
    }
}
