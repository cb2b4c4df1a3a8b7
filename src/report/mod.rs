//! The report of a release, or of a run: all that is known of it on one page of HTML that needs no network, no script and
//! no other file, and can be printed. Values in, text out: where they come from is `commands`' business. What is not known
//! is said in its section, and never left out in silence.
//!
//! In reading order: `markup` (how text stays text), `words`, `scale`; then the sections, from the top of the page to its
//! end: `summary`, `changes`, `timeline`, `traffic` with its `plot`, `database`, `checks`, `checklist`,
//! `others`.

mod changes;
mod checklist;
mod checks;
mod database;
mod markup;
mod others;
mod plot;
mod scale;
mod summary;
mod timeline;
mod traffic;
mod words;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use self::markup::Markup;
use crate::account::Account;
use crate::pipeline::{Evidence, Outcome};
use crate::release::checklist::Checklist;
use crate::release::{Release, RunId, Tag};

/// What every report begins with: nothing else is written over by one.
pub const BEGINNING: &str = "<!doctype html>\n<!-- a report of viatique-deploy -->\n";

const STYLE: &str = include_str!("page.css");

/// What a page is made of.
pub struct Report<'a> {
    pub project: &'a str,
    /// What it is about.
    pub tag: &'a Tag,
    pub run: Option<&'a RunId>,
    pub told: Told<'a>,
    /// The record of the release; `None` where it never served, or another run has made it serve.
    pub release: Option<&'a Release>,
    /// Of the release, where one is kept; else why that is not known.
    pub checklist: Result<Option<Checklist>, String>,
    /// What serves when the page is made.
    pub serves: Option<&'a Release>,
    /// The newest first.
    pub others: Vec<OtherRun>,
    /// RFC 3339, UTC.
    pub made_at: String,
}

/// What the run did and found.
#[derive(Clone, Copy)]
pub enum Told<'a> {
    Known(&'a Account),
    /// Why that is not known.
    Unknown(&'a str),
}

/// Another run of the release, or one since.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherRun {
    pub run: RunId,
    pub command: String,
    pub release: Option<Tag>,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub started_by: String,
    /// `None` where it never said how it ended.
    pub outcome: Option<Outcome>,
    pub exit_code: Option<u8>,
    pub error: Option<String>,
}

impl<'a> Report<'a> {
    const fn account(&self) -> Option<&'a Account> {
        match self.told {
            Told::Known(account) => Some(account),
            Told::Unknown(_) => None,
        }
    }
}

/// One section: its anchor, its heading, and what writes it.
type Section = (&'static str, &'static str, fn(&mut Markup, &Report<'_>));

/// As they stand on the page, below the summary.
const SECTIONS: [Section; 9] = [
    ("changes", "What changed", changes::section),
    ("steps", "Steps", steps),
    ("traffic", "Requests around the switch", traffic::section),
    ("database", "Migrations and backup", database::section),
    ("checks", "Checks", checks::section),
    ("scenarios", "Scenarios", checks::scenarios),
    ("checklist", "Checklist", checklist::section),
    ("notices", "Notices", others::notices),
    ("runs", "Other runs", others::section),
];

/// Writes the page.
pub fn page(report: &Report<'_>) -> String {
    let mut page = Markup::default();
    page.literal(BEGINNING);
    let title = format!("{} {}: deploy report", report.project, report.tag);
    page.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |head| head_of(head, &title));
        html.element("body", &[], |body| {
            summary::header(body, report);
            contents(body);
            body.element("main", &[], |main| {
                summary::troubles(main, report);
                for (id, heading, write) in SECTIONS {
                    main.element("section", &[("id", id)], |section| {
                        section.worded("h2", &[], heading);
                        write(section, report);
                    });
                }
            });
            others::footer(body, report);
        });
    });
    let mut text = page.finish();
    text.push('\n');
    text
}

fn head_of(head: &mut Markup, title: &str) {
    // Only this very stylesheet, and nothing else at all: no script, no picture, no address is ever fetched.
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'");
    head.literal("<meta charset=\"utf-8\">");
    head.empty(
        "meta",
        &[("http-equiv", "Content-Security-Policy"), ("content", &policy)],
    );
    head.literal("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    head.literal("<meta name=\"color-scheme\" content=\"light dark\">");
    head.literal("<meta name=\"referrer\" content=\"no-referrer\">");
    head.literal("<meta name=\"robots\" content=\"noindex\">");
    head.worded("title", &[], title);
    head.element("style", &[], |style| style.literal(STYLE));
}

fn contents(body: &mut Markup) {
    body.element("nav", &[("aria-label", "Sections")], |nav| {
        for (id, heading, _) in SECTIONS {
            nav.worded("a", &[("href", &format!("#{id}"))], heading);
            nav.text(" ");
        }
    });
}

fn steps(page: &mut Markup, report: &Report<'_>) {
    match report.told {
        Told::Known(account) => timeline::section(page, account),
        Told::Unknown(why) => unknown(page, "What the run did, step by step, is not known", why),
    }
}

/// Says that something is not known, and why.
fn unknown(page: &mut Markup, what: &str, why: &str) {
    page.element("p", &[("class", "unknown")], |line| {
        line.worded("span", &[("class", "sign"), ("aria-hidden", "true")], "?");
        line.text(" ");
        line.text(what);
        line.text(": ");
        line.text(why);
        line.text(".");
    });
}

/// Says in few words what there is nothing of.
fn nothing(page: &mut Markup, text: &str) {
    page.worded("p", &[("class", "nothing")], text);
}

/// Lines that show something, as they were written.
fn evidence(page: &mut Markup, evidence: &Evidence) {
    page.element("details", &[], |details| {
        let lines = words::count(evidence.lines.len(), "line", "lines");
        details.worded("summary", &[], &format!("{} ({lines})", evidence.title));
        details.worded("pre", &[], &evidence.lines.join("\n"));
    });
}

/// A table that is shifted sideways where it is wider than the page.
fn table(page: &mut Markup, headings: &[&str], rows: impl FnOnce(&mut Markup)) {
    page.element("div", &[("class", "wide")], |wide| {
        wide.element("table", &[], |table| {
            table.element("thead", &[], |head| {
                head.element("tr", &[], |row| {
                    for heading in headings {
                        row.worded("th", &[("scope", "col")], heading);
                    }
                });
            });
            table.element("tbody", &[], rows);
        });
    });
}

/// A list of lines.
fn lines<'a>(page: &mut Markup, lines: impl IntoIterator<Item = &'a str>) {
    page.element("ul", &[], |list| {
        for line in lines {
            list.worded("li", &[], line);
        }
    });
}
