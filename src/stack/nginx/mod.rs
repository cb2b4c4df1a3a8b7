//! nginx: how a reload is seen to be complete, and what a configuration says about the services behind it.

mod configuration;
mod workers;

pub use configuration::{Configuration, Listener, Upstream};
pub use workers::Workers;
