//! Takes a Compose stack in production from one release to the next, and back, without losing a request or a row.

pub mod app;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod compose;
pub mod config;
pub mod engine;
pub mod error;
pub mod exit_code;
pub mod ledger;
pub mod lock;
pub mod pipeline;
pub mod release;
pub mod secret;
pub mod stack;
pub mod steps;
pub mod ui;
pub mod yaml;
