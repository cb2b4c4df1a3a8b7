//! `backup`: makes one, lists them, shows one, reads one to its end, removes old ones. They stand in a folder of the
//! machine that made them; which one that is, is said.

use std::path::Path;

use time::OffsetDateTime;

use super::restore;
use super::session::Session;
use super::steps::{Asked, Chosen, steps};
use crate::cli::{BackupCommand, GlobalOptions};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::steps::backup::drill::Drilled;
use crate::steps::backup::sets::{Sets, completed};
use crate::steps::backup::{ARCHIVE, DUMP, DatabaseFacts, Manifest, MediaFacts, size};
use crate::ui::{self, OutputOptions};

/// Does what was asked.
///
/// # Errors
/// Whatever is wrong before the first step.
pub(super) async fn backup(
    global: &GlobalOptions,
    what: Option<BackupCommand>,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    match what {
        None | Some(BackupCommand::Create) => steps(global, Chosen::backup(), Asked::default(), output).await,
        Some(BackupCommand::Verify { id }) => {
            steps(global, Chosen::verify(id), Asked::default(), output).await
        }
        Some(BackupCommand::Drill { id }) => steps(global, Chosen::drill(id), Asked::default(), output).await,
        Some(BackupCommand::Copy) => steps(global, Chosen::copy(), Asked::default(), output).await,
        Some(BackupCommand::Prune) => steps(global, Chosen::prune(), Asked::default(), output).await,
        Some(BackupCommand::Restore(arguments)) => restore::restore(global, arguments, output).await,
        Some(BackupCommand::List) => list(global, output).await,
        Some(BackupCommand::Show { id }) => show(global, id.as_deref(), output).await,
    }
}

async fn list(global: &GlobalOptions, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let folder = session.backup_directory()?;
    let sets = Sets::read(&folder, session.project()).await?;
    let newest_first: Vec<&Manifest> = sets.backups.iter().rev().collect();
    let now = OffsetDateTime::now_utc();
    let json = serde_json::json!({
        "schema": 1,
        "project": session.project(),
        "directory": folder,
        "fresh": sets.newest().is_some_and(|newest| session.is_fresh(newest, now)),
        "backups": newest_first.iter().map(|backup| for_programs(&folder, backup)).collect::<Vec<_>>(),
    });
    let rows: Vec<Vec<String>> = newest_first
        .iter()
        .map(|backup| {
            let database = backup.file(DUMP);
            let media = match &backup.media {
                Some(media) => format!("{} in {} files", size(media.bytes), media.files),
                None => backup
                    .file(ARCHIVE)
                    .map_or_else(String::new, |file| size(file.bytes)),
            };
            vec![
                backup.id.clone(),
                backup.completed_at.clone(),
                backup.release.clone().unwrap_or_default(),
                backup.taken_before.clone(),
                database.map_or_else(String::new, |file| size(file.bytes)),
                media,
                size(backup.added()),
                drilled(&folder, backup).map_or_else(|| "-".to_owned(), |drilled| drilled.at),
            ]
        })
        .collect();
    let mut human = if rows.is_empty() {
        format!(
            "there is no backup of {} in {}\n",
            session.project(),
            folder.display()
        )
    } else {
        let headers = [
            "ID",
            "COMPLETED",
            "OF",
            "BEFORE",
            "DATABASE",
            "MEDIA",
            "TAKES",
            "DRILLED",
        ];
        ui::table(&headers, &rows, output.columns)
    };
    if let Some(newest) = sets.newest().filter(|newest| !session.is_fresh(newest, now)) {
        human.push_str(&format!(
            "\nthe newest is {} old, older than backup.max_age: viatique-deploy backup\n",
            age(newest, now).unwrap_or_else(|| "of unknown age".to_owned())
        ));
    }
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}

