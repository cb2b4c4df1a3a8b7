//! What is shown, from scripted runs: no step, no engine, no waiting.

mod json;
mod plain;
mod script;
mod small_parts;
mod terminal;
