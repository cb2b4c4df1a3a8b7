//! The verdicts of a `check` as JUnit XML, which CI systems show: a decorator before any reporter. One test case for each
//! check. Does not decide what stops a deploy, and shows nothing itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event as Xml};

use crate::exit_code::ExitCode;
use crate::pipeline::{ErrorReport, Event, Outcome, Question, Reply, Reporter};
use crate::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem};

use super::foreign_text::{printable_block, printable_line};

const SUITE: &str = "viatique-deploy check";
const CLASS: &str = "viatique-deploy";

/// Hands every event on, and writes the file before the last one.
pub struct JunitReporter {
    shown: Arc<dyn Reporter>,
    path: PathBuf,
    outcomes: Mutex<Vec<CheckOutcome>>,
    is_written: Mutex<Option<bool>>,
}

impl JunitReporter {
    /// Writes to this file; everything is shown by that reporter.
    pub fn new(shown: Arc<dyn Reporter>, path: PathBuf) -> Self {
        Self {
            shown,
            path,
            outcomes: Mutex::default(),
            is_written: Mutex::default(),
        }
    }

    /// Whether the file should have been written, and could not be.
    pub fn has_failed(&self) -> bool {
        *self.is_written.lock().unwrap_or_else(PoisonError::into_inner) == Some(false)
    }

    /// The last event, as it is after the file was written. Where it could not be, that is what a check that passed has
    /// failed at: whoever reads the file would read an old one, or none.
    fn finished(&self, event: &Event) -> Event {
        let mut event = event.clone();
        let Event::Finished {
            outcome,
            exit_code,
            duration,
            error,
            ..
        } = &mut event
        else {
            return event;
        };
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let written = document(&outcomes, *duration, error.as_ref())
            .and_then(|document| replace(&self.path, &document))
            .with_context(|| format!("cannot write the verdicts to {}", self.path.display()));
        *self.is_written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written.is_ok());
        let Err(why) = written else { return event };
        if *outcome == Outcome::Succeeded {
            *outcome = Outcome::Failed;
            *exit_code = ExitCode::Failed;
            *error = Some(ErrorReport {
                chain: why.chain().map(ToString::to_string).collect(),
                ..ErrorReport::default()
            });
        } else {
            self.shown.event(&Event::Warning {
                message: format!("{why:#}"),
                hint: None,
            });
        }
        event
    }
}

impl Reporter for JunitReporter {
    fn event(&self, event: &Event) {
        match event {
            Event::Checked { outcome, .. } => {
                let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                outcomes.push(outcome.clone());
            }
            Event::Finished { .. } => {
                let last = self.finished(event);
                self.shown.event(&last);
                return;
            }
            Event::RunStarted { .. }
            | Event::StepStarted { .. }
            | Event::TaskStarted { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
            | Event::TaskFinished { .. }
            | Event::StepFinished { .. }
            | Event::UnwindStarted { .. }
            | Event::UnwindFinished { .. }
            | Event::Measured { .. }
            | Event::Settled { .. }
            | Event::Checklist { .. }
            | Event::Planned { .. }
            | Event::Warning { .. }
            | Event::NoticePlanned { .. }
            | Event::Notified { .. }
            | Event::Reported { .. } => {}
        }
        self.shown.event(event);
    }

    fn asks(&self) -> bool {
        self.shown.asks()
    }

    fn ask(&self, question: &Question) -> bool {
        self.shown.ask(question)
    }

    fn reply(&self, question: &Question) -> Reply {
        self.shown.reply(question)
    }
}

/// What a test case says.
enum Said<'a> {
    Passed,
    Failure,
    Error,
    Skipped,
    /// Passed as far as a deploy is concerned.
    Warned(&'a [CheckedProblem]),
}

const fn said(outcome: &CheckOutcome) -> Said<'_> {
    match outcome.verdict {
        CheckVerdict::Passed => Said::Passed,
        CheckVerdict::Failed if outcome.blocks => Said::Failure,
        CheckVerdict::Failed => Said::Warned(outcome.problems.as_slice()),
        // There is nothing yet that could be asked.
        CheckVerdict::NotVerified if outcome.problems.is_empty() => Said::Skipped,
        CheckVerdict::NotVerified => Said::Error,
        CheckVerdict::Waived | CheckVerdict::Skipped => Said::Skipped,
    }
}

