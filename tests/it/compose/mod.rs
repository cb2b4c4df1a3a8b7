//! Compose files: against Docker Compose's own reading, refusals word for word, env files, secrets, order.

mod env_file;
mod oracle;
mod project;
mod projection;
mod refusals;
mod support;
