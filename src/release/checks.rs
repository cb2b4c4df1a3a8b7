//! What the checks of a run came to, as events carry it and the release's record keeps it. How a check is made, and
//! whether what it found stops anything, is `steps::check`'s business.

use crate::pipeline::Evidence;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// It was looked at, and is well.
    Passed,
    /// It was looked at, and is not well.
    Failed,
    /// It could not be looked at: never counted as passed.
    NotVerified,
    /// It is not well, or not known, and somebody answers for that until a day: `checks.waivers`.
    Waived,
    /// It was not looked at, because somebody said so: `--skip`.
    Skipped,
}

impl CheckVerdict {
    /// As records and programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotVerified => "not_verified",
            Self::Waived => "waived",
            Self::Skipped => "skipped",
        }
    }

    /// As people read it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotVerified => "not verified",
            Self::Waived => "waived",
            Self::Skipped => "skipped",
        }
    }
}

/// Who answers for a problem that stops nothing, and until when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WaivedBy {
    pub owner: String,
    pub reason: String,
    /// The last day on which it holds: `2026-12-31`.
    pub until: String,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckedProblem {
    /// Names it within its check, for a waiver; empty where the check itself is meant.
    pub key: String,
    /// Whether it stops a deploy.
    pub blocks: bool,
    /// It could not be looked at.
    pub unverified: bool,
    /// The file and line, or the address, it is about.
    pub place: Option<String>,
    pub message: String,
    /// What to write or run.
    pub hints: Vec<String>,
    pub waived: Option<WaivedBy>,
    /// Lines that show it; not kept in a record.
    #[serde(skip)]
    pub evidence: Option<Evidence>,
}

impl CheckedProblem {
    /// With its place before it.
    pub fn in_words(&self) -> String {
        match &self.place {
            Some(place) => format!("{place}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// How one check went.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CheckOutcome {
    /// Its id.
    pub check: String,
    pub title: String,
    pub verdict: CheckVerdict,
    /// Whether it stops a deploy.
    pub blocks: bool,
    /// One line for people.
    pub line: String,
    pub problems: Vec<CheckedProblem>,
    pub seconds: f64,
}

/// Every check of a run that did not pass, and how many did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct ChecksRecord {
    pub passed: usize,
    pub others: Vec<CheckOutcome>,
}

impl ChecksRecord {
    /// Of these outcomes.
    pub fn of(outcomes: &[CheckOutcome]) -> Self {
        let (passed, others): (Vec<_>, Vec<_>) = outcomes
            .iter()
            .cloned()
            .partition(|one| one.verdict == CheckVerdict::Passed);
        Self {
            passed: passed.len(),
            others,
        }
    }

    /// Adds what was looked at later; a check that was looked at again counts as it went the last time.
    pub fn add(&mut self, later: &Self, looked_at_again: &[String]) {
        let again = |one: &CheckOutcome| looked_at_again.contains(&one.check);
        let before = self.others.len();
        self.others.retain(|one| !again(one));
        let not_passed_before = before - self.others.len();
        let passed_before = looked_at_again.len().saturating_sub(not_passed_before);
        self.passed = self.passed.saturating_sub(passed_before) + later.passed;
        self.others.extend(later.others.iter().cloned());
    }

    /// `38 passed, 2 waived (hsts, email)`.
    pub fn in_words(&self) -> String {
        let mut words = vec![format!("{} passed", self.passed)];
        for verdict in [
            CheckVerdict::Failed,
            CheckVerdict::NotVerified,
            CheckVerdict::Waived,
            CheckVerdict::Skipped,
        ] {
            let ids: Vec<&str> = self
                .others
                .iter()
                .filter(|one| one.verdict == verdict)
                .map(|one| one.check.as_str())
                .collect();
            if !ids.is_empty() {
                words.push(format!(
                    "{} {} ({})",
                    ids.len(),
                    verdict.in_words(),
                    ids.join(", ")
                ));
            }
        }
        words.join(", ")
    }
}
