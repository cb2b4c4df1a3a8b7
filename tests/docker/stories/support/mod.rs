//! What the stories share: a copy of the example under a name of its own, the program run on it, a client that polls
//! it, and what stands on the engine, seen through the `docker` command.

mod client;
mod docker;
mod example;
mod program;
mod snapshot;
mod stack;

pub(crate) use client::ask;
pub(crate) use docker::{docker, text};
pub(crate) use program::{Finished, Running};
pub(crate) use snapshot::Snapshot;
pub(crate) use stack::Stack;
