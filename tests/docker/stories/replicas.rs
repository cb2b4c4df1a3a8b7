//! Several replicas of a service on a real engine: in batches, with no request lost and no more standing than may; and
//! a release that the kernel ends for want of memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use super::support::{Stack, docker};

#[test]
fn replicas_are_replaced_in_batches_and_taken_back() {
    let stack = Stack::new("replicas");
    in_threes(&stack);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    assert_eq!(running(&stack), 3);

    for (words, releases) in [
        (&["run", "--tag", "v2"][..], &["v1", "v2"][..]),
        (&["rollback"], &["v1", "v2"]),
    ] {
        let visitor = stack.poll();
        let watch = Watch::start(&stack);
        stack.run(words).expect_code(0);
        let (fewest, most) = watch.stop(3);
        visitor.stop().expect_only(releases);
        assert_eq!((fewest, most), (3, 4), "{words:?}");
        assert_eq!(running(&stack), 3);
    }

    // Two of three are in service when the worker is killed: all three come back.
    stack.example.append(
        "backend/viatique/celery.py",
        "\nimport sys\nif \"worker\" in sys.argv:\n    import time\n    time.sleep(8)\n    filled = b\"x\" * 2**30\n",
    );
    let before = stack.snapshot();
    let visitor = stack.poll();
    let watch = Watch::start(&stack);
    let finished = stack.run(&["run", "--tag", "v3"]).expect_code(6);
    let (fewest, most) = watch.stop(3);
    let answers = visitor.stop();
    assert!(answers.failures.is_empty(), "{answers:?}: {finished}");
    finished
        .says("deploying celery_worker")
        .says("the kernel killed it for want of memory")
        .says("deploy.resources.limits.memory");
    assert_eq!(stack.serves(), "v1");
    assert_eq!(stack.snapshot().standing(), before.standing());
    assert!(fewest >= 3 && most <= 4, "{fewest} to {most}: {finished}");
}

/// A backend of three replicas, one more at a time.
fn in_threes(stack: &Stack) {
    stack.example.replace(
        "docker-compose.prod.yml",
        "    networks: [front, back]\n",
        "    networks: [front, back]\n    scale: 3\n",
    );
}

fn running(stack: &Stack) -> usize {
    docker([&["ps", "--quiet"][..], &of_backend(stack)].concat())
        .lines()
        .count()
}

fn of_backend(stack: &Stack) -> [&'static str; 4] {
    // The words live as long as the test process; there are few.
    let project = format!("label=com.docker.compose.project={}", stack.project).leak();
    [
        "--filter",
        project,
        "--filter",
        "label=com.docker.compose.service=backend",
    ]
}

/// `docker events`, heard from start to end: what the engine remembers afterwards is too little.
struct Watch {
    events: Child,
    heard: JoinHandle<Vec<bool>>,
}

impl Watch {
    fn start(stack: &Stack) -> Self {
        let mut events = Command::new("docker")
            .args(["events", "--format", "{{.Action}}", "--filter", "event=start"])
            .args([
                "--filter",
                "event=die",
                "--filter",
                "label=com.docker.compose.oneoff=False",
            ])
            .args(of_backend(stack))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let heard = thread::spawn(move || lines.map(|line| line.unwrap() == "start").collect());
        Self { events, heard }
    }

    /// How many ran at the least and at the most, where so many ran at first.
    fn stop(mut self, first: usize) -> (usize, usize) {
        self.events.kill().unwrap();
        self.events.wait().unwrap();
        let mut now = first;
        let (mut fewest, mut most) = (first, first);
        for started in self.heard.join().unwrap() {
            now = if started { now + 1 } else { now - 1 };
            fewest = fewest.min(now);
            most = most.max(now);
        }
        (fewest, most)
    }
}
