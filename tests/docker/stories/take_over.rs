//! A stack that Compose itself started, as every stack was before this tool came: the first run takes it over.

use super::support::{Stack, text};

#[test]
fn a_stack_that_compose_started_is_taken_over() {
    let stack = Stack::new("taken");
    // With this tool's builder, whose cache the other stories fill; Compose then finds the images.
    stack.run(&["build", "--tag", "v1"]).expect_code(0);
    text(stack.compose("v1").args(["up", "--detach", "--no-build"]));
    for command in [
        &["python3", "manage.py", "migrate", "--no-input"][..],
        &["python3", "manage.py", "collectstatic", "--no-input"],
    ] {
        text(stack.compose("v1").args(["exec", "-T", "backend"]).args(command));
    }
    stack.wait_until_served();
    let before = stack.snapshot();

    let visitor = stack.poll();
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    visitor.stop().expect_only(&["v1", "v2"]);
    assert_eq!(stack.serves(), "v2");
    let after = stack.snapshot();
    // What holds data is the very container that Compose made, on the same volumes and networks.
    for service in ["db", "redis"] {
        assert_eq!(after.service(service), before.service(service));
    }
    for (network, id) in &before.networks {
        assert_eq!(after.networks.get(network), Some(id), "{network}");
    }
    for (volume, made) in &before.volumes {
        assert_eq!(after.volumes.get(volume), Some(made), "{volume}");
    }
    // Seven services and the ledger.
    assert_eq!(after.containers.len(), 8, "{after:#?}");

    // From here on it is as if it had never been otherwise.
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    assert_eq!(stack.snapshot().containers, after.containers);
}