async fn show(global: &GlobalOptions, id: Option<&str>, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let folder = session.backup_directory()?;
    let sets = Sets::read(&folder, session.project()).await?;
    let backup = sets.named(id)?;
    let mut json = for_programs(&folder, backup);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("schema".to_owned(), 1.into());
        fields.insert(
            "directory".to_owned(),
            folder.join(&backup.id).display().to_string().into(),
        );
    }
    let mut human = format!(
        "{}: backup {}, completed {}, before {}\n",
        backup.project, backup.id, backup.completed_at, backup.taken_before
    );
    if let Some(age) = age(backup, OffsetDateTime::now_utc()) {
        human.push_str(&format!("age: {age}\n"));
    }
    human.push_str(&format!("where: {}\n", folder.join(&backup.id).display()));
    if let Some(drilled) = drilled(&folder, backup) {
        human.push_str(&format!(
            "drilled: {}, in {:.1} s: {}\n",
            drilled.at, drilled.seconds, drilled.found
        ));
        match drilled.missing_files {
            None => human.push_str("  whether every file that it names is there was not verified\n"),
            Some(0) => {}
            Some(missing) => human.push_str(&format!(
                "  {missing} files that the database names are missing\n"
            )),
        }
    }
    if !backup.encrypted_to.is_empty() {
        human.push_str(&format!("encrypted to: {}\n", backup.encrypted_to.join(", ")));
    }
    if let Some(DatabaseFacts {
        name,
        server_version,
        system,
        bytes,
        tables,
        rows,
    }) = &backup.database
    {
        human.push_str(&format!(
            "database: {name}, {} on a server of version {server_version}, system identifier {system}\n",
            size(*bytes)
        ));
        if let (Some(tables), Some(rows)) = (tables, rows) {
            human.push_str(&format!("  {rows} rows in {tables} tables\n"));
        }
    }
    if let Some(MediaFacts {
        volume,
        objects: _,
        files,
        bytes,
        added_objects,
        added_bytes,
        unstable,
    }) = &backup.media
    {
        human.push_str(&format!(
            "media: volume {volume}, {files} files, {}; {added_objects} contents, {}, were new\n",
            size(*bytes),
            size(*added_bytes)
        ));
        if *unstable > 0 {
            human.push_str(&format!(
                "  {unstable} files were being written all the while: what is saved of them may be no state they ever had\n"
            ));
        }
    }
    let rows: Vec<Vec<String>> = backup
        .files
        .iter()
        .map(|file| {
            vec![
                file.name.clone(),
                size(file.bytes),
                file.sha256.get(..12).unwrap_or_default().to_owned(),
                file.about.clone(),
            ]
        })
        .collect();
    human.push_str(&format!(
        "\n{}",
        ui::table(&["FILE", "SIZE", "SHA-256", "WHAT"], &rows, output.columns)
    ));
    ui::data(output, &human, &json);
    Ok(ExitCode::Done)
}

/// That it was restored once, and what came of it.
fn drilled(folder: &Path, backup: &Manifest) -> Option<Drilled> {
    Drilled::of(&folder.join(&backup.id))
}

fn for_programs(folder: &Path, backup: &Manifest) -> serde_json::Value {
    serde_json::json!({
        "drilled": drilled(folder, backup),
        "id": backup.id,
        "project": backup.project,
        "release": backup.release,
        "taken_before": backup.taken_before,
        "started_at": backup.started_at,
        "completed_at": backup.completed_at,
        "files": backup.files,
        "encrypted_to": backup.encrypted_to,
        "database": backup.database,
        "media": backup.media,
        "made": backup.made,
    })
}

/// How old it is, in words.
fn age(backup: &Manifest, now: OffsetDateTime) -> Option<String> {
    let age = now - completed(backup)?;
    Some(match (age.whole_days(), age.whole_hours()) {
        (days, _) if days >= 3 => format!("{days} days"),
        (_, hours) if hours >= 1 => format!("{hours} h"),
        (_, _) => format!("{} min", age.whole_minutes()),
    })
}

/// How fresh the newest backup of this machine is.
pub(super) struct Freshness {
    /// Its id.
    pub newest: Option<String>,
    /// Younger than `backup.max_age`.
    pub fresh: bool,
    /// In words.
    pub sentence: String,
}

impl Freshness {
    /// `None` where `deploy.yml` has nothing backed up.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) async fn of(session: &Session) -> Result<Option<Self>, Failure> {
        let backup = &session.config.backup;
        if backup.database.is_none() && backup.media.is_none() {
            return Ok(None);
        }
        let folder = session.backup_directory()?;
        let sets = Sets::read(&folder, session.project()).await?;
        let now = OffsetDateTime::now_utc();
        Ok(Some(match sets.newest() {
            None => Self {
                newest: None,
                fresh: false,
                sentence: format!("none in {}", folder.display()),
            },
            Some(newest) => {
                let fresh = session.is_fresh(newest, now);
                let age =
                    age(newest, now).map_or_else(|| "of unknown age".to_owned(), |age| format!("{age} old"));
                let too_old = if fresh {
                    ""
                } else {
                    ", which is too old (backup.max_age)"
                };
                Self {
                    newest: Some(newest.id.clone()),
                    fresh,
                    sentence: format!("the newest is {}, {age}{too_old}", newest.id),
                }
            }
        }))
    }
}

impl Session {
    /// Whether a backup is younger than `backup.max_age`, by what it says itself. One from the future is not.
    fn is_fresh(&self, backup: &Manifest, now: OffsetDateTime) -> bool {
        let age = completed(backup).map(|at| now - at);
        age.and_then(|age| std::time::Duration::try_from(age).ok())
            .is_some_and(|age| age <= self.config.backup.max_age.0)
    }
}
