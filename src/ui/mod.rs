//! Everything that is shown. People read stderr, programs read stdout: events are for people unless JSON was asked
//! for, and only `data` writes to stdout otherwise. Nothing here decides anything about a run, and no write error
//! (a closed pipe, a hung-up terminal) ever reaches one.
//!
//! In reading order: `line` and `foreign_text` (what a printed line is), `wording` and `plan` (what is said), then the
//! reporters `plain`, `terminal`, `json` and `github`; `junit` and `dashboard`, which stand before one of them; then `errors`,
//! `table`, `confirm` and `question`.

mod clock;
mod color;
mod confirm;
mod dashboard;
mod errors;
mod foreign_text;
mod github;
mod json;
mod junit;
mod line;
mod measured_lines;
mod plain;
mod plan;
mod quantity;
mod question;
mod table;
mod terminal;
mod wording;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::exit_code::ExitCode;
use crate::pipeline::{ErrorReport, Event, Reporter};

pub use clock::{Clock, SystemClock};
pub use color::{ColorChoice, Surroundings, use_color};
pub use confirm::{confirm, confirm_by_typing, confirm_by_typing_on, confirm_on, reply, reply_on};
pub use dashboard::{DashboardReporter, Key, Model as DashboardModel, Screen, draw as draw_dashboard};
pub use foreign_text::{printable_block, printable_line};
pub use github::GithubReporter;
pub use json::JsonReporter;
pub use junit::JunitReporter;
pub use plain::PlainReporter;
pub use quantity::duration;
pub use question::Answers;
pub use table::{table, wrapped_table};
pub use terminal::TerminalReporter;
pub use wording::checklist_row;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OutputFormat {
    /// People: a live view on a terminal, lines elsewhere, on stderr
    #[default]
    Human,
    /// Programs: one JSON object per line, on stdout
    Json,
    /// GitHub Actions: lines and annotations, on stdout, and a summary of the checks
    Github,
}

/// How much people want to read. JSON is always complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Errors, plans and the outcome.
    Quiet,
    #[default]
    Normal,
    /// And every line that a process writes.
    Verbose,
    /// As lines even on a terminal, because diagnostics are written to the same stderr.
    Debug,
}

/// How to show things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOptions {
    pub format: OutputFormat,
    /// As `use_color` decided.
    pub color: bool,
    pub verbosity: Verbosity,
    /// A terminal whose cursor can be moved.
    pub stderr_is_terminal: bool,
    /// How wide a table on stdout may be. No limit in a pipe, where a cut cell helps nobody.
    pub columns: usize,
    /// Somebody sits there who can be asked: both ends are terminals, and nobody has said `--yes`.
    pub asks: bool,
}

impl OutputOptions {
    /// Looks at the terminal and the environment.
    pub fn detect(format: OutputFormat, color: ColorChoice, verbosity: Verbosity, yes: bool) -> Self {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let surroundings = Surroundings {
            no_color: variable("NO_COLOR"),
            clicolor_force: variable("CLICOLOR_FORCE"),
            term: variable("TERM"),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        };
        let stdout_size = console::Term::stdout()
            .size_checked()
            .filter(|_| std::io::stdout().is_terminal());
        Self {
            format,
            color: use_color(color, &surroundings),
            verbosity,
            stderr_is_terminal: surroundings.has_movable_cursor(),
            columns: stdout_size.map_or(usize::MAX, |(_, columns)| usize::from(columns)),
            asks: !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }
}

/// Returns the reporter for these options.
pub fn reporter(options: &OutputOptions) -> Arc<dyn Reporter> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match options.format {
        OutputFormat::Json => Arc::new(JsonForProgramsAndPeople {
            json: JsonReporter::new(Box::new(std::io::stdout()), clock),
            options: options.clone(),
        }),
        OutputFormat::Github => Arc::new(GithubReporter::new(
            Box::new(std::io::stdout()),
            std::env::var_os(github::SUMMARY_VARIABLE).map(PathBuf::from),
            options.color,
            options.verbosity,
            clock,
        )),
        OutputFormat::Human => match options.verbosity {
            Verbosity::Normal | Verbosity::Verbose if options.stderr_is_terminal => {
                let terminal = Arc::new(console::Term::buffered_stderr());
                let verbose = options.verbosity == Verbosity::Verbose;
                let reporter = TerminalReporter::new(terminal, options.color, verbose, clock).refreshing();
                Arc::new(if options.asks {
                    reporter.answered_by(Answers::of_stdin())
                } else {
                    reporter
                })
            }
            Verbosity::Quiet | Verbosity::Normal | Verbosity::Verbose | Verbosity::Debug => {
                lines_for_people(options, clock)
            }
        },
    }
}

