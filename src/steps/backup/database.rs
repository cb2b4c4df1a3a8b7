//! The database's part of a backup: a dump that is proven readable while it is written, and the server's roles. All of
//! it runs in the database's own container, so that the programs match the server.
//!
//! After a crash a dump may go on in the container until it has ended; nobody reads it.

use std::path::Path;

use tokio::io::DuplexStream;

use super::description::describe_while;
use super::encryption::Recipients;
use super::file::{HashedFile, Proven, room, write_whole};
use super::manifest::{BackupFile, DatabaseFacts, Manifest};
use super::{IS_THERE_ROOM, at, keep, size};
use crate::config::DatabaseBackup;
use crate::engine::{Captured, Container, ContainerId, Engine, EngineError, EngineErrorKind, ExecSpec, Exit};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Settings, Task};
use crate::release::RunId;
use crate::stack::postgres::description::Description;
use crate::stack::postgres::{self, DatabaseAccess};

/// The dump's file name.
pub(crate) const DUMP: &str = "database.dump";
/// The file name of the server's roles.
pub(super) const ROLES: &str = "roles.sql";
/// The file name of what the database is, beside its rows.
pub(super) const DESCRIPTION: &str = "database.json";
/// What may wait between the dump and its proof.
const AHEAD: usize = 1 << 20;

/// The database's files, and what is known of it.
pub(super) struct Dumped {
    pub files: Vec<BackupFile>,
    pub facts: DatabaseFacts,
}

/// The database of the container, by whom it is read.
///
/// # Errors
/// A service that the Compose files do not have.
pub(crate) fn access(settings: &Settings, configured: &DatabaseBackup) -> Result<DatabaseAccess, Failure> {
    let service = settings.project.services.get(&configured.service);
    let service = service.ok_or_else(|| {
        Failure::message(
            FailureKind::Configuration,
            format!("there is no service {}", configured.service),
        )
    })?;
    Ok(DatabaseAccess {
        user: configured.user_in(service),
        name: configured.name_in(service),
    })
}

/// Dumps it into the folder. `last` is the newest backup of the project: by it the room and the time are guessed.
pub(super) async fn dump(
    context: Context<'_>,
    configured: &DatabaseBackup,
    container: &Container,
    folder: &Path,
    last: Option<&Manifest>,
    task: &Task,
) -> Result<Dumped, Failure> {
    let access = access(context.settings, configured)?;
    let facts = facts(context, container, &access).await?;
    the_right_one(context, configured, &facts, last)?;
    let expected = expected(&facts, last);
    // Without a backup before it nothing tells how well it compresses: what is certain to be too little is refused.
    let needed = expected.map_or(facts.bytes / 20, |bytes| bytes + bytes / 2);
    enough_room(folder, needed, "a dump of the database")?;
    let dumping = async |snapshot: String| {
        dump_and_prove(context, container, (&access, &snapshot), folder, expected, task).await
    };
    let counting = counting(context.run);
    let described = describe_while(context.engine, &container.id, &access, &counting, dumping).await;
    let (description, dump) = match described {
        Ok(described) => described,
        Err(failure) => {
            end_dump(context, configured, container).await;
            return Err(failure);
        }
    };
    task.progress("saving the roles");
    let roles = roles(context, container, &access, folder).await?;
    let about = format!(
        "pg_dump -Fc of {} at server version {}",
        access.name, facts.version
    );
    let rows = description.tables.iter().map(|table| table.rows).sum();
    Ok(Dumped {
        files: vec![
            BackupFile { about, ..dump },
            write_description(context, &description, folder).await?,
            roles,
        ],
        facts: DatabaseFacts {
            name: access.name,
            server_version: facts.version,
            system: facts.system,
            bytes: facts.bytes,
            tables: Some(description.tables.len() as u64),
            rows: Some(rows),
        },
    })
}

async fn write_description(
    context: Context<'_>,
    description: &Description,
    folder: &Path,
) -> Result<BackupFile, Failure> {
    let what = "saving what the database is";
    let content = serde_json::to_vec_pretty(description)
        .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what))?;
    let recipients = Recipients::of(&context.settings.config.backup);
    let written = write_whole(recipients.as_ref(), &folder.join(DESCRIPTION), &content).await;
    let file = keep(written.map_err(|error| at(what, error))?).await?;
    Ok(BackupFile {
        about: "settings, rights, migrations, and how many rows each table has".to_owned(),
        ..file
    })
}

