//! What is shown, from scripted runs: no step, no engine, no waiting.

mod dashboard;
mod github;
mod json;
mod junit;
mod notices;
mod plain;
mod script;
mod small_parts;
mod terminal;
