//! The account of a run that is over: put together from what was gathered of its events and from how it ended, and kept in
//! the ledger. A run is as it is whether or not its account could be kept.

use std::time::Duration;

use time::OffsetDateTime;

use super::identity;
use crate::account::{ACCOUNT_FORMAT, Account, Seen, StepAccount, kept_of};
use crate::clock::{seconds, timestamp};
use crate::engine::Engine;
use crate::exit_code::ExitCode;
use crate::ledger::Ledger;
use crate::pipeline::{
    ErrorReport, Event, Events, Interrupt, Outcome, RunState, Settings, StepResult, StepSummary,
};
use crate::release::changes::Changes;
use crate::release::{MigrationRecord, RunId};

/// How a run has ended.
pub(super) struct Finish<'a> {
    pub(super) outcome: Outcome,
    pub(super) exit_code: ExitCode,
    /// What the steps have found and made.
    pub(super) state: RunState,
    /// What serves now.
    pub(super) serves: Option<String>,
    pub(super) started: OffsetDateTime,
    pub(super) took: Duration,
    pub(super) error: Option<&'a ErrorReport>,
    /// All of them, also those that were not reached.
    pub(super) steps: &'a [StepSummary],
}

/// Puts it together.
pub(super) fn account(
    settings: &Settings,
    command: &str,
    run: &RunId,
    mut seen: Seen,
    end: Finish<'_>,
) -> Account {
    let not_reached = end
        .steps
        .iter()
        .filter(|summary| summary.result == StepResult::NotRun);
    seen.steps.extend(not_reached.map(|summary| StepAccount {
        step: summary.step,
        began: None,
        seconds: 0.0,
        result: StepResult::NotRun,
        message: String::new(),
        tasks: Vec::new(),
    }));
    Account {
        format: ACCOUNT_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        project: settings.project.name.clone(),
        run: run.clone(),
        command: command.to_owned(),
        release: settings.tag.clone(),
        before: end.state.served,
        commit: end.state.commit,
        changes: end.state.changes.map(Changes::bounded),
        started_at: timestamp(end.started),
        started_by: identity::deployed_by(),
        steps: seen.steps,
        unwound: seen.unwound,
        checks: seen.checks,
        warnings: seen.warnings,
        settled: seen.settled,
        notices: seen.notices,
        images: end.state.images,
        migrations: end.state.migrations.as_ref().map(MigrationRecord::shortened),
        rehearsal: end.state.rehearsal,
        backup: end.state.backup,
        outcome: end.outcome,
        exit_code: end.exit_code.into(),
        serves: end.serves,
        seconds: seconds(end.took),
        error: end.error.map(kept_of),
    }
}

/// Keeps it, unless somebody asks once more that the run be over.
pub(super) async fn keep(engine: &dyn Engine, account: &Account, events: &Events, interrupt: &Interrupt) {
    let again = interrupt.times() + 1;
    let kept = async {
        let ledger = Ledger::open(engine, &account.project).await?;
        ledger.keep_account(account).await
    };
    let why = tokio::select! {
        biased;
        kept = kept => match kept {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        () = interrupt.asked(again) => "interrupted".to_owned(),
    };
    events.emit(Event::Warning {
        message: format!("the account of this run could not be kept, and no report tells of it: {why}"),
        hint: None,
    });
}
