//! `rehearse`: tries the release's pending migrations on a copy of the data before they are applied to the data itself.
//! A backup is restored into a scratch PostgreSQL; a container of the new image, which has no other network than that
//! server's own, migrates there with the waiting times of production, has Django check what came of it, and takes the
//! migrations back again. How long it took, what was locked meanwhile and whether the way back is exact stands beside the
//! backup and in the release's record.
//!
//! The data that serve are asked which migrations stand, and nothing else. After a crash both containers are found by
//! their labels, and nothing of them was anything but a copy.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::application::{Application, NO_APPLICATION, Preparation, Prepared, plan_dependencies};
use super::backup::content::Contents;
use super::backup::scratch::{self, Restored, Scratch, alone};
use super::backup::sets::Sets;
use super::backup::{Manifest, file};
use super::migrate::talk::{Purpose, Talk, Told};
use super::migrate::{apply_all, asked, is_served, refused, require_success};
use super::one_off::{self, Command};
use super::{deploy, images};
use crate::clock::timestamp;
use crate::compose::{EnvironmentValue, NetworkMode, Service};
use crate::engine::ImageId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, RunState, Settings, Step, StepId, StepResult, Undone, View,
};
use crate::release::Migration;
use crate::release::rehearsal::{Rehearsal, WayBack};
use crate::stack::django;
use crate::stack::postgres::schema;

/// What a rehearsal came to, beside the backup.
const REHEARSAL: &str = "rehearsal.json";
/// Milliseconds for which nobody can use a table: from here on visitors notice.
const NOTICED: u64 = 1000;
/// How many of the schema's objects are named that are not as before.
const NAMED: usize = 20;

/// The step, on the backup of this id; else on the one of this run, or the newest.
#[derive(Debug, Clone, Default)]
pub struct Rehearse {
    preparation: Preparation,
    backup: Option<String>,
}

impl Rehearse {
    /// The step, on the backup of this id, or the newest.
    pub fn on(backup: Option<String>) -> Self {
        Self {
            backup,
            ..Self::default()
        }
    }

    /// The step, sharing what it needs with another.
    pub const fn sharing(preparation: Preparation) -> Self {
        Self {
            preparation,
            backup: None,
        }
    }
}

#[async_trait]
impl Step for Rehearse {
    fn id(&self) -> StepId {
        StepId::Rehearse
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let settings = view.settings;
        let Some(application) = Application::of(settings) else {
            return Ok(Vec::new());
        };
        let (_, database) = scratch::database(settings)?;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let mut changes = Vec::new();
        if !view.state.build_planned {
            images::require(view).await?;
            changes = plan_dependencies(view, &application.service.name).await?;
        }
        let found = images::find(view).await?;
        let image = found.images.get(&application.service.name);
        if let Some((manifest, done)) =
            image.and_then(|image| latest(&sets, &settings.backup_directory, &image.id))
        {
            changes.push(Change {
                kind: ChangeKind::Keep,
                target: "rehearsal".to_owned(),
                detail: format!("{}, on backup {}: {}", done.at, manifest.id, done.in_words()),
            });
        }
        changes.push(Change {
            kind: ChangeKind::Run,
            target: format!("scratch {}", database.name),
            detail: format!(
                "if migrations are pending, {} is restored into it, and they are tried there and taken back",
                match &self.backup {
                    Some(id) => format!("backup {id}"),
                    None => "the newest backup".to_owned(),
                }
            ),
        });
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let Some(application) = Application::of(context.settings) else {
            return Ok(Receipt::unchanged(NO_APPLICATION, Fact::Nothing));
        };
        scratch::database(context.settings)?;
        if !is_served(context, &application).await? {
            return Ok(Receipt::unchanged(
                "nothing serves yet: there is nothing to rehearse on",
                Fact::Nothing,
            ));
        }
        let prepared = self
            .preparation
            .prepared(context, StepId::Rehearse, &application)
            .await?;
        let words = django::judge_command(application.manage);
        let command = Command {
            name: "judge",
            words: &words,
        };
        let judged = asked(context, StepId::Rehearse, &application, prepared, command).await?;
        if judged.pending.is_empty() {
            return Ok(Receipt::unchanged(
                "no migration is pending",
                Fact::NothingPending(judged.applied),
            ));
        }
        if judged.breaks() && !context.settings.allow_incompatible {
            return Err(refused(&judged));
        }
        let settings = context.settings;
        let sets = Sets::read(&settings.backup_directory, &settings.project.name).await?;
        let asked = self.backup.as_deref().or(context.state.backup.as_deref());
        let manifest = scratch::with_a_dump(&sets, asked)?;
        if self.backup.is_none()
            && let Some(done) = done_before(context, &sets, manifest, prepared.image(), &judged.pending)
        {
            return Ok(Receipt::unchanged(
                format!("rehearsed before, at {}: {}", done.at, done.in_words()),
                Fact::Rehearsed(Box::new(done)),
            ));
        }
        let contents = Contents::of(settings, manifest)?;
        let staging = match settings.staging.as_deref() {
            Some(staging) => Some(on_staging(context, staging).await?),
            None => None,
        };
        let scratch = Scratch::start(context, StepId::Rehearse).await?;
        let rehearsed = rehearse(context, &application, prepared, &scratch, (manifest, &contents)).await;
        let removed = scratch.remove().await;
        let rehearsal = Rehearsal {
            staging,
            ..rehearsed?
        };
        removed?;
        warn_of_locks(context, &rehearsal);
        let folder = settings.backup_directory.join(&manifest.id);
        file::write_note(&folder.join(REHEARSAL), &rehearsal)
            .map_err(|error| super::backup::at("noting the rehearsal", error))?;
        Ok(Receipt::changed(
            format!(
                "on a copy restored from backup {}: {}",
                manifest.id,
                rehearsal.in_words()
            ),
            Fact::Rehearsed(Box::new(rehearsal)),
        ))
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let project = &context.settings.project.name;
        let mut removed = one_off::sweep(context.engine, project, context.run, false).await?;
        if let Some(staging) = &context.settings.staging {
            removed += one_off::sweep(context.engine, &staging.project.name, context.run, false).await?;
        }
        // What the application needed and did not find.
        match deploy::put_previous_back(context).await? {
            Undone::NothingToDo => {}
            reverted @ (Undone::Reverted { .. } | Undone::LeftInPlace { .. }) => return Ok(reverted),
        }
        Ok(match removed {
            0 => Undone::NothingToDo,
            _ => Undone::Reverted {
                message: "removed the scratch PostgreSQL, and what ran on it".to_owned(),
                restored_previous: false,
            },
        })
    }
}

