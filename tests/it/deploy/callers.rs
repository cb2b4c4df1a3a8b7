//! Services that call others by their names, and are replaced in the same run.

use std::time::Duration;

use super::steered;
use crate::support::{FakeApp, ImageBehaviour, Stack};

/// The frontend renders pages on the server, and is up long before the backend.
fn rendering_on_the_server() -> Stack {
    let stack = Stack::viatique();
    stack.edit_compose(
        "    image: viatique-frontend:${RELEASE_TAG}\n",
        "    image: viatique-frontend:${RELEASE_TAG}\n    environment: { API: \"http://backend:8000\" }\n",
    );
    for tag in ["v1", "v2"] {
        stack.image_is(
            &format!("viatique-backend:{tag}"),
            ImageBehaviour::healthy_after(Duration::from_secs(20)),
        );
    }
    stack
}

#[tokio::test(start_paused = true)]
async fn a_new_caller_is_led_past_a_container_that_is_not_ready() {
    let stack = rendering_on_the_server();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(ended.warnings(), "");
    for seen in [&before, &stack.engine.peek()] {
        assert!(steered(&stack, seen.container("viatique-frontend-1")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_meanwhile_is_no_reason_for_a_warning() {
    let mut stack = rendering_on_the_server();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.app = FakeApp::unreachable();
    let ended = stack.run("v2").await;
    assert_eq!(ended.warnings(), "");
    let seen = stack.engine.peek();
    assert_eq!(seen.names(), before.names());
    for service in ["backend", "frontend"] {
        assert_eq!(seen.releases(service), ["v1"]);
    }
}
