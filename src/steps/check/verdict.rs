//! What a check says of what it looked at: values, before any waiver is held against them. Says nothing of how it is
//! shown or what it stops.

use crate::error::Failure;
use crate::pipeline::Evidence;

/// How grave a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The deploy does not begin.
    Blocks,
    /// It is told, and stops nothing.
    Warns,
}

/// One thing that is not well, or could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Names it within its check, for a waiver (`B105:settings.py`); empty where the check itself is meant.
    pub key: String,
    /// Other names that a waiver may give it: the CVE of a PYSEC id.
    pub aliases: Vec<String>,
    /// Where it is graver, or less grave, than its check usually is.
    pub level: Option<Level>,
    /// It could not be looked at: never counted as passed.
    pub unverified: bool,
    /// The file and line, or the address, it is about.
    pub place: Option<String>,
    pub message: String,
    /// What to write or run; the check's own remedy where there is none.
    pub hints: Vec<String>,
    pub evidence: Option<Evidence>,
}

impl Problem {
    /// Something that is not well.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self {
            key: String::new(),
            aliases: Vec::new(),
            level: None,
            unverified: false,
            place: None,
            message: message.into(),
            hints: Vec::new(),
            evidence: None,
        }
    }

    /// Something that could not be looked at, and why.
    pub(crate) fn unverified(why: impl Into<String>) -> Self {
        Self {
            unverified: true,
            ..Self::wrong(why)
        }
    }

    /// What a failure says, as a problem.
    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            message: format!("{:#}", failure.error),
            hints: failure.hints,
            evidence: failure.evidence.into_iter().next(),
            ..Self::wrong("")
        }
    }

    /// What kept it from being looked at.
    pub(crate) fn unverified_for(failure: Failure) -> Self {
        Self {
            unverified: true,
            ..Self::of(failure)
        }
    }

    /// The same, under this name.
    #[must_use]
    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The same, about this file and line, or address.
    #[must_use]
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same, with what to write or run.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same, as grave as this.
    #[must_use]
    pub(crate) const fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// The same, with lines that show it; none is as good as no lines.
    #[must_use]
    pub(crate) fn evidence(mut self, title: impl Into<String>, lines: Vec<String>) -> Self {
        self.evidence = (!lines.is_empty()).then(|| Evidence {
            title: title.into(),
            lines,
        });
        self
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well; what was seen, in a line.
    Passed(String),
    /// Not empty.
    Found(Vec<Problem>),
    /// There is nothing yet that could be asked, and nothing that could be lost: before a first deploy, before the build.
    /// Not verified, and stops nothing.
    NotYet(String),
}

impl Verdict {
    /// Passed with this line, unless there is a problem.
    pub(crate) fn of(problems: Vec<Problem>, line: impl Into<String>) -> Self {
        if problems.is_empty() {
            Self::Passed(line.into())
        } else {
            Self::Found(problems)
        }
    }

    /// One problem.
    pub(crate) fn found(problem: Problem) -> Self {
        Self::Found(vec![problem])
    }

    /// It could not be looked at.
    pub(crate) fn not_verified(why: impl Into<String>) -> Self {
        Self::found(Problem::unverified(why))
    }
}
