//! Lines as GitHub Actions reads them: the plain ones, and workflow commands (`::error file=…::…`) from which it makes
//! annotations; a table of the checks in the job's summary. All on stdout, because the runner keeps no order between
//! two streams. What is said is `plain`'s and the checks' business.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::{ErrorReport, Event, Reporter};
use crate::release::checklist::{Answer, Checklist, LineVerdict};
use crate::release::checks::{CheckOutcome, CheckVerdict, CheckedProblem};

use super::Verbosity;
use super::clock::Clock;
use super::foreign_text::{printable_block, printable_line};
use super::plain::PlainReporter;
use super::wording;

/// Where the runner reads the job's summary.
pub(super) const SUMMARY_VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// Writes lines and workflow commands.
pub struct GithubReporter {
    plain: PlainReporter,
    output: SharedOutput,
    summary: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    command: String,
    outcomes: Vec<CheckOutcome>,
    checklist: Option<Checklist>,
    report: Option<String>,
    /// What the checks have annotated: the warning that follows says the same.
    annotated: Vec<String>,
}

impl GithubReporter {
    /// Writes to this stream, and the table to that file. Write errors are ignored, but for the file's, which are said.
    pub fn new(
        output: Box<dyn Write + Send>,
        summary: Option<PathBuf>,
        color: bool,
        verbosity: Verbosity,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let output = SharedOutput(Arc::new(Mutex::new(output)));
        let plain = PlainReporter::new(Box::new(Defused(output.clone())), color, verbosity, clock);
        Self {
            plain,
            output,
            summary,
            state: Mutex::default(),
        }
    }

    fn write(&self, command: &str) {
        let mut output = self.output.clone();
        let _ = output.write_all(command.as_bytes()).and_then(|()| output.flush());
    }

    fn checked(&self, state: &mut State, outcome: &CheckOutcome) {
        for problem in &outcome.problems {
            self.write(&annotation(outcome, problem));
            state.annotated.push(problem.in_words());
        }
        // The gate looks once more.
        state.outcomes.retain(|earlier| earlier.check != outcome.check);
        state.outcomes.push(outcome.clone());
    }

    fn append_summary(&self, state: &State) {
        let Some(path) = &self.summary else { return };
        let mut table = state
            .checklist
            .as_ref()
            .map(checklist_summary)
            .unwrap_or_default();
        if !state.outcomes.is_empty() {
            table.push_str(&summary(&state.command, &state.outcomes));
        }
        if let Some(report) = &state.report {
            table.push_str(&format!("Report of this run: {}\n\n", cell(report)));
        }
        if table.is_empty() {
            return;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        if let Err(why) = file.and_then(|mut file| file.write_all(table.as_bytes())) {
            self.plain.event(&Event::Warning {
                message: format!("cannot write the job's summary to {}: {why}", path.display()),
                hint: None,
            });
        }
    }
}

impl Reporter for GithubReporter {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RunStarted { command, .. } => command.clone_into(&mut state.command),
            Event::Checked { outcome, .. } => self.checked(&mut state, outcome),
            Event::Warning { message, hint } => {
                let is_said = state
                    .annotated
                    .iter()
                    .any(|said| message.starts_with(&format!("{said} [")));
                if !is_said {
                    let message = with_hints(message, hint.iter());
                    self.write(&command("warning", &[("title", "viatique-deploy")], &message));
                }
            }
            Event::Checklist { checklist } => {
                if let Some(message) = checklist_warning(checklist) {
                    self.write(&command("warning", &[("title", "viatique-deploy")], &message));
                }
                state.checklist = Some(checklist.clone());
            }
            Event::Notified {
                target,
                place,
                what,
                why_not: Some(why),
                ..
            } => {
                let (message, hint) = wording::not_notified(target, place, *what, why);
                let message = with_hints(&message, std::iter::once(&hint));
                self.write(&command("warning", &[("title", "viatique-deploy")], &message));
            }
            Event::Reported { file } => state.report = Some(file.clone()),
            Event::Finished { error, .. } => {
                self.append_summary(&state);
                self.plain.event(event);
                if let Some(report) = error {
                    let title = format!("{} failed", state.command);
                    self.write(&error_command(title.trim(), report));
                }
                return;
            }
            Event::StepStarted { .. }
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
            | Event::Planned { .. }
            | Event::NoticePlanned { .. }
            | Event::Notified { .. } => {}
        }
        self.plain.event(event);
    }
}

/// Returns the one annotation of how a command failed.
pub(super) fn error_command(title: &str, report: &ErrorReport) -> String {
    let message = with_hints(&report.chain.join(": "), report.hints.iter());
    command("error", &[("title", title)], &message)
}

fn annotation(outcome: &CheckOutcome, problem: &CheckedProblem) -> String {
    let kind = match (&problem.waived, problem.blocks) {
        (Some(_), _) => "notice",
        (None, true) => "error",
        (None, false) => "warning",
    };
    let title = format!("{}: {}", outcome.check, outcome.title);
    let place = problem.place.as_deref().and_then(file_and_line);
    let mut properties = Vec::new();
    if let Some((file, line)) = place {
        properties.extend([("file", file), ("line", line)]);
    }
    properties.push(("title", title.as_str()));
    let mut message = if place.is_some() {
        problem.message.clone()
    } else {
        problem.in_words()
    };
    if problem.unverified {
        message = format!("not verified: {message}");
    }
    if let Some(by) = &problem.waived {
        message = format!(
            "{message} (waived by {} until {}: {})",
            by.owner, by.until, by.reason
        );
        return command(kind, &properties, &message);
    }
    command(kind, &properties, &with_hints(&message, problem.hints.iter()))
}

