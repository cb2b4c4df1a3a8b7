//! What of a run's events a notice needs: which step failed, at which service, and what was warned of.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pipeline::{Event, Listener, StepId, StepResult};

/// The listener.
pub struct Observed {
    /// The project's services, by which a task is known to be about one.
    services: BTreeSet<String>,
    seen: Mutex<Seen>,
}

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The step that failed first.
    pub failed_step: Option<StepId>,
    /// Services of tasks that failed, in order.
    pub failed_services: Vec<String>,
    /// Beside those of checks, which say the same in every run.
    pub warnings: Vec<String>,
    /// Of them, those after the last step: of what makes an end that is good less than that.
    pub late_warnings: usize,
    /// What the warnings say should be done.
    pub hints: Vec<String>,
    is_checking: bool,
    is_stepping: usize,
    has_stepped: bool,
}

impl Observed {
    /// Of a run that is about these services.
    pub fn of(services: impl IntoIterator<Item = String>) -> Self {
        Self {
            services: services.into_iter().collect(),
            seen: Mutex::default(),
        }
    }

    /// What was seen.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Observed {
    fn hear(&self, event: &Event) {
        let mut seen = self.lock();
        match event {
            Event::StepStarted { step } => {
                seen.is_stepping += 1;
                seen.has_stepped = true;
                // They were between two steps.
                seen.late_warnings = 0;
                seen.is_checking = makes_checks(*step);
            }
            Event::TaskFinished {
                task,
                result: StepResult::Failed,
                ..
            } => {
                // `nginx reload`, of `nginx`.
                let service = task.0.split(' ').next().unwrap_or_default();
                if self.services.contains(service) && !seen.failed_services.iter().any(|one| one == service) {
                    seen.failed_services.push(service.to_owned());
                }
            }
            Event::StepFinished { step, result, .. } => {
                seen.is_stepping = seen.is_stepping.saturating_sub(1);
                seen.is_checking = false;
                if *result == StepResult::Failed && seen.failed_step.is_none() {
                    seen.failed_step = Some(*step);
                }
            }
            Event::Warning { message, hint } if !seen.is_checking => {
                seen.warnings.push(message.clone());
                seen.hints.extend(hint.clone());
                if seen.has_stepped && seen.is_stepping == 0 {
                    seen.late_warnings += 1;
                }
            }
            Event::RunStarted { .. }
            | Event::TaskStarted { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
            | Event::TaskFinished { .. }
            | Event::UnwindStarted { .. }
            | Event::UnwindFinished { .. }
            | Event::Checked { .. }
            | Event::Planned { .. }
            | Event::Notified { .. }
            | Event::NoticePlanned { .. }
            | Event::Measured { .. }
            | Event::Settled { .. }
            | Event::Checklist { .. }
            | Event::Warning { .. }
            | Event::Reported { .. }
            | Event::Finished { .. } => {}
        }
    }
}

const fn makes_checks(step: StepId) -> bool {
    matches!(step, StepId::Check | StepId::Gate)
}
