//! The contract suite on the simulated engine.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Ground, contract_tests};
use crate::support::{FakeCommand, FakeEngine, FakeOutput, ImageBehaviour};

async fn on_fake<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Ground) -> F) {
    let engine = FakeEngine::new()
        .with_image("plain:1", ImageBehaviour::running())
        .with_image(
            "healthy:1",
            ImageBehaviour::healthy_after(Duration::from_millis(100)),
        )
        .with_image("unhealthy:1", ImageBehaviour::never_healthy("not well\n"))
        .with_image(
            "exiting:1",
            ImageBehaviour::exits(3).logging(&["one", "two", "three"]),
        )
        .with_image(
            "crashing:1",
            ImageBehaviour::crash_loops(3).logging(&["one", "two", "three"]),
        )
        .with_commands(as_busybox_would);
    let ground = Ground {
        engine: Arc::new(engine),
        project: name.replace('_', "-"),
        plain: FakeEngine::image_id("plain:1"),
        plain_reference: "plain:1".to_owned(),
        healthy: FakeEngine::image_id("healthy:1"),
        unhealthy: FakeEngine::image_id("unhealthy:1"),
        exiting: FakeEngine::image_id("exiting:1"),
        crashing: FakeEngine::image_id("crashing:1"),
    };
    test(ground).await;
}

fn as_busybox_would(command: &FakeCommand) -> FakeOutput {
    match command.line().as_str() {
        "true" | "sh -c true" => FakeOutput::silent(),
        "false" => FakeOutput::silent().exits(1),
        "cat" => FakeOutput::stdout(command.input.clone()),
        "sh -c exit 127" => FakeOutput::silent().exits(127),
        "sh -c echo $GREETING" => FakeOutput::stdout(format!("{}\n", command.environment["GREETING"])),
        "sh -c echo out; echo err >&2; exit 3" => FakeOutput::stdout("out\n").and_stderr("err\n").exits(3),
        "no-such-command" => FakeOutput::missing(),
        other => panic!("the contract runs a command that is not scripted: {other}"),
    }
}

contract_tests!(on_fake);
