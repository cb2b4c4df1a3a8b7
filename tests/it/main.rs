//! Everything that needs no Docker Engine.

mod cli;
mod compose;
mod config;
#[path = "../contract/mod.rs"]
mod contract;
mod engine;
mod support;
mod ui;
mod yaml;
