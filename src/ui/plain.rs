//! Events as lines, for pipes, files and CI logs: each line names its step and task and needs no other line to be
//! understood. No cursor movement, and no line only because time has passed.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::macros::format_description;

use crate::pipeline::{
    Event, Measured, News, Question, Reply, Reporter, StepId, StepResult, TaskId, Unit, Verdict,
};

use super::clock::Clock;
use super::errors::error_lines;
use super::line::{Line, Role};
use super::question::{Answers, picture};
use super::{Verbosity, measured_lines, plan, quantity, wording};

/// How often one task may say the same kind of thing.
const SAME_KIND_EVERY: Duration = Duration::from_secs(10);
/// The kind of an amount; no message can be empty and reach the throttle.
const AMOUNT: &str = "";

/// Writes lines.
pub struct PlainReporter {
    color: bool,
    verbosity: Verbosity,
    clock: Arc<dyn Clock>,
    /// Where whoever is asked answers; where there is nobody, nothing is asked.
    answers: Option<Answers>,
    state: Mutex<State>,
}

struct State {
    output: Box<dyn Write + Send>,
    command: String,
    dry_run: bool,
    unwinding: Option<StepId>,
    planned: Vec<StepId>,
    tasks: HashMap<(StepId, TaskId), Throttle>,
    /// What was said last of a release that is watched.
    watched: Option<Watched>,
    /// Of tasks of checks that are over: how each went is known better in a moment.
    held_back: Vec<(StepId, TaskId, Line)>,
}

/// What a task has said lately.
#[derive(Default)]
struct Throttle {
    last_message: String,
    last_said: HashMap<String, Duration>,
}

/// What was said of a release that is watched.
struct Watched {
    at: Duration,
    verdict: Verdict,
    /// How many new errors; they become more.
    new_errors: usize,
    /// Lines that are said once.
    unseen: BTreeSet<String>,
}

impl PlainReporter {
    /// Writes to this stream. Write errors are ignored.
    pub fn new(
        output: Box<dyn Write + Send>,
        color: bool,
        verbosity: Verbosity,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            output,
            command: String::new(),
            dry_run: false,
            unwinding: None,
            planned: Vec::new(),
            tasks: HashMap::new(),
            watched: None,
            held_back: Vec::new(),
        };
        Self {
            color,
            verbosity,
            clock,
            answers: None,
            state: Mutex::new(state),
        }
    }

    /// Asks from now on, and reads the answers here: for a terminal that is shown lines.
    #[must_use]
    pub fn answered_by(mut self, answers: Answers) -> Self {
        self.answers = Some(answers);
        self
    }

    fn write(&self, state: &mut State, line: &Line) {
        // A reader that went away must not stop a deploy.
        // One write for the whole line, so that no other process's output gets into it.
        let _ = state
            .output
            .write_all(format!("{}\n", line.painted(self.color)).as_bytes());
    }

    /// Writes a line with the time of day, unless only the outcome is wanted.
    fn record(&self, state: &mut State, line: Line) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let time = self
            .clock
            .now()
            .format(format_description!("[hour]:[minute]:[second]Z "))
            .unwrap_or_default();
        let line = Line::of(Role::Faint, &time).then(line);
        self.write(state, &line);
    }
}

impl PlainReporter {
    /// A block of lines every so often, and at once when the verdict or the new errors are others.
    fn measured(&self, state: &mut State, step: StepId, measured: &Measured) {
        let now = self.clock.elapsed();
        let new_errors = measured.errors.iter().filter(|one| one.news == News::New);
        let new_errors = new_errors.count();
        let watched = state.watched.get_or_insert_with(|| Watched {
            at: now,
            verdict: measured.verdict,
            new_errors: 0,
            unseen: BTreeSet::new(),
        });
        let is_due = now.saturating_sub(watched.at) >= SAME_KIND_EVERY;
        if !is_due && watched.verdict == measured.verdict && new_errors <= watched.new_errors {
            return;
        }
        (watched.at, watched.verdict, watched.new_errors) = (now, measured.verdict, new_errors);
        // With another number in it, it is the same line.
        let unseen = measured.unseen.iter();
        let unseen: Vec<&String> = unseen.filter(|line| watched.unseen.insert(kind(line))).collect();
        let place = place(state, step, None);
        for line in measured_lines::lines(measured) {
            self.record(state, place.clone().then(line));
        }
        for what in unseen {
            let line = place.clone().and(Role::Plain, "not looked at: ");
            self.record(state, line.and(Role::Plain, what));
        }
    }
}

/// Returns `deploy / backend: `, or `undo deploy / backend: ` while the step is being put back.
fn place(state: &State, step: StepId, task: Option<&TaskId>) -> Line {
    let undo = if state.unwinding == Some(step) {
        "undo "
    } else {
        ""
    };
    let line = Line::of(Role::Strong, undo).and(Role::Strong, step.as_str());
    match task {
        Some(task) => line
            .and(Role::Plain, " / ")
            .and(Role::Strong, &task.0)
            .and(Role::Plain, ": "),
        None => line.and(Role::Plain, ": "),
    }
}

