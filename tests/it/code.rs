//! What git says of what is built: real repositories, beside the simulated stack; and what a release changes.

use std::path::Path;
use std::process::Command;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, Stack};

fn git_in(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(words)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs([
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn git(stack: &Stack, words: &[&str]) -> String {
    git_in(stack.directory.path(), words)
}

fn write(stack: &Stack, path: &str, text: &str) {
    let path = stack.directory.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Everything as it stands. The commit's short name.
fn commit(stack: &Stack, subject: &str) -> String {
    git(stack, &["add", "--all"]);
    git(stack, &["commit", "--quiet", "--allow-empty", "-m", subject]);
    git(stack, &["rev-parse", "--short=9", "HEAD"])
}

/// In a checkout of one commit.
fn in_git() -> (Stack, String) {
    let stack = Stack::viatique();
    git(&stack, &["init", "--quiet"]);
    let first = commit(&stack, "begin");
    (stack, first)
}

async fn check(stack: &Stack, id: &str, tag: &str) -> Ended {
    let selection = Selection::of(&[id.to_owned()], &[]).unwrap();
    stack.command(Chosen::check_with(selection), tag).await
}

#[track_caller]
fn told(ended: &Ended, id: &str) -> (StepResult, String) {
    (
        ended.task_result(StepId::Check, id).unwrap(),
        ended.task_message(StepId::Check, id).unwrap(),
    )
}

fn passed(text: impl Into<String>) -> (StepResult, String) {
    (StepResult::Succeeded, text.into())
}

#[tokio::test(start_paused = true)]
async fn outside_a_checkout_nothing_is_asked_of_git() {
    let stack = Stack::viatique();
    let ended = stack.command(Chosen::check(), "v1").await;
    ended.succeeded();
    for id in ["git-tag", "git-clean", "git-tested", "env-in-git"] {
        assert_eq!(ended.task_message(StepId::Check, id), None, "{id}");
    }
}

#[tokio::test]
async fn a_repository_that_git_cannot_read_is_not_verified_in_words_of_git() {
    let (stack, _) = in_git();
    write(&stack, ".git/HEAD", "garbage");
    stack.edit_deploy_yml("backup:", "checks: { code: { tested: [\"true\"] } }\nbackup:");
    for id in ["git-tag", "git-clean", "git-tested", "env-in-git"] {
        let ended = check(&stack, id, "v1").await;
        let (result, message) = told(&ended, id);
        assert_eq!(result, StepResult::NotVerified, "{id}: {message}");
        assert!(message.contains("not verified: git cannot say of"), "{message}");
        assert!(message.contains("not a git repository"), "{message}");
        let blocks = matches!(id, "git-tested" | "env-in-git");
        assert_eq!(ended.code == ExitCode::Gate, blocks, "{id}");
    }
}

#[tokio::test]
async fn a_checkout_without_a_commit_is_not_verified() {
    let stack = Stack::viatique();
    git(&stack, &["init", "--quiet"]);
    let ended = check(&stack, "git-tag", "v1").await;
    let (result, message) = told(&ended, "git-tag");
    assert_eq!(result, StepResult::NotVerified);
    assert!(message.contains("nothing is committed yet"), "{message}");
}

#[tokio::test]
async fn a_release_is_held_against_the_tag_of_its_name() {
    let (stack, first) = in_git();
    // A first user has no tags.
    let ended = check(&stack, "git-tag", "v1").await;
    ended.succeeded();
    assert_eq!(told(&ended, "git-tag").0, StepResult::Warned);
    let warning = format!("there is no git tag v1: nobody finds {first} again by the release's name");
    assert!(ended.warnings().contains(&warning), "{}", ended.warnings());
    // An annotated tag has a name of its own, and is at the commit all the same.
    git(&stack, &["tag", "-a", "-m", "one", "v1"]);
    let ended = check(&stack, "git-tag", "v1").await;
    assert_eq!(
        told(&ended, "git-tag"),
        passed(format!("v1 is at {first}, which is checked out"))
    );
    let second = commit(&stack, "more");
    let ended = check(&stack, "git-tag", "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says(&format!(
        "the git tag v1 is at {first}, and what is checked out and built is {second}"
    ));
    ended.hints_at("git checkout v1");
}

#[tokio::test]
async fn a_name_that_git_describes_is_no_tag() {
    let (stack, first) = in_git();
    git(&stack, &["tag", "v1"]);
    let second = commit(&stack, "more");
    let described = git(&stack, &["describe", "--tags"]);
    for (release, says) in [
        (
            described.clone(),
            format!("{described} is no git tag: the commit {second} can be lost when its branch moves"),
        ),
        (
            format!("{second}-dirty"),
            format!("{second}-dirty is no commit: it is {second}, with changes that stand in none"),
        ),
        (
            first.clone(),
            format!("{first} is no git tag, and names {first}, where {second} is checked out and built"),
        ),
    ] {
        let ended = check(&stack, "git-tag", &release).await;
        ended.succeeded();
        assert!(ended.warnings().contains(&says), "{}", ended.warnings());
    }
}

#[tokio::test]
async fn what_is_not_committed_is_named_but_backups_are_not() {
    let (stack, _) = in_git();
    write(&stack, "backups/viatique/a", "a backup");
    let ended = check(&stack, "git-clean", "v1").await;
    assert_eq!(told(&ended, "git-clean"), passed("nothing but what is committed"));
    write(&stack, "backend/Dockerfile", "FROM other\n");
    write(&stack, "backend/new file.py", "");
    let ended = check(&stack, "git-clean", "v1").await;
    ended.succeeded();
    assert_eq!(
        told(&ended, "git-clean"),
        (StepResult::Warned, "2 warnings".to_owned())
    );
    let warnings = ended.warnings();
    assert!(
        warnings.contains("not as committed: backend/Dockerfile [git-clean: modified]"),
        "{warnings}"
    );
    assert!(
        warnings.contains("neither committed nor ignored: backend/new file.py [git-clean: untracked]"),
        "{warnings}"
    );
    write(&stack, ".gitignore", "*.py\n");
    commit(&stack, "more");
    let ended = check(&stack, "git-clean", "v1").await;
    assert_eq!(told(&ended, "git-clean"), passed("nothing but what is committed"));
}

fn tested_by(stack: &Stack, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    write(stack, "tested", &format!("#!/bin/sh\n{script}\n"));
    let path = stack.directory.path().join("tested");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_command_says_whether_the_commit_was_tested() {
    let (stack, first) = in_git();
    stack.edit_deploy_yml(
        "backup:",
        "checks: { code: { tested: [sh, ./tested, pipeline] } }\nbackup:",
    );
    let head = git(&stack, &["rev-parse", "HEAD"]);
    tested_by(&stack, &format!("test \"$1 $2\" = 'pipeline {head}'"));
    let ended = check(&stack, "git-tested", "v1").await;
    assert_eq!(
        told(&ended, "git-tested"),
        passed(format!("{first} was tested, says `sh`"))
    );
    commit(&stack, "untested");
    tested_by(&stack, "echo no pipeline of $2; exit 3");
    let second = git(&stack, &["rev-parse", "HEAD"]);
    let ended = check(&stack, "git-tested", "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("was not tested: `sh` ended with exit code 3");
    ended.shows(&format!("no pipeline of {second}"));
    // It is looked at in a run too.
    stack
        .run("v1")
        .await
        .says("was not tested: `sh` ended with exit code 3");
}

#[tokio::test]
async fn a_command_that_does_not_say_it_leaves_it_unverified() {
    let (stack, _) = in_git();
    stack.edit_deploy_yml(
        "backup:",
        "checks: { timeout: 500ms, code: { tested: [sh, ./tested] } }\nbackup:",
    );
    for (script, says) in [
        ("no-such-program", "`sh` did not say it: exit status: 127"),
        ("kill -9 $$", "`sh` did not say it: signal: 9"),
        ("exec sleep 60", "it took longer than"),
    ] {
        tested_by(&stack, script);
        let ended = check(&stack, "git-tested", "v1").await;
        ended.ended(Outcome::Failed, ExitCode::Gate);
        let (result, message) = told(&ended, "git-tested");
        assert_eq!(result, StepResult::NotVerified, "{message}");
        assert!(message.contains(says), "{message}");
    }
    stack.edit_deploy_yml("[sh, ./tested]", "[./no-such-file]");
    let ended = check(&stack, "git-tested", "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended
        .says("`./no-such-file` could not be started")
        .hints_at("checks.code.tested");
}

#[tokio::test]
async fn files_with_secrets_are_in_git_neither_now_nor_ever() {
    let (stack, _) = in_git();
    stack.edit_deploy_yml("django:", "env_file: [.env.production, .env.two]\ndjango:");
    stack.edit_compose(
        "    image: redis:7\n",
        "    image: redis:7\n    env_file: .env.redis\n",
    );
    write(&stack, ".gitignore", ".env*\n");
    for file in [".env.production", ".env.two", ".env.redis"] {
        write(&stack, file, "A=b\n");
    }
    commit(&stack, "ignore");
    let ended = check(&stack, "env-in-git", "v1").await;
    assert_eq!(
        told(&ended, "env-in-git"),
        passed("3 files, none of them in git or its history")
    );
    git(&stack, &["add", "--force", ".env.two"]);
    let ended = check(&stack, "env-in-git", "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended
        .says(".env.two: is in git's index [env-in-git: .env.two]")
        .hints_at("git rm --cached .env.two");
    git(&stack, &["rm", "--quiet", "--cached", ".env.two"]);
    // On another branch, and long since removed from it.
    git(&stack, &["checkout", "--quiet", "-b", "other"]);
    git(&stack, &["add", "--force", ".env.redis"]);
    let burnt = commit(&stack, "by mistake");
    git(&stack, &["rm", "--quiet", "--cached", ".env.redis"]);
    commit(&stack, "take it out");
    git(&stack, &["checkout", "--quiet", "-"]);
    let ended = check(&stack, "env-in-git", "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    let short = &burnt[..7];
    ended
        .says(&format!(".env.redis: stands in git's history since {short}"))
        .says("though it is in git no more [env-in-git: .env.redis]")
        .hints_at("give out new secrets");
    stack.edit_deploy_yml(
        "backup:",
        "checks: { waivers: [{ check: env-in-git, problem: .env.redis, reason: new ones were given out, owner: Ada, \
         until: 2099-12-31 }] }\nbackup:",
    );
    check(&stack, "env-in-git", "v1").await.succeeded();
}

#[tokio::test]
async fn history_that_a_shallow_checkout_has_not_is_not_verified() {
    let (origin, _) = in_git();
    write(&origin, "more", "");
    commit(&origin, "more");
    let stack = Stack::viatique();
    stack.edit_deploy_yml("django:", "env_file: .env.production\ndjango:");
    let from = format!("file://{}", origin.directory.path().display());
    git(&stack, &["init", "--quiet"]);
    git(&stack, &["fetch", "--quiet", "--depth=1", &from, "HEAD"]);
    git(&stack, &["reset", "--quiet", "--hard", "FETCH_HEAD"]);
    write(&stack, ".env.production", "A=b\n");
    let ended = check(&stack, "env-in-git", "v1").await;
    ended.succeeded();
    let (result, message) = told(&ended, "env-in-git");
    assert_eq!(result, StepResult::NotVerified);
    assert!(message.contains("the checkout is shallow"), "{message}");
}

/// v1 serves, of a commit; v2 is checked out, with a migration and another Django.
async fn one_serves_and_another_comes() -> (Stack, String) {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    // From here on there are real processes.
    tokio::time::resume();
    write(&stack, ".gitignore", "backups/\n");
    write(&stack, "backend/requirements.txt", "Django==5.1\nredis==5.0\n");
    git(&stack, &["init", "--quiet"]);
    commit(&stack, "begin");
    git(&stack, &["tag", "v1"]);
    write(&stack, "backend/requirements.txt", "Django==5.2\nredis==5.0\n");
    write(&stack, "backend/papers/migrations/0002_total.py", "");
    let second = commit(&stack, "count the copies");
    stack.edit_compose(
        "environment: { DATABASE_PASSWORD: \"${DB_PASSWORD}\" }",
        "environment: { DATABASE_PASSWORD: \"${DB_PASSWORD}\", WORKERS: \"4\" }",
    );
    (stack, second)
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_changes_since_the_release_that_serves() {
    let (stack, second) = one_serves_and_another_comes().await;
    let ended = stack.dry_run(Chosen::run(), "v2").await;
    ended.succeeded();
    let planned = ended.planned(StepId::Gate);
    let of = |target: &str| {
        let own = planned.iter().find(|change| change.target == target);
        own.map(|change| change.detail.clone())
    };
    let commits = of("commits").unwrap();
    assert!(commits.starts_with("1 since v1; "), "{commits}");
    assert!(
        commits.contains(&second[..7]) && commits.ends_with(" count the copies"),
        "{commits}"
    );
    assert_eq!(
        of("migrations").as_deref(),
        Some("backend/papers/migrations/0002_total.py")
    );
    assert_eq!(of("dependencies").as_deref(), Some("django 5.1 → 5.2"));
    // The password is the same, whatever its fingerprint.
    assert_eq!(
        of("configuration").as_deref(),
        Some("backend: environment WORKERS added")
    );
    // Where git does not know what serves, the rest is still told.
    git(&stack, &["tag", "-d", "v1"]);
    let planned = stack.dry_run(Chosen::run(), "v2").await.planned(StepId::Gate);
    let commits = planned.iter().find(|change| change.target == "commits").unwrap();
    assert_eq!(commits.detail, "not known: git knows no v1, which serves");
    assert!(planned.iter().any(|change| change.target == "configuration"));
}

#[tokio::test(start_paused = true)]
async fn a_first_release_changes_nothing_that_serves() {
    let stack = Stack::viatique();
    let planned = stack.dry_run(Chosen::run(), "v1").await.planned(StepId::Gate);
    let targets: Vec<&str> = planned.iter().map(|change| change.target.as_str()).collect();
    assert_eq!(targets, ["checks", "question"]);
}

#[tokio::test(start_paused = true)]
async fn the_question_says_what_changes_below_what_serves() {
    let (mut stack, _) = one_serves_and_another_comes().await;
    git(&stack, &["tag", "v2"]);
    stack.person = Some(false);
    let ended = stack.run("v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    let questions = &ended.questions;
    let lines = &questions[0].lines;
    let serves = lines.iter().position(|line| line.0 == "serves now").unwrap();
    assert_eq!(
        lines[serves + 1],
        ("  commits".to_owned(), "1 since v1".to_owned())
    );
    assert_eq!(lines[serves + 2].0, "");
    assert!(lines[serves + 2].1.ends_with("count the copies"), "{lines:#?}");
    let django = ("  dependencies".to_owned(), "django 5.1 → 5.2".to_owned());
    assert!(lines.contains(&django), "{lines:#?}");
}
