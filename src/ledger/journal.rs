//! The journal of one run, written ahead: `Started` is durable before a step's effect. What announces nothing waits for
//! the next entry that does, which follows at once; after a crash in between, a step that was over counts as under way.
//! Every entry passes one transition table; an entry that does not fit is a bug and is refused, not written.

use std::collections::BTreeMap;

use super::{File, Ledger, LedgerError, decode, file, release_file, run_folder};
use crate::pipeline::{Outcome, Reversal, StepId};
use crate::release::{Release, RunId, Tag};

/// The on-disk format of [`RunHeader`] and [`Entry`].
pub const JOURNAL_FORMAT: u32 = 1;

/// What a run set out to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunHeader {
    /// See [`JOURNAL_FORMAT`].
    pub format: u32,
    /// The tool's version.
    pub written_by: String,
    pub run: RunId,
    /// From 1, in the order in which the lock was taken: a clock may be set back.
    #[serde(default)]
    pub number: u64,
    /// The subcommand.
    pub command: String,
    pub release: Option<Tag>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// `user@host`.
    pub started_by: String,
    pub steps: Vec<StepId>,
    /// Services that were to be replaced by name (`--replace`).
    #[serde(default)]
    pub replace: Vec<String>,
    /// `--allow-breaking`
    #[serde(default)]
    pub allow_incompatible: bool,
    /// `--maintenance`
    #[serde(default)]
    pub maintenance: bool,
    /// `--skip-smoke`
    #[serde(default)]
    pub skip_smoke: bool,
    /// `--restore-db`: the backup.
    #[serde(default)]
    pub restores: Option<String>,
    /// `--reverse-migrations`
    #[serde(default)]
    pub reverses: Option<Reversal>,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// See [`JOURNAL_FORMAT`].
    pub format: u32,
    /// From 1; one is left out where an entry could not be written.
    pub number: u32,
    /// RFC 3339, UTC.
    pub at: String,
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum EntryKind {
    Started {
        step: StepId,
    },
    Succeeded {
        step: StepId,
        message: String,
    },
    Failed {
        step: StepId,
        error: String,
    },
    UndoStarted {
        step: StepId,
    },
    Undone {
        step: StepId,
        message: String,
    },
    UndoFailed {
        step: StepId,
        error: String,
    },
    /// The run is over; nothing may follow.
    Finished {
        outcome: Outcome,
    },
}

/// Where one step stands, by its entries so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    NotStarted,
    Started,
    Succeeded,
    Failed,
    UndoStarted,
    Undone,
    UndoFailed,
}

/// An entry that cannot follow those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal: `{entry}` cannot follow `{state:?}`")]
pub struct IllegalTransition {
    pub state: StepState,
    pub entry: &'static str,
}

impl StepState {
    /// The one transition table of the journal. Undoing begins with the failed step itself, because a call can fail
    /// here and succeed on the engine; so `Started` and `Failed` may be undone as well as `Succeeded`.
    ///
    /// # Errors
    /// Where the entry cannot follow.
    pub fn next(self, entry: &EntryKind) -> Result<Self, IllegalTransition> {
        use StepState::{Failed, NotStarted, Started, Succeeded, UndoFailed, UndoStarted, Undone};
        let (may_follow, next, name): (&[Self], Self, &'static str) = match entry {
            EntryKind::Started { .. } => (&[NotStarted], Started, "started"),
            EntryKind::Succeeded { .. } => (&[Started], Succeeded, "succeeded"),
            EntryKind::Failed { .. } => (&[Started], Failed, "failed"),
            EntryKind::UndoStarted { .. } => (&[Started, Succeeded, Failed], UndoStarted, "undo_started"),
            EntryKind::Undone { .. } => (&[UndoStarted], Undone, "undone"),
            EntryKind::UndoFailed { .. } => (&[UndoStarted], UndoFailed, "undo_failed"),
            // About the run, not about a step.
            EntryKind::Finished { .. } => return Ok(self),
        };
        if may_follow.contains(&self) {
            Ok(next)
        } else {
            Err(IllegalTransition {
                state: self,
                entry: name,
            })
        }
    }
}

