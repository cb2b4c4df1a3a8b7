//! Steps, plans, events; the runner that sequences them, and the way back.

mod event;

pub use event::{
    Change, ChangeKind, ErrorReport, Event, Events, Evidence, Outcome, Reporter, StepId, StepResult,
    StepSummary, TaskId, Unit, UnwindResult,
};
