//! What a scanner's report says, in the words common to all of them.

use crate::config::Severity;

/// How grave something is, as far as the tool knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::steps::check) enum Grave {
    Known(Severity),
    Unknown,
}

impl Grave {
    /// A word of the tool's: `HIGH`, `Moderate`, `NEGLIGIBLE`.
    pub(super) fn named(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "critical" => Self::Known(Severity::Critical),
            "high" => Self::Known(Severity::High),
            "medium" | "moderate" => Self::Known(Severity::Medium),
            "low" | "negligible" => Self::Known(Severity::Low),
            _ => Self::Unknown,
        }
    }

    /// A score of CVSS.
    pub(super) fn scored(score: &str) -> Self {
        match score.trim().parse::<f64>() {
            Ok(score) if score >= 9.0 => Self::Known(Severity::Critical),
            Ok(score) if score >= 7.0 => Self::Known(Severity::High),
            Ok(score) if score >= 4.0 => Self::Known(Severity::Medium),
            Ok(score) if score >= 0.0 => Self::Known(Severity::Low),
            Ok(_) | Err(_) => Self::Unknown,
        }
    }

    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Known(Severity::Low) => "low",
            Self::Known(Severity::Medium) => "medium",
            Self::Known(Severity::High) => "high",
            Self::Known(Severity::Critical) => "critical",
            Self::Unknown => "severity unknown",
        }
    }
}

/// One thing that a tool found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::steps::check) struct Finding {
    pub(super) key: String,
    pub(super) aliases: Vec<String>,
    pub(super) grave: Grave,
    pub(super) title: String,
    pub(super) place: Option<String>,
    pub(super) fixed_in: Option<String>,
    /// It is mended by an upgrade, and there is none where `fixed_in` is `None`.
    pub(super) waits_for_a_fix: bool,
    /// However grave: the tool is not sure.
    pub(super) only_warns: bool,
}

impl Finding {
    pub(super) fn new(key: impl Into<String>, grave: Grave, title: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            aliases: Vec::new(),
            grave,
            title: title.into(),
            place: None,
            fixed_in: None,
            waits_for_a_fix: false,
            only_warns: false,
        }
    }
}

/// What it could not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::steps::check) struct Unread {
    pub(super) key: String,
    pub(super) why: String,
}

/// What a tool says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::steps::check) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) unread: Vec<Unread>,
    /// What was accepted in the tool's own way.
    pub(super) accepted: usize,
    /// In a few words.
    pub(super) looked_at: String,
}

impl Report {
    /// Whether it gives no reason for a bad end.
    pub(super) const fn is_silent(&self) -> bool {
        self.findings.is_empty() && self.unread.is_empty() && self.accepted == 0
    }
}

/// The report as the types say.
pub(super) fn parsed<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it wrote no report".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| format!("it wrote no report that can be read: {error}"))
}

/// The first line, and not too much of it.
pub(super) fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("");
    let mut short: String = line.chars().take(120).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}
