//! `backup prune`: removes the backups that are not kept, as a run does after another one succeeded.

use async_trait::async_trait;

use super::restore::kept;
use super::retention::{Going, going};
use super::size;
use crate::error::Failure;
use crate::ledger;
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, Undone, View};
use crate::release::RunId;

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prune;

#[async_trait]
impl Step for Prune {
    fn id(&self) -> StepId {
        StepId::Prune
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let going = chosen(view, None).await?;
        let folder = &view.settings.backup_directory;
        let remove = |id: &String, detail: String| Change {
            kind: ChangeKind::Remove,
            target: folder.join(id).display().to_string(),
            detail,
        };
        let backups = going.backups.iter().map(|backup| {
            let bytes = backup.files.iter().map(|file| file.bytes).sum();
            let what = format!("backup of {}, {}", backup.completed_at, size(bytes));
            remove(&backup.id, what)
        });
        let unfinished = going.unfinished.iter();
        let unfinished = unfinished.map(|id| remove(id, "what a run left unfinished".to_owned()));
        Ok(backups.chain(unfinished).collect())
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let going = chosen(context.view(), Some(context.run)).await?;
        let mut done = Vec::new();
        if !going.is_nothing() {
            let bytes = going.remove(context.settings).await?;
            done.push(going.removed(bytes));
        }
        done.extend(kept::drop_old(context, StepId::Prune).await?);
        if done.is_empty() {
            return Ok(Receipt::unchanged("every backup is kept", Fact::Nothing));
        }
        Ok(Receipt::changed(done.join("; "), Fact::Nothing))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::LeftInPlace {
            why: "what is removed stays removed".to_owned(),
        })
    }
}

async fn chosen(view: View<'_>, run: Option<&RunId>) -> Result<Going, Failure> {
    let memory = ledger::read(view.inspect, &view.settings.project.name).await;
    let memory = memory.map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    going(view.settings, run, &memory, &memory.releases).await
}
