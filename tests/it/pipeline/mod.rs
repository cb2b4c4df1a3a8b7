//! Whole commands through the pipeline: what goes wrong at every single call of the engine, and what stands then.

mod dry_run;
mod faults;
mod invariants;
mod killed;
mod stages;
mod unwinding;
