//! A lock that somebody else holds: what is said of it, and `unlock`.

use std::time::Duration;

use super::identity;
use super::session::{Session, ledger_error};
use crate::cli::{GlobalOptions, UnlockArgs};
use crate::clock::{Clock as _, SystemClock, timestamp};
use crate::engine::Inspect;
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{self, Memory};
use crate::lock::{self, Holder, Life, Standing};
use crate::release::RunId;
use crate::ui::{self, OutputOptions};

/// Why the lock was not taken: who holds it, doing what, and whether it lives.
///
/// # Errors
/// The engine's, and a ledger that cannot be read.
pub(super) async fn held(inspect: &dyn Inspect, project: &str, here: &Holder) -> Result<Failure, Failure> {
    let Some(standing) = lock::standing(inspect, project).await? else {
        return Ok(Failure::message(
            FailureKind::Locked,
            format!("project {project} was locked a moment ago, and is not any more"),
        )
        .hint("run the same command again"));
    };
    let memory = ledger::read(inspect, project).await.map_err(ledger_error)?;
    let life = standing.life(here, memory.sign_of_life.as_ref(), inspect.time().await?);
    let message = format!(
        "project {project} is locked by {}; {}",
        who(&standing, &memory),
        in_words(life)
    );
    Ok(Failure::message(FailureKind::Locked, message).hint(match life {
        Life::Lives(_) => "to wait for it: --lock-wait 10m",
        Life::Silent(_) | Life::Ended => "to take the lock away from it: viatique-deploy unlock",
    }))
}

/// The lock, if anybody holds it, and whether its holder lives as seen from this process.
///
/// # Errors
/// The engine's.
pub(super) async fn look(
    inspect: &dyn Inspect,
    project: &str,
    memory: &Memory,
) -> Result<Option<(Standing, Life)>, Failure> {
    let Some(standing) = lock::standing(inspect, project).await? else {
        return Ok(None);
    };
    let now = timestamp(SystemClock.now());
    let here = identity::holder("", &RunId(String::new()), now);
    let life = standing.life(&here, memory.sign_of_life.as_ref(), inspect.time().await?);
    Ok(Some((standing, life)))
}

/// `ada@host (run of v2, process 12, at deploy) since …`
pub(super) fn who(standing: &Standing, memory: &Memory) -> String {
    let Holder {
        owner,
        host_name,
        process,
        command,
        run,
        since,
        host: _,
    } = &standing.holder;
    let under_way = memory
        .unfinished
        .as_ref()
        .filter(|unfinished| unfinished.header.run.0 == *run);
    let release = under_way.and_then(|unfinished| unfinished.header.release.as_ref());
    let release = release.map_or_else(String::new, |tag| format!(" of {tag}"));
    let step = under_way.map_or_else(String::new, |unfinished| {
        format!(", at {}", unfinished.stopped_at())
    });
    format!("{owner}@{host_name} ({command}{release}, process {process}{step}) since {since}")
}

pub(super) fn in_words(life: Life) -> String {
    match life {
        Life::Ended => "its process is gone".to_owned(),
        Life::Silent(since) => format!(
            "it gave its last sign of life {} ago, and is probably dead",
            duration(since)
        ),
        Life::Lives(since) => format!("it lives: its last sign of life is {} old", duration(since)),
    }
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, _) => format!("{hours} h"),
    }
}

/// `unlock`: takes the lock away from a holder that is dead, or with `--force` from one that lives.
///
/// # Errors
/// A holder that lives, without `--force`; the engine's.
pub(super) async fn unlock(
    global: &GlobalOptions,
    arguments: &UnlockArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let (engine, project) = (&session.engine, session.project());
    let memory = session.memory(global).await?;
    let Some((standing, life)) = look(engine, project, &memory).await? else {
        let json = serde_json::json!({ "schema": 1, "project": project, "removed": false });
        ui::data(output, &format!("project {project} is not locked"), &json);
        return Ok(ExitCode::Done);
    };
    let holder = format!("{}; {}", who(&standing, &memory), in_words(life));
    if let Life::Lives(_) = life
        && !arguments.force
    {
        return Err(Failure::message(
            FailureKind::Locked,
            format!("project {project} is locked by {holder}"),
        )
        .hint("stop it where it runs, or wait for it")
        .hint(
            "to take the lock away all the same, which stops it half-way: viatique-deploy unlock --force",
        ));
    }
    if !global.dry_run {
        standing.remove(engine).await?;
    }
    let next = memory.unfinished.as_ref().map(|unfinished| {
        format!(
            "\nnext: viatique-deploy resume finishes the {}, viatique-deploy rollback takes it back",
            unfinished.header.command
        )
    });
    let done = if global.dry_run {
        "would be taken"
    } else {
        "was taken"
    };
    let human = format!("the lock {done} away from {holder}{}", next.unwrap_or_default());
    let json = serde_json::json!({
        "schema": 1,
        "project": project,
        "removed": !global.dry_run,
        "holder": who(&standing, &memory),
    });
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}
