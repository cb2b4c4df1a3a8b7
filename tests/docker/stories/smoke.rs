//! The example's users, played after a deploy: the five ways of the workflow, through nginx and the worker. They leave no
//! row and no file, also where a release is broken, found and taken back, where somebody interrupts, and where a test was
//! killed.

use super::support::{Stack, database, docker};

/// Every table's rows that a smoke test could leave; of sessions the number.
const ROWS: &str = "SELECT (SELECT count(*) FROM accounts_user), (SELECT count(*) FROM papers_exam), (SELECT count(*) FROM \
                    papers_copy), (SELECT count(*) FROM papers_annotation), (SELECT count(*) FROM django_session), (SELECT \
                    count(*) FROM django_admin_log)";

#[test]
fn users_are_played_and_leave_nothing_behind() {
    let stack = Stack::new("smoke");
    stack.example.with_smoke();
    // A story of its own.
    stack.example.edit("deploy.yml", |text| {
        let without = |line: &&str| !line.trim_start().starts_with("before_switch:");
        text.lines().filter(without).collect::<Vec<_>>().join("\n")
    });
    let first = stack
        .run(&["run", "--tag", "v1", "--output", "json"])
        .expect_code(0);
    let events = first.json_lines();
    let passed: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "task_finished" && event["step"] == "smoke")
        .map(|event| {
            assert_eq!(event["result"], "succeeded", "{event}");
            event["task"].as_str().unwrap()
        })
        .collect();
    assert_eq!(
        passed,
        [
            "before python3 manage.py smoke_data create",
            "a teacher logs in",
            "a teacher opens a copy",
            "a teacher annotates",
            "a pupil logs in",
            "a pupil sees the copy",
            "both get the scan",
            "after python3 manage.py smoke_data remove"
        ]
    );
    assert_eq!(rows(&stack), "0|0|0|0|0|0");
    assert_eq!(media(&stack), Vec::<String>::new());

    // Somebody's work is there, which is not the test's.
    backend(&stack, &["python3", "manage.py", "seed_demo"]);
    let (rows_before, media_before) = (rows(&stack), media(&stack));
    assert_eq!(rows_before, "2|1|1|0|0|0");
    let unchanged = |what: &str| {
        assert_eq!(rows(&stack), rows_before, "{what}");
        assert_eq!(media(&stack), media_before, "{what}");
    };
    stack.run(&["smoke"]).expect_code(0).says("6 scenarios passed");
    unchanged("by hand");
    let before = stack.snapshot();
    stack
        .run(&["smoke", "--dry-run"])
        .expect_code(0)
        .says("POST /api/login/");
    assert_eq!(stack.snapshot(), before);

    // A test that was killed: the next one removes what it left.
    let mut running = stack.start(&["smoke", "--output", "json"]);
    running.wait_for_event("an annotated copy", |event| {
        event["event"] == "task_finished" && event["task"] == "a teacher annotates"
    });
    running.signal("KILL");
    running.finish();
    assert_ne!(rows(&stack), rows_before);
    stack
        .run(&["smoke", "--only", "a teacher logs in"])
        .expect_code(0)
        .says("1 scenario passed");
    unchanged("after a kill");

    // One that is interrupted tidies up by itself: before `create` is done, and in the midst of it.
    for event in [
        "before python3 manage.py smoke_data create",
        "a teacher annotates",
    ] {
        let mut running = stack.start(&["smoke", "--output", "json"]);
        running.wait_for_event("its beginning", |told| {
            told["event"] == "task_started" && told["task"] == event
        });
        running.signal("INT");
        running.finish().expect_code(130);
        unchanged(event);
    }

    // Healthy, and a page is broken that a pupil sees.
    stack.example.replace(
        "backend/papers/templates/papers/print.html",
        "{{ annotation.text }}",
        "{{ annotation.text|broken_on_purpose }}",
    );
    let before = stack.snapshot();
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(6);
    let answers = visitor.stop();
    finished
        .says("a pupil sees the copy: step 5 (the page to print), GET /print/")
        .says("expected status 2xx, came 500")
        .says("broken_on_purpose");
    // The others pass, and are told.
    finished.says("smoke / a pupil logs in: done");
    assert!(answers.failures.is_empty(), "{answers:?}");
    assert_eq!(stack.serves(), "v1");
    assert_eq!(stack.snapshot().standing(), before.standing());
    unchanged("after a release that was taken back");
}

fn rows(stack: &Stack) -> String {
    database::query(stack, ROWS)
}

fn media(stack: &Stack) -> Vec<String> {
    // The folder of all scans stays; each exam has one in it.
    let listed = backend(stack, &["find", "/srv/viatique/media", "-mindepth", "2"]);
    let mut listed: Vec<String> = listed.lines().map(ToOwned::to_owned).collect();
    listed.sort();
    listed
}

fn backend(stack: &Stack, words: &[&str]) -> String {
    let label = format!("label=com.docker.compose.project={}", stack.project);
    let service = "label=com.docker.compose.service=backend";
    let one_off = "label=com.docker.compose.oneoff=False";
    let found = docker([
        "ps", "--quiet", "--filter", &label, "--filter", service, "--filter", one_off,
    ]);
    docker([&["exec", found.as_str()][..], words].concat())
}
