//! Finds out what the release would change against the one that serves. Whatever cannot be found out is left out, or said
//! in few words: it stops nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::git;
use crate::git::{Git, is_work_tree};
use crate::pipeline::{Context, Settings};
use crate::release::changes::{Changes, Code, CodeChanges, ImageSize, without_fingerprints};
use crate::release::dependencies::{changed, is_read, pinned};
use crate::release::difference::between;
use crate::release::{Release, Tag};

/// So many commits are told.
const COMMITS: &str = "--max-count=8";
/// So many files of dependencies are read.
const FILES: usize = 6;
/// Nobody waits longer for what only informs.
const LIMIT: Duration = Duration::from_secs(20);

/// What would change; `None` where nothing serves.
pub(crate) async fn gather(context: Context<'_>) -> Option<Changes> {
    let current = context.settings.current.as_ref()?;
    let mut changes = of_files(context.settings).await?;
    changes.images = images(context, current).await;
    Some(changes)
}

/// The same, without the images: the engine is not asked.
pub(crate) async fn of_files(settings: &Settings) -> Option<Changes> {
    let current = settings.current.as_ref()?;
    let to_come = settings.project.without_secrets(&|_| String::new());
    Some(Changes {
        since: current.tag.clone(),
        code: code(settings, &current.tag).await,
        differences: between(
            &without_fingerprints(&current.project),
            &without_fingerprints(&to_come),
        ),
        images: Vec::new(),
    })
}

async fn code(settings: &Settings, since: &Tag) -> Code {
    if !settings.images.is_empty() || !is_work_tree(settings.config.directory()) {
        return Code::NotAsked;
    }
    match tokio::time::timeout(LIMIT, compared(settings, since)).await {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => Code::Unknown(format!("{error:#}")),
        Err(_) => Code::Unknown(format!("git took longer than {} s", LIMIT.as_secs())),
    }
}

async fn compared(settings: &Settings, since: &Tag) -> Result<Code> {
    let git = git(settings);
    let name = since.as_str();
    // What `git describe` called it leads back to the commit.
    let old = match git.tag(name).await? {
        Some(old) => Some(old),
        None => git.commit(name.strip_suffix("-dirty").unwrap_or(name)).await?,
    };
    let Some(old) = old else {
        return Ok(Code::Unknown(format!("git knows no {since}, which serves")));
    };
    let counted = git
        .says(
            &["rev-list", "--left-right", "--count", &format!("{old}...HEAD")],
            &[],
        )
        .await?;
    let mut counts = counted
        .split_whitespace()
        .map(|count| count.parse().unwrap_or_default());
    let (lost, commits) = (
        counts.next().unwrap_or_default(),
        counts.next().unwrap_or_default(),
    );
    let newest = git
        .says(&["log", COMMITS, "--format=%h %s", &format!("{old}..HEAD")], &[])
        .await?;
    let top = git.says(&["rev-parse", "--show-toplevel"], &[]).await?;
    let top = Path::new(top.trim_end_matches('\n'));
    let git = Git::at(top);
    // Against the work tree: that is what is built.
    let files = git
        .says(
            &[
                "diff",
                "--no-ext-diff",
                "--name-status",
                "--no-renames",
                "-z",
                &old,
            ],
            &[],
        )
        .await?;
    let mut changes = CodeChanges {
        commits,
        lost,
        newest: newest.lines().map(ToOwned::to_owned).collect(),
        ..CodeChanges::default()
    };
    let mut of_dependencies = Vec::new();
    let mut words = files.split('\0');
    while let (Some(status), Some(path)) = (words.next(), words.next()) {
        match status {
            "A" if is_migration(path) => changes.migrations_added.push(path.to_owned()),
            "D" if is_migration(path) => changes.migrations_removed.push(path.to_owned()),
            _ => {}
        }
        if is_read(path) {
            of_dependencies.push(path);
        }
    }
    for path in of_dependencies.into_iter().take(FILES) {
        let before = git
            .ask(&["show", "--no-ext-diff", &format!("{old}:{path}")], &[])
            .await?;
        let before = if before.code == Some(0) {
            before.text
        } else {
            String::new()
        };
        let now = tokio::fs::read_to_string(top.join(path))
            .await
            .unwrap_or_default();
        for change in changed(&pinned(path, &before), &pinned(path, &now)) {
            if !changes.dependencies.contains(&change) {
                changes.dependencies.push(change);
            }
        }
    }
    Ok(Code::Known(changes))
}

/// `papers/migrations/0002_copy_total.py`.
fn is_migration(path: &str) -> bool {
    let path = PathBuf::from(path);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    folder.is_some_and(|folder| folder == "migrations") && name.ends_with(".py") && name != "__init__.py"
}

/// How large the images are that are not those of this release.
pub(crate) async fn images(context: Context<'_>, current: &Release) -> Vec<ImageSize> {
    let settings = context.settings;
    let mut sizes = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, service) in &settings.project.services {
        // What this run has made, what a recorded release had, or what stands under the reference.
        let given = context
            .state
            .images
            .get(name)
            .or_else(|| settings.images.get(name));
        let Some(reference) = given
            .map(|image| image.id.0.clone())
            .or_else(|| service.image.clone())
        else {
            continue;
        };
        let Ok(Some(new)) = context.engine.image(&reference).await else {
            continue;
        };
        let old = current.images.get(name).map(|image| &image.id);
        if old == Some(&new.id) || !seen.insert((old.map(|id| id.0.clone()), new.id.0.clone())) {
            continue;
        }
        let old = match old {
            Some(id) => context.engine.image(&id.0).await.ok().flatten(),
            None => None,
        };
        sizes.push(ImageSize {
            service: name.to_string(),
            old: old.map(|image| image.size),
            new: new.size,
        });
    }
    sizes
}
