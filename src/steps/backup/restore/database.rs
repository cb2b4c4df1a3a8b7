//! The database's part of a restore: a new database beside the one that serves, filled from the dump, counted, and given
//! its name. Everything is found again by the mark that each such database carries as its comment.

use std::time::Duration;

use tokio::time::Instant;

use super::super::content::{Contents, Streamed, damaged};
use super::super::database::{self, DESCRIPTION, DUMP, ROLES, readable, said, the_right_one};
use super::super::description::describe;
use super::super::{Manifest, database_container, size};
use super::loss::{differences, migrations_differ, rows};
use crate::clock::timestamp;
use crate::config::DatabaseBackup;
use crate::engine::{Captured, Container, ContainerId, ExecSpec};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task, View};
use crate::release::RunId;
use crate::stack::postgres::beside::{self, Mark, Marked, State};
use crate::stack::postgres::description::{Description, Properties};
use crate::stack::postgres::roles;
use crate::stack::postgres::{DatabaseAccess, Facts};

/// Bytes of the dump that may wait for the server.
const AHEAD: usize = 1 << 20;
/// How many tables are named that are not as they should be.
const NAMED: usize = 20;

/// A server that is being restarted answers again within this time, or somebody must look at it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// How a restore was taken back, in words.
pub(super) enum TakenBack {
    /// What had served serves again.
    Swapped(String),
    /// What had never served is gone.
    Dropped(String),
}

/// The database that is to be as it was: a running server.
pub(in crate::steps) struct Target<'a> {
    context: Context<'a>,
    configured: &'a DatabaseBackup,
    container: Container,
    /// It is nobody's: whether it is the right server is not asked.
    is_scratch: bool,
    pub access: DatabaseAccess,
}

/// A restored database that does not serve yet.
pub(in crate::steps::backup) struct Incoming {
    pub name: String,
    /// The comment that it will have.
    pub comment: Option<String>,
    /// What was found in it, in words.
    pub counted: String,
}

impl<'a> Target<'a> {
    /// The container of the database.
    ///
    /// # Errors
    /// Where `deploy.yml` names none, or it does not run.
    pub(super) async fn require(view: View<'_>) -> Result<(&DatabaseBackup, Container), Failure> {
        let configured = view.settings.config.backup.database.as_ref().ok_or_else(|| {
            Failure::message(
                FailureKind::Configuration,
                "deploy.yml names no database: backup.database",
            )
        })?;
        let container = database_container(view.inspect, view, configured).await?;
        let container = container.ok_or_else(|| {
            Failure::message(
                FailureKind::Failed,
                format!("there is no container of {} to restore into", configured.service),
            )
            .hint("viatique-deploy deploy starts the stack")
        })?;
        Ok((configured, container))
    }

    /// # Errors
    /// As [`Target::require`].
    pub(super) async fn of(context: Context<'a>) -> Result<Self, Failure> {
        let (configured, container) = Self::require(context.view()).await?;
        Ok(Self {
            context,
            configured,
            container,
            is_scratch: false,
            access: database::access(context.settings, configured)?,
        })
    }

