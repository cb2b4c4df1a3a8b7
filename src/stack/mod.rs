//! What we know of each technology of the stack: commands, scripts, parsers, rules. No calls to the engine: the
//! steps make them.

pub mod celery;
pub mod celery_beat;
pub mod data_store;
pub mod django;
pub mod http_inside;
pub mod logged_errors;
pub mod media;
pub mod nginx;
pub mod postgres;
pub mod program;
pub mod prometheus;
pub mod python;
pub mod redis;
pub mod repository;
pub mod shell;
pub mod sidecar;
