//! Lines for programs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use viatique_deploy::pipeline::{Event, Looked, StepId, Verdict};
use viatique_deploy::ui::JsonReporter;

use super::script::{self, ClosedPipe, ManualClock, Script, Written};

fn shown(script: &Script) -> String {
    let clock = Arc::new(ManualClock::default());
    let written = Written::default();
    let reporter = JsonReporter::new(Box::new(written.clone()), clock.clone());
    script::play(script, &reporter, &clock);
    written.text()
}

fn last_line(script: &Script) -> Value {
    let text = shown(script);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default()
}

#[test]
fn success() {
    insta::assert_snapshot!(shown(&script::success()), @r#"
    {"schema":1,"event":"run_started","time":"2026-03-01T03:04:05Z","run":"20260301-030405-k7","command":"run","project":"viatique","release":"v42","steps":["check","backup","build","deploy","health"],"dry_run":false}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:05Z","step":"check"}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:05Z","step":"check","task":"tests","title":"running ./run_tests.sh"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:17Z","step":"check","task":"tests","result":"succeeded","message":"214 passed","seconds":12.0}
    {"schema":1,"event":"warning","time":"2026-03-01T03:04:17Z","message":"nginx resolves backend only once, when it starts","hint":"add resolver 127.0.0.11 to nginx.conf"}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:17Z","step":"check","result":"succeeded","message":"7 checks passed","seconds":12.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:17Z","step":"backup"}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:17Z","step":"backup","task":"database","title":"dumping viatique"}
    {"schema":1,"event":"task_amount","time":"2026-03-01T03:04:18Z","step":"backup","task":"database","done":40000000,"total":160000000,"unit":"bytes"}
    {"schema":1,"event":"task_amount","time":"2026-03-01T03:04:20Z","step":"backup","task":"database","done":120000000,"total":160000000,"unit":"bytes"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:21Z","step":"backup","task":"database","result":"succeeded","message":"160 MB, read back","seconds":4.0}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:21Z","step":"backup","result":"succeeded","message":"20260301-030405","seconds":4.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:21Z","step":"build"}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:21Z","step":"build","task":"backend","title":"building viatique-backend:v42"}
    {"schema":1,"event":"task_amount","time":"2026-03-01T03:04:22Z","step":"build","task":"backend","done":3,"total":9,"unit":"steps"}
    {"schema":1,"event":"task_output","time":"2026-03-01T03:04:23Z","step":"build","task":"backend","line":"Collecting django==5.2"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:24Z","step":"build","task":"backend","result":"succeeded","message":"viatique-backend:v42","seconds":3.0}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:24Z","step":"build","task":"frontend","title":"building viatique-frontend:v42"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:25Z","step":"build","task":"frontend","result":"unchanged","message":"","seconds":1.0}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:25Z","step":"build","result":"succeeded","message":"1 image built, 1 unchanged","seconds":4.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:25Z","step":"deploy"}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:25Z","step":"deploy","task":"backend","title":"starting viatique-backend-2"}
    {"schema":1,"event":"task_progress","time":"2026-03-01T03:04:26Z","step":"deploy","task":"backend","message":"waiting until healthy (1 s)"}
    {"schema":1,"event":"task_progress","time":"2026-03-01T03:04:27Z","step":"deploy","task":"backend","message":"waiting until healthy (2 s)"}
    {"schema":1,"event":"task_progress","time":"2026-03-01T03:04:28Z","step":"deploy","task":"backend","message":"waiting until healthy (3 s)"}
    {"schema":1,"event":"task_progress","time":"2026-03-01T03:04:36Z","step":"deploy","task":"backend","message":"waiting until healthy (11 s)"}
    {"schema":1,"event":"task_progress","time":"2026-03-01T03:04:37Z","step":"deploy","task":"backend","message":"letting the old container finish"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:39Z","step":"deploy","task":"backend","result":"succeeded","message":"replaced without a gap","seconds":14.0}
    {"schema":1,"event":"task_started","time":"2026-03-01T03:04:39Z","step":"deploy","task":"redis","title":"comparing"}
    {"schema":1,"event":"task_finished","time":"2026-03-01T03:04:39Z","step":"deploy","task":"redis","result":"unchanged","message":"","seconds":0.0}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:39Z","step":"deploy","result":"succeeded","message":"1 service replaced, 1 unchanged","seconds":14.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:39Z","step":"health"}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:40Z","step":"health","result":"succeeded","message":"200 in 80 ms","seconds":1.0}
    {"schema":1,"event":"finished","time":"2026-03-01T03:04:40Z","outcome":"succeeded","exit_code":0,"release":"v42","seconds":35.0,"steps":[{"step":"check","result":"succeeded","seconds":12.0},{"step":"backup","result":"succeeded","seconds":4.0},{"step":"build","result":"succeeded","seconds":4.0},{"step":"deploy","result":"succeeded","seconds":14.0},{"step":"health","result":"succeeded","seconds":1.0}],"error":null}
    "#);
}

