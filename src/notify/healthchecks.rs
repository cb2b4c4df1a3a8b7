//! healthchecks.io, hosted or not: `/start`, the address itself, `/fail`; a test is noted with `/log`, which changes nothing.
//! Its answer is read, too: to a check that it does not know it says 200.

use super::notice::{Notice, What};
use crate::app::deliver::Answer;

/// What the way of the check's address goes on with.
pub(super) const fn ending(notice: &Notice) -> Option<&'static str> {
    if notice.is_test {
        return Some("log");
    }
    match notice.what {
        What::Started => Some("start"),
        What::Succeeded | What::Degraded => None,
        What::Failed | What::Interrupted | What::RolledBack | What::Stuck => Some("fail"),
    }
}

/// Why an answer of 200 is none.
pub(super) fn denial(answer: &Answer) -> Option<(&'static str, bool)> {
    let body = answer.body.to_ascii_lowercase();
    if body.contains("not found") {
        Some(("it knows no such check", false))
    } else if body.contains("rate limited") {
        Some(("it has had too many pings", true))
    } else {
        None
    }
}
