//! `deploy.yml`: what it says, what is refused and where, and the example that shows every key.

mod example;
mod find;
mod read;
mod refusals;
mod validate;
