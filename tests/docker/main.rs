//! The same contracts, and whole stories, on a real Docker Engine.

#[path = "../contract/mod.rs"]
mod contract;
mod engine;
mod support;