/// Adds `: message (12 s)`, as far as there is one.
fn explained(line: Line, message: &str, duration: Duration) -> Line {
    let line = if message.trim().is_empty() {
        line
    } else {
        line.and(Role::Plain, ": ").and(Role::Plain, message)
    };
    match quantity::notable_duration(duration) {
        Some(duration) => line.and(Role::Faint, &format!(" ({duration})")),
        None => line,
    }
}

impl Throttle {
    /// Returns whether to say it now: it must differ from the last message, and its kind (the message without its
    /// numbers) must not have been said lately.
    fn allows(&mut self, message: &str, kind: String, now: Duration) -> bool {
        if self.last_message == message {
            return false;
        }
        let due = self
            .last_said
            .get(&kind)
            .is_none_or(|last| now.saturating_sub(*last) >= SAME_KIND_EVERY);
        if due {
            message.clone_into(&mut self.last_message);
            self.last_said.insert(kind, now);
        }
        due
    }
}

/// Where forty tasks begin at once and most are over in no time: a line each at its end is enough.
const fn makes_checks(step: StepId) -> bool {
    matches!(step, StepId::Check | StepId::Gate)
}

fn kind(message: &str) -> String {
    message
        .chars()
        .filter(|character| !character.is_ascii_digit())
        .collect()
}

fn amount(done: u64, total: Option<u64>, unit: Unit) -> String {
    let show = |count: u64| match unit {
        Unit::Bytes => quantity::bytes(count),
        Unit::Steps => count.to_string(),
    };
    let label = match unit {
        Unit::Bytes => "",
        Unit::Steps => "step ",
    };
    match total {
        Some(total) => format!("{label}{} of {}", show(done), show(total)),
        None => format!("{label}{}", show(done)),
    }
}

