//! The end of the page: who was told, what other runs there were, and what made the page.

use super::markup::Markup;
use super::words::{self, Tone, badge, moment};
use super::{Report, Told, nothing, table, unknown};

/// Writes who was told of the run.
pub(super) fn notices(page: &mut Markup, report: &Report<'_>) {
    let account = match report.told {
        Told::Known(account) => account,
        Told::Unknown(why) => return unknown(page, "Who was told is not known", why),
    };
    if account.notices.is_empty() {
        return nothing(
            page,
            "Nobody was told: deploy.yml names nobody who is told of this under notify.",
        );
    }
    table(page, &["Who", "Of what", ""], |rows| {
        for notice in &account.notices {
            rows.element("tr", &[], |row| {
                row.element("th", &[("scope", "row")], |cell| {
                    cell.text(&notice.target);
                    cell.worded("span", &[("class", "faint")], &format!(" {}", notice.place));
                });
                row.worded("td", &[], &notice.what);
                row.element("td", &[], |cell| match &notice.why_not {
                    None => badge(cell, (Tone::Good, "✔", "got it")),
                    Some(why) => {
                        badge(cell, (Tone::Bad, "✘", "has not got it: "));
                        cell.text(why);
                    }
                });
            });
        }
    });
}

/// Writes the other runs of the release, and those since.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    if report.others.is_empty() {
        return nothing(
            page,
            "No other run of this release is remembered, and none since.",
        );
    }
    let headings = ["Began", "Command", "Release", "By", "How it ended", "Run"];
    table(page, &headings, |rows| {
        for other in &report.others {
            rows.element("tr", &[], |row| {
                row.worded("th", &[("scope", "row")], &moment(&other.started_at));
                row.worded("td", &[], &other.command);
                let release = other.release.as_ref().map(|tag| tag.as_str());
                row.worded("td", &[], release.unwrap_or("–"));
                row.worded("td", &[], &other.started_by);
                row.element("td", &[], |cell| {
                    match other.outcome {
                        Some(outcome) => badge(cell, words::outcome(outcome)),
                        None => badge(cell, (Tone::Warning, "?", "never said how it ended")),
                    }
                    if let Some(code) = other.exit_code.filter(|code| *code != 0) {
                        cell.text(&format!(" (exit code {code})"));
                    }
                    if let Some(error) = &other.error {
                        cell.worded("span", &[("class", "said")], error);
                    }
                });
                row.element("td", &[], |cell| cell.worded("code", &[], &other.run.0));
            });
        }
    });
    page.element("p", &[("class", "faint")], |line| {
        line.text("The report of one of them: ");
        line.worded("code", &[], "viatique-deploy report --run <RUN>");
    });
}

/// Writes what made the page, and when.
pub(super) fn footer(page: &mut Markup, report: &Report<'_>) {
    page.element("footer", &[], |footer| {
        footer.text("Made ");
        footer.text(&moment(&report.made_at));
        footer.text(concat!(" by viatique-deploy ", env!("CARGO_PKG_VERSION")));
        if let Some(account) = report.account()
            && account.written_by != env!("CARGO_PKG_VERSION")
        {
            footer.text(&format!("; the run was made by version {}", account.written_by));
        }
        footer.text(". All times in UTC (offset +00:00). Durations by the clock of the machine that ran it.");
    });
}
