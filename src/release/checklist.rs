//! The post-deployment checklist of a release: a line for each thing that somebody must know to be well before they go
//! home, with who has answered it. Values only: what of a run answers a line is `checklist`'s business, who is asked the
//! rest is `commands`', where it is kept is the ledger's.
//!
//! No line can be well without somebody to answer for it: an [`Answer`] is what a step has shown, what a person has said,
//! or no answer at all.

use super::{RunId, Sequence, Tag};
use crate::pipeline::StepId;

/// The format of [`Checklist`] as it is kept. A newer one is refused, naming the tool's version that wrote it.
pub const CHECKLIST_FORMAT: u32 = 1;

/// Of one deployment of a release.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checklist {
    /// See [`CHECKLIST_FORMAT`].
    pub format: u32,
    /// The tool's version that wrote it last.
    pub written_by: String,
    pub project: String,
    /// The release's.
    pub sequence: Sequence,
    pub release: Tag,
    /// The last run that has shown anything for it.
    pub run: RunId,
    /// RFC 3339, UTC: when that run was over.
    pub at: String,
    /// In the order in which they are told.
    pub lines: Vec<ChecklistLine>,
}

/// The lines of the workflow, which a run answers as far as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkflowLine {
    Health,
    Logs,
    Smoke,
    Metrics,
    Backup,
    Notified,
}

impl WorkflowLine {
    /// In the order of the workflow.
    pub const ALL: [Self; 6] = [
        Self::Health,
        Self::Logs,
        Self::Smoke,
        Self::Metrics,
        Self::Backup,
        Self::Notified,
    ];

    /// Its id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Logs => "logs",
            Self::Smoke => "smoke",
            Self::Metrics => "metrics",
            Self::Backup => "backup",
            Self::Notified => "notified",
        }
    }

    /// What is to be well.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Health => "the site and its services answer that they are well",
            Self::Logs => "the logs have no critical errors",
            Self::Smoke => "what users do works",
            Self::Metrics => "processor, memory and requests are as usual",
            Self::Backup => "backups are made by themselves",
            Self::Notified => "the team knows that the release serves",
        }
    }

    /// The line of this id.
    pub fn called(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|line| line.id() == id)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChecklistLine {
    /// Stable, and typed by people: `logs`. A scenario's is `smoke: ` and its name.
    pub id: String,
    /// What is to be well.
    pub title: String,
    /// The id of the line that it is a part of.
    pub part_of: Option<String>,
    /// The step that looked at it.
    pub step: Option<StepId>,
    /// What the run saw of it, or why it saw nothing: kept beside what a person says.
    pub seen: String,
    pub answer: Answer,
}

/// Who answers for a line, and what they say.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Answer {
    /// What was seen shows it.
    Evidence { ok: bool },
    /// Somebody has looked.
    Person {
        ok: bool,
        /// `user@host`.
        who: String,
        /// RFC 3339, UTC.
        at: String,
    },
    /// Somebody has said beforehand that nobody is to be asked: `--assume-manual`. Not verified.
    Assumed { who: String, at: String },
    /// Nobody was there to ask, or they did not know. Not verified.
    Nobody,
}

/// What a line, or all of them, come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineVerdict {
    Ok,
    NotOk,
    /// Never counted as well.
    NotVerified,
}

impl LineVerdict {
    /// As programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "not_ok",
            Self::NotVerified => "not_verified",
        }
    }

    /// As people read it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotOk => "not OK",
            Self::NotVerified => "not verified",
        }
    }
}

impl Answer {
    /// What it comes to.
    pub const fn verdict(&self) -> LineVerdict {
        match self {
            Self::Evidence { ok: true } | Self::Person { ok: true, .. } => LineVerdict::Ok,
            Self::Evidence { ok: false } | Self::Person { ok: false, .. } => LineVerdict::NotOk,
            Self::Assumed { .. } | Self::Nobody => LineVerdict::NotVerified,
        }
    }

    /// Who that is, as people read it; nothing where nobody has answered.
    pub fn in_words(&self) -> String {
        match self {
            Self::Evidence { .. } => "seen".to_owned(),
            Self::Person { who, at, .. } => format!("{who}, {at}"),
            Self::Assumed { who, at } => format!("nobody was to be asked (--assume-manual, {who}, {at})"),
            Self::Nobody => "nobody has answered".to_owned(),
        }
    }
}

impl ChecklistLine {
    /// What it comes to.
    pub const fn verdict(&self) -> LineVerdict {
        self.answer.verdict()
    }

    /// Whether a person may still be asked.
    pub fn is_open(&self) -> bool {
        self.verdict() == LineVerdict::NotVerified
    }
}

impl Checklist {
    /// All lines together: one that is not well is worse than one that is not known.
    pub fn verdict(&self) -> LineVerdict {
        let has = |verdict| self.lines.iter().any(|line| line.verdict() == verdict);
        if has(LineVerdict::NotOk) {
            LineVerdict::NotOk
        } else if has(LineVerdict::NotVerified) {
            LineVerdict::NotVerified
        } else {
            LineVerdict::Ok
        }
    }

    /// The lines that come to this.
    pub fn that_are(&self, verdict: LineVerdict) -> impl Iterator<Item = &ChecklistLine> {
        self.lines.iter().filter(move |line| line.verdict() == verdict)
    }

