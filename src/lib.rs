//! Takes a Compose stack in production from one release to the next, and back, without losing a request or a row.
//!
//! # The way of a command
//!
//! `main` parses what was typed ([`cli`]) and hands it to [`commands`], which read the configuration ([`config`]) and
//! the Compose files ([`compose`]), connect to the engine, choose [`steps`] and drive them through the [`pipeline`]:
//! lock, journal, steps, record, lock back. Steps see the engine and the app through two ports, [`engine`] and [`app`],
//! and tell what happens as events, which [`ui`] shows.
//!
//! # Modules, in reading order
//!
//! 1. [`release`], [`compose`], [`config`]: what is deployed. They know no port.
//! 2. [`engine`], [`app`]: the ports. `engine::docker` alone names bollard, `app` alone names reqwest.
//! 3. [`pipeline`]: what a step is, how steps are sequenced, and the way back.
//! 4. [`stack`]: what is known of Django, Celery, PostgreSQL, nginx, sidecars and media. Commands, parsers, rules; no calls.
//! 5. [`steps`]: one for each subcommand; the rules of a deploy are in `steps::deploy`, how users are played in
//!    `steps::smoke`.
//! 6. [`account`], [`ledger`], [`lock`]: what a run came to, what the engine remembers, and one run at a time. What of it
//!    answers a release's checklist is in `commands::checklist`.
//! 7. [`notify`], [`report`]: who is told of a deploy, and what; all that is known of one, on a page.
//! 8. [`commands`], [`ui`], [`cli`], [`exit_code`]: the outside.
//!
//! # Invariants
//!
//! - A step plans against [`engine::Inspect`], which cannot change anything: `--dry-run` is safe by type.
//! - The journal entry of a step is durable before its effect. A step whose entry cannot be written does not start.
//! - Steps of one stage run side by side. The first failure stops the others at once, but never a migration half-way.
//! - Undo begins with the failed step and finds what to undo by label and name, not by memory.
//! - An old container of which two may stand runs on until the whole run has succeeded; one of which two must not stand
//!   is stopped once its successor has been made, and kept.
//! - A replica gets no call before it is proven, and none from the switch on: `steps::deploy::traffic`.
//! - Where scenarios come before the switch, nothing that serves is touched until a new container has passed them:
//!   `steps::deploy::before_switch`.
//! - Whatever is created carries the labels of its project and run ([`engine::labels`]).
//! - Nothing prints outside [`ui`]; a reporter cannot stop a run.
//! - A secret's value is held in [`secret::Secret`], which cannot be printed or serialised.

pub mod account;
pub mod app;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod compose;
pub mod config;
mod digest;
pub mod engine;
pub mod error;
pub mod exit_code;
mod git;
pub mod ledger;
pub mod lock;
pub mod notify;
pub mod pipeline;
pub mod release;
pub mod report;
pub mod secret;
pub mod stack;
pub mod steps;
pub mod storage;
mod tls;
pub mod ui;
pub mod yaml;
