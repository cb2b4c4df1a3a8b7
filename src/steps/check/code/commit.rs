//! The commit that is built: whether the release is called as its tag, and whether there is more in the work tree than in
//! the commit.

use std::path::PathBuf;

use anyhow::Result;

use super::super::verdict::{Level, Problem, Verdict};
use super::{head, not_said};
use crate::git::{Git, short};
use crate::pipeline::Settings;

/// So many files are named.
const NAMED: usize = 5;

/// What `git describe` adds where the work tree is not as committed.
const DIRTY: &str = "-dirty";

pub(super) async fn tag(git: &Git, settings: &Settings) -> Verdict {
    held_against_head(git, settings.tag.as_str())
        .await
        .unwrap_or_else(|error| not_said(&error))
}

async fn held_against_head(git: &Git, release: &str) -> Result<Verdict> {
    let head = head(git).await?;
    if let Some(tagged) = git.tag(release).await? {
        return Ok(if tagged == head {
            Verdict::Passed(format!("{release} is at {}, which is checked out", short(&head)))
        } else {
            Verdict::found(
                Problem::wrong(format!(
                    "the git tag {release} is at {}, and what is checked out and built is {}",
                    short(&tagged),
                    short(&head)
                ))
                .level(Level::Blocks)
                .hint(format!(
                    "git checkout {release}, or give the release another name: --tag <TAG>"
                )),
            )
        });
    }
    let committed = release.strip_suffix(DIRTY);
    let named = git.commit(committed.unwrap_or(release)).await?;
    let wrong = match (named, committed) {
        (Some(_), Some(_)) => Problem::wrong(format!(
            "{release} is no commit: it is {}, with changes that stand in none",
            short(&head)
        ))
        .hint("commit the changes, and tag the commit: git tag <name>"),
        (Some(named), None) if named == head => Problem::wrong(format!(
            "{release} is no git tag: the commit {} can be lost when its branch moves",
            short(&head)
        ))
        .hint("tag the commit: git tag <name>, and push the tag"),
        (Some(named), None) => Problem::wrong(format!(
            "{release} is no git tag, and names {}, where {} is checked out and built",
            short(&named),
            short(&head)
        ))
        .hint(format!(
            "git checkout {release}, or give the release another name: --tag <TAG>"
        )),
        (None, Some(_) | None) => Problem::wrong(format!(
            "there is no git tag {release}: nobody finds {} again by the release's name",
            short(&head)
        ))
        .hint(format!("git tag {release}, and push the tag")),
    };
    Ok(Verdict::found(wrong))
}

pub(super) async fn clean(git: &Git, settings: &Settings) -> Verdict {
    // From the top of the checkout: what is built may stand beside the folder of deploy.yml.
    let mut paths = vec![PathBuf::from(":/")];
    let here = std::path::absolute(settings.config.directory());
    if let Ok(backups) = here.and_then(|here| {
        let below = settings.backup_directory.strip_prefix(here);
        below.map(PathBuf::from).map_err(std::io::Error::other)
    }) && backups != PathBuf::new()
    {
        // Backups are this tool's own.
        paths.push(format!(":(exclude,literal){}", backups.display()).into());
    }
    let asked = ["status", "--porcelain=v1", "-z", "--untracked-files=normal"];
    match git.says(&asked, &paths).await {
        Ok(text) => judged(&text),
        Err(error) => not_said(&error),
    }
}

fn judged(status: &str) -> Verdict {
    let (mut modified, mut untracked) = (Vec::new(), Vec::new());
    let mut entries = status.split('\0').filter(|entry| !entry.is_empty());
    while let Some(entry) = entries.next() {
        let Some((state, path)) = entry.split_at_checked(2) else {
            continue;
        };
        let path = path.trim_start();
        if state == "??" {
            untracked.push(path);
        } else {
            modified.push(path);
        }
        // What it was called before follows.
        if state.contains(['R', 'C']) {
            entries.next();
        }
    }
    let mut problems = Vec::new();
    if !modified.is_empty() {
        problems.push(
            Problem::wrong(format!("not as committed: {}", first(&modified)))
                .key("modified")
                .hint("commit them, or take them back: git status"),
        );
    }
    if !untracked.is_empty() {
        problems.push(
            Problem::wrong(format!("neither committed nor ignored: {}", first(&untracked)))
                .key("untracked")
                .hint("commit them, or write them to .gitignore"),
        );
    }
    Verdict::of(problems, "nothing but what is committed")
}

fn first(paths: &[&str]) -> String {
    let named: Vec<&str> = paths.iter().take(NAMED).copied().collect();
    match paths.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_modified_renamed_and_untracked_is_told_apart_and_counted() {
        let status = " M a b.py\0R  new.py\0old.py\0?? 1\0?? 2\0?? 3\0?? 4\0?? 5\0?? 6\0";
        let Verdict::Found(problems) = judged(status) else {
            panic!("nothing was found")
        };
        let said: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            said,
            [
                "not as committed: a b.py, new.py",
                "neither committed nor ignored: 1, 2, 3, 4, 5 and 1 more"
            ]
        );
        assert!(matches!(judged(""), Verdict::Passed(_)));
    }
}
