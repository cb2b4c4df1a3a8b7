//! What happened, in words that every kind of notice is made of. Says nothing of how it is sent.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Mask;
use crate::config::{Moment, Placeholder};
use crate::ui::printable_line;

/// So many lines of evidence are told, the last ones: a server writes some more after the line that says why it ended.
pub const EVIDENCE: usize = 24;
/// So many warnings, the last ones.
const WARNINGS: usize = 10;
/// So many lines of what changes, and of what to do.
const CHANGES: usize = 24;
const NEXT: usize = 4;
/// So many characters of a line.
const COLUMNS: usize = 300;

/// What happened to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Started,
    Succeeded,
    /// The release serves, but something after its last step went wrong: it could not be cleared up, or the lock stands.
    Degraded,
    /// Production is as it was.
    Failed,
    /// Stopped by the operator; production is as it was.
    Interrupted,
    RolledBack,
    /// A person is needed.
    Stuck,
}

impl What {
    /// Who is told: whoever has asked for one of these.
    pub const fn moments(self) -> &'static [Moment] {
        match self {
            Self::Started => &[Moment::Start],
            Self::Succeeded => &[Moment::Success],
            // Nobody who waits for the good end waits in vain.
            Self::Degraded => &[Moment::Success, Moment::Degraded],
            Self::Failed | Self::Interrupted => &[Moment::Failure],
            Self::RolledBack => &[Moment::RolledBack],
            // The worst end is told to whoever minds a lesser one.
            Self::Stuck => &[Moment::Degraded, Moment::Failure, Moment::RolledBack],
        }
    }

    /// For programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
        }
    }

    /// Whether the release serves that was to serve.
    pub const fn is_good(self) -> bool {
        match self {
            Self::Started | Self::Succeeded | Self::Degraded => true,
            Self::Failed | Self::Interrupted | Self::RolledBack | Self::Stuck => false,
        }
    }
}

/// A commit, as git names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub now: String,
    /// What served before.
    pub before: Option<String>,
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub what: What,
    /// Nothing has happened: somebody looks whether it arrives.
    pub is_test: bool,
    pub project: String,
    pub command: String,
    pub run: String,
    pub release: String,
    /// The release that served when the run began.
    pub before: Option<String>,
    /// The release that serves now.
    pub serves: Option<String>,
    /// Who, and from which machine: `user@host`.
    pub by: String,
    pub started: OffsetDateTime,
    pub elapsed: Duration,
    /// `None` while it runs.
    pub exit_code: Option<u8>,
    pub step: Option<String>,
    pub service: Option<String>,
    pub error: Option<String>,
    pub evidence: Vec<String>,
    pub warnings: Vec<String>,
    /// Each line with its heading.
    pub changes: Vec<(String, String)>,
    /// What to run, or to look at.
    pub next: Vec<String>,
    pub commit: Option<Commit>,
}

impl Notice {
    /// As it may leave this machine: short lines, no control characters, no known secret.
    #[must_use]
    pub fn told(mut self, mask: &Mask) -> Self {
        let line = |text: &str| cut(&mask.hide(&printable_line(text)), COLUMNS);
        let last = |lines: &[String], most: usize| -> Vec<String> {
            let lines = lines.get(lines.len().saturating_sub(most)..).unwrap_or_default();
            let lines = lines.iter().map(|text| line(text));
            lines.filter(|line| !line.trim().is_empty()).collect()
        };
        self.evidence = last(&self.evidence, EVIDENCE);
        self.warnings = last(&self.warnings, WARNINGS);
        self.next.truncate(NEXT);
        self.next = last(&self.next, NEXT);
        let more = self.changes.len().saturating_sub(CHANGES);
        self.changes.truncate(CHANGES);
        for (_, change) in &mut self.changes {
            *change = line(change);
        }
        if more > 0 {
            self.changes
                .push(("and".to_owned(), format!("{more} lines more")));
        }
        for text in [
            &mut self.by,
            &mut self.release,
            &mut self.project,
            &mut self.command,
        ] {
            *text = line(text);
        }
        for text in [
            &mut self.before,
            &mut self.serves,
            &mut self.service,
            &mut self.error,
        ] {
            *text = text.as_deref().map(line);
        }
        self
    }

