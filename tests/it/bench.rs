//! The parts of the benchmark that only compute: what it prints is believed, so they are held to examples.

#[path = "../bench/http.rs"]
#[expect(dead_code, reason = "only reading an answer is computed")]
mod http;
#[path = "../bench/progress.rs"]
mod progress;
#[path = "../bench/record.rs"]
#[expect(dead_code, reason = "the benchmark prints more of it")]
mod record;
#[path = "../bench/statistics.rs"]
mod statistics;
#[path = "../bench/table.rs"]
mod table;

use progress::{Progress, Said, Stretch};
use record::{Kind, Problem, Record};
use table::Table;

const CUT_OFF: Result<(), Problem> = Err(Problem::CutOff);

fn record(at: f64, kind: Kind, latency: f64, outcome: Result<(), Problem>) -> Record {
    Record {
        at,
        kind,
        latency,
        outcome: outcome.map(|()| None),
    }
}

#[test]
fn percentiles_are_values_that_occurred() {
    let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    assert_eq!(statistics::percentile(&values, 0.5), Some(50.0));
    assert_eq!(statistics::percentile(&values, 0.99), Some(99.0));
    assert_eq!(statistics::percentile(&values, 1.0), Some(100.0));
    assert_eq!(statistics::percentile(&values, 0.0), Some(1.0));
    assert_eq!(statistics::percentile(&[7.0], 0.99), Some(7.0));
    assert_eq!(statistics::percentile(&[], 0.5), None);
}

#[test]
fn the_median_of_an_even_number_lies_between() {
    assert_eq!(statistics::median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(statistics::median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(statistics::median(&[]), None);
    assert_eq!(statistics::maximum(&[1.0, 3.0, 2.0]), Some(3.0));
}

#[test]
fn failures_are_counted_by_kind() {
    let records = [
        record(0.0, Kind::Page, 0.1, Ok(())),
        record(0.1, Kind::Page, 0.1, CUT_OFF),
        record(0.2, Kind::Post, 0.1, Err(Problem::Status(502))),
        record(0.3, Kind::Page, 0.1, Err(Problem::Status(502))),
    ];
    let counts: Vec<(Problem, usize)> = statistics::failures(&records).into_iter().collect();
    assert_eq!(counts, [(Problem::CutOff, 1), (Problem::Status(502), 2)]);
}

#[test]
fn latencies_are_those_of_successes_that_are_no_uploads() {
    let records = [
        record(0.0, Kind::Page, 0.1, Ok(())),
        record(0.0, Kind::Upload, 6.0, Ok(())),
        record(0.0, Kind::Post, 40.0, Err(Problem::TimedOut)),
    ];
    assert_eq!(statistics::latencies(&records), [0.1]);
}

#[test]
fn a_gap_of_one_kind_is_not_hidden_by_another() {
    let mut records: Vec<Record> = (0..10)
        .map(|second| record(f64::from(second), Kind::Asset, 0.0, Ok(())))
        .collect();
    let page = |at: f64, outcome| record(at, Kind::Page, 0.5, outcome);
    records.extend([
        page(1.0, Ok(())),
        page(2.0, CUT_OFF),
        page(5.0, Ok(())),
        page(9.0, Ok(())),
    ]);
    // From 5.5 to 9.5: when answers came, not when they were asked for.
    assert_eq!(statistics::longest_gap(&records, 10.0), 4.0);
}

#[test]
fn a_gap_may_reach_to_the_end_and_from_the_beginning() {
    let records = [record(3.0, Kind::Page, 0.0, Ok(()))];
    assert_eq!(statistics::longest_gap(&records, 10.0), 7.0);
    assert_eq!(statistics::longest_gap(&records, 4.0), 3.0);
    let none = [record(3.0, Kind::Page, 0.0, CUT_OFF)];
    assert_eq!(statistics::longest_gap(&none, 4.0), 4.0);
}

#[test]
fn steps_and_tasks_of_a_run_come_from_its_events() {
    let lines = [
        r#"{"schema":1,"event":"run_started","run":"r"}"#,
        r#"{"schema":1,"event":"step_started","step":"deploy"}"#,
        r#"{"schema":1,"event":"task_started","step":"deploy","task":"backend","title":"backend"}"#,
        r#"{"schema":1,"event":"task_started","step":"deploy","task":"frontend","title":"frontend"}"#,
        r#"{"schema":1,"event":"task_finished","step":"deploy","task":"backend","result":"succeeded"}"#,
        r#"{"schema":1,"event":"step_finished","step":"deploy","result":"failed"}"#,
        r#"{"schema":1,"event":"unwind_started","step":"deploy","reason":"why"}"#,
        r#"{"schema":1,"event":"unwind_finished","step":"deploy","result":"reverted"}"#,
        "not JSON",
    ];
    let mut progress = Progress::default();
    for (at, line) in lines.iter().enumerate() {
        progress.take(at as f64, progress::event(line));
    }
    let (steps, tasks) = progress.finish(20.0);
    assert_eq!(
        steps,
        [stretch("deploy", 1.0, 5.0), stretch("unwind deploy", 6.0, 7.0)]
    );
    assert_eq!(
        tasks,
        [stretch("backend", 2.0, 4.0), stretch("frontend", 3.0, 20.0)]
    );
}

#[test]
fn steps_of_a_script_are_its_headings() {
    let mut progress = Progress::default();
    for (at, line) in [
        "=== Viatique Production Deployment ===",
        "3. Building images...",
        "Step 1/9 : FROM debian",
        "6. Deploying services...",
        "7. Health check...",
    ]
    .iter()
    .enumerate()
    {
        progress.take(at as f64, progress::heading(line));
    }
    let (steps, _) = progress.finish(9.0);
    assert_eq!(
        steps,
        [
            stretch("build", 1.0, 3.0),
            stretch("deploy", 3.0, 4.0),
            stretch("health", 4.0, 9.0)
        ]
    );
    assert_eq!(progress::heading("10. of the month"), Said::Nothing);
}

fn stretch(name: &str, from: f64, to: f64) -> Stretch {
    Stretch {
        name: name.to_owned(),
        from,
        to,
    }
}

#[test]
fn an_answer_is_whole_or_none() {
    let sized = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\nok";
    let answer = http::answer(sized, false).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (201, &b"ok"[..]));
    assert_eq!(answer.headers("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(http::answer(&sized[..sized.len() - 1], true), None);

    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(http::answer(chunked, false).unwrap().body, b"abc0123456789");
    assert_eq!(http::answer(&chunked[..chunked.len() - 5], true), None);

    let endless = b"HTTP/1.1 200 OK\r\n\r\nabc";
    assert_eq!(http::answer(endless, false), None);
    assert_eq!(http::answer(endless, true).unwrap().body, b"abc");
    assert_eq!(http::answer(b"", true), None);
}

#[test]
fn tables_are_in_columns() {
    let mut table = Table::new(&["tool", "failed"]);
    table.row(vec!["the script".to_owned(), "1178".to_owned()]);
    table.row(vec!["é".to_owned()]);
    assert_eq!(table.text(), "tool        failed\nthe script    1178\né\n");
    assert_eq!(
        table.markdown(),
        "| tool       | failed |\n|------------|-------:|\n| the script |   1178 |\n| é          |        |\n"
    );
}
