//! The requests around the switch: what watching the release came to, how long answers took and which failed over time,
//! and page by page. Where nothing of it is known, why.

use super::markup::Markup;
use super::plot::{Mark, Plot};
use super::words::{self, answer_time, badge, clock, count, number};
use super::{Report, Told, evidence, lines, table, unknown};
use crate::account::{Account, SettledAccount};
use crate::pipeline::{Evidence, StepId, StepResult, Verdict};
use crate::release::traffic::{TrafficCounts, TrafficSeries};

/// Writes it.
pub(super) fn section(page: &mut Markup, report: &Report<'_>) {
    let account = match report.told {
        Told::Known(account) => account,
        Told::Unknown(why) => return unknown(page, "How the site did is not known", why),
    };
    let Some(settled) = &account.settled else {
        return unknown(
            page,
            "How the site did around the switch is not known",
            not_watched(account),
        );
    };
    verdict(page, account, settled);
    match &settled.traffic {
        Some(series) => told(page, account, series, settled.verdict),
        None => unknown(
            page,
            "How many requests came, and how long answers took, is not known",
            "no service whose access log could be read; see monitor.access_log in deploy.yml",
        ),
    }
}

/// Why there is no verdict.
fn not_watched(account: &Account) -> &'static str {
    match account.step(StepId::Monitor).map(|step| step.result) {
        None if account.command == "run" => "deploy.yml has no section monitor, so nothing was watched",
        None => "the command watches nothing; run does, where deploy.yml has a section monitor",
        Some(StepResult::NotRun) => "the run never got as far as watching the release",
        Some(StepResult::Interrupted) => "watching it was interrupted",
        Some(StepResult::Unchanged | StepResult::Succeeded) => "nothing was replaced, so nothing was watched",
        Some(StepResult::Failed | StepResult::Warned | StepResult::NotVerified) => {
            "watching it failed before there was a verdict; see above"
        }
    }
}

fn verdict(page: &mut Markup, account: &Account, settled: &SettledAccount) {
    page.element("p", &[("class", "verdict")], |line| {
        line.text("Watched");
        if let Some(step) = account.step(StepId::Monitor) {
            line.text(" for ");
            line.text(&words::took(step.seconds));
        }
        line.text(": ");
        badge(line, words::verdict(settled.verdict));
    });
    if !settled.findings.is_empty() {
        page.worded("h3", &[], "Found bad by");
        lines(page, settled.findings.iter().map(String::as_str));
    }
    if !settled.remarks.is_empty() {
        evidence(
            page,
            &Evidence {
                title: "What was seen beside that, and what could not be looked at".to_owned(),
                lines: settled.remarks.clone(),
            },
        );
    }
}

fn told(page: &mut Markup, account: &Account, series: &TrafficSeries, verdict: Verdict) {
    compared(page, series);
    let summary = in_words(series);
    let deploy = deployed(account, series);
    let mut marks = vec![Mark {
        at: deploy.1,
        label: format!("{} has taken over", account.release),
    }];
    match verdict {
        Verdict::Bad => marks.push(Mark {
            at: series.until,
            label: "found bad".to_owned(),
        }),
        Verdict::Good | Verdict::Inconclusive => {}
    }
    Plot {
        series,
        deploy,
        marks,
    }
    .write(page, &summary);
    let has_times = series.buckets.iter().any(|bucket| bucket.p50.is_some());
    let without = if has_times || series.buckets.iter().all(|bucket| bucket.requests == 0) {
        ""
    } else {
        " The access log tells no times ($request_time), so how long answers took is not known."
    };
    page.element("p", &[("class", "faint")], |line| {
        line.text(
            "From the proxy's access log, the tool's own requests included. The band is the step deploy. ",
        );
        line.text(&format!(
            "Before {} no request is known, or none was looked at.{without}",
            words::moment(&series.from)
        ));
    });
    pages(page, series);
    numbers(page, series);
}

/// While it was deployed, in seconds since the series begins: the run's clock and the engine's meet where the watch began.
fn deployed(account: &Account, series: &TrafficSeries) -> (f64, f64) {
    let step = |step| {
        let step = account.step(step)?;
        Some((step.began?, step.seconds))
    };
    let ended = match (step(StepId::Deploy), step(StepId::Monitor)) {
        (Some((began, seconds)), Some((watched, _))) => series.watched - (watched - began - seconds),
        (Some(_) | None, _) => series.watched,
    };
    let last = series.watched.max(series.deployed);
    (series.deployed, ended.max(series.deployed).min(last))
}

