//! `rollback --reverse-migrations`: takes back exactly the migrations that stand beyond those of an earlier release, by the
//! code of the newer one, since the earlier does not know them. What stands afterwards is held against the earlier
//! release's record: `migrate app name` would leave the other branch of a merge, and report success.
//!
//! Columns and tables go with what is in them: what that is, is asked beforehand, and a backup is made before
//! this step. Each migration commits on its own, so that a crash leaves some of them; the same step again takes back the
//! rest.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::application::{Application, Preparation, Prepared, Readiness};
use super::migrate::judgement::{ask, unexpected};
use super::migrate::talk::{Purpose, Talk};
use super::migrate::{NOT_SAID, apply_all, require_success};
use super::one_off::{self, Command};
use crate::error::{Failure, FailureKind};
use crate::ledger::Releases;
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Reversal, ReversalOrder, RunState, Settings, Step, StepId,
    StepResult, Undone, View, WhenAnotherFails,
};
use crate::release::schema::since;
use crate::release::{Migration, MigrationRecord, Release, Tag};
use crate::stack::django::{self, Loses, MigrationAnswer};

/// The step.
#[derive(Debug)]
pub struct Reverse {
    preparation: Preparation,
    /// The release whose code knows every migration that stands.
    newer: Settings,
    /// What is to stand.
    kept: Vec<Migration>,
    /// What goes, by the releases' records.
    surplus: Vec<Migration>,
    order: ReversalOrder,
}

/// The release whose code knows every migration that stands.
#[derive(Debug, Clone, Copy)]
pub enum Newer<'a> {
    Recorded(&'a Release),
    /// Never recorded: of a run that failed.
    Tagged(&'a Tag),
}

impl Reverse {
    /// Takes back what was applied since `target`; `None` where no record tells of any and no release is named whose code
    /// would know. `settings_of` reads another release.
    ///
    /// # Errors
    /// A target of which it is not known which migrations stood then, and a release that cannot be read any more.
    pub fn to(
        releases: &Releases,
        target: &Release,
        reversal: &Reversal,
        settings_of: impl FnOnce(Newer<'_>) -> Result<Settings, Failure>,
    ) -> Result<Option<Self>, Failure> {
        // A rollback to it, or a deploy alone, says nothing of the migrations: they are as they were made to be by its run.
        let ran = |release: &&Release| release.tag == target.tag && release.migrations.is_some();
        let target = releases.all().iter().rfind(ran).unwrap_or(target);
        let later = || {
            releases
                .all()
                .iter()
                .filter(|release| release.sequence > target.sequence)
        };
        let surplus: Vec<Migration> = since(later())
            .applied
            .iter()
            .rev()
            .map(|(migration, _)| (*migration).clone())
            .collect();
        let adds = |release: &&Release| {
            let record = release.migrations.as_ref();
            record.is_some_and(|record| !record.added().is_empty())
        };
        let newer = match (&reversal.with, later().rfind(adds)) {
            (Some(tag), _) => Newer::Tagged(tag),
            (None, Some(release)) if !surplus.is_empty() => Newer::Recorded(release),
            (None, _) => return Ok(None),
        };
        let of_target = target.migrations.as_ref().map(|record| &record.after);
        let of_next = || {
            let next =
                later().find_map(|release| release.migrations.as_ref().filter(|_| !release.is_shortened()));
            next.map(|record| &record.before)
        };
        let kept = of_target.or_else(of_next).ok_or_else(|| {
            Failure::message(
                FailureKind::Configuration,
                format!(
                    "which migrations stood when {} served was not recorded, so they cannot be gone back to exactly",
                    target.tag
                ),
            )
            .hint("with its data: --restore-db")
        })?;
        Ok(Some(Self {
            preparation: Preparation::default(),
            newer: settings_of(newer)?,
            kept: kept.clone(),
            surplus,
            order: reversal.order,
        }))
    }

    /// The same run, as the newer release sees it.
    fn newer<'a>(&'a self, context: Context<'a>, state: &'a RunState) -> Context<'a> {
        Context {
            settings: &self.newer,
            state,
            ..context
        }
    }
}

/// What would be taken back, and what of the data would go with it. Asked in a container of the newer release, which
/// changes nothing and is removed.
///
/// # Errors
/// What cannot be taken back, and images or networks that are gone.
pub(crate) async fn loses(context: Context<'_>, reverse: &Reverse) -> Result<Loses, Failure> {
    let state = without_images(context.state);
    let context = reverse.newer(context, &state);
    let application = Application::require(&reverse.newer)?;
    let prepared = match Prepared::found(context.view(), &application).await? {
        Readiness::Ready(prepared) => prepared,
        Readiness::NotYet(why) => return Err(Failure::message(FailureKind::Configuration, why)),
    };
    let words = django::loses_command(application.manage, &reverse.kept);
    let command = Command {
        name: "loses",
        words: &words,
    };
    let what = "asking django what would go with the migrations";
    let answer = ask(context, &application, &prepared, command, what).await?;
    if let MigrationAnswer::Loses(loses) = answer {
        Ok(loses)
    } else if let MigrationAnswer::Irreversible(why) = answer {
        Err(irreversible(why))
    } else if let MigrationAnswer::Unknown(why) = answer {
        Err(Failure::message(FailureKind::Gate, why).hint("with the data: --restore-db"))
    } else {
        Err(unexpected(what, &answer))
    }
}

/// What the steps before have found are the images of the earlier release.
fn without_images(state: &RunState) -> RunState {
    RunState {
        images: BTreeMap::new(),
        ..state.clone()
    }
}

