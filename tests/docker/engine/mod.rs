//! The Docker adapter: the contract that every engine keeps, and what only a real one can show.

mod builds;
mod containers;
mod contract;
mod lint;
mod lock;
mod processes;
