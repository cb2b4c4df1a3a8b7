//! How a command ended, as the person who typed it saw it.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::watch;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{
    Change, ErrorReport, Event, Outcome, Question, Reply, Reporter, StepId, StepResult, UnwindResult,
};
use viatique_deploy::release::RunId;
use viatique_deploy::release::checklist::Checklist;
use viatique_deploy::release::checks::CheckOutcome;

/// Keeps every event, and answers questions.
#[derive(Default)]
pub(super) struct Recorder {
    events: Mutex<Vec<Event>>,
    /// What somebody at the terminal answers; nobody is there where `None`.
    person: Option<bool>,
    questions: Mutex<Vec<Question>>,
    /// What they say of the release afterwards, one after the other; then they are gone.
    replies: Mutex<VecDeque<Reply>>,
    /// Instead of going they interrupt.
    interrupter: Option<watch::Sender<u32>>,
    afterwards: Mutex<Vec<Question>>,
}

impl Reporter for Recorder {
    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }

    fn asks(&self) -> bool {
        self.person.is_some()
    }

    fn ask(&self, question: &Question) -> bool {
        self.questions.lock().unwrap().push(question.clone());
        self.person == Some(true)
    }

    fn reply(&self, question: &Question) -> Reply {
        self.afterwards.lock().unwrap().push(question.clone());
        let reply = self.replies.lock().unwrap().pop_front();
        if reply.is_none()
            && let Some(interrupter) = &self.interrupter
        {
            interrupter.send(1).unwrap();
            // Who interrupts answers nothing any more.
            std::thread::park();
        }
        reply.unwrap_or(Reply::Gone)
    }
}

impl Recorder {
    /// With somebody who answers so, or nobody.
    pub(super) fn before(
        person: Option<bool>,
        replies: &[Reply],
        interrupter: Option<watch::Sender<u32>>,
    ) -> Self {
        Self {
            interrupter,
            person,
            replies: Mutex::new(replies.iter().copied().collect()),
            ..Self::default()
        }
    }

    /// Reads the last event, which every command ends with.
    pub(super) fn ended(&self, run: RunId, code: ExitCode) -> Ended {
        let events = self.events.lock().unwrap().clone();
        let Some(Event::Finished {
            outcome,
            exit_code,
            release,
            steps,
            error,
            ..
        }) = events.last().cloned()
        else {
            panic!("the last event is {:?}", events.last());
        };
        assert_eq!(code, exit_code, "the event says what the shell gets");
        every_beginning_has_one_end(&events);
        Ended {
            run,
            code,
            outcome,
            serves: release,
            steps: steps.into_iter().map(|step| (step.step, step.result)).collect(),
            error,
            events,
            questions: self.questions.lock().unwrap().clone(),
            afterwards: self.afterwards.lock().unwrap().clone(),
        }
    }
}

/// Whatever happens, what is begun ends once, and a part of a step does not outlive it.
#[track_caller]
fn every_beginning_has_one_end(events: &[Event]) {
    let mut steps = Vec::new();
    let mut tasks = Vec::new();
    for event in events {
        match event {
            Event::StepStarted { step } => {
                assert!(!steps.contains(step), "{step:?} begins twice: {events:#?}");
                steps.push(*step);
            }
            Event::StepFinished { step, .. } => {
                let open = tasks.iter().find(|(of, _)| of == step);
                assert_eq!(open, None, "goes on after its step: {events:#?}");
                let before = steps.len();
                steps.retain(|open| open != step);
                assert_eq!(steps.len(), before - 1, "{step:?} ends twice: {events:#?}");
            }
            Event::TaskStarted { step, task, .. } => tasks.push((*step, task)),
            Event::TaskFinished { step, task, .. } => {
                let open = tasks.iter().position(|open| *open == (*step, task));
                tasks.remove(open.unwrap_or_else(|| panic!("{task:?} ends unbegun: {events:#?}")));
            }
            Event::RunStarted { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
            | Event::UnwindStarted { .. }
            | Event::UnwindFinished { .. }
            | Event::Checked { .. }
            | Event::Measured { .. }
            | Event::Settled { .. }
            | Event::Checklist { .. }
            | Event::Planned { .. }
            | Event::Warning { .. }
            | Event::NoticePlanned { .. }
            | Event::Notified { .. }
            | Event::Reported { .. }
            | Event::Finished { .. } => {}
        }
    }
    assert!(steps.is_empty(), "{steps:?} never end: {events:#?}");
    assert!(tasks.is_empty(), "{tasks:?} never end: {events:#?}");
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) run: RunId,
    pub(crate) code: ExitCode,
    pub(crate) outcome: Outcome,
    /// The release that serves, as the command says.
    pub(crate) serves: Option<String>,
    pub(crate) steps: Vec<(StepId, StepResult)>,
    pub(crate) error: Option<ErrorReport>,
    pub(crate) events: Vec<Event>,
    /// What was asked of whoever sat there.
    pub(crate) questions: Vec<Question>,
    /// And of the release, once it served.
    pub(crate) afterwards: Vec<Question>,
}

