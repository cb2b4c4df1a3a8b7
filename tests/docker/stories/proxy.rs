//! A release with another nginx: it is made in full beforehand, its configuration is tested, and how long its port was
//! free is said.

use super::support::Stack;

#[test]
fn another_nginx_takes_the_port_over_and_the_gap_is_said() {
    let stack = Stack::new("proxy");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    let before = stack.snapshot();

    stack.example.append("nginx/Dockerfile", "LABEL changed=1\n");
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(0);
    let answers = visitor.stop();
    let gap = finished
        .stderr
        .split_once("its port was free for ")
        .map(|(_, rest)| rest);
    let (milliseconds, _) = gap.unwrap().split_once(" ms").unwrap();
    assert!(milliseconds.parse::<u64>().is_ok(), "{finished}");
    // Nobody listened for a moment; who was answered was answered well.
    for failure in &answers.failures {
        assert!(
            failure.contains("connecting: ") || failure.starts_with("no answer"),
            "{failure}: {finished}"
        );
    }
    let after = stack.snapshot();
    assert_ne!(after.service("nginx").image, before.service("nginx").image);
    assert_eq!(stack.serves(), "v2");

    // The port is its own again after a way back, too.
    stack.example.append("nginx/Dockerfile", "LABEL changed=2\n");
    stack.example.replace("deploy.yml", "timeout: 60s", "timeout: 3s");
    stack
        .example
        .replace("deploy.yml", "redis: connected }", "redis: broken on purpose }");
    stack.run(&["run", "--tag", "v3"]).expect_code(6).says("nginx");
    assert_eq!(stack.serves(), "v2");
    let back = stack.snapshot();
    assert_eq!(back.service("nginx").image, after.service("nginx").image);
    // The ids of what could not stay differ; what stands does not.
    assert_eq!(
        back.containers.keys().collect::<Vec<_>>(),
        after.containers.keys().collect::<Vec<_>>()
    );
}
