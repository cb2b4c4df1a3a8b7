//! `notify --test`: a notice that says that it is a test, to everybody who is told of deploys or to one of them, and who
//! got it. The engine is not asked, and nothing is locked.

use std::time::Duration;

use super::identity;
use super::session::Session;
use crate::cli::{GlobalOptions, NotifyArgs};
use crate::clock::{Clock as _, SystemClock};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::notify::{Notice, What};
use crate::release::RunId;
use crate::ui::{self, OutputOptions};
use crate::yaml::nearest;

/// Sends the test, and tells how it went.
///
/// # Errors
/// Whatever is wrong with `notify` in `deploy.yml`; nobody who is called so.
pub(super) async fn notify(
    global: &GlobalOptions,
    arguments: &NotifyArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::without_engine(global)?;
    let names: Vec<String> = session
        .config
        .notify
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    if names.is_empty() {
        return Err(Failure::message(
            FailureKind::Configuration,
            "deploy.yml notifies nobody: it has no `notify`",
        )
        .hint("deploy.example.yml shows how"));
    }
    let notices = session.notices_alone().await?;
    let only = Some(arguments.test.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = only
        && !names.iter().any(|known| known == name)
    {
        let near = nearest(name, names.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::message(
            FailureKind::Usage,
            format!("deploy.yml notifies nobody called `{name}`{near}"),
        )
        .hint(format!("known are: {}", names.join(", "))));
    }
    let notice = test_notice(session.project());
    if global.dry_run {
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for target in notices.called(only) {
            rows.push(vec![
                target.name.clone(),
                target.place(),
                "would be notified".to_owned(),
            ]);
            json.push(serde_json::json!({ "target": target.name, "place": target.place() }));
        }
        ui::data(
            output,
            &ui::wrapped_table(&rows, output.columns),
            &serde_json::json!({ "schema": 1, "project": session.project(), "would_notify": json }),
        );
        return Ok(ExitCode::Done);
    }
    let told = notices.test(only, notice).await;
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for (target, delivered) in &told {
        let result = delivered
            .why_not
            .as_ref()
            .map_or_else(|| "notified".to_owned(), |why| format!("NOT notified: {why}"));
        rows.push(vec![target.name.clone(), target.place(), result]);
        json.push(serde_json::json!({
            "target": target.name,
            "place": target.place(),
            "delivered": delivered.why_not.is_none(),
            "why_not": delivered.why_not,
            "tries": delivered.tries,
            "seconds": delivered.took.as_secs_f64(),
        }));
    }
    ui::data(
        output,
        &ui::wrapped_table(&rows, output.columns),
        &serde_json::json!({ "schema": 1, "project": session.project(), "notices": json }),
    );
    let all_got_it = told.iter().all(|(_, delivered)| delivered.why_not.is_none());
    Ok(if all_got_it {
        ExitCode::Done
    } else {
        ExitCode::Gate
    })
}

/// With something in each place, so that one sees how a notice looks.
fn test_notice(project: &str) -> Notice {
    let now = SystemClock.now();
    Notice {
        what: What::Started,
        is_test: true,
        project: project.to_owned(),
        command: "notify".to_owned(),
        run: RunId::new(now, identity::random()).to_string(),
        release: "none".to_owned(),
        before: None,
        serves: None,
        by: identity::deployed_by(),
        started: now,
        elapsed: Duration::ZERO,
        exit_code: None,
        step: None,
        service: None,
        error: None,
        evidence: vec!["here the last lines of a log would stand".to_owned()],
        warnings: Vec::new(),
        changes: Vec::new(),
        next: vec!["nothing has to be done".to_owned()],
        commit: None,
    }
}
