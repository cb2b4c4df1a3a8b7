//! The checklist of the release: each line with who answers for it, and what the run saw of it.

use super::markup::Markup;
use super::words::{Said, Tone, badge, moment};
use super::{Report, nothing, table, unknown};
use crate::release::checklist::{Answer, Checklist, ChecklistLine, LineVerdict};

/// Writes it.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    let checklist = match &report.checklist {
        Ok(Some(checklist)) => checklist,
        Ok(None) => {
            return nothing(
                page,
                "None is kept: run and rollback keep one of a release that they have made serve.",
            );
        }
        Err(why) => return unknown(page, "What was verified of the release is not known", why),
    };
    page.element("p", &[], |line| badge(line, said(checklist.verdict())));
    table(
        page,
        &["What", "", "What the run saw", "Who answers for it"],
        |rows| {
            for line in in_order(checklist) {
                rows.element("tr", &[], |row| {
                    let indented = if line.part_of.is_some() { "part" } else { "whole" };
                    row.element("th", &[("scope", "row"), ("class", indented)], |cell| {
                        cell.text(&line.title);
                        cell.worded("span", &[("class", "faint")], &format!(" {}", line.id));
                    });
                    row.element("td", &[], |cell| badge(cell, said(line.verdict())));
                    row.worded("td", &[], &line.seen);
                    row.worded("td", &[], &who(&line.answer));
                });
            }
        },
    );
}

/// Each line with its parts below it.
fn in_order(checklist: &Checklist) -> impl Iterator<Item = &ChecklistLine> {
    let whole = checklist.lines.iter().filter(|line| line.part_of.is_none());
    whole.flat_map(|line| {
        let parts = checklist.lines.iter();
        let parts = parts.filter(|part| part.part_of.as_ref() == Some(&line.id));
        std::iter::once(line).chain(parts)
    })
}

const fn said(verdict: LineVerdict) -> Said {
    let word = verdict.in_words();
    match verdict {
        LineVerdict::Ok => (Tone::Good, "✔", word),
        LineVerdict::NotOk => (Tone::Bad, "✘", word),
        LineVerdict::NotVerified => (Tone::Warning, "?", word),
    }
}

fn who(answer: &Answer) -> String {
    match answer {
        Answer::Evidence { .. } => "what the run saw".to_owned(),
        Answer::Person { who, at, .. } => format!("{who}, {}", moment(at)),
        Answer::Assumed { who, at } => {
            format!("nobody was to be asked: --assume-manual of {who}, {}", moment(at))
        }
        Answer::Nobody => "nobody has answered".to_owned(),
    }
}
