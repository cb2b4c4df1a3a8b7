//! The signs of life of a run: that it lives, while it holds the lock, and that the lock is still its own.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::ledger::Ledger;
use crate::lock::{BEAT, Lock};
use crate::pipeline::{Event, Events};
use crate::release::RunId;

/// An engine that takes longer to say whose a lock is, is away.
const AWAY: Duration = Duration::from_secs(5);

/// Every so often, until it is dropped. A sign that could not be given is missing, and the next one is tried.
pub(super) async fn give_signs_of_life(
    engine: &dyn Engine,
    ledger: &Ledger<'_>,
    lock: &Lock,
    run: &RunId,
    forbid: &watch::Sender<bool>,
    events: &Events,
) -> Infallible {
    loop {
        tokio::time::sleep(BEAT).await;
        if let Ok(false) = told_if_away(events, lock.is_ours(engine)).await {
            forbid.send_replace(true);
            return std::future::pending().await;
        }
        if let Err(error) = ledger.beat(run).await {
            tracing::debug!(%error, "a sign of life could not be given");
        }
    }
}

/// Says so where the engine lets a call wait: it is being restarted, or cannot be reached any more.
async fn told_if_away<T>(events: &Events, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    let began = Instant::now();
    tokio::select! {
        biased;
        answer = &mut call => return answer,
        () = tokio::time::sleep(AWAY) => {}
    }
    let warn = |message: String| {
        events.emit(Event::Warning { message, hint: None });
    };
    warn(format!(
        "the engine has not answered for {} s; what is being done waits for it",
        AWAY.as_secs()
    ));
    let answer = call.await;
    warn(format!(
        "the engine answered after {} s",
        began.elapsed().as_secs()
    ));
    answer
}
