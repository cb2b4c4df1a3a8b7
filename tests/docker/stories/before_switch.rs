//! A release whose page for pupils is broken, tried before the switch: visitors, twenty requests a second of them, meet
//! neither an error nor the new release, and nothing that serves has been touched. Nor is anything left behind where the
//! trial is interrupted or killed.

use super::support::{Client, Stack, database};

/// Every table's rows that a trial could leave; of sessions the number.
const ROWS: &str = "SELECT (SELECT count(*) FROM accounts_user), (SELECT count(*) FROM papers_exam), (SELECT count(*) FROM \
                    papers_copy), (SELECT count(*) FROM papers_annotation), (SELECT count(*) FROM django_session)";

/// So many at once, each of which asks ten times a second at most.
const VISITORS: usize = 3;

fn visitors(stack: &Stack) -> Vec<Client> {
    (0..VISITORS).map(|_| stack.poll()).collect()
}

/// All of them were answered well, and by these releases alone.
#[track_caller]
fn met(visitors: Vec<Client>, releases: &[&str]) {
    for visitor in visitors {
        visitor.stop().expect_only(releases);
    }
}

#[test]
fn a_release_that_fails_its_trial_is_met_by_nobody() {
    let stack = Stack::new("trial");
    stack.example.with_smoke();
    let first = stack
        .run(&["run", "--tag", "v1", "--output", "json"])
        .expect_code(0);
    let is_trial = |event: &serde_json::Value| {
        let task = event["task"].as_str().unwrap_or_default();
        event["event"] == "task_finished" && task.starts_with("trial: ")
    };
    assert!(
        !first.json_lines().iter().any(is_trial),
        "nobody is to be kept from a first release"
    );

    stack.example.replace(
        "backend/papers/templates/papers/print.html",
        "{{ annotation.text }}",
        "{{ annotation.text|broken_on_purpose }}",
    );
    let before = stack.snapshot();
    let asking = visitors(&stack);
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(1);
    met(asking, &["v1"]);
    finished
        .says("before visitors are led to it")
        .says("a pupil sees the copy: step 5 (the page to print), GET /print/")
        .says("(of the new container alone): expected status 2xx, came 500")
        .says("broken_on_purpose")
        .says("nothing that serves was touched");
    assert_eq!(stack.serves(), "v1");
    assert_eq!(stack.snapshot().standing(), before.standing());
    assert_eq!(database::query(&stack, ROWS), "0|0|0|0|0");

    // Interrupted in its midst: the container is asked to remove what was made, and then goes itself.
    stack.example.mend();
    stack.example.with_smoke();
    let asking = visitors(&stack);
    let mut running = stack.start(&["run", "--tag", "v2", "--output", "json"]);
    running.wait_for_event("an annotated copy", |event| {
        event["event"] == "task_finished" && event["task"] == "trial: a teacher annotates"
    });
    running.signal("INT");
    running.finish().expect_code(130);
    met(asking, &["v1"]);
    assert_eq!(stack.snapshot().standing(), before.standing());
    assert_eq!(database::query(&stack, ROWS), "0|0|0|0|0");

    // Killed, and finished by another run: it tries what stands, and visitors go from the one release to the other.
    let asking = visitors(&stack);
    let mut running = stack.start(&["run", "--tag", "v2", "--output", "json"]);
    running.wait_for_event("an annotated copy", |event| {
        event["event"] == "task_finished" && event["task"] == "trial: a teacher annotates"
    });
    running.signal("KILL");
    running.finish();
    let resumed = stack.run(&["resume", "--output", "json"]).expect_code(0);
    met(asking, &["v1", "v2"]);
    let events = resumed.json_lines();
    let tried: Vec<&str> = events
        .iter()
        .filter(|event| is_trial(event))
        .map(|event| {
            assert_eq!(event["result"], "succeeded", "{event}");
            event["task"].as_str().unwrap().trim_start_matches("trial: ")
        })
        .collect();
    assert_eq!(
        tried,
        [
            "before python3 manage.py smoke_data create",
            "a teacher logs in",
            "a teacher opens a copy",
            "a teacher annotates",
            "a pupil sees the copy",
            "after python3 manage.py smoke_data remove"
        ]
    );
    assert_eq!(stack.serves(), "v2");
    assert_eq!(database::query(&stack, ROWS), "0|0|0|0|0");
}
