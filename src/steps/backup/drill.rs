//! `backup drill`: proves that a backup can be restored, by restoring it where it harms nobody (`scratch`). What comes of
//! it is counted, and then goes with its container. How long it took stands beside the backup.
//!
//! What a migration would do to it is tried by `rehearse`. After a crash: the container is found by its label, and its
//! volume goes with it.

mod files;

use std::path::Path;

use async_trait::async_trait;

use super::content::Contents;
use super::restore::database::Target;
use super::scratch::{self, Scratch};
use super::sets::Sets;
use super::{Manifest, file};
use crate::clock::timestamp;
use crate::error::Failure;
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};
use crate::steps::one_off;

/// What a drill came to, beside the backup.
pub(super) const DRILL: &str = "drill.json";
/// That a backup was restored once, as far as its database goes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Drilled {
    /// RFC 3339, UTC.
    pub at: String,
    /// What restoring and counting took.
    pub seconds: f64,
    /// What was found, in words.
    pub found: String,
    /// How many files the restored database names that are not in the backup; `None` where that was not looked at.
    pub missing_files: Option<u64>,
}

impl Drilled {
    /// Of the backup in this folder; `None` where it never was, or where that cannot be read.
    pub fn of(folder: &Path) -> Option<Self> {
        let content = std::fs::read(folder.join(DRILL)).ok()?;
        serde_json::from_slice(&content).ok()
    }
}

/// The step, for the backup of this id, or the newest.
#[derive(Debug, Clone, Default)]
pub struct Drill {
    pub id: Option<String>,
}

#[async_trait]
impl Step for Drill {
    fn id(&self) -> StepId {
        StepId::Drill
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let settings = view.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let manifest = scratch::with_a_dump(&sets, self.id.as_deref())?;
        Contents::of(settings, manifest)?;
        let (_, service) = scratch::database(settings)?;
        Ok(vec![Change {
            kind: ChangeKind::Run,
            target: format!("scratch {}", service.name),
            detail: format!("backup {} is restored into it, counted, and removed", manifest.id),
        }])
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let settings = context.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let manifest = scratch::with_a_dump(&sets, self.id.as_deref())?;
        let contents = Contents::of(settings, manifest)?;
        let scratch = Scratch::start(context, StepId::Drill).await?;
        let drilled = restore(context, &scratch, manifest, &contents).await;
        let removed = scratch.remove().await;
        let drilled =
            drilled.map_err(|failure| failure.context(format!("backup {} was not restored", manifest.id)))?;
        removed?;
        let folder = settings.backup_directory.join(&manifest.id);
        file::write_note(&folder.join(DRILL), &drilled)
            .map_err(|error| super::at("noting the drill", error))?;
        let files = match drilled.missing_files {
            None => "; whether every file that it names is there was not verified".to_owned(),
            Some(0) => "; every file that it names is there".to_owned(),
            Some(missing) => format!("; {missing} files that it names are missing"),
        };
        Ok(Receipt::changed(
            format!(
                "backup {} of {} can be restored, in {:.1} s: {}{files}",
                manifest.id, manifest.completed_at, drilled.seconds, drilled.found
            ),
            Fact::Nothing,
        ))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let project = &context.settings.project.name;
        Ok(
            match one_off::sweep(context.engine, project, context.run, false).await? {
                0 => Undone::NothingToDo,
                _ => Undone::Reverted {
                    message: "removed the scratch PostgreSQL".to_owned(),
                    restored_previous: false,
                },
            },
        )
    }
}

async fn restore(
    context: Context<'_>,
    scratch: &Scratch<'_>,
    manifest: &Manifest,
    contents: &Contents,
) -> Result<Drilled, Failure> {
    let restored = scratch.restore(StepId::Drill, manifest, contents).await?;
    Ok(Drilled {
        at: timestamp(context.clock.now()),
        seconds: restored.took.as_secs_f64(),
        found: restored.counted,
        missing_files: missing_files(context, &restored.target, manifest, contents).await,
    })
}

/// A row that names a file which is nowhere is no fault of the backup, and somebody should know.
async fn missing_files(
    context: Context<'_>,
    target: &Target<'_>,
    manifest: &Manifest,
    contents: &Contents,
) -> Option<u64> {
    let title = "looking for the files that the database names";
    let task = context.task(StepId::Drill, "files", title);
    let looked = files::referred(context, target, manifest, contents).await;
    let concluded = task.conclude(looked, |referred| match referred {
        None => (
            StepResult::NotRun,
            "not verified: there is no application to ask, or the backup has no list of media".to_owned(),
        ),
        Some(one) => (
            StepResult::Succeeded,
            format!("{} files are named, {} are missing", one.files, one.missing),
        ),
    });
    let referred = match concluded {
        Ok(referred) => referred?,
        Err(failure) => {
            let why = format!("{:#}", failure.error);
            context.warn(
                format!("whether every file that the database names is there was not verified: {why}"),
                None,
            );
            return None;
        }
    };
    if referred.missing > 0 {
        let all = referred.missing as usize == referred.named.len();
        let more = if all { "" } else { ", …" };
        context.warn(
            format!(
                "{} files that the database names are not in the backup: {}{more}",
                referred.missing,
                referred.named.join(", ")
            ),
            Some("are they in the volume, or in an older backup?".to_owned()),
        );
    }
    Some(referred.missing)
}
