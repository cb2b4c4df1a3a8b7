//! Who can read the files that hold secrets. Whether they are in git is another check's.

use std::path::{Path, PathBuf};

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use crate::pipeline::Settings;

/// Those that are read, each once: for `${…}`, by services, and for backups.
pub(super) fn secret_files(settings: &Settings) -> Vec<PathBuf> {
    let config = &settings.config;
    let credentials = config
        .backup
        .copies
        .iter()
        .filter_map(|copy| copy.credentials.as_ref());
    let files = config
        .env_files()
        .into_iter()
        .chain(settings.project.env_files.iter().cloned())
        .chain(config.backup_identity())
        .chain(credentials.map(|path| config.directory().join(path)));
    let mut once: Vec<PathBuf> = Vec::new();
    for file in files {
        let named = |other: &PathBuf| shown(settings, other) == shown(settings, &file);
        if !once.iter().any(named) {
            once.push(file);
        }
    }
    once
}

pub(super) async fn look(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let files = secret_files(settings);
    let mut problems = Vec::new();
    for file in &files {
        let shown = shown(settings, file);
        if let Some(problem) = problem(file, &shown).await {
            problems.push(problem.key(shown));
        }
    }
    Verdict::of(problems, format!("{} files", files.len()))
}

#[cfg(unix)]
async fn problem(file: &Path, shown: &str) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = match tokio::fs::metadata(file).await {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) => return Some(Problem::unverified(format!("cannot look at {shown}: {error}"))),
    };
    let who = match (mode & 0o007, mode & 0o070) {
        (0, 0) => return None,
        (0, _) => "its group",
        _ => "everybody on this machine",
    };
    let may = if mode & 0o022 == 0 {
        "read"
    } else {
        "read or change"
    };
    Some(
        Problem::wrong(format!("{shown} has mode {mode:03o}: {who} can {may} it"))
            .hint(format!("chmod 600 {shown}")),
    )
}

#[cfg(not(unix))]
async fn problem(_file: &Path, shown: &str) -> Option<Problem> {
    Some(Problem::unverified(format!(
        "who can read {shown} is not known on this system"
    )))
}

fn shown(settings: &Settings, file: &Path) -> String {
    let absolute = settings.project.directory.as_path();
    let inside = file
        .strip_prefix(settings.config.directory())
        .or_else(|_| file.strip_prefix(absolute));
    inside.unwrap_or(file).display().to_string()
}