    /// With what is known already of the same deployment: what was shown or said once stays until a run shows something
    /// else, and what a person has found not to be well until a person says otherwise.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        let mut parts = Vec::new();
        for line in &mut self.lines {
            let known = earlier.line(&line.id).filter(|known| !known.is_open());
            let is_refused =
                |known: &&ChecklistLine| matches!(known.answer, Answer::Person { ok: false, .. });
            if let Some(known) = known.filter(|known| line.is_open() || is_refused(known)) {
                let is_part = |one: &&ChecklistLine| one.part_of.as_ref() == Some(&known.id);
                parts.extend(earlier.lines.iter().filter(is_part).cloned());
                *line = ChecklistLine {
                    title: line.title.clone(),
                    ..known.clone()
                };
            }
        }
        for part in parts {
            let whole = self
                .lines
                .iter()
                .position(|line| Some(&line.id) == part.part_of.as_ref());
            if self.line(&part.id).is_none()
                && let Some(whole) = whole
            {
                let behind = self.lines.iter().skip(whole + 1);
                let parts = behind.take_while(|line| line.part_of.is_some()).count();
                self.lines.insert(whole + 1 + parts, part);
            }
        }
        self
    }

    /// Puts in what a person says of a line; `false` where there is no such line.
    pub fn answer(&mut self, id: &str, ok: bool, who: &str, at: &str) -> bool {
        let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else {
            return false;
        };
        line.answer = Answer::Person {
            ok,
            who: who.to_owned(),
            at: at.to_owned(),
        };
        true
    }

    /// Puts in that nobody is to be asked what is open.
    pub fn assume(&mut self, who: &str, at: &str) {
        for line in self.lines.iter_mut().filter(|line| line.is_open()) {
            line.answer = Answer::Assumed {
                who: who.to_owned(),
                at: at.to_owned(),
            };
        }
    }

    /// The line of this id.
    pub fn line(&self, id: &str) -> Option<&ChecklistLine> {
        self.lines.iter().find(|line| line.id == id)
    }

    /// `5 OK, 1 not OK (logs), 2 not verified (backup, notified)`.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        for verdict in [LineVerdict::Ok, LineVerdict::NotOk, LineVerdict::NotVerified] {
            let ids: Vec<&str> = self.that_are(verdict).map(|line| line.id.as_str()).collect();
            if ids.is_empty() {
                continue;
            }
            let which = match verdict {
                LineVerdict::Ok => String::new(),
                LineVerdict::NotOk | LineVerdict::NotVerified => format!(" ({})", ids.join(", ")),
            };
            words.push(format!("{} {}{which}", ids.len(), verdict.in_words()));
        }
        if words.is_empty() {
            "no lines".to_owned()
        } else {
            words.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, answer: Answer) -> ChecklistLine {
        ChecklistLine {
            id: id.to_owned(),
            title: id.to_owned(),
            part_of: id.split_once(": ").map(|(whole, _)| whole.to_owned()),
            step: None,
            seen: String::new(),
            answer,
        }
    }

    fn checklist(lines: Vec<ChecklistLine>) -> Checklist {
        Checklist {
            format: CHECKLIST_FORMAT,
            written_by: "0.1.0".to_owned(),
            project: "viatique".to_owned(),
            sequence: Sequence(3),
            release: Tag::new("v2").unwrap(),
            run: RunId("20260101T000000Z-000001".to_owned()),
            at: "2026-01-01T00:00:00Z".to_owned(),
            lines,
        }
    }

    const SHOWN: Answer = Answer::Evidence { ok: true };

    fn said(ok: bool) -> Answer {
        Answer::Person {
            ok,
            who: "lea@host".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn one_line_that_is_not_known_is_enough() {
        let of = |answers: &[Answer]| {
            let lines = answers.iter().cloned().map(|answer| line("a", answer));
            checklist(lines.collect()).verdict()
        };
        assert_eq!(of(&[SHOWN, said(true)]), LineVerdict::Ok);
        assert_eq!(of(&[SHOWN, Answer::Nobody]), LineVerdict::NotVerified);
        assert_eq!(of(&[Answer::Nobody, said(false)]), LineVerdict::NotOk);
        let mut assumed = checklist(vec![line("a", SHOWN), line("b", Answer::Nobody)]);
        assumed.assume("ci@runner", "2026-01-01T00:00:00Z");
        assert_eq!(assumed.verdict(), LineVerdict::NotVerified);
        assert_eq!(assumed.in_words(), "1 OK, 1 not verified (b)");
    }

    #[test]
    fn what_was_known_stays_until_a_run_shows_something_else() {
        let earlier = checklist(vec![
            line("logs", said(true)),
            line("smoke", SHOWN),
            line("smoke: a pupil", SHOWN),
            line("metrics", SHOWN),
            line("backup", Answer::Nobody),
            line("notified", said(false)),
        ]);
        let later = checklist(vec![
            line("logs", Answer::Nobody),
            line("smoke", Answer::Nobody),
            line("metrics", Answer::Evidence { ok: false }),
            line("backup", Answer::Nobody),
            line("notified", SHOWN),
            line("sheets", Answer::Nobody),
        ]);
        let both = later.after(&earlier);
        let ids: Vec<(&str, LineVerdict)> = both
            .lines
            .iter()
            .map(|line| (line.id.as_str(), line.verdict()))
            .collect();
        assert_eq!(
            ids,
            [
                ("logs", LineVerdict::Ok),
                ("smoke", LineVerdict::Ok),
                ("smoke: a pupil", LineVerdict::Ok),
                ("metrics", LineVerdict::NotOk),
                ("backup", LineVerdict::NotVerified),
                ("notified", LineVerdict::NotOk),
                ("sheets", LineVerdict::NotVerified),
            ]
        );
    }
}
