//! The report in a real, headless Chromium: what somebody sees who opens it, at their desk, on a phone at night, on paper.
//! Fails where there is no Chromium: a page that nobody has looked at is not known to be right.
//!
//! With `REPORT_PICTURES=<FOLDER>` the pictures stay there, to be looked at.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by ending"
)]

mod chromium;
mod sample;

use viatique_deploy::account::Account;
use viatique_deploy::report::{OtherRun, Report, Told, page};

use chromium::{Chromium, Colours, Seen};
use sample::{FOREIGN, checklist, good, release, series, tag, taken_back};

fn of(account: &Account) -> String {
    let release = release();
    let went_well = account.run == release.run;
    page(&Report {
        project: &account.project,
        tag: &account.release,
        run: Some(&account.run),
        told: Told::Known(account),
        release: went_well.then_some(&release),
        checklist: Ok(went_well.then(checklist)),
        serves: Some(&release),
        others: vec![OtherRun {
            run: taken_back().run,
            command: "run".to_owned(),
            release: Some(tag("v42")),
            started_at: "2026-11-29T20:11:00Z".to_owned(),
            started_by: FOREIGN.to_owned(),
            outcome: Some(viatique_deploy::pipeline::Outcome::RolledBack),
            exit_code: Some(6),
            error: Some("release v42 is bad: /print/:n/".to_owned()),
        }],
        made_at: "2026-11-29T22:14:50Z".to_owned(),
    })
}

/// What must hold of every page, at every width.
#[track_caller]
fn is_well(seen: &Seen, width: u32) {
    assert_eq!(seen.complaints, Vec::<String>::new(), "the browser complains");
    assert_eq!(seen.fetched, 0, "something was fetched");
    assert!(
        seen.scroll_width <= width,
        "{} pixels wide in {width}: {:?}",
        seen.scroll_width,
        seen.too_wide
    );
    assert_eq!(seen.scripts, 0, "what others wrote has become a script");
    assert_eq!(seen.pictures, 0, "what others wrote has become a picture");
    assert!(
        seen.smallest_letters >= 10.0,
        "letters of {} pixels",
        seen.smallest_letters
    );
}

#[test]
fn it_fits_a_phone_and_a_desk_by_day_and_by_night() {
    let chromium = Chromium::found();
    for (name, account) in [("good", good()), ("taken-back", taken_back())] {
        let html = of(&account);
        for width in [360, 1280] {
            let day = chromium.look(&html, width, Colours::Light);
            let night = chromium.look(&html, width, Colours::Dark);
            is_well(&day, width);
            is_well(&night, width);
            assert!(
                day.brightness > 0.9 && night.brightness < 0.2,
                "{day:?} {night:?}"
            );
            let day = chromium.picture(
                &html,
                width,
                day.height,
                Colours::Light,
                &format!("{name}-{width}-day"),
            );
            let night = chromium.picture(
                &html,
                width,
                night.height,
                Colours::Dark,
                &format!("{name}-{width}-night"),
            );
            assert_ne!(day, night, "night looks like day");
            // A page with nothing on it is packed to next to nothing.
            assert!(
                day.len() > 40_000 && night.len() > 40_000,
                "{} {}",
                day.len(),
                night.len()
            );
        }
    }
}

#[test]
fn it_prints_with_all_that_is_folded_opened() {
    let chromium = Chromium::found();
    let html = of(&good());
    let folded = chromium.look(&html, 1280, Colours::Light);
    assert!(!folded.text.contains("ValueError"), "of another run");
    let printed = chromium.print(&html, "good");
    let pages = printed
        .windows(11)
        .filter(|window| window == b"/Type /Page")
        .count();
    assert!((3..=12).contains(&pages), "{pages} pages");
    let flat = html
        .replace("<details>", "<details open>")
        .replace("<details class=\"screen-only\">", "<div hidden>");
    let opened = chromium.print(&flat, "opened");
    let pages_opened = opened
        .windows(11)
        .filter(|window| window == b"/Type /Page")
        .count();
    assert_eq!(
        pages, pages_opened,
        "what is folded is printed as if it were open"
    );
}

#[test]
fn a_watch_of_a_day_and_of_nothing_fits_a_phone() {
    let chromium = Chromium::found();
    let mut account = good();
    let mut long = series(false);
    long.buckets = long.buckets.iter().copied().cycle().take(360).collect();
    (long.every, long.watched, long.until) = (360, 1000.0, 86_400.0);
    let mut nothing = series(false);
    nothing.buckets.clear();
    for series in [long, nothing] {
        account.settled.as_mut().unwrap().traffic = Some(series);
        is_well(&chromium.look(&of(&account), 360, Colours::Light), 360);
    }
}
