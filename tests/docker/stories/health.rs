//! Health on real Celery: a worker and a beat that run, look well to the engine, and do nothing, and an answer of another
//! release.

use std::time::{Duration, Instant};

use super::support::{Stack, docker};

#[test]
fn what_runs_and_does_nothing_is_found() {
    let stack = Stack::new("health");
    stack
        .example
        .replace("deploy.yml", "timeout: 60s", "timeout: 10s");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    let well = stack.run(&["health"]).expect_code(0);
    well.says("celery_worker ping: done: answers a ping")
        .says("celery_beat ticks: done: ");
    let beat = format!("{}-celery_beat-1", stack.project);
    docker(["kill", "--signal", "STOP", &beat]);
    a_worker(&stack);
    a_release(&stack);
    // Its last task was sent within the last 30 s; it is given a minute.
    let began = Instant::now();
    let found = loop {
        let finished = stack.run(&["health"]);
        if finished.to_string().contains("does not tick") || began.elapsed() > Duration::from_secs(180) {
            break finished;
        }
    };
    found
        .expect_code(5)
        .says(&format!("{beat} runs, and does not tick: it "))
        .says("s ago, and heartbeat should have been sent since")
        .says(&format!("docker restart {beat}"));
    docker(["kill", "--signal", "CONT", &beat]);
}

fn a_worker(stack: &Stack) {
    let worker = format!("{}-celery_worker-1", stack.project);
    docker(["kill", "--signal", "STOP", &worker]);
    stack.run(&["health"]).expect_code(5).says("celery_worker");
    docker(["kill", "--signal", "CONT", &worker]);
}

/// As of a container that was replaced, and is still reached.
fn a_release(stack: &Stack) {
    stack
        .example
        .replace("deploy.yml", "release: release\n", "release: status\n");
    stack
        .run(&["health"])
        .expect_code(5)
        .says("says status: \"healthy\" instead of \"v1\"");
    stack
        .example
        .replace("deploy.yml", "release: status\n", "release: release\n");
}
