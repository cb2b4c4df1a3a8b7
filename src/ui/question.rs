//! A question with the whole picture, as the reporters ask it. Whether anybody can be asked is decided in
//! `OutputOptions`; when, by the step that asks.

use std::io::{BufRead, Write};
use std::sync::{Mutex, PoisonError};

use crate::pipeline::{Question, Reply};

use super::confirm::{confirm_on, reply_on};
use super::line::{Line, Role, wrapped};

/// More than this is not read before a yes.
const MOST_LINES: usize = 24;
/// Room for a heading; one that is longer has its text further to the right.
const WIDEST_HEADING: usize = 26;
/// Below this, text is not wrapped any narrower.
const NARROWEST_TEXT: usize = 20;

/// Where answers are read.
pub struct Answers(Mutex<Box<dyn BufRead + Send>>);

impl Answers {
    /// From this stream.
    pub fn new(stream: Box<dyn BufRead + Send>) -> Self {
        Self(Mutex::new(stream))
    }

    /// From the terminal.
    pub fn of_stdin() -> Self {
        Self::new(Box::new(std::io::BufReader::new(std::io::stdin())))
    }

    /// Asks and waits. Anything but a clear yes is no.
    pub(super) fn confirm(&self, question: &str, prompt: &mut dyn Write) -> bool {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        confirm_on(question, &mut **answers, prompt)
    }

    /// Asks how something is, and waits.
    pub(super) fn reply(&self, question: &str, prompt: &mut dyn Write) -> Reply {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reply_on(question, &mut **answers, prompt)
    }
}

/// Returns what the question is about: headings in a column, text wrapped beside them. Where that is more than the
/// screen has, the middle is left out, and said to be: it begins with what is deployed, and ends with the last checks.
pub(super) fn picture(question: &Question, columns: usize, rows: usize) -> Vec<Line> {
    let widths = question
        .lines
        .iter()
        .map(|(heading, _)| Line::of(Role::Plain, heading).width());
    let headings = widths.max().unwrap_or_default().min(WIDEST_HEADING);
    let indent = 2 + headings + 2;
    let room = columns.saturating_sub(indent).max(NARROWEST_TEXT);
    let mut lines = vec![Line::new()];
    for (heading, text) in &question.lines {
        let heading = Line::of(Role::Plain, "  ").and(Role::Strong, heading);
        let mut start = Some(heading.padded(indent));
        for part in wrapped(text, room) {
            let line = start
                .take()
                .unwrap_or_else(|| Line::of(Role::Plain, &" ".repeat(indent)));
            lines.push(line.and(Role::Plain, &part).truncated(columns));
        }
    }
    // A blank line and the question follow.
    let most = rows.saturating_sub(2).clamp(
        6,
        if rows == usize::MAX {
            usize::MAX
        } else {
            MOST_LINES
        },
    );
    if lines.len() > most {
        let left_out = lines.len() + 1 - most;
        let first = most.saturating_sub(1) * 2 / 3;
        lines.splice(
            first..first + left_out,
            [Line::of(Role::Faint, &format!("  … and {left_out} more lines"))],
        );
    }
    lines.push(Line::new());
    lines
}