impl StepState {
    const fn is_under_way(self) -> bool {
        match self {
            Self::Started | Self::UndoStarted => true,
            Self::NotStarted | Self::Succeeded | Self::Failed | Self::Undone | Self::UndoFailed => false,
        }
    }
}

impl EntryKind {
    /// Where it leaves its step, whatever stood before; `Finished` is about the run.
    const fn leads_to(&self) -> Option<StepState> {
        match self {
            Self::Started { .. } => Some(StepState::Started),
            Self::Succeeded { .. } => Some(StepState::Succeeded),
            Self::Failed { .. } => Some(StepState::Failed),
            Self::UndoStarted { .. } => Some(StepState::UndoStarted),
            Self::Undone { .. } => Some(StepState::Undone),
            Self::UndoFailed { .. } => Some(StepState::UndoFailed),
            Self::Finished { .. } => None,
        }
    }

    /// The step it is about; `Finished` is about the run.
    pub const fn step(&self) -> Option<StepId> {
        match self {
            Self::Started { step }
            | Self::Succeeded { step, .. }
            | Self::Failed { step, .. }
            | Self::UndoStarted { step }
            | Self::Undone { step, .. }
            | Self::UndoFailed { step, .. } => Some(*step),
            Self::Finished { .. } => None,
        }
    }
}

/// The journal of the run under way.
pub struct Journal<'a> {
    ledger: &'a Ledger<'a>,
    run: RunId,
    /// Entries so far.
    count: u32,
    states: BTreeMap<StepId, StepState>,
    /// Not written yet.
    waiting: Vec<File>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(ledger: &'a Ledger<'a>, header: RunHeader) -> Result<Self, LedgerError> {
        Ok(Self {
            ledger,
            waiting: vec![file(header_file(&header.run), &header)?],
            run: header.run,
            count: 0,
            states: BTreeMap::new(),
        })
    }

    /// Writes one entry, after those that wait. Durable when this returns; if it fails, what it announces must not be
    /// done, and it is left out.
    ///
    /// # Errors
    /// An entry that cannot follow those before it, and the engine's errors.
    pub async fn write(&mut self, at: String, kind: EntryKind) -> Result<(), anyhow::Error> {
        let entry = self.entry(at, kind)?;
        self.write_waiting(Some(entry)).await?;
        Ok(())
    }

    /// Writes one entry with the next. For one after which nothing is done that has no entry of its own.
    ///
    /// # Errors
    /// An entry that cannot follow those before it.
    pub fn note(&mut self, at: String, kind: EntryKind) -> Result<(), anyhow::Error> {
        let entry = self.entry(at, kind)?;
        self.waiting.push(entry);
        Ok(())
    }

    /// Records the release that this run has made, and with it what waits. Durable when this returns.
    ///
    /// # Errors
    /// The engine's.
    pub async fn record(&mut self, release: &Release) -> Result<(), LedgerError> {
        self.write_waiting(Some(release_file(release)?)).await
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The engine's.
    pub async fn flush(&mut self) -> Result<(), LedgerError> {
        self.write_waiting(None).await
    }

    async fn write_waiting(&mut self, last: Option<File>) -> Result<(), LedgerError> {
        let waiting = self.waiting.len();
        self.waiting.extend(last);
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written = self.ledger.write(&self.waiting).await;
        self.waiting.truncate(if written.is_ok() { 0 } else { waiting });
        written
    }

    fn entry(&mut self, at: String, kind: EntryKind) -> Result<File, anyhow::Error> {
        if let Some(step) = kind.step() {
            let state = self.states.get(&step).copied().unwrap_or(StepState::NotStarted);
            self.states.insert(step, state.next(&kind)?);
        }
        self.count += 1;
        let entry = Entry {
            format: JOURNAL_FORMAT,
            number: self.count,
            at,
            kind,
        };
        let path = format!("{}/{:04}.json", run_folder(&self.run), entry.number);
        Ok(file(path, &entry)?)
    }
}

