//! `secrets` of deploy.yml: what is read from files, commands and credentials, what is refused, and that no value is in
//! anything that is said. With real commands, and the real program in an environment of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;
use viatique_deploy::commands::secrets;
use viatique_deploy::config;
use viatique_deploy::error::{Failure, FailureKind};
use viatique_deploy::secret::Secret;

use crate::support::{FakeSocket, Reply};

/// What every secret here contains, and no output may.
const VALUE: &str = "hunter2";

/// A folder with deploy.yml and these files.
fn folder(secrets: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let deploy_yml =
        format!("project: shop\ncompose: compose.yml\nrelease: {{tag: v1}}\nsecrets:\n{secrets}");
    std::fs::write(folder.path().join("deploy.yml"), deploy_yml).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

async fn read_with(folder: &Path, process: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Failure> {
    let config = config::load(&folder.join("deploy.yml")).unwrap();
    let process = process
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned())))
        .collect();
    let variables = secrets::read(&config, &process).await?;
    Ok(variables
        .into_iter()
        .map(|(key, value)| (key, value.reveal().clone()))
        .collect())
}

async fn read(secrets: &str, files: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Failure> {
    read_with(folder(secrets, files).path(), &[]).await
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The refusal and its hints, its evidence, and that neither has the value.
async fn refused(secrets: &str, files: &[(&str, &str)]) -> (String, Vec<String>) {
    let folder = folder(secrets, files);
    let failure = read_with(folder.path(), &[]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Configuration);
    let everything = format!("{failure:?} {:?}", failure.report());
    assert!(!everything.contains(VALUE), "{everything}");
    let mut said = failure.error.to_string();
    for hint in &failure.hints {
        said.push_str("\nhint: ");
        said.push_str(hint);
    }
    let lines = failure
        .evidence
        .iter()
        .flat_map(|evidence| evidence.lines.clone());
    let here = format!("{}/", folder.path().display());
    (
        said.replace(&here, ""),
        lines.map(|line| line.replace(&here, "")).collect(),
    )
}

#[tokio::test]
async fn files_commands_and_credentials_are_read() {
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("dsn"), "https://a$b\n").unwrap();
    let folder = folder(
        "  - {name: KEY, file: key.txt}\n  - {name: DB, command: [printf, '%s\\n', 'a \"b\" $c']}\n  - {name: DSN, \
         credential: dsn}\n  - {name: PEM, command: [cat, pem]}\n  - {name: HERE, command: [./own.sh]}\n",
        &[
            ("key.txt", " k$y#\n\n"),
            ("pem", "one\r\ntwo\r\n"),
            ("own.sh", "#!/bin/sh\npwd -P >&2\ncat; basename \"$0\"\n"),
        ],
    );
    executable(&folder.path().join("own.sh"));
    let process = [("CREDENTIALS_DIRECTORY", credentials.path().to_str().unwrap())];
    assert_eq!(
        read_with(folder.path(), &process).await.unwrap(),
        variables(&[
            ("KEY", " k$y#\n"),
            ("DB", "a \"b\" $c"),
            ("DSN", "https://a$b"),
            ("PEM", "one\r\ntwo"),
            ("HERE", "own.sh"),
        ])
    );
}

fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn without_a_name_the_content_is_lines_and_a_later_entry_wins() {
    let secrets =
        "  - {name: A, file: a}\n  - {name: B, file: a}\n  - command: [cat, lines]\n  - {name: C, file: c}\n";
    let files = [
        ("a", "1"),
        ("c", "3"),
        ("lines", "# comment\nexport B='2$x'\nC=2\nD=\"$A-$C\"\nE\n"),
    ];
    assert_eq!(
        read(secrets, &files).await.unwrap(),
        variables(&[("A", "1"), ("B", "2$x"), ("C", "3"), ("D", "1-2")])
    );
}

#[tokio::test]
async fn commands_run_side_by_side() {
    // Each waits for the other one, so that one after the other would never end.
    let command = |name: &str, script: &str| {
        format!("  - {{name: {name}, command: [sh, -c, '{script}'], timeout: 60s}}\n")
    };
    let secrets = command("A", "echo a > to-B; cat to-A") + &command("B", "cat to-B; echo b > to-A");
    let folder = folder(&secrets, &[]);
    for pipe in ["to-A", "to-B"] {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join(pipe))
            .status();
        assert!(made.unwrap().success());
    }
    assert_eq!(
        read_with(folder.path(), &[]).await.unwrap(),
        variables(&[("A", "b"), ("B", "a")])
    );
}

