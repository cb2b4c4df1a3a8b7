//! The engine's daemon is restarted while a release is deployed, as an update of the system does it.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{OwnEngine, Running, Stack};

#[test]
fn the_daemon_is_restarted_during_a_deploy() {
    let stack = Stack::new("restarted");
    // A worker that has lost its broker does not end by itself, and the daemon waits for it.
    stack.example.edit("docker-compose.prod.yml", |text| {
        text.replace("stop_grace_period: 60s", "stop_grace_period: 10s")
    });
    for tag in ["v1", "v2"] {
        stack.run(&["build", "--tag", tag]).expect_code(0);
    }
    let mut own = OwnEngine::start();
    let images = stack.snapshot().images;
    own.load(&images.into_keys().collect::<Vec<_>>());

    let mut serves = "v1";
    for command in ["migrate", "collectstatic", "deploy"] {
        on(&stack, &own, &[command, "--tag", serves])
            .finish()
            .expect_code(0);
    }
    let settled = names(&own);
    for (live_restore, tag) in [(false, "v2"), (true, if serves == "v1" { "v2" } else { "v1" })] {
        // From now on the daemon knows what it is to do when it ends.
        own.restart(live_restore);
        served(&stack, &own, serves);

        let mut run = on(&stack, &own, &["deploy", "--tag", tag, "--output", "json"]);
        run.wait_until_half_way();
        own.restart(live_restore);
        let finished = run.finish();
        let said = format!("live-restore {live_restore}: {finished}");
        let last = finished.json_lines().pop().unwrap();
        // It came to an end that it knows, and what it says is what stands.
        assert!(matches!(finished.code, Some(0 | 6)), "{said}");
        if finished.code == Some(0) {
            serves = tag;
        }
        assert_eq!(last["release"], serves, "{said}");
        served(&stack, &own, serves);
        assert_eq!(names(&own), settled, "{said}");
        let status = on(&stack, &own, &["status", "--output", "json"])
            .finish()
            .expect_code(0)
            .json();
        assert!(
            status["unfinished_run"].is_null() && status["lock"].is_null(),
            "{status}"
        );
        assert_eq!(status["release"]["tag"], serves, "{status}");
    }
    // And the next one is deployed as if nothing had been.
    let tag = if serves == "v1" { "v2" } else { "v1" };
    on(&stack, &own, &["deploy", "--tag", tag])
        .finish()
        .expect_code(0);
    served(&stack, &own, tag);
    assert_eq!(names(&own), settled);
}

/// The program, on that engine.
fn on(stack: &Stack, own: &OwnEngine, words: &[&str]) -> Running {
    let typed = stack.command(words);
    let mut command = own.inside(typed.get_program());
    command
        .args(typed.get_args())
        .current_dir(stack.example.folder())
        .env_clear();
    command.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    stack.start_command(command.env("DOCKER_HOST", own.address()))
}

fn names(own: &OwnEngine) -> Vec<String> {
    let listed = own.docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Waits until this release answers: containers that the daemon starts again need a while.
#[track_caller]
fn served(stack: &Stack, own: &OwnEngine, tag: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let nginx = format!("{}-nginx-1", stack.project);
        let mut ask = Command::new("docker");
        ask.args([
            "--host",
            &own.address(),
            "exec",
            &nginx,
            "curl",
            "--silent",
            "--max-time",
            "10",
        ]);
        ask.args([
            "--header",
            "Host: viatique.example.com",
            "http://127.0.0.1/health/",
        ]);
        let answer = ask.output().unwrap();
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.contains(&format!("\"{tag}\"")) {
            return;
        }
        assert!(Instant::now() < deadline, "{tag} does not answer: {answer}");
        thread::sleep(Duration::from_millis(200));
    }
}
