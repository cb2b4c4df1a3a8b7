//! The `docker` and `docker-compose` commands, as a second opinion: the program under test starts neither.

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Runs `docker`; its output, without the line's end.
pub(crate) fn docker<Word: AsRef<OsStr>>(words: impl IntoIterator<Item = Word>) -> String {
    text(&mut with(Command::new("docker"), words))
}

/// The same, bytes as they are.
pub(super) fn docker_bytes<Word: AsRef<OsStr>>(words: impl IntoIterator<Item = Word>) -> Vec<u8> {
    output(&mut with(Command::new("docker"), words)).stdout
}

/// Prepares `docker-compose`, which must be there: Debian's package is enough.
pub(crate) fn docker_compose() -> Command {
    let found = Command::new("docker-compose").arg("version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "this story needs docker-compose, and is not skipped without it: run .ci/test, which installs it"
    );
    Command::new("docker-compose")
}

/// Fails with what to do where no engine answers, or the image that the example is built from is missing.
pub(super) fn require_engine() {
    for (words, missing) in [
        (vec!["version"], "a Docker Engine"),
        (
            vec!["image", "inspect", "debian:trixie-slim"],
            "the image debian:trixie-slim",
        ),
    ] {
        let found = Command::new("docker").args(words).output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "the stories need {missing}, and are not skipped without it: run .ci/prepare-machine"
        );
    }
}

/// Runs a command that must succeed; its output, without the line's end.
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command).stdout)
        .trim_end()
        .to_owned()
}

fn output(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn with<Word: AsRef<OsStr>>(mut command: Command, words: impl IntoIterator<Item = Word>) -> Command {
    command.args(words);
    command
}

/// Removes everything of a project: by either label, or by the project's name in its own; images by their references.
/// Never panics, since it runs while a failed story unwinds; returns what it could not do.
pub(super) fn remove_everything_of(project: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let filters = filters(project);
    for (list, remove) in [
        (&["ps", "--all"][..], &["rm", "--force", "--volumes"][..]),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm"]),
    ] {
        for filter in &filters {
            let listed = try_docker(&[list, &["--quiet", "--filter", filter]].concat(), &mut problems);
            for id in listed.lines() {
                try_docker(&[remove, &[id]].concat(), &mut problems);
            }
        }
    }
    let own = format!("reference={project}-*");
    let listed = ["images", "--filter", &own, "--format", "{{.Repository}}:{{.Tag}}"];
    for reference in try_docker(&listed, &mut problems).lines() {
        try_docker(&["image", "rm", reference], &mut problems);
    }
    problems
}

/// What belongs to a project: by Compose's label, by this tool's, by name.
pub(super) fn filters(project: &str) -> [String; 3] {
    [
        format!("label=com.docker.compose.project={project}"),
        format!("label=viatique-deploy.project={project}"),
        format!("name={project}"),
    ]
}

fn try_docker(words: &[&str], problems: &mut Vec<String>) -> String {
    let problem = match Command::new("docker").args(words).output() {
        Ok(output) if output.status.success() => {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    problems.push(format!("docker {}: {problem}", words.join(" ")));
    String::new()
}
