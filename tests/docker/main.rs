//! The same contracts, and whole stories, on a real Docker Engine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by ending"
)]

#[path = "../contract/mod.rs"]
mod contract;
mod engine;
mod stories;
mod support;
