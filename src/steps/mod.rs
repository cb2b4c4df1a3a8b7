//! The steps of a deploy, one file or folder each, named by its subcommand. They know the rules; they talk to the
//! engine and the app through the ports, and to people through events.

pub mod application;
pub mod backup;
pub mod build;
pub mod check;
pub mod collectstatic;
pub mod deploy;
pub mod fetch;
pub mod health;
pub mod hooks;
mod images;
mod lines;
mod local_command;
pub mod maintenance;
pub mod migrate;
pub mod monitor;
pub(crate) mod one_off;
pub mod rehearse;
pub mod retention;
pub mod reverse;
pub mod smoke;

pub use images::release_reference;
pub(crate) use images::{kept_reference, release_repository};
