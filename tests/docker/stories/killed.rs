//! Killed at every entry of the journal, before it and after it, on a real engine: one release serves, and the next
//! command finishes what was begun, forward or back, leaving nothing behind.

use super::support::{Between, Moment, Snapshot, Stack, ask};

#[test]
fn killed_at_every_journal_entry() {
    let stack = Stack::new("killed");
    // What is asked here does not depend on how many services there are, or on how long they take.
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    let mut serves = "v1".to_owned();

    let between = Between::listen(&stack.project, None);
    let mut whole = stack.command(&["run", "--tag", "v2"]);
    let whole = stack.start_command(whole.env("DOCKER_HOST", between.address()));
    whole.finish().expect_code(0);
    serves.replace_range(.., "v2");
    let entries = between.entries();
    assert!(entries > 8, "{entries}");

    let settled = stack.snapshot();
    for (round, (number, moment)) in (1..=entries)
        .flat_map(|number| [(number, Moment::Before), (number, Moment::After)])
        .enumerate()
    {
        // Old ones are pruned on the way; these two take turns.
        let next = format!("w{round}");
        let visitor = stack.poll();
        killed(&stack, &next, (number, moment));
        let at = format!("killed {moment:?} entry {number} of {entries}");
        let answered = ask(stack.port).unwrap_or_else(|problem| panic!("{at}: {problem}"));
        assert!([&serves, &next].contains(&&answered), "{at}: {answered}");
        let status = stack.run(&["status", "--output", "json"]).json();
        let unfinished = !status["unfinished_run"].is_null();
        // Once the new release is recorded, it is what a bare rollback makes whole.
        let recorded = status["release"]["tag"].as_str().unwrap().to_owned();
        let (words, should) = match (unfinished, round % 2) {
            // Nothing has changed what serves, or all of it was done: the same again is no more than that.
            (false, _) => (vec!["run", "--tag", &next], &next),
            (true, 0) => (vec!["resume"], &next),
            (true, _) => (vec!["rollback"], &recorded),
        };
        let finished = stack.run(&words).expect_code(0);
        let answers = visitor.stop();
        assert!(answers.failures.is_empty(), "{at}: {answers:?}\n{finished}");
        assert_eq!(&stack.serves(), should, "{at}: {finished}");
        let status = stack.run(&["status", "--output", "json"]).json();
        assert!(
            status["unfinished_run"].is_null() && status["lock"].is_null(),
            "{at}: {status}"
        );
        assert_eq!(status["release"]["tag"], should.as_str(), "{at}: {status}");
        assert_eq!(status["drift"], serde_json::json!([]), "{at}: {status}");
        let now = stack.snapshot();
        nothing_else_stands(&now, &settled, &at);
        each_image_is_a_releases(&stack, &now, &at);
        serves = should.clone();
    }
}

/// A run of this tag that is killed there.
fn killed(stack: &Stack, tag: &str, at: (usize, Moment)) {
    let between = Between::listen(&stack.project, Some(at));
    let mut command = stack.command(&["run", "--tag", tag]);
    let run = stack.start_command(command.env("DOCKER_HOST", between.address()));
    between.kills(run.process());
    let finished = run.finish();
    assert_eq!(finished.code, None, "{at:?}: {finished}");
}

/// The same services, each once and of one release, on the same networks and volumes.
#[track_caller]
fn nothing_else_stands(now: &Snapshot, settled: &Snapshot, at: &str) {
    let names = |snapshot: &Snapshot| snapshot.containers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(now), names(settled), "{at}");
    assert_eq!(now.networks, settled.networks, "{at}");
    assert_eq!(now.volumes, settled.volumes, "{at}");
    assert_eq!(
        now.service("backend").release,
        now.service("frontend").release,
        "{at}"
    );
}

/// Of a release that never served none is left, and what releases share has the tag 1.
#[track_caller]
fn each_image_is_a_releases(stack: &Stack, now: &Snapshot, at: &str) {
    let releases = stack.run(&["releases", "--output", "json"]).json();
    let releases = releases["releases"].as_array().unwrap();
    for reference in now.images.keys() {
        let (_, tag) = reference.rsplit_once(':').unwrap();
        let owned = tag == "1" || releases.iter().any(|release| release["tag"] == tag);
        assert!(owned, "{at}: {reference}");
    }
}
