//! `deploy` and `run` on the simulated engine: what stands before, during and after, and what is said of it.

mod batches;
mod callers;
mod failing;
mod kinds;
mod proxy;
mod releases;
mod shapes;
