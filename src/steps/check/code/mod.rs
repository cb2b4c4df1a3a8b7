//! Whether what is built is what git has: a commit that can be found again, that was tested, and that holds no secret.
//! Asked of git on this machine, where the project is in a checkout; what git cannot say is not verified.

pub(crate) mod changes;
mod commit;
mod env_files;
mod tested;

use futures_util::FutureExt as _;

use super::registry::{Check, Look, When};
use super::verdict::{Level, Problem, Verdict};
use crate::error::FailureKind;
use crate::git::{Git, is_work_tree};
use crate::pipeline::Settings;

/// The room's checks.
pub(super) static CHECKS: &[Check] = &[
    Check {
        id: "git-tag",
        title: "the release is a git tag, and what is checked out is what it names",
        protects_from: "a release that says one version and holds another, or of which nobody finds the code again",
        level: Level::Warns,
        how: "asks git which commit the tag of the release's name is at; blocks where it is another than HEAD",
        remedy: "tag the commit: git tag <release>, and push the tag",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_built,
        look: Look::Asks(|asking| {
            async move { Ok(commit::tag(&git(asking.context.settings), asking.context.settings).await) }
                .boxed()
        }),
        time_limit: None,
    },
    Check {
        id: "git-clean",
        title: "the work tree is as it was committed",
        protects_from: "an image with changes that stand in no commit",
        level: Level::Warns,
        how: "asks git for files that are modified, or neither committed nor ignored",
        remedy: "commit them, or take them back: git status",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: is_built,
        look: Look::Asks(|asking| {
            async move { Ok(commit::clean(&git(asking.context.settings), asking.context.settings).await) }
                .boxed()
        }),
        time_limit: None,
    },
    Check {
        id: "git-tested",
        title: "the commit is one that was tested",
        protects_from: "code that no test has run on",
        level: Level::Blocks,
        how: "runs checks.code.tested with the commit's name; without it, in CI, holds HEAD against the commit CI is at",
        remedy: "have CI test the commit, and deploy that one",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: |settings| {
            is_built(settings) && (settings.config.checks.code.tested.is_some() || tested::of_ci().is_some())
        },
        look: Look::Asks(|asking| async move { Ok(tested::tested(asking.context.settings).await) }.boxed()),
        time_limit: None,
    },
    Check {
        id: "env-in-git",
        title: "files with secrets are not in git, and never were",
        protects_from: "passwords that everybody has who ever cloned the repository",
        level: Level::Blocks,
        how: "asks git's index and the history of every branch for the env files, the Compose files' secrets, and the \
              files with keys of backups",
        remedy: "give out new secrets, and keep the file out of git",
        when: When::First,
        refuses_as: FailureKind::Gate,
        applies: |settings| is_work_tree(settings.config.directory()),
        look: Look::Asks(|asking| {
            async move { Ok(env_files::in_git(asking.context.settings).await) }.boxed()
        }),
        time_limit: None,
    },
];

/// Whether images are built of a checkout: those of a recorded release were, once.
fn is_built(settings: &Settings) -> bool {
    settings.images.is_empty() && is_work_tree(settings.config.directory())
}

fn git(settings: &Settings) -> Git {
    Git::at(settings.config.directory())
}

/// What git could not say.
fn not_said(error: &anyhow::Error) -> Verdict {
    Verdict::found(unsaid(error))
}

fn unsaid(error: &anyhow::Error) -> Problem {
    Problem::unverified(format!("{error:#}"))
        .hint("git status, as the user that runs this tool in the folder of deploy.yml")
}

/// The commit that is checked out.
///
/// # Errors
/// What git could not say; that nothing was committed yet.
async fn head(git: &Git) -> anyhow::Result<String> {
    git.commit("HEAD")
        .await?
        .ok_or_else(|| anyhow::anyhow!("nothing is committed yet"))
}
