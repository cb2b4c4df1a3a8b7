//! An engine that is being restarted: its daemon is updated, its configuration changed. For some seconds nothing accepts
//! connections at its address. A request that was never sent can be sent later; so every call waits until the engine
//! listens again, for as long as [`super::TimeBudgets::restart`]. An engine that never answered is no engine: the first
//! call fails at once. A request that was under way is another matter: what came of it is not known, and it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::DockerEngine;
use super::environment::{Endpoint, Transport};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// For a connection to a host that says nothing at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What is known of the engine.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// It has answered once.
    was_there: AtomicBool,
    /// A connection was refused or lost, and no call has succeeded since.
    may_be_gone: AtomicBool,
}

impl Listening {
    /// A call came to its end, the engine's refusal included.
    pub(super) fn answered(&self) {
        self.was_there.store(true, Ordering::Relaxed);
        self.may_be_gone.store(false, Ordering::Relaxed);
    }

    /// A connection was refused or lost.
    pub(super) fn gone(&self) {
        self.may_be_gone.store(true, Ordering::Relaxed);
    }
}

impl DockerEngine {
    /// Returns once somebody listens at the engine's address; after so long also if not, and the call says so itself.
    pub(super) async fn until_it_listens(&self) {
        if !self.listening.was_there.load(Ordering::Relaxed) {
            return;
        }
        // A look at a socket of this machine costs nothing. At one of another it costs a round trip, and with TLS a line
        // in the daemon's log: only where there is reason to.
        let is_local = matches!(self.endpoint.transport, Transport::Unix { .. });
        if !is_local && !self.listening.may_be_gone.load(Ordering::Relaxed) {
            return;
        }
        let began = Instant::now();
        while !listens(&self.endpoint).await && began.elapsed() < self.budgets.restart {
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn listens(endpoint: &Endpoint) -> bool {
    match &endpoint.transport {
        Transport::Unix { path } => UnixStream::connect(path).await.is_ok(),
        Transport::Plain { authority } | Transport::Tls { authority, .. } => {
            matches!(
                timeout(CONNECT_WITHIN, TcpStream::connect(authority)).await,
                Ok(Ok(_))
            )
        }
    }
}
