//! A question that a command answers in a running container. What the answer means, and what its want, is its caller's
//! business.

use crate::engine::{Captured, ContainerId, Engine, ExecSpec};

/// What it prints; `None` where it fails or cannot be asked.
pub(super) async fn printed(
    engine: &dyn Engine,
    container: &ContainerId,
    command: &ExecSpec,
) -> Option<String> {
    let mut output = Captured::default();
    match engine.exec(container, command, None, &mut output).await {
        Ok(exit) if exit.success() => Some(output.stdout_text()),
        Ok(_) | Err(_) => None,
    }
}