impl Ended {
    /// It did what it was asked to.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(
            (self.outcome, self.code),
            (Outcome::Succeeded, ExitCode::Done),
            "{:#?}",
            self.error
        );
        self
    }

    /// It ended so.
    #[track_caller]
    pub(crate) fn ended(&self, outcome: Outcome, code: ExitCode) -> &Self {
        assert_eq!((self.outcome, self.code), (outcome, code), "{:#?}", self.error);
        self
    }

    /// The error as one text: what was being done, and why it failed.
    pub(crate) fn message(&self) -> String {
        self.error
            .as_ref()
            .map(|error| error.chain.join(": "))
            .unwrap_or_default()
    }

    /// The hints, a line each.
    pub(crate) fn hints(&self) -> String {
        self.error
            .as_ref()
            .map(|error| error.hints.join("\n"))
            .unwrap_or_default()
    }

    /// The lines that show why, each block with its title.
    pub(crate) fn evidence(&self) -> String {
        let blocks = self.error.iter().flat_map(|error| &error.evidence);
        blocks
            .map(|block| format!("{}:\n{}\n", block.title, block.lines.join("\n")))
            .collect()
    }

    /// The message must say this.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.message().contains(text), "{:#?}", self.error);
        self
    }

    /// The evidence must show this.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> &Self {
        assert!(self.evidence().contains(text), "{:#?}", self.error);
        self
    }

    /// A hint must say this.
    #[track_caller]
    pub(crate) fn hints_at(&self, text: &str) -> &Self {
        assert!(self.hints().contains(text), "{:#?}", self.error);
        self
    }

    /// How a step went.
    pub(crate) fn step(&self, id: StepId) -> StepResult {
        self.steps
            .iter()
            .find(|(step, _)| *step == id)
            .map(|(_, result)| *result)
            .unwrap_or_else(|| panic!("{id:?} is not among {:?}", self.steps))
    }

    /// Where in the run a step began and ended: positions among its events.
    pub(crate) fn span(&self, id: StepId) -> std::ops::Range<usize> {
        let position = |is_meant: &dyn Fn(&Event) -> bool| self.events.iter().position(is_meant).unwrap();
        position(&|event| matches!(event, Event::StepStarted { step } if *step == id))
            ..position(&|event| matches!(event, Event::StepFinished { step, .. } if *step == id))
    }

    /// How long the step took.
    pub(crate) fn took(&self, id: StepId) -> std::time::Duration {
        let took = self.events.iter().find_map(|event| {
            let Event::StepFinished { step, duration, .. } = event else {
                return None;
            };
            (*step == id).then_some(*duration)
        });
        took.unwrap()
    }

    /// What the step said when it finished.
    pub(crate) fn step_message(&self, id: StepId) -> String {
        let said = self.events.iter().rev().find_map(|event| {
            let Event::StepFinished { step, message, .. } = event else {
                return None;
            };
            (*step == id).then(|| message.clone())
        });
        said.unwrap_or_default()
    }

    /// How taking a step back went, and what was said of it.
    pub(crate) fn undo(&self, id: StepId) -> Option<(UnwindResult, String)> {
        self.events.iter().find_map(|event| {
            let Event::UnwindFinished {
                step,
                result,
                message,
            } = event
            else {
                return None;
            };
            (*step == id).then(|| (*result, message.clone()))
        })
    }

    /// Every warning with its hint, a line each.
    pub(crate) fn warnings(&self) -> String {
        let warnings = self.events.iter().filter_map(|event| {
            let Event::Warning { message, hint } = event else {
                return None;
            };
            Some(format!("{message} ({})", hint.as_deref().unwrap_or_default()))
        });
        warnings.collect::<Vec<_>>().join("\n")
    }

    /// What a part of a step said when it finished.
    pub(crate) fn task_message(&self, id: StepId, name: &str) -> Option<String> {
        self.events.iter().find_map(|event| {
            let Event::TaskFinished {
                step, task, message, ..
            } = event
            else {
                return None;
            };
            (*step == id && task.0 == name).then(|| message.clone())
        })
    }

    /// How a part of a step ended.
    pub(crate) fn task_result(&self, id: StepId, name: &str) -> Option<StepResult> {
        self.events.iter().find_map(|event| {
            let Event::TaskFinished {
                step, task, result, ..
            } = event
            else {
                return None;
            };
            (*step == id && task.0 == name).then_some(*result)
        })
    }

    /// The lines that a process wrote on behalf of a part of a step.
    pub(crate) fn task_output(&self, id: StepId, name: &str) -> Vec<String> {
        let lines = self.events.iter().filter_map(|event| {
            let Event::TaskOutput { step, task, line } = event else {
                return None;
            };
            (*step == id && task.0 == name).then(|| line.clone())
        });
        lines.collect()
    }

    /// What is known of the release, as the command says.
    pub(crate) fn checklist(&self) -> Option<Checklist> {
        self.events.iter().find_map(|event| {
            let Event::Checklist { checklist } = event else {
                return None;
            };
            Some(checklist.clone())
        })
    }

    /// How a check went; the last time, where it was made twice.
    #[track_caller]
    pub(crate) fn check(&self, id: &str) -> &CheckOutcome {
        let checked = self.events.iter().rev().find_map(|event| {
            let Event::Checked { outcome, .. } = event else {
                return None;
            };
            (outcome.check == id).then_some(outcome)
        });
        checked.unwrap_or_else(|| panic!("{id} was not checked: {:#?}", self.error))
    }

    /// What a dry run of this step planned.
    pub(crate) fn planned(&self, id: StepId) -> Vec<Change> {
        let planned = self.events.iter().find_map(|event| {
            let Event::Planned { step, changes } = event else {
                return None;
            };
            (*step == id).then(|| changes.clone())
        });
        planned.unwrap_or_default()
    }
}
