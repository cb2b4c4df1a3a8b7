//! `rollback --reverse-migrations`: says what would go, asks, and decides which half comes first. Code that fits the newer
//! schema goes back first, in a run of its own, and no request is lost; what the earlier code cannot bear goes first, where
//! that is asked for.

use std::sync::Arc;

use super::restore::{Looking, agreed};
use super::rollback::later;
use super::session::Session;
use super::steps::Chosen;
use crate::cli::{GlobalOptions, RollbackArgs};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::Memory;
use crate::pipeline::{Event, Reporter, Reversal, ReversalOrder, Settings};
use crate::release::schema::{Fit, fit, since};
use crate::release::{Release, Tag};
use crate::stack::django::{Loses, Lost};
use crate::steps::reverse::{self, Newer, Reverse};
use crate::ui::{self, OutputOptions};

/// A way back that was asked for.
pub(super) struct Back<'a> {
    pub session: &'a Session,
    pub memory: &'a Memory,
    pub target: &'a Release,
    pub global: &'a GlobalOptions,
    pub arguments: &'a RollbackArgs,
    pub output: &'a OutputOptions,
}

/// Which half comes first; and what is not sure about it, for people.
///
/// # Errors
/// Where the schema would have to go first, and that was not asked for.
pub fn order(
    memory: &Memory,
    target: &Release,
    allow_breaking: bool,
) -> Result<(ReversalOrder, Option<String>), Failure> {
    let why = match fit(&since(later(&memory.releases, target))) {
        Fit::Same | Fit::Adds => return Ok((ReversalOrder::CodeFirst, None)),
        Fit::CannotTell(why) => {
            let unsure = format!(
                "whether the code of {} bears the migrations cannot be told, and it serves on them until they are \
                 taken back: {}",
                target.tag,
                why.join("; ")
            );
            return Ok((ReversalOrder::CodeFirst, Some(unsure)));
        }
        Fit::Breaks(_) if allow_breaking => return Ok((ReversalOrder::SchemaFirst, None)),
        Fit::Breaks(why) => why,
    };
    Err(Failure::message(
        FailureKind::Gate,
        format!(
            "{} cannot serve before the migrations are taken back, and what serves cannot serve afterwards: requests would \
             fail from the first to the last replaced service",
            target.tag
        ),
    )
    .evidence("what its code does not fit", why)
    .hint("to take them back all the same: --allow-breaking"))
}

/// Whether the release's own code serves already.
pub fn serves_already(memory: &Memory, target: &Release) -> bool {
    let current = memory.releases.current();
    memory.unfinished.is_none()
        && current.is_some_and(|current| current.tag == target.tag && current.images == target.images)
}

impl Newer<'_> {
    /// As it was recorded, or of the files as they are now. The settings of what is gone back to are read by then, and
    /// with them the secrets.
    pub(super) fn settings(self, session: &Session) -> Result<Settings, Failure> {
        match self {
            Self::Recorded(release) => session.recorded_settings_again(release, None),
            Self::Tagged(tag) => session.settings_again(tag.clone(), None),
        }
    }
}

impl Back<'_> {
    /// Goes back to the release and to its schema.
    pub(super) async fn with_its_migrations(
        &self,
        settings: &mut Settings,
        reporter: Arc<dyn Reporter>,
    ) -> Result<ExitCode, Failure> {
        let Self {
            session,
            memory,
            target,
            global,
            arguments,
            output,
        } = self;
        let (order, unsure) = order(memory, target, arguments.allow_breaking)?;
        if let Some(message) = unsure {
            reporter.event(&Event::Warning { message, hint: None });
        }
        let with = arguments.with.clone().map(Tag::new).transpose();
        let reversal = Reversal {
            order,
            with: with.map_err(super::configuration)?,
        };
        let settings_of = |newer: Newer<'_>| newer.settings(session);
        let Some(reverse) = Reverse::to(&memory.releases, target, &reversal, settings_of)? else {
            return Err(Failure::message(
                FailureKind::Configuration,
                format!(
                    "no release since {} is recorded that applied a migration",
                    target.tag
                ),
            )
            .hint("the code alone: without --reverse-migrations")
            .hint("what a run that failed has left applied, its code takes back: --with <TAG>"));
        };
        let looking = Looking::new(Arc::clone(&reporter))?;
        let loses = reverse::loses(looking.context(session, settings), &reverse).await?;
        let code_first = order == ReversalOrder::CodeFirst && !serves_already(memory, target);
        let (human, json) = shown(target, &loses, code_first, output.columns);
        ui::data(output, &human, &json);
        if !global.dry_run {
            let question = format!(
                "Roll {} back to {}, and take these migrations back?",
                session.project(),
                target.tag
            );
            let would_lose = !loses.lost.is_empty();
            agreed(
                session.project(),
                &question,
                would_lose,
                global,
                arguments.accept_loss,
            )?;
        }
        if code_first {
            let code = Chosen::rollback(target)
                .drive(session, settings, global, reporter)
                .await?;
            if code != ExitCode::Done {
                return Ok(code);
            }
        }
        settings.reverses = Some(reversal);
        Chosen::reversing(target, reverse)
            .drive(session, settings, global, ui::reporter(output))
            .await
    }
}

/// For people, and for programs.
fn shown(target: &Release, loses: &Loses, two_runs: bool, columns: usize) -> (String, serde_json::Value) {
    let names: Vec<String> = loses.migrations.iter().map(ToString::to_string).collect();
    let mut human = format!("taken back on the way to {}: {}\n", target.tag, names.join(", "));
    if two_runs {
        human.push_str("its code goes back first, then the migrations, in a run of their own\n");
    }
    if loses.lost.is_empty() {
        human.push_str("the columns and tables that go with them are empty\n");
    } else {
        let line = |lost: &Lost| {
            let newest = lost.newest.as_deref();
            vec![
                lost.table.clone(),
                lost.column.clone().unwrap_or_else(|| "all of it".to_owned()),
                lost.rows.to_string(),
                newest
                    .map_or("-", |newest| newest.get(..19).unwrap_or(newest))
                    .to_owned(),
                lost.migration.to_string(),
            ]
        };
        let lines: Vec<Vec<String>> = loses.lost.iter().map(line).collect();
        human.push_str(&ui::table(
            &["TABLE", "WHAT GOES", "VALUES", "NEWEST", "WITH"],
            &lines,
            columns,
        ));
        human.push_str("they stay in the backup that is made before\n");
    }
    let lost = loses.lost.iter().map(|lost| {
        serde_json::json!({
            "migration": lost.migration,
            "table": lost.table,
            "column": lost.column,
            "rows": lost.rows,
            "newest": lost.newest,
        })
    });
    let json = serde_json::json!({
        "schema": 1,
        "event": "loss",
        "then": target.tag,
        "migrations": names,
        "lost": lost.collect::<Vec<_>>(),
    });
    (human, json)
}