    /// One line: what happened to what.
    pub fn title(&self) -> String {
        let Self {
            project,
            command,
            release,
            ..
        } = self;
        if self.is_test {
            return format!("{project}: a test notice, nothing has happened");
        }
        let at = self
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(" at {step}"));
        let again = self
            .serves
            .as_ref()
            .map_or_else(String::new, |serves| format!(": {serves} serves again"));
        match self.what {
            What::Started => format!("{project}: {command} of {release} has begun"),
            What::Succeeded => format!("{project}: {release} serves"),
            What::Degraded => format!("{project}: {release} serves, but not all is well"),
            What::Failed => format!("{project}: {command} of {release} failed{at}"),
            What::Interrupted => format!("{project}: {command} of {release} was interrupted{at}"),
            What::RolledBack => format!("{project}: {release} failed{at} and was rolled back{again}"),
            What::Stuck => format!("{project}: {command} of {release} is stuck{at}, a person is needed"),
        }
    }

    /// What is known of it, each with its heading.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("release", self.release.clone())];
        let mut add = |heading, value: Option<&String>| {
            facts.extend(value.map(|value| (heading, value.clone())));
        };
        add("before", self.before.as_ref());
        let serves = match self.what {
            What::Started => None,
            What::Succeeded
            | What::Degraded
            | What::Failed
            | What::Interrupted
            | What::RolledBack
            | What::Stuck => self.serves.as_ref(),
        };
        add("serves now", serves);
        add("step", self.step.as_ref());
        add("service", self.service.as_ref());
        facts.push(("by", self.by.clone()));
        facts.push(("began", self.started_at()));
        if let Some(code) = self.exit_code {
            facts.push(("took", took(self.elapsed)));
            facts.push(("exit code", code.to_string()));
        }
        facts.push(("run", self.run.clone()));
        facts
    }

    /// Everything, as text of which no markup is made.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title(), String::new()];
        for (heading, value) in self.facts() {
            lines.push(format!("{heading}: {value}"));
        }
        let mut block = |heading: &str, those: Vec<String>| {
            if !those.is_empty() {
                lines.push(String::new());
                lines.push(format!("{heading}:"));
                lines.extend(those.into_iter().map(|line| format!("  {line}")));
            }
        };
        block("error", self.error.iter().cloned().collect());
        block("evidence", self.evidence.clone());
        block("warnings", self.warnings.clone());
        block("changes", self.change_lines());
        block("next", self.next.clone());
        lines.push(String::new());
        lines.join("\n")
    }

    /// `commits: 3 since v41`.
    pub fn change_lines(&self) -> Vec<String> {
        let lines = self.changes.iter();
        lines
            .map(|(heading, line)| format!("{heading}: {line}"))
            .collect()
    }

    /// RFC 3339, UTC, to the second.
    pub fn started_at(&self) -> String {
        let second = self.started.replace_nanosecond(0).unwrap_or(self.started);
        second.format(&Rfc3339).unwrap_or_default()
    }

    /// When it was over.
    pub fn ended(&self) -> OffsetDateTime {
        self.started + self.elapsed
    }

    /// What a template puts in this place; nothing where it is not known.
    pub fn fill(&self, place: Placeholder) -> String {
        let or_nothing = |text: &Option<String>| text.clone().unwrap_or_default();
        match place {
            Placeholder::Title => self.title(),
            Placeholder::Text => self.text(),
            Placeholder::Moment => if self.is_test { "test" } else { self.what.as_str() }.to_owned(),
            Placeholder::Project => self.project.clone(),
            Placeholder::Command => self.command.clone(),
            Placeholder::Run => self.run.clone(),
            Placeholder::Release => self.release.clone(),
            Placeholder::ReleaseBefore => or_nothing(&self.before),
            Placeholder::Serves => or_nothing(&self.serves),
            Placeholder::By => self.by.clone(),
            Placeholder::Started => self.started_at(),
            Placeholder::Seconds => self.elapsed.as_secs().to_string(),
            Placeholder::ExitCode => self.exit_code.map_or_else(String::new, |code| code.to_string()),
            Placeholder::Step => or_nothing(&self.step),
            Placeholder::Service => or_nothing(&self.service),
            Placeholder::Error => or_nothing(&self.error),
            Placeholder::Evidence => self.evidence.join("\n"),
            Placeholder::Warnings => self.warnings.join("\n"),
            Placeholder::Changes => self.change_lines().join("\n"),
            Placeholder::Next => self.next.join("\n"),
        }
    }
}

/// `1 min 12 s`.
fn took(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// At most so many characters, the last of which says that there were more.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}
