//! Compose files -> [`Project`]: load, merge, interpolate, `env_file`, short forms. Pure: it reads files and knows
//! no engine. What it does not implement it refuses by path and name.
//!
//! In order: [`read_sources`] and [`read_variables`] from disk (a rollback hands over recorded texts instead), then
//! [`load()`]: each file is parsed, interpolated, its `extends` worked out; the files are merged; the services are
//! resolved into the [`model`](Project); the whole is checked.

mod build;
mod canonical;
mod check;
mod env_file;
mod environment;
mod error;
mod extends;
mod interpolate;
mod limits;
mod load;
mod merge;
mod model;
mod mounts;
mod networks;
mod order;
mod ports;
mod project;
mod quantity;
mod reader;
mod scope;
mod service;
mod words;

pub(crate) use env_file::variables_in;
pub use env_file::{Variables, keys_of_env_file, read_variables, read_variables_below};
pub use error::{ComposeError, ComposeErrors};
pub use interpolate::interpolate_text;
pub use load::{LoadRequest, ReadFile, Source, is_project_name, load, read_sources};
pub use model::*;
pub use quantity::{QuantityError, parse_bytes, parse_duration};
