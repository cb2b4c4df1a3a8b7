//! What is wrong before anything begins: one clear error, exit code 3, and nothing on the engine.

use std::fs;

use super::support::{Finished, Stack, docker};

const COMPOSE: &str = "docker-compose.prod.yml";

/// What is wrong, how it came about, and what the error must name.
type Case = (&'static str, fn(&Stack), &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "a missing deploy.yml",
        |stack| fs::remove_file(stack.example.file("deploy.yml")).unwrap(),
        &["deploy.yml"],
    ),
    (
        "a malformed deploy.yml",
        |stack| stack.example.append("deploy.yml", "health: [\n"),
        &["deploy.yml:"],
    ),
    (
        "an unknown key in deploy.yml",
        |stack| {
            stack
                .example
                .edit("deploy.yml", |text| format!("helth: {{}}\n{text}"));
        },
        &["deploy.yml:1:1", "`helth`", "did you mean `health`?"],
    ),
    (
        "a service that no Compose file names",
        |stack| {
            stack
                .example
                .replace("deploy.yml", "service: db }", "service: database }")
        },
        &["deploy.yml", "`database`"],
    ),
    (
        "a missing Compose file",
        |stack| fs::remove_file(stack.example.file(COMPOSE)).unwrap(),
        &[COMPOSE, "no such file"],
    ),
    (
        "a malformed Compose file",
        |stack| stack.example.append(COMPOSE, "  broken: [\n"),
        &[COMPOSE],
    ),
    (
        "an unknown key in the Compose file",
        |stack| stack.example.replace(COMPOSE, "shm_size:", "shm_sise:"),
        &[COMPOSE, "services.db", "shm_sise", "did you mean `shm_size`?"],
    ),
    (
        "an undefined variable",
        |stack| {
            stack
                .example
                .replace(COMPOSE, "${HTTP_PORT:-8080}", "${HTTP_PORTT}")
        },
        &[COMPOSE, "undefined variable `HTTP_PORTT`"],
    ),
    (
        "a missing env file",
        |stack| fs::remove_file(stack.example.file(".env.db")).unwrap(),
        &[".env.db"],
    ),
    (
        "one name for two containers",
        |stack| {
            for service in ["db", "redis"] {
                let build = format!("    build: ./{service}\n");
                let named = format!("{build}    container_name: storage\n");
                stack.example.replace(COMPOSE, &build, &named);
            }
        },
        &[COMPOSE, "container name `storage`", "`db`"],
    ),
    (
        "one host port for two services",
        |stack| {
            let ports = "    build: ./redis\n    ports: [\"${HTTP_PORT}:6379\"]\n";
            stack.example.replace(COMPOSE, "    build: ./redis\n", ports);
        },
        &[COMPOSE, "host port", "is published by service"],
    ),
    (
        "an image that is nowhere",
        // A registry that refuses connections: the tests ask no real one.
        |stack| {
            stack.example.edit(COMPOSE, |text| {
                let image = format!("    build: ./redis\n    image: {}-redis:1\n", stack.project);
                assert!(text.contains(&image));
                text.replace(&image, "    image: 127.0.0.1:1/nowhere:1\n")
            });
        },
        &["services.redis", "no such image 127.0.0.1:1/nowhere:1"],
    ),
];

#[test]
fn bad_input_is_said_before_anything_is_touched() {
    let stack = Stack::new("input");
    for (what, spoil, names) in CASES {
        spoil(&stack);
        let finished = refused(&stack, what, stack.run(&["run", "--tag", "v1"]));
        for name in *names {
            assert!(
                finished.stderr.contains(name),
                "{what}: no `{name}` in {finished}"
            );
        }
        stack.example.mend();
    }
    a_port_that_another_container_has(&stack);
    an_engine_that_cannot_be_reached(&stack);
    // It was not the example that was wrong.
    stack.run(&["check", "--tag", "v1"]).expect_code(0);
}

/// Exit code 3, one error, and nothing on the engine.
#[track_caller]
fn refused(stack: &Stack, what: &str, finished: Finished) -> Finished {
    assert_eq!(finished.code, Some(3), "{what}: {finished}");
    let errors = finished.stderr.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{what}: {finished}");
    assert!(!finished.stderr.contains("panicked"), "{what}: {finished}");
    let after = stack.snapshot();
    assert!(after.is_empty(), "{what}: {finished}\n{after:#?}");
    finished
}

fn a_port_that_another_container_has(stack: &Stack) {
    let name = format!("{}-neighbour", stack.project);
    let port = format!("127.0.0.1:{}:80", stack.port);
    let words = ["run", "--detach", "--name", &name, "--publish", &port];
    docker([&words[..], &["debian:trixie-slim", "sleep", "600"]].concat());
    let finished = stack.run(&["run", "--tag", "v1"]);
    docker(["rm", "--force", &name]);
    let finished = refused(stack, "a port that is taken", finished);
    finished.says("services.nginx.ports").says(&name);
    finished.says(&format!("host port {} is taken", stack.port));
}

fn an_engine_that_cannot_be_reached(stack: &Stack) {
    let mut command = stack.command(&["run", "--tag", "v1"]);
    command.env("DOCKER_HOST", "unix:///nonexistent.sock");
    let finished = refused(stack, "no engine", stack.start_command(&mut command).finish());
    finished.says("unix:///nonexistent.sock");

    // Named by a variable, and by Docker's own configuration file.
    let mut command = stack.command(&["run", "--tag", "v1"]);
    command
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONTEXT", "elsewhere");
    let finished = refused(stack, "a context", stack.start_command(&mut command).finish());
    finished.says("context `elsewhere`").says("DOCKER_CONTEXT");

    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".docker")).unwrap();
    let configuration = home.path().join(".docker/config.json");
    fs::write(configuration, r#"{"currentContext": "elsewhere"}"#).unwrap();
    let mut command = stack.command(&["run", "--tag", "v1"]);
    command.env_remove("DOCKER_HOST").env("HOME", home.path());
    let finished = refused(stack, "a context", stack.start_command(&mut command).finish());
    finished.says("context `elsewhere`").says("config.json");
}
