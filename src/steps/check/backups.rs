//! Whether what must not be lost is saved: by this tool, whose manifests are read, or by another one, whose repository is
//! asked. How old a backup is stands in its manifest; a file's date says nothing. Nothing is read back here: that is
//! `backup verify`'s, and was done when it was made.

use futures_util::FutureExt as _;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::registry::{Asking, At, Check, Look, Moment, When};
use super::verdict::{Level, Problem, Verdict};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;
use crate::steps::backup::repository;
use crate::steps::backup::sets::{Sets, completed};
use crate::steps::backup::{Manifest, size};
use crate::steps::deploy::standing;

/// A backup of less than this part of the one before has lost something, or saved something else.
const LEAST_PERCENT: u64 = 70;

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    Check {
        id: "backup-database",
        title: "the database has a verified backup that is fresh, and not suddenly small",
        protects_from: "a migration, or a way back, with nothing to restore from",
        level: Level::Blocks,
        how: "reads the newest manifest, which is written only once the dump was read back: its age against \
              backup.max_age, its size against the one before",
        remedy: "viatique-deploy backup",
        when: When::Gate,
        refuses_as: FailureKind::Gate,
        applies: |settings| settings.config.backup.database.is_some(),
        look: Look::Looks(|at| saved(at, Part::Database).boxed()),
        time_limit: None,
    },
    Check {
        id: "backup-media",
        title: "the media have a verified backup that is fresh, and not suddenly small",
        protects_from: "uploaded files that nobody can give back",
        level: Level::Blocks,
        how: "reads the newest manifest, which is written only once every file was read back",
        remedy: "viatique-deploy backup",
        when: When::Gate,
        refuses_as: FailureKind::Gate,
        applies: |settings| settings.config.backup.media.is_some(),
        look: Look::Looks(|at| saved(at, Part::Media).boxed()),
        time_limit: None,
    },
    Check {
        id: "backup-repository",
        title: "what another tool saves is fresh",
        protects_from: "a backup that stopped weeks ago, and nobody was told",
        level: Level::Blocks,
        how: "asks pgBackRest, WAL-G or restic in its container for its newest backup",
        remedy: "make a backup with it, and check again",
        when: When::Both,
        refuses_as: FailureKind::Gate,
        applies: |settings| settings.config.backup.repository.is_some(),
        look: Look::Asks(|asking| elsewhere(asking).boxed()),
        time_limit: None,
    },
];

#[derive(Clone, Copy)]
enum Part {
    Database,
    Media,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Database => "the database",
            Self::Media => "the media",
        }
    }

    /// Bytes of it in a backup; `None` where it is not in it.
    fn bytes(self, backup: &Manifest) -> Option<u64> {
        match self {
            Self::Database => backup
                .database
                .is_some()
                .then(|| backup.files.iter().map(|file| file.bytes).sum()),
            Self::Media => backup.media.as_ref().map(|media| media.bytes),
        }
    }
}

async fn saved(at: At<'_>, part: Part) -> Result<Verdict, Failure> {
    let settings = at.view.settings;
    let project = &settings.project.name;
    if standing(at.view.inspect, project).await?.is_empty() {
        return Ok(Verdict::NotYet(
            "nothing runs yet, so there is nothing to lose".to_owned(),
        ));
    }
    let sets = match Sets::read(&settings.backup_directory, project).await {
        Ok(sets) => sets,
        Err(failure) => {
            return Ok(Verdict::found(Problem::unverified_for(failure)));
        }
    };
    let of_it = sets.backups.iter().filter(|backup| part.bytes(backup).is_some());
    let of_it: Vec<&Manifest> = of_it.collect();
    let Some((newest, before)) = of_it.split_last() else {
        if let Some(one) = sets.unreadable.first() {
            return Ok(Verdict::not_verified(format!(
                "{} cannot be read: it is damaged, or of a newer version",
                one.display()
            )));
        }
        return Ok(none(at, part));
    };
    Ok(fresh(at, part, newest, before.last().copied()))
}

/// At the gate of a run the backup has been made, unless the site is closed first for the last word.
fn none(at: At<'_>, part: Part) -> Verdict {
    if at.moment == Moment::Gate && at.view.settings.maintenance {
        return Verdict::NotYet("it is made once the site is closed".to_owned());
    }
    Verdict::found(Problem::wrong(format!("there is no backup of {}", part.name())))
}

fn fresh(at: At<'_>, part: Part, newest: &Manifest, before: Option<&Manifest>) -> Verdict {
    let settings: &Settings = at.view.settings;
    let Some(completed) = completed(newest) else {
        return Verdict::not_verified(format!(
            "backup {} does not say when it was completed: `{}`",
            newest.id, newest.completed_at
        ));
    };
    let age = at.view.clock.now() - completed;
    let max_age = settings.config.backup.max_age.0;
    let closed_first = at.moment == Moment::Gate && settings.maintenance;
    if age.is_negative() {
        return Verdict::found(Problem::wrong(format!(
            "backup {} is from the future ({}): a clock is wrong, and nothing is known of its age",
            newest.id,
            said(completed)
        )));
    }
    if age > max_age && !closed_first {
        return Verdict::found(Problem::wrong(format!(
            "the newest backup of {} is {} old, and may be {} (backup.max_age)",
            part.name(),
            hours(age),
            hours(Duration::try_from(max_age).unwrap_or(Duration::MAX))
        )));
    }
    let (bytes, bytes_before) = (part.bytes(newest), before.and_then(|before| part.bytes(before)));
    if let (Some(bytes), Some(bytes_before)) = (bytes, bytes_before)
        && u128::from(bytes) * 100 < u128::from(bytes_before) * u128::from(LEAST_PERCENT)
    {
        let before = before.map_or("", |before| before.id.as_str());
        return Verdict::found(
            Problem::wrong(format!(
                "backup {} of {} is suddenly small: {}, and the one before, {before}, had {}",
                newest.id,
                part.name(),
                size(bytes),
                size(bytes_before)
            ))
            .hint(format!(
                "look at what it holds: viatique-deploy backup show {}",
                newest.id
            )),
        );
    }
    Verdict::Passed(format!(
        "{}, {} old, {}",
        newest.id,
        hours(age),
        size(bytes.unwrap_or_default())
    ))
}

fn said(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// `3 h`, `12 min`.
fn hours(age: Duration) -> String {
    match age.whole_hours() {
        0 => format!("{} min", age.whole_minutes()),
        hours if hours < 72 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

async fn elsewhere(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let context = asking.context;
    let Some(repository) = &context.settings.config.backup.repository else {
        return Ok(Verdict::NotYet("deploy.yml names no repository".to_owned()));
    };
    repository::fresh(context, repository).await
}
