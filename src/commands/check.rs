//! `check`: what would make a deploy fail, before it starts; which checks there are, and what each is for.

use super::session::Session;
use super::steps::{Asked, Chosen, drive_with};
use crate::cli::{CheckArgs, GlobalOptions};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::steps::check::{Selection, about};
use crate::ui::{self, OutputOptions};

/// Makes the checks, or tells of them.
///
/// # Errors
/// Whatever is wrong before the first check; an id that no check has.
pub(super) async fn check(
    global: &GlobalOptions,
    arguments: &CheckArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    if let Some(id) = &arguments.explain {
        return explain(id, output);
    }
    let session = Session::open(global)?;
    if arguments.list {
        return list(&session, global, output).await;
    }
    let selection = Selection::of(&arguments.only, &arguments.skip)?;
    let reporter = ui::reporter(output);
    let chosen = Chosen::check_with(selection);
    drive_with(session, global, chosen, Asked::default(), reporter).await
}

fn explain(id: &str, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let about = about::of(id)?;
    let human = format!(
        "{}: {}\n\nprotects from: {}\nhow:           {}\nfails as:      {}\nto do:         {}",
        about.id, about.title, about.protects_from, about.how, about.level, about.remedy
    );
    ui::data(
        output,
        &human,
        &serde_json::json!({ "schema": 1, "check": about }),
    );
    Ok(ExitCode::Done)
}

async fn list(
    session: &Session,
    global: &GlobalOptions,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let settings = session.settings(session.new_tag(global).await?, None).await?;
    let all = about::all(&settings);
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|about| {
            let applies = if about.applies == Some(true) { "yes" } else { "" };
            vec![
                about.id.to_owned(),
                about.level.to_owned(),
                applies.to_owned(),
                about.title.to_owned(),
            ]
        })
        .collect();
    let human = ui::table(
        &["CHECK", "FAILS AS", "HERE", "WHAT IS TRUE WHERE IT PASSES"],
        &rows,
        output.columns,
    );
    ui::data(output, &human, &serde_json::json!({ "schema": 1, "checks": all }));
    Ok(ExitCode::Done)
}