/// Ends the dump of this run, where one goes on although nobody reads it. What cannot be ended ends by itself.
pub(super) async fn end_dump(context: Context<'_>, configured: &DatabaseBackup, container: &Container) {
    let Ok(access) = access(context.settings, configured) else {
        return;
    };
    let ending = postgres::end(&access, &[application(context), counting(context.run)]);
    let mut output = Captured::default();
    if let Err(error) = context
        .engine
        .exec(&container.id, &ending, None, &mut output)
        .await
    {
        tracing::debug!(%error, "the dump could not be ended");
    }
}

/// What the dump calls itself.
fn application(context: Context<'_>) -> String {
    format!("viatique-deploy backup {}", context.run)
}

/// What calls itself so that counts the rows meanwhile.
fn counting(run: &RunId) -> String {
    format!("viatique-deploy counts for backup {run}")
}

/// Is there room for so much where the backups are written?
pub(super) fn enough_room(folder: &Path, needed: u64, what: &str) -> Result<(), Failure> {
    let free = room(folder).map_err(|error| at("asking how much room there is for the backup", error))?;
    if free >= needed {
        return Ok(());
    }
    Err(Failure::message(
        FailureKind::Failed,
        format!(
            "there is no room for {what} in {}: it takes about {}, and {} are free",
            folder.display(),
            size(needed),
            size(free)
        ),
    )
    .hint("viatique-deploy backup prune removes what backup.keep does not keep; or choose another backup.directory"))
}

/// Bytes of the dump, by how well the last one was compressed.
fn expected(facts: &postgres::Facts, last: Option<&Manifest>) -> Option<u64> {
    let last = last?;
    let dump = u128::from(last.file(DUMP)?.bytes);
    let database = last.database.as_ref().map_or(facts.bytes, |facts| facts.bytes);
    u64::try_from(dump * u128::from(facts.bytes) / u128::from(database.max(1))).ok()
}

/// A dump of another database than the one that is meant would be no backup, and a restore into it a disaster.
pub(super) fn the_right_one(
    context: Context<'_>,
    configured: &DatabaseBackup,
    facts: &postgres::Facts,
    last: Option<&Manifest>,
) -> Result<(), Failure> {
    if let Some(pinned) = configured
        .system
        .as_ref()
        .filter(|pinned| **pinned != facts.system)
    {
        return Err(Failure::message(
            FailureKind::Configuration,
            format!(
                "this is another database server than the one that is meant: its system identifier is {}, and \
                 backup.database.system in deploy.yml says {pinned}",
                facts.system
            ),
        )
        .hint("is this the right engine? if the server was made anew on purpose, change backup.database.system"));
    }
    let before = last.and_then(|last| last.database.as_ref());
    if let Some(before) = before.filter(|before| before.system != facts.system)
        && configured.system.is_none()
    {
        context.warn(
            format!(
                "the database server is another one than that of the last backup (system identifier {}, before {})",
                facts.system, before.system
            ),
            Some("backup.database.system in deploy.yml has such a server refused".to_owned()),
        );
    }
    Ok(())
}

pub(super) async fn facts(
    context: Context<'_>,
    container: &Container,
    access: &DatabaseAccess,
) -> Result<postgres::Facts, Failure> {
    let what = format!("asking database {} what it is", access.name);
    let output = said(context.engine, &container.id, &postgres::facts(access), &what).await?;
    serde_json::from_str(output.trim())
        .map_err(|error| Failure::from(anyhow::Error::new(error)).context(what))
}

/// What a command of the database's container writes, which must end well.
pub(super) async fn said(
    engine: &dyn Engine,
    container: &ContainerId,
    command: &ExecSpec,
    what: &str,
) -> Result<String, Failure> {
    let mut output = Captured::default();
    let exit = engine.exec(container, command, None, &mut output).await;
    let exit = exit.map_err(|error| Failure::from(error).context(what.to_owned()))?;
    if exit.success() {
        return Ok(output.stdout_text());
    }
    let program = command.command.first().map_or("it", String::as_str);
    let why = format!("{what}: {program} ended with exit code {}", exit.code);
    Err(Failure::message(FailureKind::Failed, why).evidence(
        format!("what {program} wrote"),
        output.stderr_text().lines().map(ToOwned::to_owned).collect(),
    ))
}