fn lines_for_people(options: &OutputOptions, clock: Arc<dyn Clock>) -> Arc<dyn Reporter> {
    let stderr = Box::new(std::io::stderr());
    let reporter = PlainReporter::new(stderr, options.color, options.verbosity, clock);
    Arc::new(if options.asks {
        reporter.answered_by(Answers::of_stdin())
    } else {
        reporter
    })
}

/// Returns the reporter of `monitor`: a dashboard where somebody sits at a terminal that is to be theirs, else as
/// [`reporter`]. `end` is what `q` and Ctrl-C do on it.
pub fn monitor_reporter(
    options: &OutputOptions,
    wants_lines: bool,
    end: impl Fn() + Send + Sync + 'static,
) -> Arc<dyn Reporter> {
    let is_live = match (options.format, options.verbosity) {
        (OutputFormat::Human, Verbosity::Normal | Verbosity::Verbose) => options.stderr_is_terminal,
        (OutputFormat::Human, Verbosity::Quiet | Verbosity::Debug)
        | (OutputFormat::Json | OutputFormat::Github, _) => false,
    };
    if is_live && wants_lines {
        return lines_for_people(options, Arc::new(SystemClock::new()));
    }
    if !is_live || !is_in_foreground() {
        return reporter(options);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let terminal = Arc::new(console::Term::buffered_stderr());
    let verbose = options.verbosity == Verbosity::Verbose;
    let shown = TerminalReporter::new(terminal, options.color, verbose, Arc::clone(&clock));
    let screen = dashboard::TerminalScreen::new(options.color, Arc::clone(&clock), Arc::new(end));
    Arc::new(DashboardReporter::before(
        Arc::new(shown),
        Box::new(screen),
        Box::new(std::io::stderr()),
        options.color,
        clock,
    ))
}

/// Whether keys that are typed are for this process: one in the background would be stopped by the terminal.
fn is_in_foreground() -> bool {
    let stdin = std::io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// JSON on stdout; the error that ends a run also on stderr, where a CI job's log shows it although stdout goes to a
/// file.
struct JsonForProgramsAndPeople {
    json: JsonReporter,
    options: OutputOptions,
}

impl Reporter for JsonForProgramsAndPeople {
    fn event(&self, event: &Event) {
        self.json.event(event);
        if let Event::Finished {
            error: Some(report), ..
        } = event
        {
            write_error(&self.options, report, &mut std::io::stderr().lock());
        }
    }
}

/// Shows an error that happened before any run started: on stderr, and for programs also as a `finished` event.
/// Within a run, `Event::Finished` shows it.
pub fn render_error(options: &OutputOptions, exit_code: ExitCode, report: &ErrorReport) {
    let stdout = Box::new(std::io::stdout());
    render_error_on(options, exit_code, report, stdout, &mut std::io::stderr().lock());
}

/// The same, to any streams.
pub fn render_error_on(
    options: &OutputOptions,
    exit_code: ExitCode,
    report: &ErrorReport,
    stdout: Box<dyn Write + Send>,
    stderr: &mut dyn Write,
) {
    match options.format {
        OutputFormat::Human => {}
        OutputFormat::Github => {
            let mut stdout = stdout;
            let _ = stdout
                .write_all(github::error_command("viatique-deploy", report).as_bytes())
                .and_then(|()| stdout.flush());
        }
        OutputFormat::Json => {
            JsonReporter::new(stdout, Arc::new(SystemClock::new())).failed_before_start(exit_code, report);
        }
    }
    write_error(options, report, stderr);
}

/// Writes an error as people read it.
pub fn write_error(options: &OutputOptions, report: &ErrorReport, output: &mut dyn Write) {
    for line in errors::error_lines(report) {
        let _ = writeln!(output, "{}", line.painted(options.color));
    }
    let _ = output.flush();
}

/// Writes what a query command found to stdout: a table for people, one JSON document on one line for programs.
pub fn data(options: &OutputOptions, human: &str, json: &serde_json::Value) {
    write_data(options, human, json, &mut std::io::stdout().lock());
}

/// The same, to any stream.
pub fn write_data(options: &OutputOptions, human: &str, json: &serde_json::Value, output: &mut dyn Write) {
    let _ = match options.format {
        OutputFormat::Human | OutputFormat::Github => {
            writeln!(output, "{}", printable_block(human.trim_end_matches('\n')))
        }
        OutputFormat::Json => writeln!(output, "{}", json::printable_value(json)),
    };
    let _ = output.flush();
}

/// Writes a document to stdout as it is: whoever made it has seen to what others wrote in it.
pub fn document(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Writes one of many lines of data to stdout, and says whether anybody still reads.
pub fn data_line(options: &OutputOptions, human: &str, json: &serde_json::Value) -> bool {
    let mut output = std::io::stdout().lock();
    let written = match options.format {
        OutputFormat::Human | OutputFormat::Github => writeln!(output, "{}", printable_line(human)),
        OutputFormat::Json => writeln!(output, "{}", json::printable_value(json)),
    };
    written.and_then(|()| output.flush()).is_ok()
}