#[test]
fn the_last_line_of_a_run_that_was_rolled_back() {
    insta::assert_json_snapshot!(last_line(&script::rolled_back()), @r#"
    {
      "error": {
        "chain": [
          "cannot deploy backend",
          "viatique-backend-2 never became healthy",
          "it exited with code 1 after 3 s"
        ],
        "evidence": [
          {
            "lines": [
              "Traceback (most recent call last):",
              "ModuleNotFoundError: No module named 'celery'"
            ],
            "title": "last log lines of viatique-backend-2"
          }
        ],
        "hints": [
          "correct the cause, then: viatique-deploy run --tag v43",
          "its whole log: docker logs viatique-backend-2"
        ]
      },
      "event": "finished",
      "exit_code": 6,
      "outcome": "rolled_back",
      "release": "v41",
      "schema": 1,
      "seconds": 24.0,
      "steps": [
        {
          "result": "succeeded",
          "seconds": 12.0,
          "step": "check"
        },
        {
          "result": "succeeded",
          "seconds": 4.0,
          "step": "backup"
        },
        {
          "result": "succeeded",
          "seconds": 4.0,
          "step": "build"
        },
        {
          "result": "failed",
          "seconds": 3.0,
          "step": "deploy"
        },
        {
          "result": "not_run",
          "seconds": 0.0,
          "step": "health"
        }
      ],
      "time": "2026-03-01T03:04:29Z"
    }
    "#);
}

#[test]
fn the_last_line_of_an_interrupted_run() {
    insta::assert_json_snapshot!(last_line(&script::interrupted()), @r#"
    {
      "error": null,
      "event": "finished",
      "exit_code": 130,
      "outcome": "interrupted",
      "release": "v41",
      "schema": 1,
      "seconds": 23.0,
      "steps": [
        {
          "result": "succeeded",
          "seconds": 12.0,
          "step": "check"
        },
        {
          "result": "succeeded",
          "seconds": 4.0,
          "step": "backup"
        },
        {
          "result": "succeeded",
          "seconds": 4.0,
          "step": "build"
        },
        {
          "result": "interrupted",
          "seconds": 3.0,
          "step": "deploy"
        },
        {
          "result": "not_run",
          "seconds": 0.0,
          "step": "health"
        }
      ],
      "time": "2026-03-01T03:04:28Z"
    }
    "#);
}

#[test]
fn dry_run() {
    insta::assert_snapshot!(shown(&script::dry_run()), @r#"
    {"schema":1,"event":"run_started","time":"2026-03-01T03:04:05Z","run":"20260301-030405-k7","command":"run","project":"viatique","release":"v42","steps":["build","migrate","deploy","health"],"dry_run":true}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:05Z","step":"build"}
    {"schema":1,"event":"planned","time":"2026-03-01T03:04:05Z","step":"build","changes":[{"kind":"create","target":"image viatique-backend:v42","detail":"from ./backend"}]}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:05Z","step":"build","result":"succeeded","message":"","seconds":0.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:05Z","step":"migrate"}
    {"schema":1,"event":"planned","time":"2026-03-01T03:04:05Z","step":"migrate","changes":[{"kind":"run","target":"shop.0007_price","detail":"adds a column"}]}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:05Z","step":"migrate","result":"succeeded","message":"","seconds":0.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:05Z","step":"deploy"}
    {"schema":1,"event":"planned","time":"2026-03-01T03:04:05Z","step":"deploy","changes":[{"kind":"create","target":"media_worker","detail":"new in this release"},{"kind":"replace","target":"backend","detail":"beside the old one, drained for at most 10 min"},{"kind":"replace_with_gap","target":"celery_beat","detail":"the old one is stopped first: two of them would send every task twice"},{"kind":"reload","target":"nginx","detail":"nginx -s reload"},{"kind":"remove","target":"flower","detail":"no longer in the Compose files"},{"kind":"write","target":"release v42","detail":"recorded on the engine"},{"kind":"keep","target":"redis","detail":"unchanged"}]}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:05Z","step":"deploy","result":"succeeded","message":"","seconds":0.0}
    {"schema":1,"event":"step_started","time":"2026-03-01T03:04:05Z","step":"health"}
    {"schema":1,"event":"planned","time":"2026-03-01T03:04:05Z","step":"health","changes":[]}
    {"schema":1,"event":"step_finished","time":"2026-03-01T03:04:05Z","step":"health","result":"succeeded","message":"","seconds":0.0}
    {"schema":1,"event":"finished","time":"2026-03-01T03:04:06Z","outcome":"succeeded","exit_code":0,"release":"v41","seconds":1.0,"steps":[{"step":"build","result":"succeeded","seconds":0.0},{"step":"migrate","result":"succeeded","seconds":0.0},{"step":"deploy","result":"succeeded","seconds":0.0},{"step":"health","result":"succeeded","seconds":0.0}],"error":null}
    "#);
}

/// Every line is an object with the same three fields first, and no text in it could move a cursor.
#[test]
fn every_line_stands_for_itself() {
    for script in [
        script::success(),
        script::rolled_back(),
        script::interrupted(),
        script::dry_run(),
    ] {
        for line in shown(&script).lines() {
            assert!(line.starts_with(r#"{"schema":1,"event":""#), "{line}");
            assert!(!line.contains("\\u001b") && !line.contains("\\r"), "{line}");
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok(), "{line}");
        }
    }
}

/// The module's documentation lists the events and their fields, in order, and nothing else.
#[test]
fn every_event_and_field_is_documented() {
    let documented: BTreeSet<(String, String)> = documentation()
        .split("\n- `")
        .skip(1)
        .flat_map(|entry| {
            let (event, fields) = entry.split_once('`').unwrap_or((entry, ""));
            // Values and the fields of fields stand in parentheses.
            outside_parentheses(fields)
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|field| (event.to_owned(), field.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut written = BTreeSet::new();
    for script in [
        script::success(),
        script::rolled_back(),
        script::dry_run(),
        script::failing_checks("check"),
        script::notices(),
        script::watched(1),
        vec![(
            0,
            Event::Settled {
                step: StepId::Monitor,
                verdict: Verdict::Bad,
                findings: vec!["/print/:n/: 3 of 3 requests answered 5xx".to_owned()],
                remarks: vec!["next to no traffic".to_owned()],
                looked: Looked::default(),
                traffic: Some(Box::default()),
            },
        )],
        script::checklist(),
        vec![(
            0,
            Event::Reported {
                file: "/srv/viatique/reports/page.html".to_owned(),
            },
        )],
    ] {
        for line in shown(&script).lines() {
            let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
                continue;
            };
            let event = fields
                .get("event")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            for field in fields
                .keys()
                .filter(|field| !["schema", "event", "time"].contains(&field.as_str()))
            {
                written.insert((event.clone(), field.clone()));
            }
        }
    }
    assert_eq!(written, documented);
}

fn documentation() -> String {
    let source = include_str!("../../../src/ui/json.rs");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text: String = lines
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    // The list ends where a paragraph begins.
    let (before, list) = text.split_once("The events:\n").unwrap_or((&text, ""));
    assert!(!list.is_empty(), "{before}");
    let list = list.trim_start();
    format!("\n{}", list.split("\n\n").next().unwrap_or_default())
}

fn outside_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = String::new();
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            other if depth == 0 => kept.push(other),
            _ => {}
        }
    }
    kept
}

#[test]
fn a_closed_pipe_stops_nothing() {
    let clock = Arc::new(ManualClock::default());
    let reporter = JsonReporter::new(Box::new(ClosedPipe), clock.clone());
    script::play(&script::rolled_back(), &reporter, &clock);
}

#[test]
fn a_check_has_a_line_with_its_problems() {
    let text = shown(&script::failing_checks("check"));
    let checked: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(r#""event":"checked""#))
        .collect();
    assert_eq!(checked.len(), script::outcomes().len());
    insta::assert_snapshot!(checked[1], @r#"{"schema":1,"event":"checked","time":"2026-03-01T03:04:05Z","step":"check","check":"debug-mode","title":"what debug-mode protects from does not happen","verdict":"failed","blocks":true,"line":"config/settings.py:12: DEBUG is on","seconds":1.5,"problems":[{"key":"","blocks":true,"unverified":false,"place":"config/settings.py:12","message":"DEBUG is on: every error page shows settings and source code to whoever asks","hints":["write DEBUG=False into .env"],"waived":null}]}"#);
    let waived: Value = serde_json::from_str(checked[5]).unwrap();
    assert_eq!(waived["verdict"], "waived");
    assert_eq!(waived["problems"][0]["waived"]["until"], "2026-06-30");
    let verdicts: BTreeSet<String> = checked
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["verdict"].to_string())
        .collect();
    assert_eq!(verdicts.len(), 5, "{verdicts:?}");
}

/// As many names as there are events.
#[test]
fn every_event_is_listed() {
    let source = include_str!("../../../src/pipeline/event.rs");
    let (_, events) = source.split_once("pub enum Event {").unwrap();
    let (events, _) = events.split_once("\n}\n").unwrap();
    let names: BTreeSet<String> = events
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"))
        .filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|name| {
            let mut snake = String::new();
            for character in name.chars() {
                if character.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(character.to_ascii_lowercase());
            }
            snake
        })
        .collect();
    let listed: BTreeSet<String> = documentation()
        .split("\n- `")
        .skip(1)
        .filter_map(|entry| Some(entry.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(listed, names);
}

#[test]
fn a_look_at_a_release_has_all_that_was_found() {
    let look = last_line(&script::watched(2));
    assert_eq!(look["event"], "measured");
    assert_eq!(look["so_far"], "good");
    assert_eq!(look["elapsed"], 2.0);
    assert_eq!(
        look["requests"]["pages"][0],
        serde_json::json!({"page": "/print/:n/", "requests": 91, "failed": 0, "p95": 0.2})
    );
    insta::assert_json_snapshot!(look["containers"][1], @r#"
    {
      "cores": 0.0004,
      "health": null,
      "memory": 94371840,
      "memory_limit": 536870912,
      "name": "viatique-celery_beat-1",
      "new": true,
      "received": 12300.0,
      "restarts": 0,
      "restarts_since": 0,
      "sent": 45600.0,
      "service": "celery_beat",
      "state": "running"
    }
    "#);
    insta::assert_json_snapshot!(look["database"]["activity"]["waits"][0], @r#"
    {
      "blocked_by": [
        {
          "pid": 905,
          "seconds": 62.0,
          "state": "idle in transaction",
          "statement": "SELECT a FROM papers_copy",
          "wait": null
        }
      ],
      "session": {
        "pid": 919,
        "seconds": 2.1,
        "state": "active",
        "statement": "UPDATE papers_copy SET a = ? WHERE id = ?",
        "wait": null
      }
    }
    "#);
    let mut nothing = script::measured(0);
    (nothing.requests, nothing.database) = (None, None);
    let look = last_line(&vec![(0, script::looked(nothing))]);
    assert_eq!(
        (&look["requests"], &look["database"]),
        (&Value::Null, &Value::Null)
    );
}
