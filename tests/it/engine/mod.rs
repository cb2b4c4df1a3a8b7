//! The engine room without an engine: the contract on the simulated one, what is sent to a Docker Engine word for
//! word, and what is decided before anything is sent.

mod app;
mod build_context;
mod choosing;
mod contract;
mod listening;
mod simulated;
mod wire;
mod wire_events;