fn header_file(run: &RunId) -> String {
    format!("{}/0000.json", run_folder(run))
}

/// A run, by what its journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    pub header: RunHeader,
    /// `None` where it never said how it ended: it is under way, or its process was killed, its machine died, its way
    /// back failed.
    pub outcome: Option<Outcome>,
    /// RFC 3339, UTC: when it last wrote.
    pub last_at: String,
    /// Why it failed, in its own words.
    pub error: Option<String>,
    states: BTreeMap<StepId, StepState>,
    last: Option<(StepId, StepState)>,
}

/// A run that began to change what serves and never said how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRun {
    pub header: RunHeader,
    /// What its last entry was about, and how far that step was.
    pub last: Option<(StepId, StepState)>,
    /// The steps that were being done or undone when it stopped: several where they run side by side.
    pub under_way: Vec<StepId>,
}

impl PastRun {
    /// Reads a run's files; `None` where it never got as far as its header.
    pub(super) fn from_files(run: &str, files: Vec<(String, Vec<u8>)>) -> Result<Option<Self>, LedgerError> {
        let mut header: Option<RunHeader> = None;
        let mut outcome = None;
        let mut last = None;
        let mut last_at = None;
        let mut reason = None;
        let mut states: BTreeMap<StepId, StepState> = BTreeMap::new();
        let mut read = 0;
        let mut gaps = false;
        for (file, content) in files {
            let path = format!("runs/{run}/{file}");
            if file == "0000.json" {
                header = Some(decode::<RunHeader>(&path, &content, JOURNAL_FORMAT)?);
                continue;
            }
            let entry = decode::<Entry>(&path, &content, JOURNAL_FORMAT)?;
            // An entry that could not be written is missing, and its run went on to unwind: no table can be held
            // against what follows.
            gaps |= entry.number != read + 1;
            read = entry.number;
            last_at = Some(entry.at);
            match entry.kind.step().zip(entry.kind.leads_to()) {
                None => {
                    if let EntryKind::Finished { outcome: told } = entry.kind {
                        outcome = Some(told);
                    }
                }
                Some((step, told)) => {
                    let state = states.get(&step).copied().unwrap_or(StepState::NotStarted);
                    let next = match state.next(&entry.kind) {
                        Ok(next) => next,
                        Err(_) if gaps => told,
                        Err(error) => {
                            return Err(LedgerError::Damaged {
                                file: path,
                                message: error.to_string(),
                            });
                        }
                    };
                    states.insert(step, next);
                    last = Some((step, next));
                    if let EntryKind::Failed { error, .. } = entry.kind {
                        reason = reason.or(Some(error));
                    }
                }
            }
        }
        Ok(header.map(|header| Self {
            last_at: last_at.unwrap_or_else(|| header.started_at.clone()),
            header,
            outcome,
            error: reason,
            states,
            last,
        }))
    }

    /// Whether it began to change what serves, or what that stands on.
    pub fn changed_what_serves(&self) -> bool {
        self.states.keys().any(|step| step.changes_what_serves())
    }

    /// Itself, where somebody has to finish it.
    pub(super) fn unfinished(&self) -> Option<UnfinishedRun> {
        if self.outcome.is_some() || !self.changed_what_serves() {
            return None;
        }
        let under_way = self.states.iter().filter(|(_, state)| state.is_under_way());
        Some(UnfinishedRun {
            header: self.header.clone(),
            last: self.last,
            under_way: under_way.map(|(step, _)| *step).collect(),
        })
    }
}

impl UnfinishedRun {
    /// Where it stopped, for people: the steps under way, else the last that was.
    pub fn stopped_at(&self) -> String {
        let under_way: Vec<&str> = self.under_way.iter().map(|step| step.as_str()).collect();
        match (under_way.is_empty(), self.last) {
            (false, _) => under_way.join(" and "),
            (true, Some((step, _))) => step.as_str().to_owned(),
            (true, None) => "its start".to_owned(),
        }
    }
}
