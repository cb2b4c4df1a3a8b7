//! Runs that do not get to their end: stopped by nginx's test, by the lock, by the operator, by a kill; and how those
//! that were killed are finished, forward and back.

use super::support::{Stack, ask};

#[test]
fn runs_that_are_stopped() {
    let stack = Stack::new("stopped");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    a_broken_proxy_configuration(&stack);
    locked_and_interrupted(&stack);
    killed_and_resumed(&stack);
    killed_and_rolled_back(&stack);
}

/// On disk, where nginx would read it at the end of the deploy.
fn a_broken_proxy_configuration(stack: &Stack) {
    let before = stack.snapshot();
    stack
        .example
        .append("nginx/conf.d/viatique.conf", "\nbroken_on_purpose;\n");
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(1);
    visitor.stop().expect_only(&["v1"]);
    finished.says("nginx").says("broken_on_purpose");
    let after = stack.snapshot();
    // Not even started again.
    assert_eq!(after.containers, before.containers);
    assert_eq!(after.standing(), before.standing());
    stack.example.mend();
}

/// A second run finds the first one's lock; the first is then stopped with Ctrl-C while it replaces containers.
fn locked_and_interrupted(stack: &Stack) {
    let before = stack.snapshot();
    let visitor = stack.poll();
    let mut first = stack.start(&["run", "--tag", "v2", "--output", "json"]);
    first.wait_for_event("its first step", |event| event["event"] == "step_started");
    let second = stack.run(&["run", "--tag", "v3"]).expect_code(4);
    second
        .says("is locked by")
        .says(&format!("process {}", first.process()));
    first.wait_until_half_way();
    first.signal("INT");
    let first = first.finish().expect_code(130);
    let last = first.json_lines().pop().unwrap();
    assert_eq!(last["outcome"], "interrupted", "{last}");
    assert_eq!(last["release"], "v1", "{last}");
    let answers = visitor.stop();
    assert!(answers.failures.is_empty(), "{answers:?}");
    assert_eq!(stack.serves(), "v1");
    assert_eq!(stack.snapshot().standing(), before.standing());
}

/// Nothing can be put back by a process that was killed. A run of anything else is refused until it is finished.
fn killed(stack: &Stack, tag: &str) {
    let mut run = stack.start(&["run", "--tag", tag, "--output", "json"]);
    run.wait_until_half_way();
    run.signal("KILL");
    assert_eq!(run.finish().code, None);
    ask(stack.port).expect("half-way between two releases, one of them serves");
    let status = stack.run(&["status"]).expect_code(0);
    let unfinished = format!("unfinished: run of {tag}, begun ");
    for said in [
        &unfinished,
        "stopped at deploy",
        "viatique-deploy resume",
        "viatique-deploy rollback",
    ] {
        assert!(status.stdout.contains(said), "`{said}` is not in {status}");
    }
    let unlocked = stack.run(&["unlock"]).expect_code(0);
    assert!(unlocked.stdout.contains("its process is gone"), "{unlocked}");
    let stood = stack.snapshot();
    let refused = stack.run(&["run", "--tag", "v9"]).expect_code(4);
    refused
        .says("stopped at deploy and never finished")
        .says("viatique-deploy resume")
        .says("viatique-deploy rollback");
    assert_eq!(stack.snapshot().standing(), stood.standing());
}

fn killed_and_rolled_back(stack: &Stack) {
    let before = stack.snapshot();
    killed(stack, "v3");
    let visitor = stack.poll();
    stack.run(&["rollback"]).expect_code(0).says("never finished");
    let answers = visitor.stop();
    assert!(answers.failures.is_empty(), "{answers:?}");
    assert_eq!(stack.serves(), "v2");
    assert_eq!(stack.snapshot().standing(), before.standing());
}

fn killed_and_resumed(stack: &Stack) {
    let before = stack.snapshot();
    killed(stack, "v2");
    let visitor = stack.poll();
    let finished = stack.run(&["resume"]).expect_code(0);
    let answers = visitor.stop();
    assert!(answers.failures.is_empty(), "{answers:?}");
    finished.says("never finished");
    assert_eq!(stack.serves(), "v2");
    let after = stack.snapshot();
    let names: Vec<&String> = after.containers.keys().collect();
    assert_eq!(names, before.containers.keys().collect::<Vec<_>>());
    assert_eq!(after.networks, before.networks);
    assert_eq!(after.volumes, before.volumes);
    for service in ["backend", "celery_beat", "celery_worker", "frontend"] {
        assert_eq!(after.service(service).release.as_deref(), Some("v2"), "{service}");
        assert_eq!(after.service(service).state, "running", "{service}");
    }
}
