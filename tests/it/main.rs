//! Everything that needs no Docker Engine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compose;
mod config;
mod yaml;
