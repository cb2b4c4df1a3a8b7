//! The two tables: all tools side by side, and what only ours does. Also everything as JSON, for other programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::UPLOAD_TAKES;
use super::progress::Stretch;
use super::record::{Problem, Record};
use super::scenarios::{Extra, Results, Turn};
use super::session::{Deploy, Session};
use super::statistics::{failures, latencies, longest_gap, maximum, median, percentile};
use super::table::Table;
use super::tools::{Presence, Tool};

const NONE: &str = "-";

/// All tools side by side, by whether there were uploads. Ratios compare medians of the same run, in the same mode.
pub(crate) fn comparison(results: &Results, modes: &[bool]) -> Table {
    let mut table = Table::new(&[
        "tool",
        "uploads",
        "deploys",
        "requests",
        "failed",
        "how",
        "gap s",
        "p50 ms",
        "p99 ms",
        "phase s",
        "max",
        "x script",
        "x rollout",
        "over floor s",
        "run s",
        "max",
        "x script",
    ]);
    for &uploads in modes {
        for turn in &results.turns {
            let missing = match (&turn.presence, &turn.problem) {
                (Presence::NotInstalled(_), _) => Some("not installed"),
                (Presence::Installed { .. }, Some(_)) if turn.sessions.is_empty() => Some("not measured"),
                (Presence::Installed { .. }, _) => None,
            };
            if let Some(missing) = missing {
                table.row(vec![
                    turn.tool.name().to_owned(),
                    yes(uploads),
                    missing.to_owned(),
                ]);
            }
            if let Some(session) = of(turn, uploads) {
                let reference = |tool: Tool, measure: fn(&Session) -> Vec<f64>| {
                    let turn = results.turns.iter().find(|turn| turn.tool == tool)?;
                    ratio(median(&measure(session)), median(&measure(of(turn, uploads)?)))
                };
                let mut cells = vec![turn.tool.name().to_owned(), yes(uploads)];
                cells.extend(requests(session));
                cells.extend([
                    seconds(median(&phases(session))),
                    seconds(maximum(&phases(session))),
                    times(reference(Tool::Script, phases)),
                    times(reference(Tool::Rollout, phases)),
                    seconds(maximum(&over_floor(session))),
                    seconds(median(&wholes(session))),
                    seconds(maximum(&wholes(session))),
                    times(reference(Tool::Script, wholes)),
                ]);
                table.row(cells);
            }
        }
    }
    table
}

/// What only our tool does.
pub(crate) fn scenarios(results: &Results) -> Table {
    let mut table = Table::new(&[
        "scenario",
        "count",
        "requests",
        "failed",
        "how",
        "gap s",
        "p50 ms",
        "p99 ms",
        "as expected",
        "phase s",
        "max",
        "run s",
        "max",
    ]);
    let ours = results.turns.iter().find(|turn| turn.tool == Tool::Viatique);
    let deploys = ours.and_then(|turn| turn.sessions.first()).map(|session| {
        let well = session.deploys.iter().filter(|deploy| deploy.code == Some(0));
        ("deploys", session, well.count())
    });
    let extras = results
        .extras
        .iter()
        .map(|extra: &Extra| (extra.name, &extra.session, extra.as_expected));
    for (name, session, as_expected) in deploys.into_iter().chain(extras) {
        let mut cells = vec![name.to_owned()];
        cells.extend(requests(session));
        cells.extend([
            format!("{as_expected} of {}", session.deploys.len()),
            seconds(median(&phases(session))),
            seconds(maximum(&phases(session))),
            seconds(median(&wholes(session))),
            seconds(maximum(&wholes(session))),
        ]);
        table.row(cells);
    }
    table
}

