//! Where things stand on the screen: one line for everything, cut to the width, and no more lines than the screen
//! has. Knows no events.

use std::time::Duration;

use crate::pipeline::Unit;
use crate::release::checks::CheckOutcome;
use crate::ui::line::{Line, Role, wrapped};
use crate::ui::{quantity, wording};

use super::model::{Amount, Model, Section, Task};

/// Room for a step's name; a task's has two columns less, because it is indented.
pub(super) const NARROWEST_NAME: usize = 16;
pub(super) const WIDEST_NAME: usize = 26;
/// On a wide screen the times would otherwise stand far from what they belong to.
const WIDEST_ROW: usize = 110;
const BAR_COLUMNS: usize = 16;
/// Below this, the numbers matter more than the picture.
const NARROWEST_WITH_BAR: usize = 60;
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Returns the columns to use: the last one is left free, some terminals break the line as soon as it is filled.
pub(super) fn usable(columns: usize) -> usize {
    columns.saturating_sub(1)
}

/// A step's or a task's line, before the width is known.
pub(super) struct Row {
    indent: usize,
    sign: Line,
    name: Line,
    message: Line,
    time: String,
}

impl Row {
    pub(super) fn step(
        role: Role,
        sign: &str,
        name: &str,
        message: &str,
        duration: Option<Duration>,
    ) -> Self {
        Self {
            indent: 0,
            sign: Line::of(role, sign),
            name: Line::of(Role::Strong, name),
            message: Line::of(Role::Plain, message),
            time: duration.and_then(quantity::notable_duration).unwrap_or_default(),
        }
    }

    /// A task of a step that is over. One that never ended was interrupted.
    pub(super) fn kept_task(task: &Task) -> Self {
        let (result, message, time) = match &task.finished {
            Some(finished) => {
                let time = quantity::notable_duration(finished.duration).unwrap_or_default();
                (finished.result, finished.message.as_str(), time)
            }
            None => (crate::pipeline::StepResult::Interrupted, "", String::new()),
        };
        let (role, sign) = wording::result_sign(result);
        let message = if message.trim().is_empty() {
            wording::result_word(result)
        } else {
            message
        };
        Self {
            indent: 2,
            sign: Line::of(role, sign),
            name: Line::of(Role::Plain, &task.id.0),
            message: Line::of(Role::Faint, message),
            time,
        }
    }

    /// A check that was made, or skipped.
    pub(super) fn check(outcome: &CheckOutcome) -> Self {
        let (role, sign) = wording::check_sign(outcome);
        let took = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
        Self {
            indent: 2,
            sign: Line::of(role, sign),
            name: Line::of(Role::Plain, &outcome.check),
            message: Line::of(Role::Faint, &outcome.line),
            time: quantity::notable_duration(took).unwrap_or_default(),
        }
    }

    /// Returns the same as [`Row::laid_out`], with the rest of the message in lines below its beginning.
    pub(super) fn wrapped(mut self, name_columns: usize, columns: usize) -> Vec<Line> {
        let before = 2 + name_columns + 2;
        let room = usable(columns)
            .min(WIDEST_ROW)
            .saturating_sub(before + self.time.len() + 2);
        if room < 8 {
            return vec![self.laid_out(name_columns, columns)];
        }
        let mut parts = wrapped(&self.message.painted(false), room).into_iter();
        self.message = Line::of(Role::Faint, &parts.next().unwrap_or_default());
        let rest = parts.map(|part| {
            let line = Line::of(Role::Plain, &" ".repeat(before)).and(Role::Faint, &part);
            line.truncated(usable(columns))
        });
        let rest: Vec<Line> = rest.collect();
        std::iter::once(self.laid_out(name_columns, columns))
            .chain(rest)
            .collect()
    }

    /// Returns the line: sign, name, message, and the time at the right.
    pub(super) fn laid_out(self, name_columns: usize, columns: usize) -> Line {
        let columns = usable(columns).min(WIDEST_ROW);
        let name = self.name.truncated(name_columns.saturating_sub(self.indent));
        let start = Line::of(Role::Plain, &" ".repeat(self.indent))
            .then(self.sign)
            .and(Role::Plain, " ")
            .then(name)
            .padded(2 + name_columns + 2);
        let end = if self.time.is_empty() {
            Line::new()
        } else {
            Line::of(Role::Faint, &self.time)
        };
        let room = columns.saturating_sub(start.width());
        // Two columns between the message and the time. On a very narrow screen, the message matters more.
        match room.checked_sub(end.width() + 2) {
            Some(for_message) if for_message >= 8 => start
                .then(self.message.truncated(for_message).padded(for_message + 2))
                .then(end)
                .truncated(columns),
            Some(_) | None => start.then(self.message).truncated(columns),
        }
    }
}

/// What to leave out first where the screen is too low. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Importance {
    FinishedTask,
    Pending,
    Output,
    RunningTask,
    Step,
}