fn with_hints<'a>(message: &str, hints: impl Iterator<Item = &'a String>) -> String {
    let hints = hints.map(|hint| format!("\nhint: {hint}"));
    format!("{message}{}", hints.collect::<String>())
}

/// The file and the line of `settings.py:12`, `settings.py:12:4` or `settings.py:12: …`; of an address, nothing.
fn file_and_line(place: &str) -> Option<(&str, &str)> {
    if place.contains("://") {
        return None;
    }
    let (file, rest) = place.split_once(':')?;
    let end = rest
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(rest.len());
    let (line, rest) = rest.split_at(end);
    let is_place = !file.is_empty() && !line.is_empty() && (rest.is_empty() || rest.starts_with(':'));
    is_place.then_some((file, line))
}

/// A workflow command, as the runner takes it apart again.
fn command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> = properties
        .iter()
        .map(|(key, value)| format!("{key}={}", property(value)))
        .collect();
    format!("::{name} {}::{}\n", properties.join(","), data(message))
}

fn data(text: &str) -> String {
    printable_block(text)
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(&printable_line(text))
        .replace(':', "%3A")
        .replace(',', "%2C")
}

/// What of a checklist is worth an annotation: not what somebody has said beforehand that nobody is to be asked.
fn checklist_warning(checklist: &Checklist) -> Option<String> {
    let told = checklist.lines.iter().filter(|line| match &line.answer {
        Answer::Evidence { ok } | Answer::Person { ok, .. } => !ok,
        Answer::Assumed { .. } => false,
        Answer::Nobody => true,
    });
    let told: Vec<String> = told
        .map(|line| format!("{} ({})", line.id, line.verdict().in_words()))
        .collect();
    if told.is_empty() {
        return None;
    }
    let message = format!("checklist of {}: {}", checklist.release, told.join(", "));
    Some(with_hints(&message, wording::checklist_hint(checklist).iter()))
}

/// The checklist for the job's summary.
fn checklist_summary(checklist: &Checklist) -> String {
    let mut list = format!("### Checklist of {}\n\n", cell(checklist.release.as_str()));
    for line in &checklist.lines {
        let indent = if line.part_of.is_some() { "  " } else { "" };
        let (_, sign) = wording::line_sign(line.verdict());
        let mark = match line.verdict() {
            LineVerdict::Ok => "[x]",
            LineVerdict::NotOk | LineVerdict::NotVerified => "[ ]",
        };
        list.push_str(&format!(
            "{indent}- {mark} {sign} `{}` {}: {}\n",
            cell(&line.id),
            line.verdict().in_words(),
            cell(&wording::line_in_words(line))
        ));
    }
    list.push('\n');
    list
}

/// The table for the job's summary.
fn summary(command: &str, outcomes: &[CheckOutcome]) -> String {
    let mut table = format!(
        "### Checks of `viatique-deploy {}`\n\n| | Check | Verdict | |\n|---|---|---|---|\n",
        cell(command)
    );
    for outcome in outcomes {
        let (_, sign) = wording::check_sign(outcome);
        let verdict = match outcome.verdict {
            CheckVerdict::Failed if !outcome.blocks => "warning",
            other @ (CheckVerdict::Passed
            | CheckVerdict::Failed
            | CheckVerdict::NotVerified
            | CheckVerdict::Waived
            | CheckVerdict::Skipped) => other.in_words(),
        };
        table.push_str(&format!(
            "| {sign} | `{}` | {verdict} | {} |\n",
            cell(&outcome.check),
            cell(&outcome.line)
        ));
    }
    table.push('\n');
    table
}

/// Text that others wrote, as one cell: no markup in it has an effect.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in printable_line(text).chars() {
        match character {
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '&' => cell.push_str("&amp;"),
            '|' | '\\' | '*' | '_' | '[' | ']' | '!' => {
                cell.push('\\');
                cell.push(character);
            }
            other => cell.push(other),
        }
    }
    cell
}

#[derive(Clone)]
struct SharedOutput(Arc<Mutex<Box<dyn Write + Send>>>);

impl Write for SharedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// Lines that hold what others wrote: none of them may be taken for a workflow command.
struct Defused(SharedOutput);

impl Write for Defused {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // A line is written whole.
        let line = defused(&String::from_utf8_lossy(bytes));
        self.0.write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn defused(line: &str) -> String {
    let line = line.replace("##[", "## [");
    if line.trim_start().starts_with("::") {
        line.replacen("::", ": :", 1)
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line_or_nothing() {
        for (place, expected) in [
            ("config/settings.py:12", Some(("config/settings.py", "12"))),
            ("settings.py:12:4", Some(("settings.py", "12"))),
            ("settings.py:12: CSRF", Some(("settings.py", "12"))),
            ("deploy.yml: checks.waivers", None),
            ("https://shop.example:443/", None),
            ("requirements.txt", None),
            ("db:5432x", None),
        ] {
            assert_eq!(file_and_line(place), expected, "{place}");
        }
    }

    #[test]
    fn a_command_is_escaped_as_the_runner_reads_it() {
        assert_eq!(
            command("error", &[("title", "a: b, 100%\nc")], "50%:\nnext, ::set-env"),
            "::error title=a%3A b%2C 100%25 c::50%25:%0Anext, ::set-env\n"
        );
    }

    #[test]
    fn a_line_that_others_wrote_is_no_command() {
        for (line, expected) in [
            ("  ::stop-commands::x\n", "  : :stop-commands::x\n"),
            ("##[add-mask]x\n", "## [add-mask]x\n"),
            ("core::fmt is a path\n", "core::fmt is a path\n"),
        ] {
            assert_eq!(defused(line), expected);
        }
    }
}
