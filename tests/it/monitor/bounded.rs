//! An hour of logs at 500 lines a second: what is kept of them is counted.

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
fn an_hour_of_logs_leaves_no_more_than_a_minute() {
    const LINES: u64 = 1_800_000;
    let format = LogFormat::combined();
    let (mut watched, mut errors, mut reader) =
        (Watched::default(), Errors::default(), ErrorReader::default());
    let (mut pages, mut kept) = (Vec::new(), Vec::new());
    for number in 0..LINES {
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
        if number == LINES / 60 || number == LINES - 1 {
            let of = |traffic: &Traffic| traffic.pages.len();
            pages.push(of(&watched.all) + of(&watched.recent()));
            kept.push(errors.kept());
        }
    }
    assert_eq!(watched.all.requests(), LINES / 10 * 9);
    assert_eq!(pages, [1002, 1002]);
    assert_eq!(kept, [500, 500]);
    let (told, beside) = errors.told(OffsetDateTime::UNIX_EPOCH);
    assert_eq!((told.len(), beside), (20, 481));
}
