//! The live dashboard of `monitor` on a terminal. `model` keeps what is known and what was asked for, `view` lays it out,
//! `screen` is the terminal, on a thread of its own, which reads keys; here is what stands before another reporter: while
//! the dashboard is open that one is told nothing, and afterwards all of it, below the last summary.
//!
//! Whatever happens, the terminal is given back: at the end, when the reporter is dropped, and on a panic before its
//! message. Where there can be no dashboard the other reporter shows everything.

mod model;
mod screen;
mod view;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pipeline::{Event, Question, Reporter, StepId};

use super::clock::Clock;
use super::measured_lines;
pub use model::{Key, Model};
pub(super) use screen::TerminalScreen;
pub use view::draw;

/// So many events are held back at most: without what goes on all the time there are a dozen.
const HELD: usize = 200;

/// Where a dashboard is drawn, by a thread of its own: none of these may wait for a reader.
pub trait Screen: Send {
    /// Takes the terminal, and shows this from now on, again when it has changed.
    ///
    /// # Errors
    /// Where it cannot be had.
    fn open(&mut self, model: Arc<Mutex<Model>>) -> std::io::Result<()>;

    /// Whether it is still there.
    fn is_open(&self) -> bool;

    /// Gives the terminal back as it was; nothing where it is not open.
    fn close(&mut self);
}

/// The reporter.
pub struct DashboardReporter {
    shown: Arc<dyn Reporter>,
    color: bool,
    clock: Arc<dyn Clock>,
    model: Arc<Mutex<Model>>,
    state: Mutex<State>,
}

struct State {
    screen: Box<dyn Screen>,
    output: Box<dyn Write + Send>,
    /// For the other reporter.
    held: Vec<Event>,
    is_open: bool,
    /// It was, and is not any more.
    is_over: bool,
}

impl DashboardReporter {
    /// Before this reporter. The last summary is written to `output`, the terminal that the other one writes to.
    pub fn before(
        shown: Arc<dyn Reporter>,
        screen: Box<dyn Screen>,
        output: Box<dyn Write + Send>,
        color: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            shown,
            color,
            clock,
            model: Arc::default(),
            state: Mutex::new(State {
                screen,
                output,
                held: Vec::new(),
                is_open: false,
                is_over: false,
            }),
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the terminal back, and shows what was held back.
    fn close(&self, state: &mut State) {
        if state.is_over {
            return;
        }
        state.is_over = true;
        if state.is_open {
            state.screen.close();
            let measured = self.model().measured.clone();
            for line in measured.iter().flat_map(measured_lines::lines) {
                // A terminal that has gone takes nothing, and stops nothing.
                let _ = writeln!(state.output, "{}", line.painted(self.color));
            }
            let _ = state.output.flush();
        }
        for event in std::mem::take(&mut state.held) {
            self.shown.event(&event);
        }
    }
}

/// Whether it is told again and again, and the dashboard shows the last of it.
const fn is_current(event: &Event) -> bool {
    matches!(
        event,
        Event::Measured { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
    )
}

impl Reporter for DashboardReporter {
    fn event(&self, event: &Event) {
        self.model().event(event, self.clock.elapsed());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let begins = matches!(
            event,
            Event::TaskStarted {
                step: StepId::Monitor,
                ..
            }
        );
        if begins && !state.is_open && !state.is_over {
            match state.screen.open(Arc::clone(&self.model)) {
                Ok(()) => state.is_open = true,
                // Lines instead.
                Err(_) => self.close(state),
            }
        }
        let is_gone = state.is_open && !state.screen.is_open();
        if matches!(event, Event::Finished { .. }) || is_gone {
            self.close(state);
        }
        if state.is_over {
            self.shown.event(event);
        } else if !is_current(event) && state.held.len() < HELD {
            state.held.push(event.clone());
        }
    }

    fn asks(&self) -> bool {
        self.shown.asks()
    }

    fn ask(&self, question: &Question) -> bool {
        self.close(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.shown.ask(question)
    }
}

impl Drop for DashboardReporter {
    fn drop(&mut self) {
        self.close(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