/// The slowest service's own time from start to healthy, by deploy of our tool's first session.
pub(crate) fn slowest_starts(results: &Results) -> Option<String> {
    let ours = results.turns.iter().find(|turn| turn.tool == Tool::Viatique)?;
    let deploys = &ours.sessions.first()?.deploys;
    let starts = deploys.iter().filter_map(|deploy| deploy.slowest_start.as_ref());
    let times: Vec<f64> = starts.clone().map(|(_, time)| *time).collect();
    let mut services: Vec<&str> = starts.map(|(service, _)| service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    Some(format!(
        "slowest from start to healthy: {}, {} s (median), {} s (max)",
        services.join(" or "),
        seconds(median(&times)),
        seconds(maximum(&times))
    ))
}

/// The worst start of a request after it was due, over all loads, seconds.
pub(crate) fn worst_lateness(results: &Results) -> f64 {
    sessions(results)
        .map(|session| session.recorded.lateness.worst)
        .fold(0.0, f64::max)
}

/// Which version of each tool was measured.
pub(crate) fn versions(results: &Results) -> String {
    let turns = results.turns.iter().map(|turn| match &turn.presence {
        Presence::Installed { version, .. } => format!("{} ({version})", turn.tool.name()),
        Presence::NotInstalled(what) => format!("{} (not installed: {what})", turn.tool.name()),
    });
    turns.collect::<Vec<String>>().join(", ")
}

/// Why tools and loads were not measured to the end.
pub(crate) fn cut_short(results: &Results) -> Vec<&str> {
    let turns = results.turns.iter().filter_map(|turn| turn.problem.as_deref());
    let loads = sessions(results).filter_map(|session| session.cut_short.as_deref());
    turns.chain(loads).collect()
}

fn sessions(results: &Results) -> impl Iterator<Item = &Session> {
    let turns = results.turns.iter().flat_map(|turn| &turn.sessions);
    turns.chain(results.extras.iter().map(|extra| &extra.session))
}

/// Everything that was measured, request by request.
pub(crate) fn as_json(results: &Results, machine: &str) -> Value {
    let turns = results.turns.iter().map(|turn| {
        let installed = match &turn.presence {
            Presence::Installed { version, .. } => json!(version),
            Presence::NotInstalled(_) => Value::Null,
        };
        let sessions: Vec<Value> = turn.sessions.iter().map(session_json).collect();
        json!({ "tool": turn.tool.name(), "version": installed, "sessions": sessions })
    });
    let extras = results.extras.iter().map(|extra| {
        json!({ "scenario": extra.name, "as_expected": extra.as_expected, "session": session_json(&extra.session) })
    });
    json!({
        "machine": machine,
        "tools": turns.collect::<Vec<Value>>(),
        "scenarios": extras.collect::<Vec<Value>>(),
    })
}

fn session_json(session: &Session) -> Value {
    let stretches = |stretches: &[Stretch]| -> Vec<Value> {
        stretches
            .iter()
            .map(|stretch| json!([stretch.name, round(stretch.from), round(stretch.to)]))
            .collect()
    };
    let deploys = session.deploys.iter().map(|deploy: &Deploy| {
        json!({
            "tag": deploy.tag,
            "from": round(deploy.from),
            "to": round(deploy.to),
            "exit_code": deploy.code,
            "steps": stretches(&deploy.steps),
            "tasks": stretches(&deploy.tasks),
            "slowest_start": deploy.slowest_start.as_ref().map(|(service, time)| json!([service, round(*time)])),
        })
    });
    let records = session.recorded.records.iter().map(|record: &Record| {
        let (failure, release) = match &record.outcome {
            Ok(release) => (None, release.as_deref()),
            Err(problem) => (Some(problem.to_string()), None),
        };
        json!([
            round(record.at),
            record.kind.name(),
            round(record.latency),
            failure,
            release
        ])
    });
    json!({
        "uploads": session.uploads,
        "ended": round(session.recorded.ended),
        "worst_lateness": round(session.recorded.lateness.worst),
        "deploys": deploys.collect::<Vec<Value>>(),
        "requests": { "fields": ["at", "kind", "latency", "failure", "release"], "rows": records.collect::<Vec<Value>>() },
    })
}

/// Deploys, requests, failed, how, gap, p50, p99.
fn requests(session: &Session) -> Vec<String> {
    let records = &session.recorded.records;
    let failures = failures(records);
    let failed: usize = failures.values().sum();
    let latencies = latencies(records);
    let share = 100.0 * failed as f64 / records.len().max(1) as f64;
    vec![
        session.deploys.len().to_string(),
        records.len().to_string(),
        if failed == 0 {
            "0".to_owned()
        } else {
            format!("{failed} ({share:.1} %)")
        },
        how(&failures),
        format!("{:.2}", longest_gap(records, session.recorded.ended)),
        milliseconds(percentile(&latencies, 0.5)),
        milliseconds(percentile(&latencies, 0.99)),
    ]
}

fn how(failures: &BTreeMap<Problem, usize>) -> String {
    if failures.is_empty() {
        return NONE.to_owned();
    }
    let kinds = failures.iter().map(|(problem, count)| {
        format!(
            "{count} {}",
            match problem {
                Problem::Status(status) => format!("x {status}"),
                Problem::Refused | Problem::CutOff | Problem::TimedOut => problem.to_string(),
            }
        )
    });
    kinds.collect::<Vec<String>>().join(", ")
}

fn of(turn: &Turn, uploads: bool) -> Option<&Session> {
    turn.sessions.iter().find(|session| session.uploads == uploads)
}

fn phases(session: &Session) -> Vec<f64> {
    session.deploys.iter().filter_map(Deploy::phase).collect()
}

fn wholes(session: &Session) -> Vec<f64> {
    session.deploys.iter().map(Deploy::whole).collect()
}

/// By how much each deploy phase exceeds what no rolling deploy can go below: the slowest service's own start, and the
/// longest request in flight, which is an upload's nominal time where there are uploads.
fn over_floor(session: &Session) -> Vec<f64> {
    let in_flight = if session.uploads {
        UPLOAD_TAKES.as_secs_f64()
    } else {
        0.0
    };
    let over = session.deploys.iter().filter_map(|deploy| {
        let (_, start) = deploy.slowest_start.as_ref()?;
        Some(deploy.phase()? - start - in_flight)
    });
    over.collect()
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    Some(ours? / theirs.filter(|value| *value > 0.0)?)
}

fn yes(uploads: bool) -> String {
    if uploads { "yes" } else { "no" }.to_owned()
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.1}"))
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{:.0}", value * 1000.0))
}

fn times(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.2}"))
}

fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
