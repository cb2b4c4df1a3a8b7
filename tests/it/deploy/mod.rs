//! `deploy` and `run` on the simulated engine: what stands before, during and after, and what is said of it.

mod batches;
mod callers;
mod failing;
mod kinds;
mod proxy;
mod releases;
mod shapes;

use viatique_deploy::engine::Container;

use crate::support::Stack;

/// Whether what this container calls was led from one container to another: by a sidecar, named after it.
fn steered(stack: &Stack, caller: &Container) -> bool {
    let mut calls = stack.engine.calls().into_iter();
    calls.any(|call| call.name == "create_container" && call.target.contains(caller.id.short()))
}
