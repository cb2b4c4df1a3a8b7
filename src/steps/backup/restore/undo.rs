//! `backup restore --undo`: the database that the last restore replaced serves again, and the media files that it set
//! aside are back. What had been restored is kept in their stead, so that the undo too can be undone.

use std::sync::OnceLock;

use async_trait::async_trait;

use super::database::Target;
use super::{media, reverted};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};
use crate::stack::postgres::beside::State;
use crate::steps::backup::media_volume;
use crate::steps::one_off;

/// The step.
#[derive(Debug, Clone, Default)]
pub struct UndoRestore {
    /// Since the swap.
    begun: OnceLock<()>,
}

#[async_trait]
impl Step for UndoRestore {
    fn id(&self) -> StepId {
        StepId::Restore
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        if let Some(database) = &view.settings.config.backup.database {
            Target::require(view).await?;
            changes.push(Change {
                kind: ChangeKind::ReplaceWithGap,
                target: format!("database of {}", database.service),
                detail: "the one that the last restore replaced; the one that serves is kept beside it"
                    .to_owned(),
            });
        }
        if let Some(volume) = media_volume(view) {
            changes.push(Change {
                kind: ChangeKind::Write,
                target: format!("volume {}", volume.name),
                detail: "what the last restore set aside; what gives way is set aside".to_owned(),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let mut done = Vec::new();
        let volume = media_volume(context.view());
        let mut last = None;
        let mut target = None;
        if context.settings.config.backup.database.is_some() {
            let found = Target::of(context).await?;
            last = found.latest().await?;
            target = Some(found);
        }
        if let Some(volume) = &volume {
            // Of the same restore where there was a database, too; else of the last one that there was.
            let asides = media::asides(context, volume).await?;
            let newest = asides.last().cloned();
            let from = match &last {
                Some(last) => asides.into_iter().find(|one| *one == last.mark.run),
                None => newest,
            };
            if let Some(from) = from {
                let task = context.task(
                    StepId::Restore,
                    "media",
                    format!("putting back in volume {}", volume.name),
                );
                let back = media::put_back(context, volume, &from, &context.run.0).await;
                let back = task.conclude(back, |back| {
                    (StepResult::Succeeded, back.clone().unwrap_or_default())
                })?;
                done.extend(back);
            }
        }
        if let (Some(target), Some(last)) = (&target, &last) {
            let title = format!("giving {} the name {}", last.name, target.access.name);
            let task = context.task(StepId::Restore, "swap", title);
            self.begun.get_or_init(|| ());
            let comment = last.mark.comment.as_deref();
            let swapped = target
                .swap(&last.name, comment, State::TakenBack, last.mark.by.clone())
                .await;
            let aside = task.conclude(swapped, |aside| {
                (StepResult::Succeeded, format!("the other is kept as {aside}"))
            })?;
            done.push(format!(
                "database {} is the one from before; the other is kept as {aside}",
                target.access.name
            ));
        }
        if done.is_empty() {
            return Err(Failure::message(
                FailureKind::Configuration,
                "there is no restore to take back: nothing is kept of one",
            ));
        }
        Ok(Receipt::changed(done.join("; "), Fact::Nothing))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        let database = match self.begun.get() {
            Some(()) => {
                let target = Target::once_it_answers(context).await?;
                let of = [Some(context.run)];
                target.take_back(&of, State::TakenBack, State::Replaced).await?
            }
            None => None,
        };
        let media = media::undo(context).await?;
        Ok(reverted(database, media))
    }
}
