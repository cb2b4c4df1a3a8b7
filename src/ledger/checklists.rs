//! The checklists of releases, each a file of its own beside the release's record. They are read only where one is asked
//! for: a checklist that is damaged, or of a newer version, must not keep anybody from going back.
//!
//! A checklist is written without the lock, by the run that has made the release when it is over, and by whoever answers a
//! line later. Each reads it right before and puts only its own answers in; of two at the very same moment the later one
//! stands, and a line that was lost by that is open again, never well.

use super::{File, Ledger, LedgerError, decode, file};
use crate::release::Sequence;
use crate::release::checklist::{CHECKLIST_FORMAT, Checklist};

/// Where they are.
pub(super) const FOLDER: &str = "checklists/";

/// As it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptChecklist {
    sequence: Sequence,
    content: Vec<u8>,
}

impl KeptChecklist {
    /// From a file of the folder; `None` for one that has been forgotten, or is none of ours.
    pub(super) fn of(name: &str, content: Vec<u8>) -> Option<Self> {
        let sequence = Sequence(name.strip_suffix(".json")?.parse().ok()?);
        (!content.is_empty()).then_some(Self { sequence, content })
    }

    /// Of which release.
    pub(super) const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Reads it.
    ///
    /// # Errors
    /// One that is damaged, or written by a newer version of the tool.
    pub fn read(&self) -> Result<Checklist, LedgerError> {
        decode(&checklist_file(self.sequence), &self.content, CHECKLIST_FORMAT)
    }
}

impl Ledger<'_> {
    /// Keeps a release's checklist, instead of what was kept of it before.
    ///
    /// # Errors
    /// The engine's.
    pub async fn keep_checklist(&self, checklist: &Checklist) -> Result<(), LedgerError> {
        self.write(&[file(checklist_file(checklist.sequence), checklist)?])
            .await
    }
}

/// What takes the place of one that is forgotten.
pub(super) fn forgotten_checklist(sequence: Sequence) -> File {
    (checklist_file(sequence), Vec::new())
}

/// What the file of a release's checklist is called.
fn checklist_file(sequence: Sequence) -> String {
    format!("{FOLDER}{:06}.json", sequence.0)
}
