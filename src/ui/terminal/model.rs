//! What is known of a run while it is shown: what is to come, what is running, and the lines that are there to stay
//! but not yet written. Layout is in `view`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::pipeline::{Event, StepId, StepResult, TaskId, Unit};
use crate::release::checks::CheckOutcome;
use crate::ui::errors::error_lines;
use crate::ui::line::{Line, Role};
use crate::ui::{plan, wording};

use super::view;

/// How many lines of a running task's output are shown.
const OUTPUT_LINES: usize = 3;
/// A rate is that of this long.
const RATE_OVER: Duration = Duration::from_secs(5);

/// A run as it is shown.
pub(super) struct Model {
    verbose: bool,
    command: String,
    dry_run: bool,
    /// Steps that have not begun, in order.
    pub(super) pending: Vec<StepId>,
    /// What is running: normally one section.
    pub(super) sections: Vec<Section>,
    /// Steps whose plan was shown: a dry run has nothing more to say of them.
    planned: Vec<StepId>,
    permanent: Vec<Permanent>,
    /// Grows, so that messages stand below each other all through a run.
    pub(super) name_columns: usize,
}

/// A line to be written once, laid out only then because the terminal may have changed its width.
enum Permanent {
    Line(Line),
    /// Is text to be read, and broken between words. Commands to be copied are in none.
    Text(Line),
    Row(view::Row),
    /// Its message is said nowhere else, so that it is wrapped and not cut.
    WholeRow(view::Row),
    Plan(StepId, Vec<crate::pipeline::Change>),
}

/// A step, or a step being put back.
pub(super) struct Section {
    pub(super) step: StepId,
    /// Why it is put back, if it is.
    pub(super) unwind_reason: Option<String>,
    pub(super) started: Duration,
    pub(super) tasks: Vec<Task>,
}

impl Section {
    pub(super) fn name(&self) -> String {
        let step = self.step.as_str();
        if self.unwind_reason.is_some() {
            format!("undo {step}")
        } else {
            step.to_owned()
        }
    }
}

pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) message: String,
    pub(super) started: Duration,
    pub(super) amount: Option<Amount>,
    pub(super) output: VecDeque<String>,
    pub(super) finished: Option<Finished>,
    /// What it came to, of a check.
    pub(super) checked: Option<CheckOutcome>,
}

pub(super) struct Finished {
    pub(super) result: StepResult,
    pub(super) message: String,
    pub(super) duration: Duration,
}

/// How far a task is.
pub(super) struct Amount {
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) unit: Unit,
    samples: VecDeque<(Duration, u64)>,
}

impl Amount {
    /// Returns how long the rest takes at this rate, where it is known how much that is.
    pub(super) fn left(&self, rate: u64) -> Option<Duration> {
        let rest = self.total?.checked_sub(self.done).filter(|rest| *rest > 0)?;
        rest.checked_div(rate).map(Duration::from_secs)
    }

    /// Returns how much was done per second lately.
    pub(super) fn rate(&self) -> Option<u64> {
        let (first_at, first) = self.samples.front()?;
        let (last_at, last) = self.samples.back()?;
        let millis = u64::try_from(last_at.saturating_sub(*first_at).as_millis()).ok()?;
        // Less than half a second says nothing.
        if millis < 500 {
            None
        } else {
            Some(last.saturating_sub(*first).saturating_mul(1000) / millis)
        }
    }
}

