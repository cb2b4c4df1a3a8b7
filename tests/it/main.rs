//! Everything that needs no Docker Engine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod accounts;
mod backup;
mod backup_retention;
mod bench;
mod build;
mod check;
mod check_backups;
mod checklist;
mod cli;
mod code;
mod compose;
mod config;
#[path = "../contract/mod.rs"]
mod contract;
mod copies;
mod deploy;
mod difference;
mod django_checks;
mod drill;
mod engine;
mod environment;
mod forgetting;
mod gate;
mod health;
mod hooks;
mod host;
mod incidents;
mod incompatible;
mod ledger;
mod lint;
mod lock;
mod logs;
mod maintenance;
mod migrate;
mod monitor;
mod notify;
mod pipeline;
mod rebuilt;
mod rehearse;
mod report;
mod restore;
mod resume;
mod retention;
mod reverse;
mod rollback;
mod scanners;
mod secrets;
mod site;
mod smoke;
mod support;
mod team;
mod tests_of_the_code;
mod ui;
mod waivers;
mod yaml;
