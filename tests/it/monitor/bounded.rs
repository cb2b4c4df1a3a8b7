//! Logs at 500 lines a second, for an hour: what is kept of them is counted.

use std::time::Duration;

use time::OffsetDateTime;
use viatique_deploy::pipeline::News;
use viatique_deploy::stack::logged_errors::ErrorReader;
use viatique_deploy::stack::nginx::LogFormat;
use viatique_deploy::steps::monitor::errors::Errors;
use viatique_deploy::steps::monitor::traffic::{Traffic, Watched};

/// Words without a digit, so that no two are taken for the same page or error.
fn word(number: u64) -> String {
    let digits = number.to_string();
    digits.bytes().map(|byte| char::from(byte + 50)).collect()
}

#[test]
fn six_minutes_of_logs_leave_no_more_than_one() {
    feed(180_000);
}

#[test]
#[ignore = "minutes in a build without optimisation: cargo test --release --test it bounded -- --ignored"]
fn an_hour_of_logs_leaves_no_more_than_a_minute() {
    feed(1_800_000);
}

/// So many lines, 500 a second.
fn feed(lines: u64) {
    let format = LogFormat::combined();
    let (mut watched, mut errors, mut reader) =
        (Watched::default(), Errors::default(), ErrorReader::default());
    let (mut pages, mut kept) = (Vec::new(), Vec::new());
    for number in 0..lines {
        let after = Duration::from_millis(2 * number);
        // Of ten lines nine are requests, of pages that are always others.
        if number % 10 < 9 {
            let line = format!(
                "10.0.0.9 - - [01/Jan/2026:00:00:00 +0000] \"GET /{}/{number}/ HTTP/1.1\" 200 12 \"-\" \"-\" 0.{:03}",
                word(number % 20_000),
                number % 1000
            );
            watched.add(&format.read(&line).unwrap(), after);
        } else if let Some(error) = reader.line(&format!("ERROR app: {} {number}", word(number))) {
            let at = OffsetDateTime::UNIX_EPOCH + after;
            errors.add("backend", error, at, News::New, true);
        }
        if number == 30_000 || number == lines - 1 {
            let of = |traffic: &Traffic| traffic.pages.len();
            pages.push(of(&watched.all) + of(&watched.recent()));
            kept.push(errors.kept());
        }
    }
    assert_eq!(watched.all.requests(), lines / 10 * 9);
    // Of all of the time, and of four slices of late; each has one more for the further ones.
    let most = 501 + 4 * 501;
    assert!(pages.iter().all(|kept| *kept <= most), "{pages:?}");
    assert_eq!(kept, [500, 500]);
    let (told, beside) = errors.told(OffsetDateTime::UNIX_EPOCH);
    assert_eq!((told.len(), beside), (20, 481));
}