    /// The same, for the way back: a server that is just being restarted is waited for, since what stands there has to be
    /// known.
    ///
    /// # Errors
    /// One that does not answer within a minute.
    pub(super) async fn once_it_answers(context: Context<'a>) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            let asked = async {
                let target = Self::of(context).await?;
                target.marked().await?;
                Ok(target)
            };
            match asked.await {
                Ok(target) => return Ok(target),
                Err(failure) if began.elapsed() > ANSWERS_WITHIN => return Err(failure),
                Err(failure) => {
                    tracing::debug!(error = ?failure.error, "the database does not answer yet");
                    tokio::time::sleep(ASKED_EVERY).await;
                }
            }
        }
    }

    /// A server that was made to try something on it.
    pub(in crate::steps::backup) async fn scratch(
        context: Context<'a>,
        configured: &'a DatabaseBackup,
        container: &ContainerId,
    ) -> Result<Self, Failure> {
        let found = context.engine.container(&container.0).await?;
        Ok(Self {
            context,
            configured,
            container: found
                .ok_or_else(|| Failure::message(FailureKind::Failed, "the scratch PostgreSQL is gone"))?,
            is_scratch: true,
            access: database::access(context.settings, configured)?,
        })
    }

    /// The database that was set aside last.
    pub(super) async fn latest(&self) -> Result<Option<Marked>, Failure> {
        let marked = self.marked().await?.into_iter();
        let aside = marked.filter(|one| match one.mark.state {
            State::Incoming => false,
            State::Replaced | State::TakenBack => one.mark.of == self.access.name,
        });
        Ok(aside.max_by(|one, other| one.mark.at.cmp(&other.mark.at)))
    }

    /// What a program in its container writes.
    pub(in crate::steps) async fn told(&self, command: &ExecSpec, what: &str) -> Result<String, Failure> {
        said(self.context.engine, &self.container.id, command, what).await
    }

    /// What the database answers.
    pub(in crate::steps::backup) async fn ask(&self, sql: &str, what: &str) -> Result<String, Failure> {
        self.told(&self.access.ask(sql), what).await
    }

    /// What server it is.
    pub(in crate::steps) async fn facts(&self) -> Result<Facts, Failure> {
        database::facts(self.context, &self.container, &self.access).await
    }

    fn application(&self) -> String {
        format!("viatique-deploy restore {}", self.context.run)
    }

    /// What a database of the server holds.
    pub(super) async fn describe(&self, name: &str) -> Result<Description, Failure> {
        let access = DatabaseAccess {
            name: name.to_owned(),
            ..self.access.clone()
        };
        describe(
            self.context.engine,
            &self.container.id,
            &access,
            &self.application(),
        )
        .await
    }

    /// The databases of the server that carry a mark of the project.
    pub(super) async fn marked(&self) -> Result<Vec<Marked>, Failure> {
        let what = "asking which databases stand beside the one that serves";
        let printed = self.told(&beside::marked(&self.access), what).await?;
        let mut marked: Vec<Marked> = serde_json::from_str(printed.trim())
            .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what))?;
        marked.retain(|one| one.mark.project == self.context.settings.project.name);
        Ok(marked)
    }

    /// Restores a backup into a new database. Where that fails, nothing of it is left.
    pub(in crate::steps::backup) async fn fill(
        &self,
        manifest: &Manifest,
        contents: &Contents,
        task: &Task,
    ) -> Result<Incoming, Failure> {
        let facts = self.facts().await?;
        if !self.is_scratch {
            the_right_one(self.context, self.configured, &facts, Some(manifest))?;
        }
        new_enough(manifest, &facts)?;
        self.enough_room(manifest).await?;
        let saved = saved_description(manifest, contents).await?;
        task.progress("counting what is in the one that serves");
        let live = self.describe(&self.access.name).await?;
        if let Some(saved) = &saved {
            self.schema_fits(&live, saved, manifest)?;
        }
        // Settings and rights are the server's more than the data's; a new server has none of its own yet.
        let like = match &saved {
            Some(saved) => live.properties.completed_by(&saved.properties),
            None => live.properties,
        };
        self.ensure_roles(manifest, contents).await?;
        let name = beside::name_beside(&self.access.name, "restore", &self.context.run.0);
        let filled = self.fill_as(&name, &like, manifest, contents, task).await;
        let counted = match filled {
            Ok(()) => self.counted(&name, saved.as_ref()).await,
            Err(failure) => Err(failure),
        };
        match counted {
            Ok(counted) => Ok(Incoming {
                name,
                comment: like.comment,
                counted,
            }),
            Err(failure) => Err(match self.remove(&name).await {
                Ok(()) => failure,
                Err(second) => failure.hint(format!(
                    "the unfinished database {name} could not be dropped at once ({:#}); where it still stands, \
                     viatique-deploy backup prune drops it",
                    second.error
                )),
            }),
        }
    }

    async fn fill_as(
        &self,
        name: &str,
        like: &Properties,
        manifest: &Manifest,
        contents: &Contents,
        task: &Task,
    ) -> Result<(), Failure> {
        let Some(dump) = manifest.file(DUMP) else {
            return Err(Failure::message(FailureKind::Failed, "the backup has no dump"));
        };
        let mark = self.mark(State::Incoming, format!("backup {}", manifest.id), None);
        let making = beside::create(&self.access, name, like, &mark);
        self.told(&making, &format!("making database {name}")).await?;
        task.progress(format!("pg_restore fills {name}"));
        let (to, mut from) = tokio::io::duplex(AHEAD);
        let streaming = contents.stream(dump, to)?;
        let command = beside::fill(&self.access, name, &self.application());
        let filling = async {
            let mut output = Captured::default();
            let engine = self.context.engine;
            let exit = engine
                .exec(&self.container.id, &command, Some(&mut from), &mut output)
                .await;
            // Nothing waits any more for what nobody reads.
            drop(from);
            exit.map(|exit| (exit, output))
        };
        let (streamed, filled) = tokio::join!(streaming, filling);
        // A damaged dump is why pg_restore stumbles, and where it does not it is worse.
        if streamed? == Streamed::Damaged {
            return Err(damaged(&contents.path(dump)).hint("viatique-deploy backup list shows the others"));
        }
        let filled = filled.map_err(|error| Failure::from(error).context("restoring the dump"))?;
        readable(filled)?;
        for (what, order) in beside::dress(&self.access, name, like) {
            if let Err(failure) = self.told(&order, &format!("setting {what}")).await {
                let why = format!("{:#}", failure.error);
                self.context
                    .warn(format!("{what} of the database is not restored: {why}"), None);
            }
        }
        task.progress("having the planner learn what is in it");
        let what = format!("analyzing database {name}");
        self.told(&beside::analyze(&self.access, name), &what).await?;
        Ok(())
    }

    /// Every table has as many rows as were counted when it was dumped.
    async fn counted(&self, name: &str, saved: Option<&Description>) -> Result<String, Failure> {
        let found = self.describe(name).await?;
        let all: u64 = found.tables.iter().map(|table| table.rows).sum();
        let Some(saved) = saved else {
            return Ok(format!("{all} rows in {} tables", found.tables.len()));
        };
        let mut wrong: Vec<String> = differences(saved, &found)
            .iter()
            .map(|table| {
                (
                    table.name().to_owned(),
                    rows(table.now.as_ref()),
                    rows(table.then.as_ref()),
                )
            })
            .filter(|(_, saved, restored)| saved != restored)
            .map(|(name, saved, restored)| format!("{name}: {restored} rows, {saved} were saved"))
            .collect();
        if wrong.is_empty() {
            return Ok(format!(
                "{all} rows in {} tables, as when it was saved",
                found.tables.len()
            ));
        }
        let count = wrong.len();
        wrong.truncate(NAMED);
        Err(Failure::message(
            FailureKind::Failed,
            format!("{count} tables of the restored database are not as they were saved"),
        )
        .evidence("tables", wrong))
    }

    /// The code that runs has to fit what is restored.
    fn schema_fits(
        &self,
        live: &Description,
        saved: &Description,
        manifest: &Manifest,
    ) -> Result<(), Failure> {
        if self.context.settings.allow_incompatible {
            return Ok(());
        }
        match migrations_differ(live, saved) {
            None => Ok(()),
            Some(differences) => Err(schema_differs(differences, manifest)),
        }
    }

    /// A dump of 2 GB needs 2 GB beside the 2 GB that serve. What cannot be found out is not held against it.
    async fn enough_room(&self, manifest: &Manifest) -> Result<(), Failure> {
        let Some(bytes) = manifest.database.as_ref().map(|facts| facts.bytes) else {
            return Ok(());
        };
        let what = "asking how much room the database server has";
        let folder = self.told(&beside::data_directory(&self.access), what).await?;
        let printed = match self.told(&beside::room(folder.trim()), what).await {
            Ok(printed) => printed,
            Err(failure) => {
                tracing::debug!(error = ?failure.error, "the room of the database server is not known");
                return Ok(());
            }
        };
        match beside::parse_room(&printed) {
            Some(free) if free < bytes + bytes / 10 => Err(Failure::message(
                FailureKind::Failed,
                format!(
                    "there is no room for a second database beside {}: it takes about {}, and {} are free in {} of {}",
                    self.access.name,
                    size(bytes),
                    size(free),
                    folder.trim(),
                    self.container.name
                ),
            )
            .hint("viatique-deploy backup prune drops databases that were replaced and are kept no longer")),
            Some(_) | None => Ok(()),
        }
    }

    /// Owners and rights in the dump name roles; those that the server has are left as they are.
    async fn ensure_roles(&self, manifest: &Manifest, contents: &Contents) -> Result<(), Failure> {
        let Some(file) = manifest.file(ROLES) else {
            return Ok(());
        };
        let what = "asking which roles the server has";
        let printed = self.told(&roles::names(&self.access), what).await?;
        let standing: Vec<String> = serde_json::from_str(printed.trim())
            .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what))?;
        let saved = contents.whole(file).await?;
        let missing = roles::missing(&String::from_utf8_lossy(&saved), &standing);
        if missing.names.is_empty() {
            return Ok(());
        }
        let what = format!("making the roles {}", missing.names.join(", "));
        // Their passwords are in it: not an argument, which other processes can read.
        let mut input = missing.sql.as_bytes();
        let mut output = Captured::default();
        let command = roles::make(&self.access);
        let engine = self.context.engine;
        let exit = engine
            .exec(&self.container.id, &command, Some(&mut input), &mut output)
            .await;
        let exit = exit.map_err(|error| Failure::from(error).context(what.clone()))?;
        if exit.success() {
            return Ok(());
        }
        Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: psql ended with exit code {}", exit.code),
        ))
    }

    fn mark(&self, state: State, by: String, comment: Option<String>) -> Mark {
        Mark {
            project: self.context.settings.project.name.clone(),
            run: self.context.run.0.clone(),
            of: self.access.name.clone(),
            state,
            at: timestamp(self.context.clock.now()),
            by,
            comment,
        }
    }

    /// Gives a database the name of the one that serves. That one's name from then on.
    pub(in crate::steps::backup) async fn swap(
        &self,
        incoming: &str,
        comment: Option<&str>,
        state: State,
        by: String,
    ) -> Result<String, Failure> {
        let live = &self.access.name;
        let word = match state {
            State::Replaced => "before",
            State::Incoming | State::TakenBack => "undone",
        };
        let aside = beside::name_beside(live, word, &self.context.run.0);
        let standing = self.describe_comment().await?;
        let mark = self.mark(state, by, standing);
        let swapping = beside::swap(&self.access, live, (incoming, comment), &aside, &mark);
        let what = format!("renaming {live} to {aside}, and {incoming} to {live}");
        let ending = beside::end_sessions(&self.access, live, incoming);
        let swapping = self.told(&swapping, &what);
        let ending = self.told(&ending, "ending the sessions that are in the way");
        let (swapped, ended) = tokio::join!(swapping, ending);
        let Err(failure) = swapped else {
            return Ok(aside);
        };
        // The reply may be what was lost.
        if self.marked().await?.iter().any(|one| one.name == aside) {
            return Ok(aside);
        }
        let failure = failure.hint(format!("nothing was renamed: {live} serves as before"));
        Err(match ended {
            Ok(_) => failure,
            Err(why) => failure.hint(format!("sessions could not be ended: {:#}", why.error)),
        })
    }

    /// The comment of the one that serves.
    async fn describe_comment(&self) -> Result<Option<String>, Failure> {
        let what = "asking for the comment of the database";
        let printed = self.told(&beside::comment(&self.access), what).await?;
        serde_json::from_str(printed.trim())
            .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what))
    }

    /// What one of these runs has swapped out in this state serves again, and what it had put in its place is kept as
    /// that. What it was filling is dropped.
    pub(super) async fn take_back(
        &self,
        runs: &[Option<&RunId>],
        state: State,
        becomes: State,
    ) -> Result<Option<TakenBack>, Failure> {
        let mut done = None;
        for one in self.marked().await? {
            let ours = runs.iter().flatten().any(|run| run.0 == one.mark.run);
            if !ours || one.mark.of != self.access.name {
                continue;
            }
            if one.mark.state == State::Incoming {
                self.remove(&one.name).await?;
                done.get_or_insert_with(|| {
                    TakenBack::Dropped(format!("dropped the unfinished {}", one.name))
                });
            } else if one.mark.state == state {
                let by = one.mark.by.clone();
                let aside = self
                    .swap(&one.name, one.mark.comment.as_deref(), becomes, by)
                    .await?;
                done = Some(TakenBack::Swapped(format!(
                    "database {} is the one from before again; the other is kept as {aside}",
                    self.access.name
                )));
            }
        }
        Ok(done)
    }

    /// Drops a database that does not serve.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let dropping = beside::drop_database(&self.access, name);
        self.told(&dropping, &format!("dropping database {name}")).await?;
        Ok(())
    }
}

