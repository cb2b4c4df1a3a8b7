//! Everything that needs no Docker Engine.

mod cli;
mod ui;