#[tokio::test]
async fn a_command_that_fails_shows_its_errors_and_not_its_output() {
    let secrets = "  - {name: A, command: [sh, -c, 'echo hunter2; echo gpg: no such key >&2; exit 7']}\n";
    let (said, shown) = refused(secrets, &[]).await;
    assert_eq!(
        said,
        "deploy.yml:5:5: `secrets[0]` (A): the command `sh` failed (exit status: 7)"
    );
    assert_eq!(shown, ["gpg: no such key"]);
}

#[tokio::test]
async fn of_many_errors_the_last_lines_are_shown() {
    let secrets = "  - {command: [sh, -c, 'seq 1 20000 >&2; exit 1']}\n";
    let (_, shown) = refused(secrets, &[]).await;
    assert_eq!(shown.len(), 20);
    assert_eq!(shown.last().unwrap(), "20000");
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_where() {
    for (secrets, expected) in [
        (
            "  - {name: A, command: [no-such-program-here]}\n",
            "deploy.yml:5:5: `secrets[0]` (A): starting the command `no-such-program-here`: no such file",
        ),
        (
            "  - {name: A, command: [sleep, '600'], timeout: 200ms}\n",
            "deploy.yml:5:5: `secrets[0]` (A): the command `sleep` was not done after 0.2 s\n\
             hint: it is asked for nothing: its input is closed; to give it longer: `timeout` beside it",
        ),
        (
            "  - {name: A, command: ['true']}\n",
            "deploy.yml:5:5: `secrets[0]` (A): its output is empty",
        ),
        (
            "  - {name: A, command: [printf, 'hunter2\\000x']}\n",
            "deploy.yml:5:5: `secrets[0]` (A): its output has a NUL byte, which no variable can have",
        ),
        (
            "  - {name: A, command: [printf, 'hunter2\\377']}\n",
            "deploy.yml:5:5: `secrets[0]` (A): its output is not UTF-8",
        ),
        (
            "  - {name: A, command: ['yes', hunter2]}\n",
            "deploy.yml:5:5: `secrets[0]` (A): its output is larger than 1 MiB",
        ),
        (
            "  - {name: A, file: nowhere}\n",
            "deploy.yml:5:5: `secrets[0]` (A): cannot read nowhere: no such file",
        ),
        (
            "  - {name: A, file: blank}\n",
            "deploy.yml:5:5: `secrets[0]` (A): the file is empty",
        ),
        (
            "  - {name: A, credential: dsn}\n",
            "deploy.yml:5:5: `secrets[0]` (A): there are no credentials: CREDENTIALS_DIRECTORY is not set\n\
             hint: systemd sets it for a unit with LoadCredential= or LoadCredentialEncrypted=; systemd-run -p too",
        ),
        (
            "  - {name: A, file: fine}\n  - file: plain\n",
            "deploy.yml:6:5: `secrets[1]`: line 1 of it is no `KEY=value`, or uses a variable that is not set\n\
             hint: put a value in single quotes if its `$` is meant as it stands; a single secret needs a `name`",
        ),
        (
            "  - file: dollar\n",
            "deploy.yml:5:5: `secrets[0]`: line 2 of it is no `KEY=value`, or uses a variable that is not set\n\
             hint: put a value in single quotes if its `$` is meant as it stands; a single secret needs a `name`",
        ),
        (
            "  - file: fine\n",
            "deploy.yml:5:5: `secrets[0]`: there is no `KEY=value` in it\nhint: a single secret needs a `name`",
        ),
    ] {
        let files = [
            ("blank", "\n"),
            ("fine", "hunter2\n"),
            ("plain", "my hunter2\n"),
            ("dollar", "A=1\nB=x$hunter2\n"),
        ];
        assert_eq!(refused(secrets, &files).await.0, expected);
    }
}

#[tokio::test]
async fn several_that_cannot_be_read_are_told_together() {
    let secrets = "  - {name: A, file: nowhere}\n  - {name: B, command: ['false']}\n";
    let (said, shown) = refused(secrets, &[]).await;
    assert_eq!(said, "2 things are wrong");
    assert_eq!(
        shown,
        [
            "deploy.yml:5:5: `secrets[0]` (A): cannot read nowhere: no such file",
            "deploy.yml:6:5: `secrets[1]` (B): the command `false` failed (exit status: 1)",
        ]
    );
}

const COMPOSE: &str =
    "services:\n  web:\n    image: redis:7\n    environment:\n      SECRET_KEY: ${SECRET_KEY}\n";

/// Runs the program with nothing in its environment but what is given.
fn program(folder: &Path, engine: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_viatique-deploy"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder)
        .env("DOCKER_HOST", engine)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains(VALUE), "{said}");
    said
}