impl Model {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            verbose,
            command: String::new(),
            dry_run: false,
            pending: Vec::new(),
            sections: Vec::new(),
            planned: Vec::new(),
            permanent: Vec::new(),
            name_columns: view::NARROWEST_NAME,
        }
    }

    /// Takes one event.
    pub(super) fn event(&mut self, event: &Event, now: Duration) {
        match event {
            Event::RunStarted {
                run: _,
                command,
                project,
                release,
                steps,
                dry_run,
            } => {
                command.clone_into(&mut self.command);
                self.dry_run = *dry_run;
                steps.clone_into(&mut self.pending);
                for step in steps {
                    self.widen(step.as_str(), 0);
                }
                self.say(wording::opening_line(
                    command,
                    project,
                    release.as_deref(),
                    *dry_run,
                ));
            }
            Event::StepStarted { step } => {
                self.pending.retain(|pending| pending != step);
                self.open(*step, None, now);
            }
            Event::TaskStarted { step, task, title } => {
                self.widen(&task.0, 2);
                let section = self.section(*step, now);
                section.tasks.push(Task {
                    id: task.clone(),
                    message: title.clone(),
                    started: now,
                    amount: None,
                    output: VecDeque::new(),
                    finished: None,
                    checked: None,
                });
            }
            Event::TaskProgress { step, task, message } => {
                if let Some(task) = self.task(*step, task) {
                    message.clone_into(&mut task.message);
                }
            }
            Event::TaskAmount {
                step,
                task,
                done,
                total,
                unit,
            } => {
                if let Some(task) = self.task(*step, task) {
                    let mut samples = task
                        .amount
                        .take()
                        .map(|amount| amount.samples)
                        .unwrap_or_default();
                    samples.push_back((now, *done));
                    while samples.len() > 2
                        && samples
                            .get(1)
                            .is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE_OVER)
                    {
                        samples.pop_front();
                    }
                    task.amount = Some(Amount {
                        done: *done,
                        total: *total,
                        unit: *unit,
                        samples,
                    });
                }
            }
            Event::TaskOutput { step, task, line } => self.output(*step, task, line),
            Event::TaskFinished {
                step,
                task,
                result,
                message,
                duration,
            } => {
                if let Some(task) = self.task(*step, task) {
                    task.finished = Some(Finished {
                        result: *result,
                        message: message.clone(),
                        duration: *duration,
                    });
                    task.output.clear();
                    task.amount = None;
                }
            }
            Event::StepFinished {
                step,
                result,
                message,
                duration,
            } => {
                self.pending.retain(|pending| pending != step);
                // A plan has been shown: that the planning succeeded is no news.
                let is_news = !self.planned.contains(step) || *result == StepResult::Failed;
                let section = self.close(*step, false);
                if is_news {
                    let (role, sign) = wording::result_sign(*result);
                    let message = or_word(message, wording::result_word(*result));
                    let row = view::Row::step(role, sign, step.as_str(), &message, Some(*duration));
                    self.keep(row, section);
                }
            }
            Event::UnwindStarted { step, reason } => {
                self.widen(&format!("undo {}", step.as_str()), 0);
                self.open(*step, Some(reason.clone()), now);
            }
            Event::UnwindFinished {
                step,
                result,
                message,
            } => {
                let section = self.close(*step, true);
                let took = section
                    .as_ref()
                    .map(|section| now.saturating_sub(section.started));
                let (role, sign) = wording::unwind_sign(*result);
                let message = or_word(message, wording::unwind_word(*result));
                let name = format!("undo {}", step.as_str());
                self.widen(&name, 0);
                self.keep(view::Row::step(role, sign, &name, &message, took), section);
            }
            Event::Checked { step, outcome } => self.checked(*step, outcome, now),
            Event::Checklist { checklist } => {
                self.say(Line::new());
                let (lines, hint) = wording::checklist_lines(checklist, false);
                self.permanent.extend(lines.into_iter().map(Permanent::Text));
                self.permanent.extend(hint.map(Permanent::Line));
            }
            // The watch says how it goes as its task's progress.
            Event::Measured { .. } => {}
            // Its findings are the run's error, or warnings.
            Event::Settled { remarks, .. } => {
                for remark in remarks {
                    let line = Line::of(Role::Faint, "  – ").and(Role::Faint, remark);
                    self.permanent.push(Permanent::Text(line));
                }
            }
            Event::Planned { step, changes } => {
                self.planned.push(*step);
                self.permanent.push(Permanent::Plan(*step, changes.clone()));
            }
            Event::Warning { message, hint } => {
                self.warn(message, hint.as_deref());
            }
            Event::NoticePlanned {
                target,
                place,
                moments,
            } => self.say(wording::notice_planned(target, place, moments)),
            Event::Notified {
                target,
                place,
                what,
                why_not,
                ..
            } => match why_not {
                None => self.say(
                    Line::of(Role::Good, "✔")
                        .and(Role::Plain, " ")
                        .then(wording::notified(target, place, *what)),
                ),
                Some(why) => {
                    let (message, hint) = wording::not_notified(target, place, *what, why);
                    self.warn(&message, Some(&hint));
                }
            },
            Event::Reported { file } => self.say(Line::of(Role::Plain, "  ").then(wording::reported(file))),
            Event::Finished {
                outcome,
                exit_code,
                release,
                duration,
                steps,
                error,
            } => {
                self.abandon();
                for step in wording::steps_not_run(steps) {
                    let (role, sign) = wording::result_sign(StepResult::NotRun);
                    self.permanent.push(Permanent::Row(view::Row::step(
                        role,
                        sign,
                        step.as_str(),
                        wording::result_word(StepResult::NotRun),
                        None,
                    )));
                }
                if let Some(report) = error {
                    self.say(Line::new());
                    for line in error_lines(report) {
                        self.say(line);
                    }
                }
                self.say(Line::new());
                let ending = wording::Ending {
                    command: &self.command,
                    dry_run: self.dry_run,
                    outcome: *outcome,
                    exit_code: *exit_code,
                    release: release.as_deref(),
                    duration: *duration,
                    steps,
                };
                for line in wording::closing_lines(&ending) {
                    self.say(line);
                }
            }
        }
    }

    /// Nothing runs any more. What was running is kept as interrupted.
    pub(super) fn abandon(&mut self) {
        self.pending.clear();
        for section in std::mem::take(&mut self.sections) {
            let (role, sign) = wording::result_sign(StepResult::Interrupted);
            let word = wording::result_word(StepResult::Interrupted);
            let row = view::Row::step(role, sign, &section.name(), word, None);
            self.keep(row, Some(section));
        }
    }

    /// Returns the lines to write, and forgets them.
    pub(super) fn take_permanent(&mut self, columns: usize) -> Vec<Line> {
        let name_columns = self.name_columns;
        std::mem::take(&mut self.permanent)
            .into_iter()
            .flat_map(|permanent| match permanent {
                Permanent::Line(line) => vec![line],
                Permanent::Text(line) => line.wrapped(view::usable(columns), 4),
                Permanent::Row(row) => vec![row.laid_out(name_columns, columns)],
                Permanent::WholeRow(row) => row.wrapped(name_columns, columns),
                Permanent::Plan(step, changes) => plan::plan_lines(step, &changes, view::usable(columns)),
            })
            .collect()
    }

    /// Returns the live lines.
    pub(super) fn frame(&self, now: Duration, columns: usize, rows: usize) -> Vec<Line> {
        view::frame(self, now, columns, rows)
    }

    fn warn(&mut self, message: &str, hint: Option<&str>) {
        let (warning, hint) = wording::warning_lines(message, hint);
        self.permanent.push(Permanent::Text(warning));
        self.permanent.extend(hint.map(Permanent::Line));
    }

    fn say(&mut self, line: Line) {
        self.permanent.push(Permanent::Line(line));
    }

    /// Keeps a section's line and one for each of its tasks.
    fn keep(&mut self, heading: view::Row, section: Option<Section>) {
        self.permanent.push(Permanent::Row(heading));
        for task in section.into_iter().flat_map(|section| section.tasks) {
            self.permanent.push(match &task.checked {
                None => Permanent::Row(view::Row::kept_task(&task)),
                Some(outcome) if !wording::is_check_told(&self.command, outcome) => continue,
                // The error at the end says it in full.
                Some(outcome) if outcome.blocks => Permanent::Row(view::Row::check(outcome)),
                Some(outcome) => Permanent::WholeRow(view::Row::check(outcome)),
            });
        }
    }

    fn checked(&mut self, step: StepId, outcome: &CheckOutcome, now: Duration) {
        let id = TaskId(outcome.check.clone());
        if self.task(step, &id).is_none() {
            // One that was skipped has never begun.
            self.widen(&id.0, 2);
            self.section(step, now).tasks.push(Task {
                id: id.clone(),
                message: outcome.title.clone(),
                started: now,
                amount: None,
                output: VecDeque::new(),
                finished: None,
                checked: None,
            });
        }
        if let Some(task) = self.task(step, &id) {
            task.checked = Some(outcome.clone());
            task.output.clear();
        }
    }

    fn widen(&mut self, name: &str, indent: usize) {
        let wanted = Line::of(Role::Plain, name).width() + indent;
        self.name_columns = self.name_columns.max(wanted).min(view::WIDEST_NAME);
    }

    fn open(&mut self, step: StepId, unwind_reason: Option<String>, now: Duration) {
        self.sections.push(Section {
            step,
            unwind_reason,
            started: now,
            tasks: Vec::new(),
        });
    }

    /// Returns the step's section that was opened last: while a step is put back, its tasks belong to that.
    fn section(&mut self, step: StepId, now: Duration) -> &mut Section {
        let position = self.sections.iter().rposition(|section| section.step == step);
        let position = position.unwrap_or_else(|| {
            self.open(step, None, now);
            self.sections.len() - 1
        });
        &mut self.sections[position]
    }

    fn task(&mut self, step: StepId, task: &TaskId) -> Option<&mut Task> {
        let sections = self
            .sections
            .iter_mut()
            .rev()
            .filter(|section| section.step == step);
        sections
            .flat_map(|section| section.tasks.iter_mut().rev())
            .find(|known| known.id == *task)
    }

    fn close(&mut self, step: StepId, unwind: bool) -> Option<Section> {
        let position = self
            .sections
            .iter()
            .rposition(|section| section.step == step && section.unwind_reason.is_some() == unwind)?;
        Some(self.sections.remove(position))
    }

    fn output(&mut self, step: StepId, task: &TaskId, line: &str) {
        if self.verbose {
            let place = Line::of(Role::Faint, step.as_str())
                .and(Role::Faint, " / ")
                .and(Role::Faint, &task.0);
            self.say(place.and(Role::Faint, " | ").and(Role::Plain, line));
        } else if let Some(task) = self.task(step, task)
            && !line.trim().is_empty()
        {
            if task.output.len() == OUTPUT_LINES {
                task.output.pop_front();
            }
            task.output.push_back(line.to_owned());
        }
    }
}

fn or_word(message: &str, word: &str) -> String {
    if message.trim().is_empty() {
        word.to_owned()
    } else {
        message.to_owned()
    }
}