/// The document, whole. What stopped the command beside the checks is a case of its own, so that a file of a check that
/// could not be finished is never all green.
fn document(
    outcomes: &[CheckOutcome],
    took: Duration,
    error: Option<&ErrorReport>,
) -> anyhow::Result<Vec<u8>> {
    let stopped = error.filter(|_| !outcomes.iter().any(|outcome| outcome.blocks));
    let count = |wanted: fn(&Said<'_>) -> bool| {
        let those = outcomes.iter().filter(|outcome| wanted(&said(outcome)));
        those.count()
    };
    let failures = count(|said| matches!(said, Said::Failure));
    let errors = count(|said| matches!(said, Said::Error)) + usize::from(stopped.is_some());
    let skipped = count(|said| matches!(said, Said::Skipped));
    let tests = outcomes.len() + usize::from(stopped.is_some());
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.write_event(Xml::Start(BytesStart::new("testsuites")))?;
    let mut suite = BytesStart::new("testsuite");
    suite.push_attribute(("name", SUITE));
    suite.push_attribute(("tests", tests.to_string().as_str()));
    suite.push_attribute(("failures", failures.to_string().as_str()));
    suite.push_attribute(("errors", errors.to_string().as_str()));
    suite.push_attribute(("skipped", skipped.to_string().as_str()));
    suite.push_attribute(("time", format!("{:.3}", took.as_secs_f64()).as_str()));
    xml.write_event(Xml::Start(suite))?;
    for outcome in outcomes {
        begin_case(&mut xml, &outcome.check, outcome.seconds)?;
        let message = one_line(&outcome.line);
        let details = described(&outcome.problems);
        match said(outcome) {
            Said::Passed => {}
            Said::Failure => element(&mut xml, "failure", Some(&message), &details)?,
            Said::Error => element(&mut xml, "error", Some(&message), &details)?,
            Said::Skipped => element(&mut xml, "skipped", Some(&message), "")?,
            Said::Warned(problems) => element(&mut xml, "system-out", None, &described(problems))?,
        }
        xml.write_event(Xml::End(BytesEnd::new("testcase")))?;
    }
    if let Some(report) = stopped {
        begin_case(&mut xml, "check", took.as_secs_f64())?;
        let message = one_line(&report.chain.join(": "));
        element(
            &mut xml,
            "error",
            Some(&message),
            &block(&report.hints.join("\n")),
        )?;
        xml.write_event(Xml::End(BytesEnd::new("testcase")))?;
    }
    xml.write_event(Xml::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Xml::End(BytesEnd::new("testsuites")))?;
    let mut written = xml.into_inner();
    written.push(b'\n');
    Ok(written)
}

fn begin_case(xml: &mut Writer<Vec<u8>>, name: &str, seconds: f64) -> std::io::Result<()> {
    let mut case = BytesStart::new("testcase");
    case.push_attribute(("classname", CLASS));
    case.push_attribute(("name", one_line(name).as_str()));
    case.push_attribute(("time", format!("{seconds:.3}").as_str()));
    xml.write_event(Xml::Start(case))
}

fn element(xml: &mut Writer<Vec<u8>>, name: &str, message: Option<&str>, text: &str) -> std::io::Result<()> {
    let mut start = BytesStart::new(name);
    if let Some(message) = message {
        start.push_attribute(("message", message));
    }
    if text.is_empty() {
        return xml.write_event(Xml::Empty(start));
    }
    xml.write_event(Xml::Start(start))?;
    xml.write_event(Xml::Text(BytesText::new(text)))?;
    xml.write_event(Xml::End(BytesEnd::new(name)))
}

/// Each problem with what to do about it.
fn described(problems: &[CheckedProblem]) -> String {
    let mut lines = Vec::new();
    for problem in problems {
        lines.push(problem.in_words());
        lines.extend(problem.hints.iter().map(|hint| format!("hint: {hint}")));
        if let Some(evidence) = &problem.evidence {
            lines.push(evidence.title.clone());
            lines.extend(evidence.lines.iter().map(|line| format!("  | {line}")));
        }
    }
    block(&lines.join("\n"))
}

fn one_line(text: &str) -> String {
    xml_characters(printable_line(text))
}

fn block(text: &str) -> String {
    xml_characters(printable_block(text))
}

/// XML has no way to write these, not even as references.
fn xml_characters(text: String) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "?")
}

/// Writes the file beside its place and moves it there: whoever reads it never reads half of one.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let name = path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?;
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(unfinished);
    let written = std::fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    Ok(written?)
}