/// A command that leaves a line in `calls` whenever it is run.
const COUNTED: &str =
    "  - {name: SECRET_KEY, command: [sh, -c, 'echo call >> calls; echo hunter2; echo done >&2']}\n";

fn calls(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("calls")).map_or(0, |calls| calls.lines().count())
}

fn broken_engine() -> FakeSocket {
    FakeSocket::answering(|_| Reply::Json(500, r#"{"message": "out of order"}"#.to_owned()))
}

/// An engine on which nothing is.
fn empty_engine() -> FakeSocket {
    FakeSocket::answering(|asked| {
        if asked.path.contains("/containers/json") {
            Reply::Json(200, "[]".to_owned())
        } else {
            Reply::Json(404, r#"{"message": "no such thing"}"#.to_owned())
        }
    })
}

#[test]
fn a_secret_that_cannot_be_read_ends_the_command_before_the_engine_is_asked() {
    let folder = folder(
        "  - {name: SECRET_KEY, command: ['false']}\n",
        &[("compose.yml", COMPOSE)],
    );
    let engine = FakeSocket::answering(|_| Reply::Json(500, "{}".to_owned()));
    for arguments in [
        &["run"][..],
        &["check"],
        &["run", "--dry-run"],
        &["check", "--list"],
    ] {
        let output = program(folder.path(), &engine.address(), &[], arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("`secrets[0]` (SECRET_KEY): the command `false` failed"),
            "{said}"
        );
    }
    assert!(engine.asked().is_empty());
}

#[test]
fn a_secret_is_a_variable_of_the_compose_files_read_once_and_never_shown() {
    let folder = folder(COUNTED, &[("compose.yml", COMPOSE)]);
    let staged =
        std::fs::read_to_string(folder.path().join("deploy.yml")).unwrap() + "staging: compose.yml\n";
    std::fs::write(folder.path().join("deploy.yml"), staged).unwrap();
    let engine = broken_engine();
    for (arguments, so_far) in [
        (&["check", "--list"][..], 1),
        (&["run", "-vv"], 2),
        (&["check", "--output", "json"], 3),
        (&["run", "--dry-run", "-vv"], 4),
    ] {
        let output = program(
            folder.path(),
            &engine.address(),
            &[("RUST_LOG", "trace")],
            arguments,
        );
        let (said, is_list) = (said(&output), arguments.contains(&"--list"));
        assert_eq!(output.status.success(), is_list, "{said}");
        assert_eq!(engine.asked().is_empty(), is_list, "{said}");
        assert_eq!(calls(folder.path()), so_far, "{arguments:?}");
    }
    // What is not among them is missing.
    std::fs::write(
        folder.path().join("compose.yml"),
        COMPOSE.replace("SECRET_KEY}", "OTHER}"),
    )
    .unwrap();
    let output = program(folder.path(), &engine.address(), &[], &["check", "--list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("OTHER"));
}

#[test]
fn what_reads_no_compose_file_reads_no_secret() {
    let folder = folder(COUNTED, &[("compose.yml", COMPOSE)]);
    let engine = empty_engine();
    for (arguments, code) in [
        (&["releases"][..], 0),
        (&["releases", "show", "v1"], 3),
        (&["status"], 0),
        (&["unlock", "--yes"], 0),
        (&["resume"], 0),
        (&["backup", "list"], 0),
        (&["backup", "show"], 3),
        (&["check", "--explain", "images"], 0),
    ] {
        let output = program(folder.path(), &engine.address(), &[], arguments);
        assert_eq!(
            (output.status.code(), said(&output)),
            (Some(code), said(&output)),
            "{arguments:?}"
        );
        assert_eq!(calls(folder.path()), 0, "{arguments:?}");
    }
}
