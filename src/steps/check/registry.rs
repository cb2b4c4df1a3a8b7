//! Every check there is. Each room has the table of its own: an id, what it protects from, how it looks, and what to
//! do when it fails stand beside the code that looks. Here they are one list.

use std::fmt;

use futures_util::future::BoxFuture;

use super::shared::Shared;
use super::verdict::{Level, Verdict};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Settings, Task, View};

/// When checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// By `check`: all of them.
    Alone,
    /// At the beginning of a run, before anything is built.
    First,
    /// In a run, once everything is built and saved and before anything is changed that serves: what needs the new image,
    /// and what may be otherwise by now.
    Gate,
}

/// In which runs, beside `check` itself, a check is made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    First,
    Gate,
    /// At the beginning, and again before anything is changed: it goes stale.
    Both,
    /// As `deploy.yml` asks: at the gate where it needs the new image.
    Asked(fn(&Settings) -> Moment),
}

impl When {
    fn includes(self, moment: Moment, settings: &Settings) -> bool {
        match (self, moment) {
            (_, Moment::Alone)
            | (Self::First | Self::Both, Moment::First)
            | (Self::Gate | Self::Both, Moment::Gate) => true,
            (Self::Gate, Moment::First) | (Self::First, Moment::Gate) => false,
            (Self::Asked(asked), moment) => asked(settings) == moment,
        }
    }
}

/// What a check that only looks may use.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub view: View<'a>,
    pub moment: Moment,
}

/// What a check that asks may use: it starts processes, containers that are removed again, connections.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub context: Context<'a>,
    pub moment: Moment,
    pub task: &'a Task,
    /// What several checks ask once.
    pub shared: &'a Shared,
}

pub(crate) type Looking<'a> = BoxFuture<'a, Result<Verdict, Failure>>;

/// How a check looks.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    /// At what was read from files, and nothing else.
    Reads(fn(At<'_>) -> Verdict),
    /// At the engine, and at files.
    Looks(for<'a> fn(At<'a>) -> Looking<'a>),
    /// By asking: not in a dry run.
    Asks(for<'a> fn(Asking<'a>) -> Looking<'a>),
}

/// One check.
pub(crate) struct Check {
    /// Stable: waivers, `--only`, `--skip` and records name it.
    pub id: &'static str,
    /// What is true where it passes.
    pub title: &'static str,
    /// What happens without it.
    pub protects_from: &'static str,
    pub level: Level,
    /// What is looked at, and how.
    pub how: &'static str,
    /// What to do when it fails.
    pub remedy: &'static str,
    pub when: When,
    /// What a command that it stops fails as: it decides the exit code.
    pub refuses_as: FailureKind,
    /// Whether there is anything to look at, as `deploy.yml` and the Compose files stand.
    pub applies: fn(&Settings) -> bool,
    pub look: Look,
    /// How long it may take; `checks.timeout` where `None`.
    pub time_limit: Option<fn(&Settings) -> std::time::Duration>,
}

impl Check {
    /// Whether it is made at this moment.
    pub(crate) fn is_made(&self, moment: Moment, settings: &Settings) -> bool {
        self.when.includes(moment, settings) && (self.applies)(settings)
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Check {}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Of whatever project.
pub(crate) const fn always(_: &Settings) -> bool {
    true
}

/// Every check, in the order in which they are told.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    let rooms: [&'static [Check]; 11] = [
        super::host::CHECKS,
        super::environment::CHECKS,
        super::lint::CHECKS,
        super::django::CHECKS,
        super::migrations::CHECKS,
        super::backups::CHECKS,
        super::code::CHECKS,
        super::tests_of_the_code::CHECKS,
        super::scanners::CHECKS,
        super::team::CHECKS,
        super::site::CHECKS,
    ];
    rooms.into_iter().flatten()
}

/// The check of this id.
pub(crate) fn named(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_an_id_of_its_own_and_says_what_it_is_for() {
        let mut ids = BTreeSet::new();
        for check in all() {
            assert!(ids.insert(check.id), "{} stands twice", check.id);
            let is_plain = |character: char| {
                character.is_ascii_lowercase() || character == '-' || character.is_ascii_digit()
            };
            assert!(check.id.chars().all(is_plain), "{}", check.id);
            for text in [check.title, check.protects_from, check.how, check.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", check.id);
            }
        }
    }
}
