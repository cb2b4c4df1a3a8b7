//! The time of day, as a port: records carry it, and tests fix it. Durations are measured with tokio's clock.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A duration as records and programs get it: in seconds, to the millisecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Tells the time of day.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> OffsetDateTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// As records carry it: RFC 3339 in whole seconds, UTC.
pub fn timestamp(time: OffsetDateTime) -> String {
    let seconds = time.to_offset(time::UtcOffset::UTC).truncate_to_second();
    // RFC 3339 fails only for years outside 0..=9999, which no clock of a working machine gives.
    seconds
        .format(&Rfc3339)
        .unwrap_or_else(|_| seconds.unix_timestamp().to_string())
}