async fn dump_and_prove(
    context: Context<'_>,
    container: &Container,
    (access, snapshot): (&DatabaseAccess, &str),
    folder: &Path,
    expected: Option<u64>,
    task: &Task,
) -> Result<BackupFile, Failure> {
    let what = format!("dumping database {} as {}", access.name, access.user);
    let path = folder.join(DUMP);
    let recipients = Recipients::of(&context.settings.config.backup);
    let (prover, to_prove) = tokio::io::duplex(AHEAD);
    let mut file = Proven {
        file: HashedFile::create_for(recipients.as_ref(), &path, Some(task), expected)
            .map_err(|error| at(&what, error))?,
        prover: Some(prover),
    };
    let command = postgres::dump(access, &application(context), snapshot);
    let dumping = async {
        let exit = context
            .engine
            .exec(&container.id, &command, None, &mut file)
            .await;
        // The end of what is to be proven.
        file.prover = None;
        exit
    };
    let proving = prove(context, &container.id, to_prove);
    let (dumped, proven) = tokio::join!(dumping, proving);
    let exit = dumped.map_err(|error| {
        let unwritten = error.kind == EngineErrorKind::Sink;
        let failure = Failure::from(error).context(what.clone());
        if unwritten {
            failure.hint(IS_THERE_ROOM)
        } else {
            failure
        }
    })?;
    if !exit.success() {
        return Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: pg_dump ended with exit code {}", exit.code),
        )
        .evidence("what pg_dump wrote", file.file.complaints()));
    }
    let proven = proven.map_err(|error| Failure::from(error).context("reading the dump back"))?;
    readable(proven)?;
    let written = file.file.finish().await.map_err(|error| at(&what, error))?;
    task.progress("reading it back from the disk");
    keep(written).await
}

/// Has `pg_restore` read an archive to its end; how it ended is for [`readable`].
pub(super) async fn prove(
    context: Context<'_>,
    container: &ContainerId,
    mut archive: DuplexStream,
) -> Result<(Exit, Captured), EngineError> {
    let mut output = Captured::default();
    let command = postgres::read_back();
    let exit = context
        .engine
        .exec(container, &command, Some(&mut archive), &mut output)
        .await;
    // Nothing waits any more for what nobody reads.
    drop(archive);
    Ok((exit?, output))
}

/// How `pg_restore` ended that read an archive to its end.
pub(super) fn readable((exit, output): (Exit, Captured)) -> Result<(), Failure> {
    if exit.success() {
        return Ok(());
    }
    Err(Failure::message(
        FailureKind::Failed,
        format!(
            "the dump cannot be read back: pg_restore ended with exit code {}",
            exit.code
        ),
    )
    .evidence(
        "what pg_restore wrote",
        output.stderr_text().lines().map(ToOwned::to_owned).collect(),
    ))
}

/// Roles, with their passwords where the dumping role may read them.
async fn roles(
    context: Context<'_>,
    container: &Container,
    access: &DatabaseAccess,
    folder: &Path,
) -> Result<BackupFile, Failure> {
    let what = "saving the roles of the database server";
    let ask = async |with_passwords| {
        let command = postgres::roles(access, with_passwords);
        said(context.engine, &container.id, &command, what).await
    };
    let (roles, about) = match ask(true).await {
        Ok(roles) => (roles, "roles of the server"),
        Err(refused) => {
            let roles = ask(false).await.map_err(|_| refused)?;
            context.warn(
                format!(
                    "{} may not read the passwords of the server's roles: they are saved without",
                    access.user
                ),
                None,
            );
            (roles, "roles of the server, without their passwords")
        }
    };
    if !postgres::is_complete(&roles) {
        return Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: what pg_dumpall wrote breaks off"),
        ));
    }
    let path = folder.join(ROLES);
    let written = write_whole(
        Recipients::of(&context.settings.config.backup).as_ref(),
        &path,
        roles.as_bytes(),
    )
    .await
    .map_err(|error| at(what, error))?;
    let file = keep(written).await?;
    Ok(BackupFile {
        about: about.to_owned(),
        ..file
    })
}
