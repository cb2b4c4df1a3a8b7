//! `backup restore`: the database and the media as a backup has them. Nothing is overwritten: the dump goes into a new
//! database beside the one that serves, is counted there, and takes its name in one transaction; what had the name is
//! kept beside it for `backup.keep_replaced`. Media files that give way are set aside in their volume, and stay there.
//!
//! After a crash: a database that never served stands under a name of its own, marked by its comment, and goes at the
//! next prune; or the restored one serves already. Media files may be restored half: another restore does the rest.

pub(super) mod database;
pub mod kept;
pub mod loss;
mod media;
pub mod undo;

use std::sync::OnceLock;

use async_trait::async_trait;

use self::database::{Incoming, TakenBack, Target};
use super::content::Contents;
use super::database::DUMP;
use super::media_archive::ARCHIVE;
use super::media_list::MEDIA_LIST;
use super::sets::Sets;
use super::{Manifest, media_volume};
use crate::clock::timestamp;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Undone, View,
};
use crate::release::RunId;
use crate::stack::postgres::beside::State;
use crate::steps::one_off;

/// What of a backup is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parts {
    #[default]
    All,
    Database,
    Media,
}

impl Parts {
    const fn database(self) -> bool {
        match self {
            Self::All | Self::Database => true,
            Self::Media => false,
        }
    }

    const fn media(self) -> bool {
        match self {
            Self::All | Self::Media => true,
            Self::Database => false,
        }
    }
}

/// The step, for the backup of this id, or the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    pub id: Option<String>,
    pub parts: Parts,
    /// A release comes with it: half of both is nothing that could serve.
    pub with_code: bool,
    /// A run that stopped half-way, and may have done it.
    pub resumes: Option<RunId>,
    /// Since the first thing that would have to be taken back.
    begun: OnceLock<()>,
}

impl Restore {
    /// Of the backup of this id, or the newest.
    pub fn of(id: Option<String>, parts: Parts) -> Self {
        Self {
            id,
            parts,
            ..Self::default()
        }
    }

    /// The same, as the end of a run that stopped half-way.
    #[must_use]
    pub fn resuming(mut self, run: RunId) -> Self {
        self.resumes = Some(run);
        self
    }

    /// Of the backup of this id, for the release that it is of.
    pub fn with_its_code(id: String) -> Self {
        Self {
            id: Some(id),
            with_code: true,
            ..Self::default()
        }
    }

    /// Whether this part is asked for, stands in the backup, and has a place to go to.
    fn has_database(&self, manifest: &Manifest, settings: &Settings) -> bool {
        self.parts.database() && manifest.file(DUMP).is_some() && settings.config.backup.database.is_some()
    }

    /// Whether the run that stopped half-way had come to the swap.
    async fn is_done_by_then(&self, target: &Target<'_>) -> Result<bool, Failure> {
        let Some(run) = &self.resumes else {
            return Ok(false);
        };
        let marked = target.marked().await?;
        Ok(marked.iter().any(|one| {
            let mark = &one.mark;
            mark.run == run.0 && mark.state == State::Replaced && mark.of == target.access.name
        }))
    }

    fn has_media(&self, manifest: &Manifest, view: View<'_>) -> bool {
        let saved = manifest.file(MEDIA_LIST).or_else(|| manifest.file(ARCHIVE));
        self.parts.media() && saved.is_some() && media_volume(view).is_some()
    }
}

