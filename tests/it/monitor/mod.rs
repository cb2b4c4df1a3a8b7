//! Watching a release settle: the rules by themselves, and the step in whole runs.

mod faults;
mod judgement;
