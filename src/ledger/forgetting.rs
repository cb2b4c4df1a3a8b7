//! What the ledger forgets, so that it stays small enough to be read as a whole by every command: journals of runs long
//! past with their accounts, and how releases long past were made, with their checklists. That they were deployed, when
//! and by whom is never forgotten.
//!
//! After a crash some of it is forgotten and the rest is not; the next run forgets the rest.

use super::accounts::account_file;
use super::checklists::forgotten_checklist;
use super::{File, Ledger, LedgerError, Memory, PastRun, release_file, run_folder};
use crate::release::{Release, Sequence};

/// How many of the newest journals and of the newest whole records stay.
pub const REMEMBERED: usize = 50;
/// So many more may stand before any is forgotten: a call of the engine for many, not one in every run.
const SURPLUS: usize = 50;

impl Ledger<'_> {
    /// Forgets what is long past, if that is much by now. `memory` is what was read under the lock, `keep` how many
    /// releases keep their images: their records stay whole.
    ///
    /// # Errors
    /// The engine's.
    pub async fn forget(&self, memory: &Memory, keep: u32) -> Result<(), LedgerError> {
        let files = forgotten(memory, keep)?;
        if files.is_empty() {
            return Ok(());
        }
        self.write(&files).await
    }
}

/// What is to be written. The engine has no call that removes a file: an empty one takes the place of a journal's folder
/// and of all that is in it, and a short record that of a whole one.
fn forgotten(memory: &Memory, keep: u32) -> Result<Vec<File>, LedgerError> {
    let mut files = Vec::new();
    if memory.runs.len() > REMEMBERED + SURPLUS {
        // What tells whether something is unfinished: after it, nothing may have changed what serves for long.
        let decisive = memory.runs.iter().rposition(PastRun::changed_what_serves);
        let old = memory.runs.len() - REMEMBERED;
        let runs = memory.runs.iter().enumerate().take(old);
        let runs = runs.filter(|(index, _)| Some(*index) != decisive);
        files.extend(runs.map(|(_, run)| (run_folder(&run.header.run), Vec::new())));
    }
    if memory.accounts.len() > REMEMBERED + SURPLUS {
        let old = memory.accounts.len() - REMEMBERED;
        files.extend(
            memory
                .accounts
                .keys()
                .take(old)
                .map(|run| (account_file(run), Vec::new())),
        );
    }
    if memory.checklists.len() > REMEMBERED + SURPLUS {
        let old = memory.checklists.len() - REMEMBERED;
        let current = memory.releases.current().map(|release| release.sequence);
        let old = memory.checklists.keys().copied().take(old);
        files.extend(old.filter(|one| Some(*one) != current).map(forgotten_checklist));
    }
    let releases = &memory.releases;
    let whole: Vec<&Release> = releases.all().iter().filter(|one| !one.is_shortened()).collect();
    let stay = REMEMBERED.max(usize::try_from(keep).unwrap_or(usize::MAX));
    if whole.len() > stay.saturating_add(SURPLUS) {
        let kept: [Option<Sequence>; 2] =
            [releases.current(), releases.previous()].map(|release| Some(release?.sequence));
        let old = whole.iter().take(whole.len() - stay);
        for release in old.filter(|release| !kept.contains(&Some(release.sequence))) {
            files.push(release_file(&release.shortened())?);
        }
    }
    Ok(files)
}
