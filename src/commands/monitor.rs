//! `monitor`: watches a release that stands, from any terminal: after a `deploy` of a CI job, or beside a run whose own
//! watch somebody else sees.

use super::configuration;
use super::session::Session;
use super::signals;
use super::steps::Chosen;
use crate::cli::{GlobalOptions, MonitorArgs};
use crate::config::is_watch;
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::release::Tag;
use crate::steps::monitor;
use crate::ui::{self, OutputOptions};

/// Watches the release that was asked for, else the one that a run under way has deployed, else the one that serves.
///
/// # Errors
/// Whatever is wrong before the watch begins.
pub(super) async fn monitor(
    global: &GlobalOptions,
    arguments: &MonitorArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    if arguments.r#for.is_some_and(|asked| !is_watch(asked)) {
        return Err(Failure::message(
            FailureKind::Usage,
            "--for: a release is watched for 10s to 24h",
        ));
    }
    let session = Session::open(global)?;
    let memory = session.memory(global).await?;
    let current = memory.releases.current().cloned();
    let asked = arguments.release.as_ref().or(global.tag.as_ref());
    let under_way = memory
        .unfinished
        .as_ref()
        .and_then(|run| run.header.release.clone());
    let tag = match (asked, under_way) {
        (Some(asked), _) => Tag::new(asked.clone()).map_err(configuration)?,
        (None, Some(tag)) if monitor::is_deployed(&session.engine, session.project(), &tag).await? => tag,
        (None, _) => match &current {
            Some(current) => current.tag.clone(),
            None => {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!("no release of {} was deployed yet", session.project()),
                )
                .hint("viatique-deploy run"));
            }
        },
    };
    let mut settings = session.settings(tag, current).await?;
    let reporter = if global.dry_run {
        ui::reporter(output)
    } else {
        // As the terminal would, which does not while a dashboard has it.
        ui::monitor_reporter(output, arguments.plain, signals::interrupt_this_process)
    };
    Chosen::monitor(arguments.r#for)
        .drive(&session, &mut settings, global, reporter)
        .await
}