#[async_trait]
impl Step for Restore {
    fn id(&self) -> StepId {
        if self.with_code {
            StepId::RestoreWithCode
        } else {
            StepId::Restore
        }
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let settings = view.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let manifest = sets.named(self.id.as_deref())?;
        Contents::of(settings, manifest)?;
        let mut changes = Vec::new();
        let of = format!("as in backup {} of {}", manifest.id, manifest.completed_at);
        if self.has_database(manifest, settings)
            && let Some(database) = &settings.config.backup.database
        {
            Target::require(view).await?;
            changes.push(Change {
                kind: ChangeKind::ReplaceWithGap,
                target: format!("database of {}", database.service),
                detail: format!("{of}; the one that serves is kept beside it"),
            });
        }
        if self.has_media(manifest, view)
            && let Some(volume) = media_volume(view)
        {
            changes.push(Change {
                kind: ChangeKind::Write,
                target: format!("volume {}", volume.name),
                detail: format!("{of}; what gives way is set aside"),
            });
        }
        if changes.is_empty() {
            return Err(Failure::message(
                FailureKind::Configuration,
                format!("backup {} has nothing of what is to be restored", manifest.id),
            )
            .hint(format!("viatique-deploy backup show {}", manifest.id)));
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let settings = context.settings;
        let mut sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        // Of what is there now: not what the newest one was when it was asked for.
        sets.backups.retain(|backup| backup.id != context.run.0);
        let manifest = sets.named(self.id.as_deref())?;
        let contents = Contents::of(settings, manifest)?;
        let mut incoming = None;
        if self.has_database(manifest, settings) {
            let target = Target::of(context).await?;
            let title = format!(
                "restoring database {} beside the one that serves",
                target.access.name
            );
            let task = context.task(self.id(), "database", title);
            self.begun.get_or_init(|| ());
            if self.is_done_by_then(&target).await? {
                task.finish(StepResult::Unchanged, "the run that stopped has done so");
            } else {
                let filled = target.fill(manifest, &contents, &task).await;
                let filled = task.conclude(filled, |filled: &Incoming| {
                    (StepResult::Succeeded, filled.counted.clone())
                })?;
                incoming = Some((target, filled));
            }
        }
        let mut done = Vec::new();
        if self.has_media(manifest, context.view())
            && let Some(volume) = media_volume(context.view())
        {
            let task = context.task(
                StepId::Restore,
                "media",
                format!("restoring volume {}", volume.name),
            );
            let put = media::put(context, &volume, manifest, &contents, &task).await;
            done.push(task.conclude(put, |put| (StepResult::Succeeded, put.clone()))?);
        }
        // Last: rows never name a file that is not there yet.
        if let Some((target, incoming)) = incoming {
            let title = format!("giving it the name {}", target.access.name);
            let task = context.task(self.id(), "swap", title);
            let by = format!("backup {} of {}", manifest.id, manifest.completed_at);
            let swapped = target
                .swap(&incoming.name, incoming.comment.as_deref(), State::Replaced, by)
                .await;
            let aside = task.conclude(swapped, |aside| {
                (
                    StepResult::Succeeded,
                    format!("the one before is kept as {aside}"),
                )
            })?;
            let until = context.clock.now() + settings.config.backup.keep_replaced.0;
            done.insert(
                0,
                format!(
                    "database {} is as it was at {}; the one before is kept as {aside} until {}",
                    target.access.name,
                    manifest.started_at.as_ref().unwrap_or(&manifest.completed_at),
                    timestamp(until)
                ),
            );
        }
        Ok(Receipt::changed(done.join("; "), Fact::Nothing))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        let database = match self.begun.get() {
            Some(()) => {
                let target = Target::once_it_answers(context).await?;
                let of = [Some(context.run), self.resumes.as_ref()];
                target.take_back(&of, State::Replaced, State::TakenBack).await?
            }
            None => None,
        };
        let media = if self.parts.media() {
            media::undo(context).await?
        } else {
            None
        };
        Ok(reverted(database, media))
    }
}

/// Gives the database back the state of a backup, where other migrations stand now than then; what became of it, in
/// words. The one that was migrated is kept beside it.
///
/// # Errors
/// As a restore.
pub(crate) async fn as_it_was(
    context: Context<'_>,
    step: StepId,
    id: &str,
) -> Result<Option<String>, Failure> {
    let settings = context.settings;
    let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
    let manifest = sets.named(Some(id))?;
    let contents = Contents::of(settings, manifest)?;
    let target = Target::once_it_answers(context).await?;
    let Some(saved) = database::saved_description(manifest, &contents).await? else {
        return Ok(None);
    };
    let live = target.describe(&target.access.name).await?;
    if loss::migrations_differ(&live, &saved).is_none() {
        return Ok(None);
    }
    let title = format!("restoring database {} from backup {id}", target.access.name);
    let task = context.task(step, "restore", title);
    let restored = async {
        let incoming = target.fill(manifest, &contents, &task).await?;
        let comment = incoming.comment.as_deref();
        let by = format!("backup {} of {}", manifest.id, manifest.completed_at);
        let aside = target.swap(&incoming.name, comment, State::Replaced, by).await?;
        Ok((aside, incoming.counted))
    };
    let restored = restored.await;
    let (aside, _) = task.conclude(restored, |(_, counted)| (StepResult::Succeeded, counted.clone()))?;
    Ok(Some(format!(
        "database {} is as it was in backup {id}; the migrated one is kept as {aside}",
        target.access.name
    )))
}

/// Only a database that served, and does not any more, is something that stood before.
fn reverted(database: Option<TakenBack>, media: Option<String>) -> Undone {
    let restored_previous = matches!(database, Some(TakenBack::Swapped(_)));
    let database = database.map(|taken| match taken {
        TakenBack::Swapped(message) | TakenBack::Dropped(message) => message,
    });
    let back: Vec<String> = database.into_iter().chain(media).collect();
    if back.is_empty() {
        return Undone::NothingToDo;
    }
    Undone::Reverted {
        message: back.join("; "),
        restored_previous,
    }
}
