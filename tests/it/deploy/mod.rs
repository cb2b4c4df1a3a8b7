//! `deploy` and `run` on the simulated engine: what stands before, during and after, and what is said of it.

mod releases;
mod shapes;
