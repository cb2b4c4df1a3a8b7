//! Who is told of a deploy, and what: a [`Notice`] becomes what each service reads (one file for each kind), and
//! [`delivery`] tries until somebody has got it or its time is up. When a run tells something is `commands`' business.
//!
//! In reading order: [`notice`] (what happened), [`target`] (who is told, with the variables put in), [`observed`] (what of
//! a run's events a notice needs), the kinds, [`delivery`].
//!
//! Text that others wrote (log lines, subjects of commits) is made one line each, is cut, and has the secrets that are known
//! taken out, before any service's own markup is made of it: [`notice::Notice::told`].

mod chat;
pub mod delivery;
mod discord;
mod email;
mod grafana;
mod healthchecks;
mod mask;
mod mattermost;
pub mod notice;
pub mod observed;
mod prometheus;
mod sentry;
mod slack;
pub mod target;
mod teams;
mod webhook;

pub use mask::Mask;
pub use notice::{Notice, What};
pub use observed::Observed;
pub use target::Target;
