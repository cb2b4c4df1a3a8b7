//! Takes a Compose stack in production from one release to the next, and back, without losing a request or a row.

pub mod app;
pub mod cli;
pub mod compose;
pub mod engine;
pub mod exit_code;
pub mod pipeline;
pub mod secret;
pub mod ui;
