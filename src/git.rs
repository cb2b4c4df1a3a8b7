//! Asks git of a folder's checkout: the only file that starts it. Nothing is changed, nobody is prompted, and nothing is
//! fetched. What is asked, and what an answer means, is its callers' business.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

/// A folder of a work tree.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    program: OsString,
    folder: PathBuf,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub text: String,
    /// What it complained of, in its own words.
    pub complaint: String,
}

/// Whether a folder is in a work tree, by its `.git` or that of a folder above. Whether git can read it is not asked.
pub(crate) fn is_work_tree(folder: &Path) -> bool {
    std::path::absolute(folder)
        .is_ok_and(|folder| folder.ancestors().any(|above| above.join(".git").exists()))
}

impl Git {
    /// Of the checkout that this folder is in.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            program: "git".into(),
            folder: folder.to_owned(),
        }
    }

    /// Whatever it answers. `paths` are meant from the folder, letter by letter.
    ///
    /// # Errors
    /// A git that cannot be started.
    pub(crate) async fn ask(&self, words: &[&str], paths: &[PathBuf]) -> Result<Answer> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .arg("-C")
            .arg(&self.folder)
            // No program of the repository's configuration is started.
            .args(["--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false"])
            .args(words);
        if !paths.is_empty() {
            command.arg("--").args(paths);
        }
        // Of a hook that runs this tool: they would name another repository.
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(variable);
        }
        let output = command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting git")?;
        Ok(Answer {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// What it prints.
    ///
    /// # Errors
    /// A git that cannot be started, and what it complains of.
    pub(crate) async fn says(&self, words: &[&str], paths: &[PathBuf]) -> Result<String> {
        let answer = self.ask(words, paths).await?;
        match answer.code {
            Some(0) => Ok(answer.text),
            Some(_) | None => Err(self.complains(&answer)),
        }
    }

    /// The commit that a revision names, in full; `None` where there is none of that name.
    ///
    /// # Errors
    /// As [`Git::says`].
    pub(crate) async fn commit(&self, revision: &str) -> Result<Option<String>> {
        let revision = format!("{revision}^{{commit}}");
        let answer = self
            .ask(&["rev-parse", "--quiet", "--verify", &revision], &[])
            .await?;
        match answer.code {
            Some(0) => Ok(Some(answer.text.trim().to_owned())),
            Some(1) => Ok(None),
            Some(_) | None => Err(self.complains(&answer)),
        }
    }

    /// The commit that the tag of this name is at; `None` where there is no such tag.
    ///
    /// # Errors
    /// As [`Git::says`].
    pub(crate) async fn tag(&self, name: &str) -> Result<Option<String>> {
        let name = format!("refs/tags/{name}");
        // As a revision, what `git describe` says names a commit even below refs/tags.
        let answer = self.ask(&["show-ref", "--verify", "--quiet", &name], &[]).await?;
        match answer.code {
            Some(0) => self.commit(&name).await,
            Some(1) => Ok(None),
            Some(_) | None => Err(self.complains(&answer)),
        }
    }

    fn complains(&self, answer: &Answer) -> anyhow::Error {
        let why = answer.complaint.lines().collect::<Vec<_>>().join(" ");
        anyhow::anyhow!("git cannot say of {}: {why}", self.folder.display())
    }
}

/// The beginning of a commit's name, as people read it.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..9).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_git_that_is_missing_is_said() {
        let git = Git {
            program: "no-such-git".into(),
            folder: PathBuf::from("/"),
        };
        let error = git.commit("HEAD").await.unwrap_err();
        assert!(format!("{error:#}").starts_with("starting git: "), "{error:#}");
    }

    #[tokio::test]
    async fn a_folder_without_a_repository_is_said_in_words_of_git() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_work_tree(folder.path()));
        let error = Git::at(folder.path()).commit("HEAD").await.unwrap_err();
        assert!(format!("{error:#}").contains("not a git repository"), "{error:#}");
    }
}
