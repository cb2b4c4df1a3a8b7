//! What a dry run would do, as lines. Signs and words both say it, so that it reads without colour.

use crate::pipeline::{Change, ChangeKind, StepId};

use super::line::{Line, Role, wrapped};

/// Below this, a detail gets lines of its own.
const NARROWEST_DETAIL: usize = 24;

const fn sign(kind: ChangeKind) -> (Role, &'static str, &'static str) {
    match kind {
        ChangeKind::Create => (Role::Good, "+", "create"),
        ChangeKind::Replace => (Role::Accent, "~", "replace"),
        ChangeKind::ReplaceWithGap => (Role::Warning, "!", "replace with a gap"),
        ChangeKind::Reload => (Role::Accent, "↻", "reload"),
        ChangeKind::Remove => (Role::Bad, "-", "remove"),
        ChangeKind::Run => (Role::Accent, ">", "run"),
        ChangeKind::Write => (Role::Accent, "~", "write"),
        ChangeKind::Keep => (Role::Faint, "=", "keep"),
        ChangeKind::Warn => (Role::Warning, "!", "warning"),
    }
}

/// Returns the step's name and one line for each change, aligned and wrapped to a width.
pub(super) fn plan_lines(step: StepId, changes: &[Change], columns: usize) -> Vec<Line> {
    let heading = Line::of(Role::Strong, step.as_str());
    if changes.is_empty() {
        return vec![heading.and(Role::Faint, ": nothing to do")];
    }
    let mut lines = vec![heading];
    let (kinds, targets) = column_widths(changes);
    let indent = 2 + kinds + 2 + targets + 2;
    for change in changes {
        let start = start(change, kinds, targets);
        if change.detail.trim().is_empty() {
            lines.push(start.truncated(columns));
            continue;
        }
        let (indent, own_lines) = match columns.checked_sub(indent) {
            Some(room) if room >= NARROWEST_DETAIL => (indent, false),
            Some(_) | None => (6, true),
        };
        let mut start = Some(start);
        if own_lines && let Some(start) = start.take() {
            lines.push(start.truncated(columns));
        }
        for part in wrapped(&change.detail, columns.saturating_sub(indent)) {
            let line = start
                .take()
                .unwrap_or_else(|| Line::of(Role::Plain, &" ".repeat(indent)));
            lines.push(line.and(detail_role(change.kind), &part).truncated(columns));
        }
    }
    lines
}

/// Returns the same for a log, each line with the step's name, none of them wrapped.
pub(super) fn plan_records(step: StepId, changes: &[Change]) -> Vec<Line> {
    let prefix = Line::of(Role::Strong, step.as_str()).and(Role::Strong, ":");
    if changes.is_empty() {
        return vec![prefix.and(Role::Plain, " nothing to do")];
    }
    let (kinds, targets) = column_widths(changes);
    changes
        .iter()
        .map(|change| {
            let line = prefix.clone().and(Role::Plain, " ");
            // The indentation of the block form is not wanted behind a name.
            line.then(start_unindented(change, kinds, targets))
                .and(detail_role(change.kind), &change.detail)
        })
        .collect()
}

fn column_widths(changes: &[Change]) -> (usize, usize) {
    let kinds = changes
        .iter()
        .map(|change| 2 + sign(change.kind).2.len())
        .max()
        .unwrap_or_default();
    let targets = changes
        .iter()
        .map(|change| Line::of(Role::Plain, &change.target).width())
        .max();
    (kinds, targets.unwrap_or_default().min(40))
}

fn start(change: &Change, kinds: usize, targets: usize) -> Line {
    Line::of(Role::Plain, "  ").then(start_unindented(change, kinds, targets))
}

fn start_unindented(change: &Change, kinds: usize, targets: usize) -> Line {
    let (role, sign, word) = sign(change.kind);
    Line::of(role, sign)
        .and(role, " ")
        .and(role, word)
        .padded(kinds + 2)
        .then(apart(Line::of(target_role(change.kind), &change.target), targets))
}

/// Two spaces behind it, and behind one that is longer than its column, too.
fn apart(target: Line, column: usize) -> Line {
    let width = column.max(target.width());
    target.padded(width + 2)
}

fn target_role(kind: ChangeKind) -> Role {
    if kind == ChangeKind::Keep {
        Role::Faint
    } else {
        Role::Plain
    }
}

fn detail_role(kind: ChangeKind) -> Role {
    if matches!(kind, ChangeKind::ReplaceWithGap | ChangeKind::Warn) {
        Role::Warning
    } else {
        Role::Faint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_target_stays_apart_from_what_is_said_of_it() {
        let change = |target: &str| Change {
            kind: ChangeKind::Run,
            target: target.to_owned(),
            detail: "in the container".to_owned(),
        };
        let long = "command python3 manage.py smoke_data create";
        let records = plan_records(StepId::Smoke, &[change("short"), change(long)]);
        let told: Vec<String> = records.iter().map(|line| line.painted(false)).collect();
        assert!(
            told[1].ends_with(&format!("> run  {long}  in the container")),
            "{told:?}"
        );
    }
}
