//! Which checks are made: all that apply, or those that somebody named; and what was left out on whose word.

use super::lint;
use super::registry::{self, Check, Moment};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;
use crate::yaml::nearest;

/// Which of the checks that apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    #[default]
    All,
    /// These, and no others.
    Only(Vec<Named>),
    /// All but these, which is recorded.
    Without(Vec<Named>),
    /// Only what would make the rest fail: to finish a run that stopped half-way.
    Essentials,
}

/// The id of a check that there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Named(&'static Check);

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.id)
    }
}

impl Named {
    pub(super) const fn check(self) -> &'static Check {
        self.0
    }

    /// Of the check of this id.
    ///
    /// # Errors
    /// Where there is none; the nearest is named. `option` is what was typed or written.
    pub fn of(option: &str, id: &str) -> Result<Self, Failure> {
        registry::named(id).map(Self).ok_or_else(|| {
            let suggestion = nearest(id, registry::all().map(|check| check.id))
                .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            Failure::message(
                FailureKind::Configuration,
                format!("{option}: there is no check `{id}`{suggestion}"),
            )
            .hint("viatique-deploy check --list")
        })
    }
}

impl Selection {
    /// As `check` takes it: `--only`, or `--skip`.
    ///
    /// # Errors
    /// A check that there is not.
    pub fn of(only: &[String], skip: &[String]) -> Result<Self, Failure> {
        match only {
            [] => Self::without("--skip", skip),
            only => named("--only", only).map(Self::Only),
        }
    }

    /// All but these, which `option` names.
    ///
    /// # Errors
    /// A check that there is not.
    pub fn without(option: &str, skip: &[String]) -> Result<Self, Failure> {
        Ok(match skip {
            [] => Self::All,
            skip => Self::Without(named(option, skip)?),
        })
    }

    /// What is made at this moment, and what is left out because somebody said so.
    pub(crate) fn checks(
        &self,
        moment: Moment,
        settings: &Settings,
    ) -> (Vec<&'static Check>, Vec<&'static Check>) {
        let all = registry::all().filter(|check| check.is_made(moment, settings));
        let names = |named: &[Named], check: &Check| named.iter().any(|one| one.0 == check);
        match self {
            Self::All => (all.collect(), Vec::new()),
            // What is asked for by its name is looked at, and says itself why it cannot be.
            Self::Only(named) => (
                registry::all().filter(|check| names(named, check)).collect(),
                Vec::new(),
            ),
            Self::Without(named) => all.partition(|check| !names(named, check)),
            Self::Essentials => (all.filter(|check| is_essential(check)).collect(), Vec::new()),
        }
    }
}

fn named(option: &str, ids: &[String]) -> Result<Vec<Named>, Failure> {
    ids.iter().map(|id| Named::of(option, id)).collect()
}

fn is_essential(check: &Check) -> bool {
    super::host::CHECKS
        .iter()
        .chain(lint::CHECKS)
        .any(|essential| essential == check)
}
