//! `report`: the page of a release, or of a run, from what the ledger knows: the same from every machine.

use std::path::Path;

use super::reported::{ReportPlace, Subject};
use super::session::Session;
use crate::cli::{GlobalOptions, ReportArgs};
use crate::clock::{Clock as _, SystemClock};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::release::Tag;
use crate::ui::{self, OutputOptions};

/// What stands for standard output.
const STDOUT: &str = "-";

/// Writes it.
///
/// # Errors
/// No such release or run; a file that cannot be written; whatever is wrong with the configuration, the engine or the
/// ledger.
pub(super) async fn report(
    global: &GlobalOptions,
    arguments: &ReportArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let memory = session.memory(global).await?;
    let asked = arguments.release.clone().map(Tag::new).transpose();
    let asked = asked.map_err(super::configuration)?;
    let subject = match &arguments.run {
        Some(run) => Subject::of_run(&memory, run)?,
        None => Subject::of_release(&memory, asked.as_ref())?,
    };
    let project = session.project();
    let page = subject.page(project, &memory, SystemClock.now());
    if arguments.file.as_deref() == Some(Path::new(STDOUT)) {
        ui::document(&page);
        return Ok(ExitCode::Done);
    }
    let name = match &arguments.run {
        Some(_) => {
            let run = subject.run.as_ref().map_or_else(String::new, ToString::to_string);
            format!("report-{project}-{}-{run}.html", subject.tag)
        }
        None => format!("report-{project}-{}.html", subject.tag),
    };
    let place = match &arguments.file {
        Some(path) => ReportPlace::typed(path),
        None => ReportPlace::File(name.clone().into()),
    };
    let path = place
        .put(&name, &page)
        .map_err(|error| Failure::from(error).hint("to write it elsewhere: --file <FILE>"))?;
    let json = serde_json::json!({
        "schema": 1,
        "project": project,
        "release": subject.tag,
        "run": subject.run,
        "file": path.display().to_string(),
    });
    ui::data(output, &path.display().to_string(), &json);
    Ok(ExitCode::Done)
}