fn in_words(series: &TrafficSeries) -> String {
    let side = |counts: &TrafficCounts| {
        let times = match (counts.p50, counts.p95) {
            (Some(half), Some(most)) => format!(
                ", half of them answered within {} and 95 of 100 within {}",
                answer_time(half),
                answer_time(most)
            ),
            (Some(_) | None, _) => String::new(),
        };
        format!(
            "{} requests, {} answered 5xx{times}",
            counts.requests, counts.failed
        )
    };
    format!(
        "In the hour before the deploy: {}. Since then: {}.",
        side(&series.before),
        side(&series.since)
    )
}

fn compared(page: &mut Markup, series: &TrafficSeries) {
    table(page, &["", "Hour before", "Since"], |rows| {
        let mut line = |name: &str, value: &dyn Fn(&TrafficCounts) -> String| {
            rows.element("tr", &[], |row| {
                row.worded("th", &[("scope", "row")], name);
                row.worded("td", &[("class", "number")], &value(&series.before));
                row.worded("td", &[("class", "number")], &value(&series.since));
            });
        };
        line("Requests", &|one| number(one.requests));
        line("Answered 5xx", &|one| share(one.failed, one.requests));
        line("Answered 404", &|one| share(one.missing, one.requests));
        line("Half answered within", &|one| time(one.p50));
        line("95 of 100 within", &|one| time(one.p95));
        line("99 of 100 within", &|one| time(one.p99));
    });
}

/// `12 (0.4 %)`.
fn share(part: u64, of: u64) -> String {
    if part == 0 || of == 0 {
        return number(part);
    }
    let share = 100.0 * part as f64 / of as f64;
    format!("{} ({share:.1} %)", number(part))
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), answer_time)
}

fn pages(page: &mut Markup, series: &TrafficSeries) {
    if series.pages.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        let pages = count(series.pages.len(), "page", "pages");
        details.worded(
            "summary",
            &[],
            &format!("{pages}: those that failed, and the busiest"),
        );
        let headings = [
            "Page",
            "Requests before",
            "Since",
            "5xx before",
            "Since",
            "Half within, before",
            "Since",
            "95 of 100 within, before",
            "Since",
        ];
        table(details, &headings, |rows| {
            for one in &series.pages {
                rows.element("tr", &[], |row| {
                    row.element("th", &[("scope", "row")], |cell| {
                        cell.worded("code", &[], &one.page)
                    });
                    for value in [
                        number(one.before.requests),
                        number(one.since.requests),
                        number(one.before.failed),
                        number(one.since.failed),
                        time(one.before.p50),
                        time(one.since.p50),
                        time(one.before.p95),
                        time(one.since.p95),
                    ] {
                        row.worded("td", &[("class", "number")], &value);
                    }
                });
            }
        });
    });
}

/// What is drawn, as numbers.
fn numbers(page: &mut Markup, series: &TrafficSeries) {
    let begins = words::parsed(&series.from);
    page.element("details", &[("class", "screen-only")], |details| {
        let summary = format!("The numbers that are drawn, every {} s", series.every);
        details.worded("summary", &[], &summary);
        let headings = [
            "UTC",
            "Requests",
            "5xx",
            "404",
            "50 of 100",
            "95 of 100",
            "99 of 100",
        ];
        table(details, &headings, |rows| {
            for (place, bucket) in series.buckets.iter().enumerate() {
                let after = i64::try_from(place).unwrap_or_default() * i64::from(series.every);
                let at = begins.and_then(|begins| begins.checked_add(time::Duration::seconds(after)));
                rows.element("tr", &[], |row| {
                    let at = at.map_or_else(|| format!("+{after} s"), |at| clock(at, true));
                    row.worded("th", &[("scope", "row")], &at);
                    for value in [
                        number(bucket.requests),
                        number(bucket.failed),
                        number(bucket.missing),
                        time(bucket.p50),
                        time(bucket.p95),
                        time(bucket.p99),
                    ] {
                        row.worded("td", &[("class", "number")], &value);
                    }
                });
            }
        });
    });
}
