//! An error as people read it: what was being done, why it failed, the evidence, what to run next. The same words
//! before and during a run, in a terminal and in a pipe. Lines are never cut: evidence is there to be read.

use crate::pipeline::ErrorReport;

use super::foreign_text::printable_block;
use super::line::{Line, Role};

/// Returns the lines of an error.
pub(super) fn error_lines(report: &ErrorReport) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut chain = report.chain.iter();
    let first = chain
        .next()
        .map_or("something failed, and nothing says what", String::as_str);
    push_labelled(
        &mut lines,
        Line::of(Role::Bad, "error:").and(Role::Plain, " "),
        Role::Strong,
        first,
    );
    for cause in chain {
        push_labelled(
            &mut lines,
            Line::of(Role::Faint, "  because "),
            Role::Plain,
            cause,
        );
    }
    for evidence in &report.evidence {
        lines.push(Line::new());
        lines.push(Line::of(Role::Strong, "  ").and(Role::Strong, &evidence.title));
        for block in &evidence.lines {
            for line in printable_block(block).lines() {
                lines.push(Line::of(Role::Faint, "    | ").and(Role::Plain, line));
            }
        }
    }
    if !report.hints.is_empty() && !report.evidence.is_empty() {
        lines.push(Line::new());
    }
    for hint in &report.hints {
        push_labelled(
            &mut lines,
            Line::of(Role::Accent, "hint:").and(Role::Plain, " "),
            Role::Plain,
            hint,
        );
    }
    lines
}

/// Text of several lines continues below its own beginning.
fn push_labelled(lines: &mut Vec<Line>, label: Line, role: Role, text: &str) {
    let indent = " ".repeat(label.width());
    let text = printable_block(text.trim_end());
    let mut label = Some(label);
    for part in text.lines() {
        let start = label.take().unwrap_or_else(|| Line::of(Role::Plain, &indent));
        lines.push(start.and(role, part));
    }
    if let Some(label) = label {
        lines.push(label);
    }
}