/// What was told of the database when it was saved; an older backup has nothing of it.
pub(super) async fn saved_description(
    manifest: &Manifest,
    contents: &Contents,
) -> Result<Option<Description>, Failure> {
    let Some(file) = manifest.file(DESCRIPTION) else {
        return Ok(None);
    };
    let content = contents.whole(file).await?;
    serde_json::from_slice(&content).map(Some).map_err(|error| {
        Failure::from(anyhow::Error::new(error)).context(format!("reading {}", contents.path(file).display()))
    })
}

/// An older server does not understand a newer one's dump.
fn new_enough(manifest: &Manifest, facts: &Facts) -> Result<(), Failure> {
    let major = |version: &str| version.parse::<u32>().ok().map(|number| number / 10_000);
    let saved = manifest
        .database
        .as_ref()
        .map(|facts| facts.server_version.as_str());
    match (saved.and_then(major), major(&facts.version)) {
        (Some(saved), Some(now)) if now < saved => Err(Failure::message(
            FailureKind::Configuration,
            format!(
                "the backup is of a PostgreSQL {saved}, and the server is a {now}, which cannot read its dump"
            ),
        )
        .hint(format!("run PostgreSQL {saved} or newer"))),
        (_, _) => Ok(()),
    }
}

pub(super) fn schema_differs(differences: Vec<String>, manifest: &Manifest) -> Failure {
    let served = manifest.release.as_deref().unwrap_or("<TAG>");
    Failure::message(
        FailureKind::Gate,
        "the running release would fail on the restored database: other migrations stand in it",
    )
    .evidence("migrations", differences)
    .hint(format!(
        "with the release that it was taken of: viatique-deploy rollback --to {served} --restore-db"
    ))
    .hint("to restore all the same, and then run viatique-deploy migrate: --allow-breaking")
}