async fn rehearse(
    context: Context<'_>,
    application: &Application<'_>,
    prepared: &Prepared,
    scratch: &Scratch<'_>,
    (manifest, contents): (&Manifest, &Contents),
) -> Result<Rehearsal, Failure> {
    let Restored { target, took, .. } = scratch
        .restore(StepId::Rehearse, manifest, contents)
        .await
        .map_err(|failure| failure.context(format!("backup {} was not restored", manifest.id)))?;
    let facts = target.facts().await?;
    let what = "reading the schema of the copy";
    let before = target.told(&schema::schema(&target.access), what).await?;
    let service = beside(application.service, scratch);
    let words = django::rehearse_command(application.manage);
    let command = Command {
        name: "rehearse",
        words: &words,
    };
    let mut talk = Talk::begin(context, StepId::Rehearse, Purpose::Rehearsing);
    let networks = deploy::infrastructure::NetworkIds::new();
    let image = prepared.image();
    let ended = one_off::run_heard(context, &service, image, &networks, command, &mut talk).await;
    let (standing, ended) = talk.before(ended)?;
    if talk.applying.is_none() {
        return Err(Failure::message(
            FailureKind::Configuration,
            format!(
                "in backup {} nothing is pending: it has these migrations",
                manifest.id
            ),
        )
        .hint("rehearse on an older one: viatique-deploy rehearse --backup <ID>"));
    }
    let pending = standing.pending.len();
    let failed = "the migrations fail on a copy of the data; the data themselves were not touched";
    let concluded = match ended {
        Ok(result) => result
            .require_success(failed)
            .map_err(|failure| failure.with_kind(FailureKind::Gate))
            .map(|_| ()),
        Err(failure) => Err(failure),
    };
    if let Some((task, _)) = talk.applying.take() {
        task.conclude(concluded, |()| {
            (StepResult::Succeeded, format!("{pending} applied, and looked at"))
        })?;
    }
    let after = target.told(&schema::schema(&target.access), what).await?;
    let Told {
        took: migrations,
        reversed,
        irreversible,
        not_reversed,
        ended: _,
    } = talk.told;
    let way_back = match (irreversible, not_reversed) {
        (Some(why), _) => WayBack::Irreversible { why },
        (None, Some(why)) => WayBack::Failed { why },
        (None, None) => {
            let standing_after = talk.last.and_then(Result::ok);
            let same = standing_after.is_some_and(|after| after.applied == standing.applied);
            let mut statements = schema::differences(&before, &after);
            if !same {
                statements.push("the list of applied migrations".to_owned());
            }
            if statements.is_empty() {
                WayBack::Exact {
                    milliseconds: reversed.iter().map(|one| one.milliseconds).sum(),
                }
            } else {
                statements.truncate(NAMED);
                WayBack::Differs { statements }
            }
        }
    };
    Ok(Rehearsal {
        at: timestamp(context.clock.now()),
        backup: manifest.id.clone(),
        image: image.clone(),
        server_version: facts.version,
        restored_in_milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        migrations,
        way_back,
        staging: None,
    })
}

