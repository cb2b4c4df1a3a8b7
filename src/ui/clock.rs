//! What time it is, so that tests of throttling and of elapsed times need not wait. Measures nothing by itself.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Tells the time to reporters.
pub trait Clock: Send + Sync {
    /// Returns the time of day, for timestamps.
    fn now(&self) -> OffsetDateTime;

    /// Returns the time since the clock was made; it never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts counting now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
