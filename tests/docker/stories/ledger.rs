//! A ledger that somebody pruned, one that is full, and one that cannot be written: what is said, and that nothing is
//! touched.

use super::support::{Container, Stack, docker};

#[test]
fn a_ledger_that_is_lost_full_or_read_only() {
    let stack = Stack::new("ledger");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    lost(&stack);
    full_and_read_only(&stack);
}

fn ledger(stack: &Stack) -> String {
    format!("viatique-deploy-ledger-{}", stack.project)
}

/// Every container of a service, as it stands.
fn services(stack: &Stack) -> Vec<Container> {
    let containers = stack.snapshot().containers.into_values();
    containers.filter(|one| one.service.is_some()).collect()
}

/// `docker system prune --volumes`, with Docker before 23.
fn prune(stack: &Stack) {
    docker(["rm", &ledger(stack)]);
    docker(["volume", "rm", &ledger(stack)]);
}

fn lost(stack: &Stack) {
    let before = services(stack);
    prune(stack);
    let status = stack.run(&["status"]).expect_code(0);
    assert!(
        status.stdout.contains("release v2, running since") && status.stdout.contains("the ledger was lost"),
        "{status}"
    );
    let releases = stack.run(&["releases", "--output", "json"]).expect_code(0).json();
    let tags: Vec<&str> = releases["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["tag"].as_str().unwrap())
        .collect();
    assert_eq!(tags, ["v2", "v1"], "{releases}");
    stack
        .run(&["rollback"])
        .expect_code(3)
        .says("which release came before v2 is not known; known: v2, v1")
        .says("viatique-deploy rollback --to <TAG>");
    assert_eq!(services(stack), before);
    let visitor = stack.poll();
    stack
        .run(&["rollback", "--to", "v1"])
        .expect_code(0)
        .says("the ledger of");
    visitor.stop().expect_only(&["v1", "v2"]);
    assert_eq!(stack.serves(), "v1");
    let status = stack.run(&["status", "--output", "json"]).json();
    assert_eq!(status["release"]["rebuilt"], false, "{status}");
}

/// On a file system of its own, which stays mounted and can be filled.
struct Confined<'a> {
    stack: &'a Stack,
    holder: String,
}

impl<'a> Confined<'a> {
    fn ledger_of(stack: &'a Stack) -> Self {
        let label = format!("viatique-deploy.project={}", stack.project);
        docker([
            "volume",
            "create",
            "--label",
            &label,
            "--driver",
            "local",
            "--opt",
            "type=tmpfs",
            "--opt",
            "device=tmpfs",
            "--opt",
            "o=size=256k",
            &ledger(stack),
        ]);
        let mount = format!("{}:/data", ledger(stack));
        let image = format!("{}-redis:1", stack.project);
        let label = format!("viatique-deploy.project={}", stack.project);
        let holder = docker([
            "run",
            "--detach",
            "--privileged",
            "--label",
            &label,
            "--volume",
            &mount,
            "--entrypoint",
            "sleep",
            &image,
            "600",
        ]);
        Self { stack, holder }
    }

    fn tell(&self, line: &str) {
        docker(["exec", "--user", "0", &self.holder, "sh", "-c", line]);
    }
}

impl Drop for Confined<'_> {
    fn drop(&mut self) {
        docker(["rm", "--force", &self.holder]);
        let ledger = ledger(self.stack);
        // Where nothing has opened it there is no such container.
        let _ = std::process::Command::new("docker")
            .args(["rm", "--force", &ledger])
            .output();
        docker(["volume", "rm", &ledger]);
    }
}

fn full_and_read_only(stack: &Stack) {
    prune(stack);
    let confined = Confined::ledger_of(stack);
    confined.tell("cat /dev/zero > /data/filler; true");
    let before = services(stack);
    stack
        .run(&["run", "--tag", "v2"])
        .expect_code(1)
        .says("no space left on device")
        .says("hint: make room");
    assert_eq!(services(stack), before);
    assert_eq!(stack.serves(), "v1");
    assert!(
        stack
            .run(&["status"])
            .expect_code(0)
            .stdout
            .contains("release v1")
    );
    // Not locked, not unfinished: with room again the same command does it.
    confined.tell("rm /data/filler");
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    assert_eq!(stack.serves(), "v2");

    // It fills up while a run is under way: what was begun is taken back, and what cannot be told is said.
    confined.tell("cat /dev/zero > /data/filler; true");
    let before = services(stack);
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v3"]);
    let answers = visitor.stop();
    assert_eq!(finished.code, Some(1), "{finished}");
    assert!(answers.failures.is_empty(), "{answers:?}");
    finished.says("no space left on device");
    assert_eq!(services(stack), before);

    // And the same where it may not be written, which is not found out until then either.
    confined.tell("rm /data/filler; mount -o remount,ro /data");
    let refused = stack.run(&["run", "--tag", "v3"]).expect_code(1);
    refused.says("read-only file system").says("hint: make room");
    assert_eq!(services(stack), before);
    assert!(
        stack
            .run(&["status"])
            .expect_code(0)
            .stdout
            .contains("release v2")
    );
    confined.tell("mount -o remount,rw /data");
    stack.run(&["run", "--tag", "v3"]).expect_code(0);
}
