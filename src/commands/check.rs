//! `check`: what would make a deploy fail, before it starts; which checks there are, and what each is for.

use std::sync::Arc;

use super::session::Session;
use super::steps::{Asked, Chosen, drive_with};
use crate::cli::{CheckArgs, GlobalOptions};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::release::Tag;
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
    if arguments.list {
        return list(&Session::without_engine(global)?, global, output).await;
    }
    let session = Session::open(global)?;
    let selection = Selection::of(&arguments.only, &arguments.skip)?;
    let reporter = ui::reporter(output);
    let chosen = Chosen::check_with(selection);
    let Some(path) = &arguments.junit else {
        return drive_with(session, global, chosen, Asked::default(), reporter).await;
    };
    let junit = Arc::new(ui::JunitReporter::new(reporter, path.clone()));
    let reporter = Arc::clone(&junit);
    let code = drive_with(session, global, chosen, Asked::default(), reporter).await?;
    // As its last event has said.
    Ok(if code == ExitCode::Done && junit.has_failed() {
        ExitCode::Failed
    } else {
        code
    })
}

fn explain(id: &str, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let about = about::of(id)?;
    let row = |heading: &str, text: &str| vec![heading.to_owned(), text.to_owned()];
    let rows = [
        row("passes where", about.title),
        row("protects from", about.protects_from),
        row("looks at", about.how),
        row("where it fails", fails(about.level)),
        row("to do then", about.remedy),
    ];
    let human = format!("{}\n{}", about.id, ui::wrapped_table(&rows, output.columns));
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
    // Which checks there are does not depend on the release: a folder that git cannot name is no reason to say nothing.
    let tag = match session.new_tag(global).await {
        Ok(tag) => tag,
        Err(_) => Tag::new("unnamed").map_err(super::configuration)?,
    };
    let settings = session.settings(tag, None).await?;
    let all = about::all(&settings);
    let (here, elsewhere): (Vec<_>, Vec<_>) = all.iter().partition(|about| about.applies == Some(true));
    let mut human = String::new();
    for (heading, those) in [
        ("Made here:", here),
        ("There is nothing here to look at for:", elsewhere),
    ] {
        if those.is_empty() {
            continue;
        }
        let rows: Vec<Vec<String>> = those
            .iter()
            .map(|about| {
                let level = if about.level == "block" { "stops" } else { "warns" };
                vec![about.id.to_owned(), level.to_owned(), about.title.to_owned()]
            })
            .collect();
        human.push_str(&format!(
            "{heading}\n{}\n",
            ui::wrapped_table(&rows, output.columns)
        ));
    }
    human.push_str("Each says what is true where it passes, and whether it stops a deploy where it fails.\n");
    human.push_str("More of one: viatique-deploy check --explain ID\n");
    ui::data(output, &human, &serde_json::json!({ "schema": 1, "checks": all }));
    Ok(ExitCode::Done)
}

/// What comes of it.
fn fails(level: &str) -> &'static str {
    if level == "block" {
        "it stops a deploy, unless checks.waivers says who answers for it"
    } else {
        "it is told, and stops nothing"
    }
}
