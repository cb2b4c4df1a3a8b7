//! `backup restore`: says what would go, asks, and drives the steps. What is asked of the databases before the question
//! changes nothing.

use std::io::IsTerminal as _;
use std::sync::Arc;

use time::OffsetDateTime;

use super::session::Session;
use super::steps::Chosen;
use crate::app::http::HttpApp;
use crate::cli::{GlobalOptions, RestoreArgs, RestorePart};
use crate::clock::SystemClock;
use crate::config::{BackupCopy, CopyPlace};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::pipeline::{Context, Events, Reporter, RunState, Settings};
use crate::release::RunId;
use crate::stack::postgres::description::Table;
use crate::steps::backup::copies;
use crate::steps::backup::restore::loss::{self, Preview, TableDifference, rows};
use crate::steps::backup::restore::{Parts, Restore};
use crate::steps::backup::sets::Sets;
use crate::ui::{self, OutputOptions};

/// Restores, or takes a restore back.
///
/// # Errors
/// Whatever is wrong before the first step, and that nobody agreed.
pub(super) async fn restore(
    global: &GlobalOptions,
    arguments: RestoreArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let releases = session.releases(global).await?;
    let tag = session.serving_tag(global, &releases).await?;
    let mut settings = session.settings(tag, releases.current().cloned()).await?;
    settings.allow_incompatible = arguments.allow_breaking;
    let reporter = ui::reporter(output);
    let looking = Looking::new(Arc::clone(&reporter))?;
    let parts = match arguments.only {
        None => Parts::All,
        Some(RestorePart::Database) => Parts::Database,
        Some(RestorePart::Media) => Parts::Media,
    };
    let mut restore = Restore::of(arguments.id.clone(), parts);
    if let Some(place) = &arguments.from_copy {
        if global.dry_run {
            return Err(Failure::message(
                FailureKind::Usage,
                "a dry run fetches nothing, and what is not here cannot be shown",
            ));
        }
        let copy = place_of(&settings, place)?;
        let context = looking.context(&session, &settings);
        restore.id = Some(copies::fetch(context, &copy, restore.id.as_deref()).await?);
    }
    if !arguments.undo {
        // What is shown is what is restored, whoever makes another one meanwhile.
        let sets = Sets::read(&settings.backup_directory, session.project()).await?;
        restore.id = Some(sets.named(restore.id.as_deref())?.id.clone());
    }
    let what = (!arguments.undo).then_some(&restore);
    let preview = preview(&looking, &session, &settings, what, output).await?;
    if !global.dry_run {
        let loses = preview.as_ref().is_some_and(Preview::loses);
        let question = question(preview.as_ref());
        agreed(session.project(), &question, loses, global, arguments.accept_loss)?;
    }
    let chosen = match what {
        Some(_) => Chosen::restore(restore, !arguments.skip_backup),
        None => Chosen::undo_restore(),
    };
    chosen.drive(&session, &mut settings, global, reporter).await
}

/// What is needed to look at something outside of a run.
pub(super) struct Looking {
    app: HttpApp,
    state: RunState,
    events: Events,
    run: RunId,
}

impl Looking {
    /// # Errors
    /// Where no connection to an app can be prepared.
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Result<Self, Failure> {
        Ok(Self {
            app: HttpApp::new().map_err(|error| Failure::from(anyhow::Error::new(error)))?,
            state: RunState::default(),
            events: Events::new(reporter),
            run: RunId::new(OffsetDateTime::now_utc(), 0),
        })
    }

    pub(super) fn context<'a>(&'a self, session: &'a Session, settings: &'a Settings) -> Context<'a> {
        Context {
            engine: &session.engine,
            app: &self.app,
            clock: &SystemClock,
            settings,
            state: &self.state,
            events: &self.events,
            run: &self.run,
        }
    }
}

/// The place of copies that is written so, or the first of `deploy.yml`.
fn place_of(settings: &Settings, written: &str) -> Result<BackupCopy, Failure> {
    let configured = &settings.config.backup.copies;
    let mut named = configured
        .iter()
        .filter(|copy| written.is_empty() || copy.to.to_string() == written);
    if let Some(copy) = named.next() {
        return Ok(copy.clone());
    }
    if written.is_empty() {
        return Err(Failure::message(
            FailureKind::Configuration,
            "deploy.yml names no place with copies: backup.copies",
        )
        .hint("viatique-deploy backup restore --from-copy=s3://bucket/prefix, or a folder"));
    }
    let to = written
        .parse::<CopyPlace>()
        .map_err(|_| Failure::message(FailureKind::Usage, format!("`{written}` is no place with copies")))?;
    Ok(BackupCopy {
        to,
        endpoint: None,
        region: None,
        credentials: None,
    })
}

