//! Steps, plans, events; the runner that sequences them, and the way back. What a step does is in `steps`.

mod event;
mod interrupt;
mod measured;
mod run;
mod stage;
mod step;

pub use event::{
    Change, ChangeKind, ErrorReport, Event, Events, Evidence, Listener, Looked, Outcome, Question, Reply,
    Reporter, StepId, StepResult, StepSummary, TaskId, Unit, UnwindResult, Verdict,
};
pub use interrupt::Interrupt;
pub use measured::{
    DatabaseActivity, DatabaseSession, Disk, LockWait, LoggedErrors, Measured, MeasuredContainer,
    MeasuredDatabase, MeasuredRedis, News, Queue, Requests, RequestsSource, WorstPage,
};
pub use run::{RunReport, apply, plan, settle};
pub use stage::{Stage, changes_what_serves, steps};
pub use step::{
    Context, Fact, Receipt, Reversal, ReversalOrder, RunState, Settings, Step, Task, Undone, View,
    WhenAnotherFails,
};
