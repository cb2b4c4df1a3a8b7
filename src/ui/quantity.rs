//! Durations and sizes as people read them. Nothing here is meant to be parsed; machines get seconds and bytes.

use std::time::Duration;

/// Returns `0.4 s`, `42 s`, `3 min 12 s`, `1 h 02 min`.
pub fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 100 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = (duration.as_millis() + 500) / 1000;
    if seconds < 60 {
        format!("{seconds} s")
    } else if seconds < 3600 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
    }
}

/// Returns the same, or nothing where it took no time worth a word.
pub(super) fn notable_duration(taken: Duration) -> Option<String> {
    if taken < Duration::from_millis(50) {
        None
    } else {
        Some(duration(taken))
    }
}

/// Returns the time something has been running for, in whole seconds, so that it does not flicker.
pub(super) fn running_for(elapsed: Duration) -> String {
    if elapsed.as_secs() < 10 {
        return format!("{} s", elapsed.as_secs());
    }
    duration(Duration::from_secs(elapsed.as_secs()))
}

/// Returns `512 B`, `3.4 kB`, `120 MB`, `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 0;
    // In tenths of the unit, rounded down: 1000 kB is never shown.
    let mut tenths = count / 100;
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or("B");
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", tenths / 10)
    }
}
