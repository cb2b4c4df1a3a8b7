//! Whether the commit was tested: a command of the project's own says it, or the commit that CI is at.

use std::process::Stdio;

use super::super::verdict::{Level, Problem, Verdict};
use super::{git, head, not_said};
use crate::git::{Git, short};
use crate::pipeline::Settings;

/// What CI calls the commit it is at: GitHub, GitLab.
const OF_CI: [&str; 2] = ["GITHUB_SHA", "CI_COMMIT_SHA"];

/// So many lines of what a command said are shown.
const SHOWN: usize = 10;

/// The commit that CI is at, and the variable that says so.
pub(super) fn of_ci() -> Option<(&'static str, String)> {
    OF_CI.into_iter().find_map(|name| {
        let commit = std::env::var(name).ok().filter(|commit| !commit.is_empty())?;
        Some((name, commit))
    })
}

pub(super) async fn tested(settings: &Settings) -> Verdict {
    let git = git(settings);
    let head = match head(&git).await {
        Ok(head) => head,
        Err(error) => return not_said(&error),
    };
    match (&settings.config.checks.code.tested, of_ci()) {
        (Some(command), _) => says(settings, command, &head).await,
        (None, Some((variable, commit))) => in_ci(&git, variable, &commit, &head).await,
        (None, None) => {
            Verdict::NotYet("deploy.yml names no command that says it (checks.code.tested)".to_owned())
        }
    }
}

async fn in_ci(git: &Git, variable: &str, commit: &str, head: &str) -> Verdict {
    if commit == head {
        return Verdict::Passed(format!("{} is what CI is at ({variable})", short(head)));
    }
    match git.commit(commit).await {
        Ok(Some(_)) => Verdict::found(Problem::wrong(format!(
            "CI is at {} ({variable}), and what is checked out and built is {}",
            short(commit),
            short(head)
        ))),
        // CI of another repository, which checked this one out.
        Ok(None) => Verdict::found(
            Problem::unverified(format!(
                "CI is at {} ({variable}), which is not of this repository",
                short(commit)
            ))
            .level(Level::Warns)
            .hint("name a command that knows: checks.code.tested"),
        ),
        Err(error) => not_said(&error),
    }
}

async fn says(settings: &Settings, command: &[String], head: &str) -> Verdict {
    let Some((program, words)) = command.split_first() else {
        return Verdict::not_verified("checks.code.tested names no program");
    };
    let output = tokio::process::Command::new(program)
        .args(words)
        .arg(head)
        .current_dir(settings.config.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            return Verdict::found(
                Problem::unverified(format!("`{program}` could not be started: {error}"))
                    .hint("is it installed, and on the PATH? it is checks.code.tested of deploy.yml"),
            );
        }
    };
    let said = [output.stdout, output.stderr].concat();
    let said: Vec<String> = String::from_utf8_lossy(&said)
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    let last = said
        .iter()
        .skip(said.len().saturating_sub(SHOWN))
        .cloned()
        .collect();
    let title = format!("what `{program}` said");
    match output.status.code() {
        Some(0) => Verdict::Passed(format!("{} was tested, says `{program}`", short(head))),
        // A shell that found no such command, or a signal: it said nothing of the commit.
        Some(126 | 127) | None => Verdict::found(
            Problem::unverified(format!("`{program}` did not say it: {}", output.status))
                .evidence(title, last),
        ),
        Some(code) => Verdict::found(
            Problem::wrong(format!(
                "{} was not tested: `{program}` ended with exit code {code}",
                short(head)
            ))
            .evidence(title, last),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the commit that CI is at: what is held against HEAD.
    #[tokio::test]
    async fn in_ci_the_commit_is_the_one_that_ci_is_at() {
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| {
            let output = std::process::Command::new("git")
                .arg("-C")
                .arg(folder.path())
                .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
                .args(words)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let commit = |subject| {
            run(&["commit", "--quiet", "--allow-empty", "-m", subject]);
            run(&["rev-parse", "HEAD"])
        };
        run(&["init", "--quiet"]);
        let (first, second) = (commit("one"), commit("two"));
        let git = Git::at(folder.path());
        let passed = in_ci(&git, "GITHUB_SHA", &second, &second).await;
        assert!(matches!(passed, Verdict::Passed(_)), "{passed:?}");
        let Verdict::Found(found) = in_ci(&git, "GITHUB_SHA", &first, &second).await else {
            panic!("nothing was found")
        };
        assert!(!found[0].unverified && found[0].level.is_none());
        assert!(found[0].message.starts_with("CI is at "), "{found:?}");
        let elsewhere = "0123456789012345678901234567890123456789";
        let Verdict::Found(found) = in_ci(&git, "GITHUB_SHA", elsewhere, &second).await else {
            panic!("nothing was found")
        };
        assert!(found[0].unverified, "{found:?}");
    }
}
