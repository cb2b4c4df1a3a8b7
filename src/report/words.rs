//! How the report says things: moments, durations, signs and words for how something went. A sign and a word always go
//! together, so that nothing is told by colour alone.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::markup::Markup;
use crate::pipeline::{Outcome, StepId, StepResult, UnwindResult, Verdict};
use crate::release::checks::{CheckOutcome, CheckVerdict};

/// How well something went, as a colour shows it beside its sign and word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Warning,
    Faint,
    Undone,
}

impl Tone {
    /// The class that the stylesheet knows.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warning => "warning",
            Self::Faint => "faint",
            Self::Undone => "undone",
        }
    }
}

/// A sign and a word with their tone.
pub(super) type Said = (Tone, &'static str, &'static str);

/// Writes the sign and the word.
pub(super) fn badge(page: &mut Markup, (tone, sign, word): Said) {
    page.element("span", &[("class", tone.class())], |inner| {
        inner.worded("span", &[("class", "sign"), ("aria-hidden", "true")], sign);
        inner.text(" ");
        inner.text(word);
    });
}

pub(super) const fn outcome(outcome: Outcome) -> Said {
    match outcome {
        Outcome::Succeeded => (Tone::Good, "✔", "succeeded"),
        Outcome::Failed => (Tone::Bad, "✘", "failed"),
        Outcome::RolledBack => (Tone::Bad, "↩", "failed and was taken back"),
        Outcome::Stuck => (Tone::Bad, "✘", "is stuck"),
        Outcome::Interrupted => (Tone::Warning, "–", "was interrupted"),
    }
}

/// What a step came to; where it only looks, that nothing was changed is no news.
pub(super) const fn step(step: StepId, result: StepResult) -> Said {
    match result {
        StepResult::Unchanged if step.only_looks() => (Tone::Good, "✔", "done"),
        StepResult::Succeeded => (Tone::Good, "✔", "done"),
        StepResult::Failed => (Tone::Bad, "✘", "failed"),
        StepResult::Unchanged => (Tone::Good, "✔", "nothing to do"),
        StepResult::NotRun => (Tone::Faint, "–", "not reached"),
        StepResult::Interrupted => (Tone::Warning, "–", "interrupted"),
        StepResult::Warned => (Tone::Warning, "!", "warning"),
        StepResult::NotVerified => (Tone::Warning, "?", "not verified"),
    }
}

pub(super) const fn unwound(result: Option<UnwindResult>) -> Said {
    match result {
        Some(UnwindResult::Reverted) => (Tone::Undone, "↩", "put back"),
        Some(UnwindResult::NothingToDo) => (Tone::Faint, "✔", "nothing to put back"),
        Some(UnwindResult::LeftInPlace) => (Tone::Warning, "–", "left in place"),
        Some(UnwindResult::Failed) => (Tone::Bad, "✘", "could not be put back"),
        None => (Tone::Bad, "✘", "was never put back to its end"),
    }
}

pub(super) const fn check(outcome: &CheckOutcome) -> Said {
    match outcome.verdict {
        CheckVerdict::Passed => (Tone::Good, "✔", "passed"),
        CheckVerdict::Failed if outcome.blocks => (Tone::Bad, "✘", "failed"),
        CheckVerdict::Failed => (Tone::Warning, "!", "warning"),
        CheckVerdict::NotVerified if outcome.blocks => (Tone::Bad, "?", "not verified"),
        CheckVerdict::NotVerified => (Tone::Warning, "?", "not verified"),
        CheckVerdict::Waived => (Tone::Warning, "!", "waived"),
        CheckVerdict::Skipped => (Tone::Faint, "–", "skipped"),
    }
}

pub(super) const fn verdict(verdict: Verdict) -> Said {
    match verdict {
        Verdict::Good => (Tone::Good, "✔", "good"),
        Verdict::Bad => (Tone::Bad, "✘", "bad"),
        Verdict::Inconclusive => (Tone::Warning, "?", "inconclusive, which is not good"),
    }
}

/// What an exit code means to whoever has got it.
pub(super) const fn exit_code(code: u8) -> &'static str {
    match code {
        0 => "done",
        1 => "failed; production is as it was",
        2 => "the command line could not be understood",
        3 => "something is wrong with the configuration",
        4 => "another run held the lock, or one had stopped half-way",
        5 => "a gate said no",
        6 => "deployed, then taken back by itself",
        7 => "stuck: a person is needed",
        70 => "a bug in viatique-deploy",
        130 => "interrupted, and put back",
        _ => "of a newer version",
    }
}

/// `3 min 12 s`, of seconds. What is no duration is none.
pub(super) fn took(seconds: f64) -> String {
    crate::ui::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `85 ms`, `1.2 s`, of seconds.
pub(super) fn answer_time(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    if !milliseconds.is_finite() {
        "?".to_owned()
    } else if milliseconds <= 0.0 {
        "0".to_owned()
    } else if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 1000.0 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds < 10_000.0 {
        format!("{:.1} s", milliseconds / 1000.0)
    } else {
        format!("{:.0} s", milliseconds / 1000.0)
    }
}

/// `2026-11-29 10:00:02 UTC`; what is no moment, as it stands.
pub(super) fn moment(text: &str) -> String {
    match parsed(text) {
        Some(moment) => moment
            .format(format_description!(
                "[year]-[month]-[day] [hour]:[minute]:[second] UTC"
            ))
            .unwrap_or_else(|_| text.to_owned()),
        None => text.to_owned(),
    }
}

/// The moment, in UTC.
pub(super) fn parsed(text: &str) -> Option<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(moment.to_offset(time::UtcOffset::UTC))
}

/// `10:05`, or `10:05:30`.
pub(super) fn clock(moment: OffsetDateTime, with_seconds: bool) -> String {
    let format: &[_] = if with_seconds {
        format_description!("[hour]:[minute]:[second]")
    } else {
        format_description!("[hour]:[minute]")
    };
    moment.format(format).unwrap_or_default()
}

/// `1 check`, `3 checks`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `12 400`, in groups of three.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            // A narrow space that does not break.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc_with_it_said() {
        assert_eq!(moment("2026-11-29T11:00:02.5+01:00"), "2026-11-29 10:00:02 UTC");
        assert_eq!(moment("yesterday"), "yesterday");
    }

    #[test]
    fn absurd_values_are_told_and_break_nothing() {
        assert_eq!(took(f64::NAN), "0.0 s");
        assert_eq!(took(-3.0), "0.0 s");
        assert_eq!(answer_time(f64::INFINITY), "?");
        for (seconds, expected) in [
            (0.0, "0"),
            (0.0004, "0.4 ms"),
            (0.085, "85 ms"),
            (1.23, "1.2 s"),
            (61.0, "61 s"),
        ] {
            assert_eq!(answer_time(seconds), expected);
        }
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(7), "7");
    }
}
