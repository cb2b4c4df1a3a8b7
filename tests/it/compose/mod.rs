//! Compose files: against Docker Compose's own reading, refusals word for word, env files, secrets, order.

mod broken;
mod env_file;
mod normalisation;
mod oracle;
mod project;
mod projection;
mod refusals;
pub(crate) mod support;