impl Reporter for PlainReporter {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match event {
            Event::RunStarted {
                run,
                command,
                project,
                release,
                steps,
                dry_run,
            } => {
                command.clone_into(&mut state.command);
                state.dry_run = *dry_run;
                let steps: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
                let line = wording::opening_line(command, project, release.as_deref(), *dry_run)
                    .and(Role::Faint, &format!("; steps: {}; run {run}", steps.join(", ")));
                self.record(state, line);
            }
            Event::StepStarted { step } => {
                if !state.dry_run {
                    let line = place(state, *step, None).and(Role::Plain, "started");
                    self.record(state, line);
                }
            }
            Event::TaskStarted { step, task, title } => {
                let line = place(state, *step, Some(task)).and(Role::Plain, title);
                let throttle = state.tasks.entry((*step, task.clone())).or_default();
                title.clone_into(&mut throttle.last_message);
                if !makes_checks(*step) || self.verbosity >= Verbosity::Verbose {
                    self.record(state, line);
                }
            }
            // The figures are said more fully of what it measures.
            Event::TaskProgress {
                step: StepId::Monitor,
                ..
            } => {}
            Event::TaskProgress { step, task, message } => {
                let throttle = state.tasks.entry((*step, task.clone())).or_default();
                if throttle.allows(message, kind(message), self.clock.elapsed()) {
                    let line = place(state, *step, Some(task)).and(Role::Plain, message);
                    self.record(state, line);
                }
            }
            Event::TaskAmount {
                step,
                task,
                done,
                total,
                unit,
            } => {
                let message = amount(*done, *total, *unit);
                let throttle = state.tasks.entry((*step, task.clone())).or_default();
                if throttle.allows(&message, AMOUNT.to_owned(), self.clock.elapsed()) {
                    let line = place(state, *step, Some(task)).and(Role::Plain, &message);
                    self.record(state, line);
                }
            }
            Event::TaskOutput { step, task, line } => {
                if self.verbosity >= Verbosity::Verbose {
                    let line = place(state, *step, Some(task))
                        .and(Role::Faint, "| ")
                        .and(Role::Plain, line);
                    self.record(state, line);
                }
            }
            Event::TaskFinished {
                step,
                task,
                result,
                message,
                duration,
            } => {
                state.tasks.remove(&(*step, task.clone()));
                let (role, _) = wording::result_sign(*result);
                let line = place(state, *step, Some(task)).and(role, wording::result_word(*result));
                let line = explained(line, message, *duration);
                if makes_checks(*step) {
                    state.held_back.push((*step, task.clone(), line));
                } else {
                    self.record(state, line);
                }
            }
            Event::StepFinished {
                step,
                result,
                message,
                duration,
            } => {
                let held_back = std::mem::take(&mut state.held_back);
                let (its, others) = held_back.into_iter().partition(|(of, _, _)| of == step);
                state.held_back = others;
                let its: Vec<(StepId, TaskId, Line)> = its;
                for (_, _, line) in its {
                    self.record(state, line);
                }
                // The plan has been shown: that planning succeeded is no news.
                if state.planned.contains(step) && *result != StepResult::Failed {
                    return;
                }
                let (role, _) = wording::result_sign(*result);
                let line = place(state, *step, None).and(role, wording::step_word(*step, *result));
                self.record(state, explained(line, message, *duration));
            }
            Event::UnwindStarted { step, reason } => {
                state.unwinding = Some(*step);
                let line = place(state, *step, None)
                    .and(Role::Warning, "started")
                    .and(Role::Plain, ": ");
                self.record(state, line.and(Role::Plain, reason));
            }
            Event::UnwindFinished {
                step,
                result,
                message,
            } => {
                state.unwinding = Some(*step);
                let (role, _) = wording::unwind_sign(*result);
                let mut line = place(state, *step, None).and(role, wording::unwind_word(*result));
                if !message.trim().is_empty() {
                    line = line.and(Role::Plain, ": ").and(Role::Plain, message);
                }
                self.record(state, line);
                state.unwinding = None;
            }
            Event::Checked { step, outcome } => {
                let id = TaskId(outcome.check.clone());
                state.held_back.retain(|(of, task, _)| (of, task) != (step, &id));
                if wording::is_check_told(&state.command, outcome) {
                    let (role, sign) = wording::check_sign(outcome);
                    let line = place(state, *step, Some(&id))
                        .and(role, sign)
                        .and(Role::Plain, " ")
                        .and(Role::Plain, &outcome.line);
                    let took = Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
                    self.record(state, explained(line, "", took));
                }
            }
            Event::Checklist { checklist } => {
                let is_quiet = self.verbosity == Verbosity::Quiet;
                let (lines, hint) = wording::checklist_lines(checklist, is_quiet);
                for line in lines.iter().chain(&hint) {
                    self.write(state, line);
                }
            }
            Event::Measured { step, measured } => self.measured(state, *step, measured),
            // Its findings are the run's error, or warnings.
            Event::Settled { step, remarks, .. } => {
                for remark in remarks {
                    let line = place(state, *step, None).and(Role::Plain, remark);
                    self.record(state, line);
                }
            }
            // The plan is what a dry run was asked for: it is shown however quiet one wants it.
            Event::Planned { step, changes } => {
                state.planned.push(*step);
                for line in plan::plan_records(*step, changes) {
                    self.write(state, &line);
                }
            }
            Event::Warning { message, hint } => {
                if self.verbosity > Verbosity::Quiet {
                    self.write(state, &wording::warning_record(message, hint.as_deref()));
                }
            }
            Event::NoticePlanned {
                target,
                place,
                moments,
            } => self.write(state, &wording::notice_planned(target, place, moments)),
            Event::Notified {
                target,
                place,
                what,
                why_not,
                tries: _,
                duration,
            } => match why_not {
                None => {
                    let line = wording::notified(target, place, *what);
                    self.record(state, explained(line, "", *duration));
                }
                Some(why) if self.verbosity > Verbosity::Quiet => {
                    let (message, hint) = wording::not_notified(target, place, *what, why);
                    self.write(state, &wording::warning_record(&message, Some(&hint)));
                }
                Some(_) => {}
            },
            Event::Reported { file } => {
                let line = wording::reported(file);
                self.record(state, line);
            }
            Event::Finished {
                outcome,
                exit_code,
                release,
                duration,
                steps,
                error,
            } => {
                for step in wording::steps_not_run(steps) {
                    let line = place(state, step, None).and(Role::Faint, "not run");
                    self.record(state, line);
                }
                for line in error.iter().flat_map(error_lines) {
                    self.write(state, &line);
                }
                let ending = wording::Ending {
                    command: &state.command.clone(),
                    dry_run: state.dry_run,
                    outcome: *outcome,
                    exit_code: *exit_code,
                    release: release.as_deref(),
                    duration: *duration,
                    steps,
                };
                self.write(state, &wording::closing_record(&ending));
            }
        }
        let _ = state.output.flush();
    }

    fn asks(&self) -> bool {
        self.answers.is_some()
    }

    fn ask(&self, question: &Question) -> bool {
        self.picture_first(question, |answers, prompt| {
            answers.confirm(&question.question, prompt)
        })
        .unwrap_or(false)
    }

    fn reply(&self, question: &Question) -> Reply {
        self.picture_first(question, |answers, prompt| {
            answers.reply(&question.question, prompt)
        })
        .unwrap_or(Reply::Gone)
    }
}

impl PlainReporter {
    /// Asks somebody, if anybody is there.
    fn picture_first<T>(
        &self,
        question: &Question,
        ask: impl FnOnce(&Answers, &mut dyn Write) -> T,
    ) -> Option<T> {
        let answers = self.answers.as_ref()?;
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            // No screen to keep to: nothing is wrapped, nothing left out.
            for line in picture(question, usize::MAX, usize::MAX) {
                self.write(&mut state, &line);
            }
        }
        // Unlocked while it waits: a run that is interrupted instead has more to say.
        Some(ask(answers, &mut Prompt(&self.state)))
    }
}

/// Locks only to write.
struct Prompt<'a>(&'a Mutex<State>);

impl Write for Prompt<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.output.flush()
    }
}