/// Migrates the staging stack, which is a project of its own: what it needs is started, and runs on.
async fn on_staging(context: Context<'_>, staging: &Settings) -> Result<Vec<Migration>, Failure> {
    let name = &staging.project.name;
    let application = Application::require(staging)?;
    // Its services have images of their own.
    let state = RunState::default();
    let context = Context {
        settings: staging,
        state: &state,
        ..context
    };
    let preparation = Preparation::default();
    let prepared = preparation
        .prepared(context, StepId::Rehearse, &application)
        .await;
    let prepared = prepared.map_err(|failure| failure.context(format!("starting {name}")))?;
    let where_to = format!(" on {name}");
    let before = apply_all(
        context,
        StepId::Rehearse,
        &application,
        prepared,
        &where_to,
        |ended| {
            let failed = format!("the migrations fail on {name}; nothing else was touched");
            require_success(ended, &failed).map_err(|failure| failure.with_kind(FailureKind::Gate))
        },
    );
    Ok(before.await?.pending)
}

/// The application where it finds the scratch server under the name of the one that serves, and reaches nothing else:
/// it shares that server's network, which has no way out.
fn beside(service: &Service, scratch: &Scratch<'_>) -> Service {
    let mut beside = alone(service);
    beside.network_mode = Some(NetworkMode::Container(scratch.container.0.clone()));
    // Read by Celery itself, before any setting: a migration that sends a task sends it to nobody.
    let broker = EnvironmentValue::Plain("memory://".to_owned());
    beside.environment.insert("CELERY_BROKER_URL".to_owned(), broker);
    beside
}

/// Visitors wait as long as a table is locked.
fn warn_of_locks(context: Context<'_>, rehearsal: &Rehearsal) {
    for one in &rehearsal.migrations {
        for lock in one.locks.iter().filter(|lock| lock.milliseconds >= NOTICED) {
            let who = if lock.is_exclusive() {
                "nobody can use it"
            } else {
                "nobody can write to it"
            };
            let seconds = Duration::from_millis(lock.milliseconds).as_secs_f64();
            context.warn(
                format!(
                    "{} locks {} for about {seconds:.1} s, in which {who}",
                    one.migration, lock.table
                ),
                Some("migrate when few are there, or in smaller steps".to_owned()),
            );
        }
    }
}

/// A rehearsal that is as good as another one: of the same image and the same migrations, on a backup that is not old.
fn done_before(
    context: Context<'_>,
    sets: &Sets,
    newest: &Manifest,
    image: &ImageId,
    pending: &[Migration],
) -> Option<Rehearsal> {
    let folder = &context.settings.backup_directory;
    let (manifest, done) = latest(sets, folder, image)?;
    let same: Vec<&Migration> = done.migrations.iter().map(|one| &one.migration).collect();
    let server = newest
        .database
        .as_ref()
        .map(|facts| facts.server_version.as_str());
    let at = OffsetDateTime::parse(&done.at, &Rfc3339).ok()?;
    let is_young = context.clock.now() - at <= context.settings.config.backup.max_age.0;
    let is_of_this_server = server == Some(done.server_version.as_str());
    let is_same = same == pending.iter().collect::<Vec<_>>();
    (is_young && is_of_this_server && is_same && done.backup == manifest.id).then_some(done)
}

/// The last rehearsal of an image, with the backup that it was on.
fn latest<'a>(
    sets: &'a Sets,
    folder: &std::path::Path,
    image: &ImageId,
) -> Option<(&'a Manifest, Rehearsal)> {
    let noted = sets.backups.iter().filter_map(|manifest| {
        let content = std::fs::read(folder.join(&manifest.id).join(REHEARSAL)).ok()?;
        let noted: Rehearsal = serde_json::from_slice(&content).ok()?;
        (noted.image == *image).then_some((manifest, noted))
    });
    noted.max_by(|(_, one), (_, other)| one.at.cmp(&other.at))
}