/// Returns the live lines.
pub(super) fn frame(model: &Model, now: Duration, columns: usize, rows: usize) -> Vec<Line> {
    let mut lines: Vec<(Importance, Line)> = Vec::new();
    let spinner = spinner(now);
    for section in &model.sections {
        lines.push((
            Importance::Step,
            step_row(section, spinner, now).laid_out(model.name_columns, columns),
        ));
        for task in &section.tasks {
            // Forty checks, most of them over in no time: what is running is what one waits for.
            if task.checked.is_some() {
                continue;
            }
            if task.finished.is_some() {
                let row = Row::kept_task(task).laid_out(model.name_columns, columns);
                lines.push((Importance::FinishedTask, row));
                continue;
            }
            let row = running_task(task, spinner, now, columns).laid_out(model.name_columns, columns);
            lines.push((Importance::RunningTask, row));
            for output in &task.output {
                let line = Line::of(Role::Faint, "    │ ").and(Role::Faint, output);
                lines.push((Importance::Output, line.truncated(usable(columns))));
            }
        }
    }
    for step in &model.pending {
        let line = Line::of(Role::Faint, "· ").and(Role::Faint, step.as_str());
        lines.push((Importance::Pending, line.truncated(usable(columns))));
    }
    let room = rows.saturating_sub(1).max(1);
    while lines.len() > room {
        let Some(least) = lines.iter().map(|(importance, _)| *importance).min() else {
            break;
        };
        // The oldest task, but the step that is furthest away.
        let position = match least {
            Importance::Pending => lines.iter().rposition(|(importance, _)| *importance == least),
            Importance::FinishedTask | Importance::Output | Importance::RunningTask | Importance::Step => {
                lines.iter().position(|(importance, _)| *importance == least)
            }
        };
        let Some(position) = position else { break };
        lines.remove(position);
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn spinner(now: Duration) -> &'static str {
    let count = now.as_millis() / 100 % 10;
    usize::try_from(count)
        .ok()
        .and_then(|index| SPINNER.get(index))
        .copied()
        .unwrap_or("⠋")
}

fn step_row(section: &Section, spinner: &str, now: Duration) -> Row {
    let running = section
        .tasks
        .iter()
        .filter(|task| task.finished.is_none() && task.checked.is_none())
        .count();
    let message = match &section.unwind_reason {
        Some(reason) => reason.clone(),
        None if section.tasks.len() < 2 => String::new(),
        None => format!(
            "{} of {} done",
            section.tasks.len() - running,
            section.tasks.len()
        ),
    };
    Row {
        indent: 0,
        sign: Line::of(Role::Accent, spinner),
        name: Line::of(Role::Strong, &section.name()),
        message: Line::of(Role::Faint, &message),
        time: quantity::running_for(now.saturating_sub(section.started)),
    }
}

fn running_task(task: &Task, spinner: &str, now: Duration, columns: usize) -> Row {
    let message = match &task.amount {
        Some(amount) => amount_line(amount, columns >= NARROWEST_WITH_BAR)
            .and(Role::Faint, "  ")
            .and(Role::Faint, &task.message),
        None => Line::of(Role::Plain, &task.message),
    };
    Row {
        indent: 2,
        sign: Line::of(Role::Accent, spinner),
        name: Line::of(Role::Plain, &task.id.0),
        message,
        time: quantity::running_for(now.saturating_sub(task.started)),
    }
}

fn amount_line(amount: &Amount, with_bar: bool) -> Line {
    let show = |count: u64| match amount.unit {
        Unit::Bytes => quantity::bytes(count),
        Unit::Steps => count.to_string(),
    };
    let mut line = Line::new();
    match amount.total {
        Some(total) if total > 0 => {
            let done = u128::from(amount.done.min(total));
            let columns = u128::try_from(BAR_COLUMNS).unwrap_or_default();
            let filled = usize::try_from(done * columns / u128::from(total)).unwrap_or_default();
            if with_bar {
                line = line
                    .and(Role::Accent, &"█".repeat(filled))
                    .and(Role::Faint, &"░".repeat(BAR_COLUMNS - filled))
                    .and(Role::Plain, " ");
            }
            line = line.and(Role::Plain, &format!("{} of {}", show(amount.done), show(total)));
        }
        Some(_) | None => line = line.and(Role::Plain, &show(amount.done)),
    }
    match (amount.unit, amount.rate()) {
        (Unit::Bytes, Some(rate)) => {
            line = line.and(Role::Faint, &format!(", {}/s", quantity::bytes(rate)));
            match amount.left(rate) {
                Some(left) => line.and(Role::Faint, &format!(", {} left", quantity::running_for(left))),
                None => line,
            }
        }
        (Unit::Bytes, None) | (Unit::Steps, _) => line,
    }
}
