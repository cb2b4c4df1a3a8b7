//! What was done to the database: migrations with what they mean, what came of trying them on a copy, and the backup.

use super::markup::Markup;
use super::words::{self, answer_time, count, took};
use super::{Report, Told, lines, nothing, table, unknown};
use crate::pipeline::{Outcome, StepId};
use crate::release::rehearsal::{Rehearsal, WayBack};
use crate::release::{AssessedMigration, Migration, MigrationRecord};

/// Writes it.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    let (account, release) = (report.account(), report.release);
    let migrations = account.and_then(|account| account.migrations.as_ref());
    let migrations = migrations.or_else(|| release.and_then(|release| release.migrations.as_ref()));
    match (migrations, report.told) {
        (Some(record), _) => told(page, record),
        (None, Told::Known(account)) => match account.step(StepId::Migrate) {
            Some(step) => {
                let (_, _, word) = words::step(step.step, step.result);
                unknown(
                    page,
                    "Which migrations were applied is not known",
                    &format!("the step migrate: {word}"),
                );
            }
            None => nothing(page, "The command had no step that migrates."),
        },
        (None, Told::Unknown(why)) => unknown(page, "Which migrations were applied is not known", why),
    }
    let rehearsal = account.and_then(|account| account.rehearsal.as_ref());
    match rehearsal.or_else(|| release.and_then(|release| release.rehearsal.as_ref())) {
        Some(rehearsal) => rehearsed(page, rehearsal),
        None if migrations.is_some_and(|record| !record.added().is_empty()) => nothing(
            page,
            "They were not tried on a copy of the data first (django.rehearse, viatique-deploy rehearse).",
        ),
        None => {}
    }
    page.worded("h3", &[], "Backup");
    let backup = account.and_then(|account| account.backup.as_ref());
    match (
        backup.or_else(|| release.and_then(|release| release.backup.as_ref())),
        report.told,
    ) {
        (Some(id), _) => page.element("p", &[], |line| {
            line.text("Made before it: ");
            line.worded("code", &[], id);
            // Where it has come to serve over another, that one's code goes with it.
            let is_over_another = account
                .is_none_or(|account| account.outcome == Outcome::Succeeded && account.before.is_some());
            if is_over_another {
                line.text(". To restore it with the code before: ");
                line.worded(
                    "code",
                    &[],
                    &format!("viatique-deploy rollback --restore-db={id}"),
                );
            } else {
                line.text(". To restore it: ");
                line.worded("code", &[], &format!("viatique-deploy backup restore {id}"));
            }
        }),
        (None, Told::Known(_)) => nothing(page, "The run has made none."),
        (None, Told::Unknown(why)) => unknown(page, "Whether one was made is not known", why),
    }
    made(page, report);
}

/// What the step said of it.
fn made(page: &mut Markup, report: &Report<'_>) {
    let step = report.account().and_then(|account| account.step(StepId::Backup));
    if let Some(step) = step.filter(|step| !step.message.is_empty()) {
        page.element("p", &[("class", "faint")], |line| {
            line.text(&step.message);
            line.text(", in ");
            line.text(&took(step.seconds));
            line.text(".");
        });
    }
}

fn told(page: &mut Markup, record: &MigrationRecord) {
    let (added, removed) = (record.added(), record.removed());
    if added.is_empty() && removed.is_empty() {
        nothing(page, "No migration was applied: none was pending.");
    }
    if !added.is_empty() {
        let applied = count(added.len(), "migration was", "migrations were");
        page.worded("p", &[], &format!("{applied} applied:"));
        table(
            page,
            &["Migration", "What it means for the code before"],
            |rows| {
                for migration in added {
                    let assessed = record.assessed.iter().find(|one| one.migration == *migration);
                    rows.element("tr", &[], |row| {
                        row.element("th", &[("scope", "row")], |cell| {
                            cell.worded("code", &[], &migration.to_string());
                        });
                        row.element("td", &[], |cell| meaning(cell, assessed));
                    });
                }
            },
        );
    }
    if !removed.is_empty() {
        page.worded("p", &[], "Taken back:");
        let names: Vec<String> = removed.into_iter().map(Migration::to_string).collect();
        lines(page, names.iter().map(String::as_str));
    }
}

fn meaning(cell: &mut Markup, assessed: Option<&AssessedMigration>) {
    let Some(AssessedMigration { assessment, .. }) = assessed else {
        words::badge(cell, (words::Tone::Faint, "?", "not judged"));
        return;
    };
    let kinds = [
        (&assessment.breaks, words::Tone::Bad, "✘", "breaks it: "),
        (&assessment.loses, words::Tone::Bad, "✘", "deletes for good: "),
        (
            &assessment.irreversible,
            words::Tone::Warning,
            "!",
            "cannot be taken back: ",
        ),
        (
            &assessment.unsure,
            words::Tone::Warning,
            "?",
            "cannot be judged: ",
        ),
    ];
    let mut is_harmless = true;
    for (whys, tone, sign, words) in kinds {
        if !whys.is_empty() {
            is_harmless = false;
            cell.element("p", &[], |line| {
                super::words::badge(line, (tone, sign, words));
                line.text(&whys.join("; "));
            });
        }
    }
    if is_harmless {
        words::badge(cell, (words::Tone::Good, "✔", "fits it"));
    }
}

fn rehearsed(page: &mut Markup, rehearsal: &Rehearsal) {
    page.worded("h3", &[], "Tried on a copy of the data");
    page.worded("p", &[], &format!("{}.", rehearsal.in_words()));
    let headings = ["Migration", "Took", "Locked so that others wait"];
    table(page, &headings, |rows| {
        for timed in &rehearsal.migrations {
            rows.element("tr", &[], |row| {
                row.element("th", &[("scope", "row")], |cell| {
                    cell.worded("code", &[], &timed.migration.to_string());
                });
                row.worded("td", &[("class", "number")], &milliseconds(timed.milliseconds));
                let locks: Vec<String> = timed
                    .locks
                    .iter()
                    .map(|lock| {
                        format!(
                            "{} for {} ({})",
                            lock.table,
                            milliseconds(lock.milliseconds),
                            lock.mode
                        )
                    })
                    .collect();
                let locks = if locks.is_empty() {
                    "nothing for longer than 50 ms".to_owned()
                } else {
                    locks.join("; ")
                };
                row.worded("td", &[], &locks);
            });
        }
    });
    match &rehearsal.way_back {
        WayBack::Differs { statements } => {
            page.worded(
                "p",
                &[],
                "Taken back, these statements of the schema are not as before:",
            );
            lines(page, statements.iter().map(String::as_str));
        }
        WayBack::Irreversible { why } => lines(page, why.iter().map(String::as_str)),
        WayBack::Failed { why } => lines(page, [why.as_str()]),
        WayBack::Exact { .. } => {}
    }
}

fn milliseconds(milliseconds: u64) -> String {
    answer_time(milliseconds as f64 / 1000.0)
}
