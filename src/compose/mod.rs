//! Compose files -> [`Project`]: load, merge, interpolate, `env_file`, short forms. Pure: it reads files and knows
//! no engine. What it does not implement it refuses by path and name.

mod model;

pub use model::*;
