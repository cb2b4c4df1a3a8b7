//! What the stories share: a copy of the example under a name of its own, the program run on it, a client that polls
//! it, and what stands on the engine, seen through the `docker` command.

mod between;
mod client;
pub(crate) mod database;
pub(crate) mod django;
mod docker;
mod example;
mod own_engine;
mod program;
mod secrets;
mod snapshot;
mod stack;

pub(crate) use between::{Between, Moment};
pub(crate) use client::{Client, ask};
pub(crate) use docker::{docker, text};
pub(crate) use own_engine::OwnEngine;
pub(crate) use program::{Finished, Running};
pub(crate) use snapshot::{Container, Snapshot};
pub(crate) use stack::Stack;
