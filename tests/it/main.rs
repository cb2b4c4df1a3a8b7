//! Everything that needs no Docker Engine.

mod cli;
#[path = "../contract/mod.rs"]
mod contract;
mod engine;
mod support;
mod ui;
