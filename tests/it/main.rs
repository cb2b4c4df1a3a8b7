//! Everything that needs no Docker Engine.

mod compose;
mod config;
mod yaml;