/// What would serve, which is shown, too; `None` where the database is left alone.
pub(super) async fn preview(
    looking: &Looking,
    session: &Session,
    settings: &Settings,
    restore: Option<&Restore>,
    output: &OutputOptions,
) -> Result<Option<Preview>, Failure> {
    let context = looking.context(session, settings);
    let preview = match restore {
        Some(restore) => loss::of_restore(context, restore).await?,
        None => loss::of_undo(context).await?,
    };
    if let Some(preview) = &preview {
        let (human, json) = shown(session.project(), preview, output.columns);
        ui::data(output, &human, &json);
    }
    Ok(preview)
}

/// For people, and for programs.
fn shown(project: &str, preview: &Preview, columns: usize) -> (String, serde_json::Value) {
    let Preview {
        then,
        tables,
        migrations,
    } = preview;
    let mut human = format!("{project}, as it is now, and as it would be by {then}:\n");
    match tables.as_deref() {
        None => {
            human.push_str("what would go cannot be told: the backup does not say how many rows it has\n")
        }
        Some([]) => {
            human.push_str("every table has as many rows; whether some were changed cannot be told\n")
        }
        Some(tables) => {
            let lines: Vec<Vec<String>> = tables.iter().map(line).collect();
            let headers = ["TABLE", "ROWS NOW", "THEN", "NEWEST NOW", "NEWEST THEN"];
            human.push_str(&ui::table(&headers, &lines, columns));
            let gone: u64 = tables.iter().map(TableDifference::rows_gone).sum();
            let many = if gone == 1 { "row" } else { "rows" };
            human.push_str(&format!(
                "{gone} {many} would go; rows that were only changed are not counted\n"
            ));
        }
    }
    for migration in migrations.iter().flatten() {
        human.push_str(&format!("migration {migration}\n"));
    }
    let of_table = |table: &TableDifference| {
        serde_json::json!({
            "table": table.name(),
            "now": table.now,
            "then": table.then,
            "rows_gone": table.rows_gone(),
        })
    };
    let json = serde_json::json!({
        "schema": 1,
        "event": "loss",
        "then": then,
        "tables": tables.as_ref().map(|tables| tables.iter().map(of_table).collect::<Vec<_>>()),
        "migrations": migrations,
    });
    (human, json)
}

fn line(table: &TableDifference) -> Vec<String> {
    let newest = |table: Option<&Table>| {
        let newest = table.and_then(|table| table.newest.as_deref());
        // To the second: so wide a table is read at 3 am.
        newest
            .map_or("-", |newest| newest.get(..19).unwrap_or(newest))
            .to_owned()
    };
    let (now, then) = (table.now.as_ref(), table.then.as_ref());
    vec![
        table.name().to_owned(),
        rows(now).to_string(),
        rows(then).to_string(),
        newest(now),
        newest(then),
    ]
}

/// Somebody has typed the project's name, or has said on the command line that data may go.
pub(super) fn agreed(
    project: &str,
    question: &str,
    loses: bool,
    global: &GlobalOptions,
    accept_loss: bool,
) -> Result<(), Failure> {
    if global.yes && (accept_loss || !loses) {
        return Ok(());
    }
    if !global.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        if ui::confirm_by_typing(question, project) {
            return Ok(());
        }
        return Err(Failure::message(
            FailureKind::Failed,
            "not confirmed; nothing was changed",
        ));
    }
    let (why, hint) = if loses {
        ("data may go", "--yes --accept-loss")
    } else {
        ("this is asked for", "--yes")
    };
    Err(Failure::message(
        FailureKind::Gate,
        format!("{why}, and nobody is here to agree; nothing was changed"),
    )
    .hint(format!("to agree beforehand: {hint}")))
}

/// What is asked before a restore.
pub(super) fn question(preview: Option<&Preview>) -> String {
    match preview {
        Some(preview) => format!("Let {} serve?", preview.then),
        None => "Restore the media?".to_owned(),
    }
}