fn irreversible(why: Vec<String>) -> Failure {
    Failure::message(
        FailureKind::Gate,
        "the migrations cannot all be taken back; nothing was changed",
    )
    .evidence("what cannot be taken back", why)
    .hint("with the data of before: --restore-db")
    .hint("the code alone: without --reverse-migrations")
}

#[async_trait]
impl Step for Reverse {
    fn id(&self) -> StepId {
        StepId::Reverse
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        Ok(vec![Change {
            kind: ChangeKind::Run,
            target: "migrations".to_owned(),
            detail: format!(
                "what stands beyond those of {} is taken back, in a container of {}: {}",
                view.settings.tag,
                self.newer.tag,
                list(&self.surplus)
            ),
        }])
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let state = without_images(context.state);
        let context = self.newer(context, &state);
        let application = Application::require(&self.newer)?;
        let prepared = self
            .preparation
            .prepared(context, StepId::Reverse, &application)
            .await?;
        let words = django::reverse_command(application.manage, &self.kept);
        let command = Command {
            name: "reverse",
            words: &words,
        };
        let mut talk = Talk::begin(context, StepId::Reverse, Purpose::TakingBack(&self.surplus));
        let ended = prepared.run(context, &application, command, &mut talk).await;
        let (before, ended) = talk.before(ended)?;
        let ended = require_success(ended, "taking the migrations back has failed");
        let told = talk.told;
        let concluded = match (ended, told.irreversible, talk.last) {
            (Ok(_), Some(why), _) => Err(irreversible(why)),
            (Ok(_), None, Some(Ok(after))) => Ok(after),
            (Ok(_), None, Some(Err(why))) => Err(Failure::message(FailureKind::Failed, why)),
            (Ok(_), None, None) => Err(Failure::message(FailureKind::Failed, NOT_SAID)),
            (Err(failure), _, Some(Ok(after))) => Err(explained(failure, &before.applied, &after.applied)),
            (Err(failure), _, Some(Err(_)) | None) => Err(failure),
        };
        let after = match talk.applying {
            Some((task, _)) => task.conclude(concluded, |_| {
                (
                    StepResult::Succeeded,
                    format!("{} taken back", told.reversed.len()),
                )
            }),
            None => concluded,
        }?;
        self.exactly(&after.applied)?;
        let record = MigrationRecord {
            before: before.applied,
            after: after.applied,
            assessed: Vec::new(),
        };
        let removed: Vec<Migration> = record.removed().into_iter().cloned().collect();
        let fact = Fact::Migrations(record);
        Ok(if removed.is_empty() {
            Receipt::unchanged("no migration was to be taken back", fact)
        } else {
            Receipt::changed(format!("took back {}", list(&removed)), fact)
        })
    }

    /// Half of the migrations fit neither release.
    fn when_another_fails(&self) -> WhenAnotherFails {
        WhenAnotherFails::FinishesFirst
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        match self.order {
            ReversalOrder::CodeFirst => Ok(Undone::LeftInPlace {
                why: format!(
                    "the code that serves fits the schema with the migrations and without; to take back what stands: \
                     viatique-deploy rollback --to {} --reverse-migrations",
                    context.settings.tag
                ),
            }),
            ReversalOrder::SchemaFirst => self.apply_again(context).await,
        }
    }
}

impl Reverse {
    /// What stands is what stood then, no more and no less.
    fn exactly(&self, after: &[Migration]) -> Result<(), Failure> {
        let more = after.iter().filter(|one| !self.kept.contains(one));
        let fewer = self.kept.iter().filter(|one| !after.contains(one));
        let wrong: Vec<String> = more
            .map(|one| format!("{one} stands"))
            .chain(fewer.map(|one| format!("{one} does not stand")))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::message(
            FailureKind::Failed,
            "the migrations that stand are not those of the earlier release",
        )
        .evidence("migrations", wrong))
    }

    /// The newer code serves on, and needs its schema. What was in columns and tables that went is in the backup.
    async fn apply_again(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let backup = context.state.backup.clone();
        let state = without_images(context.state);
        let context = self.newer(context, &state);
        let application = Application::require(&self.newer)?;
        let prepared = self
            .preparation
            .prepared(context, StepId::Reverse, &application)
            .await?;
        let before = apply_all(
            context,
            StepId::Reverse,
            &application,
            prepared,
            " again",
            |ended| require_success(ended, "applying the migrations again has failed"),
        )
        .await?;
        if before.pending.is_empty() {
            return Ok(Undone::NothingToDo);
        }
        let data = backup.map_or_else(
            || "what was in their columns and tables is in the last backup".to_owned(),
            |id| format!("what was in their columns and tables is in backup {id}"),
        );
        context.warn(
            format!(
                "{} were taken back and applied again: {data}",
                list(&before.pending)
            ),
            Some("to have it back: viatique-deploy backup restore <ID>".to_owned()),
        );
        Ok(Undone::Reverted {
            message: format!("applied {} again", list(&before.pending)),
            restored_previous: true,
        })
    }
}

/// Each migration commits on its own, so after a failure some may stand.
fn explained(failure: Failure, before: &[Migration], after: &[Migration]) -> Failure {
    let gone: Vec<Migration> = before
        .iter()
        .filter(|one| !after.contains(one))
        .cloned()
        .collect();
    if gone.is_empty() {
        failure.hint("none of them was taken back")
    } else {
        failure.hint(format!("these were taken back: {}", list(&gone)))
    }
}

fn list(migrations: &[Migration]) -> String {
    let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
    names.join(", ")
}
