//! Watching a release settle: the rules by themselves, and the step in whole runs.

mod bounded;
mod faults;
mod judgement;
mod measured;
