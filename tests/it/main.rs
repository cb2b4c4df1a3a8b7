//! Everything that needs no Docker Engine.

#[path = "../contract/mod.rs"]
mod contract;
mod engine;
mod support;
