//! From nothing to v1, on to v2 without a failed request, and back: the main job, and that everything which only
//! looks, looks only.

use std::collections::BTreeSet;

use serde_json::Value;

use viatique_deploy::stack::django;

use super::support::{Finished, Snapshot, Stack, docker, text};

const SERVICES: [&str; 7] = [
    "backend",
    "celery_beat",
    "celery_worker",
    "db",
    "frontend",
    "nginx",
    "redis",
];

#[test]
fn first_deploy_next_release_and_back() {
    let stack = Stack::new("first");
    let json = ["run", "--tag", "v1", "--output", "json"];
    events_of_a_run(&stack.run(&json).expect_code(0), "v1");
    assert_eq!(stack.serves(), "v1");
    let first = stack.snapshot();
    everything_stands(&stack, &first, "v1");
    compose_works_on_it(&stack, "v1");

    let visitor = stack.poll();
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    visitor.stop().expect_only(&["v1", "v2"]);
    assert_eq!(stack.serves(), "v2");
    let second = stack.snapshot();
    everything_stands(&stack, &second, "v2");
    compose_works_on_it(&stack, "v2");

    let visitor = stack.poll();
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    visitor.stop().expect_only(&["v2"]);
    let again = stack.snapshot();
    assert_eq!(again.containers, second.containers);
    assert_eq!(again.networks, second.networks);
    assert_eq!(again.volumes, second.volumes);

    static_files_are_never_missing(&stack);
    dry_runs_change_nothing(&stack);
    an_unknown_tag_is_refused(&stack);
    looking_as_json(&stack);
    rollbacks(&stack, &first);
}

/// Runs `manage.py` and tells which files were removed meanwhile, of those that visitors ask for.
const TELL_REMOVED: &str = r#"
import os, sys

removed = []

def hear(event, arguments):
    if event == "os.remove" and os.path.exists(arguments[0]):
        removed.append(os.path.basename(arguments[0]))

sys.addaudithook(hear)
sys.argv[0] = "manage.py"
try:
    exec(compile(open("manage.py").read(), "manage.py", "exec"), {"__name__": "__main__"})
finally:
    print("removed:", *sorted(removed))
"#;

/// By itself Django removes a stylesheet to write it anew.
fn static_files_are_never_missing(stack: &Stack) {
    let container = format!("{}-backend-1", stack.project);
    let collect =
        |words: &[&str]| docker([&["exec", &container, "python3", "-c", TELL_REMOVED][..], words].concat());
    let by_itself = collect(&["collectstatic", "--noinput"]);
    assert!(by_itself.contains(" staticfiles.json"), "{by_itself}");
    assert!(by_itself.contains(".css"), "{by_itself}");
    let served = docker(["exec", &container, "ls", "-A", "/srv/viatique/static"]);
    let ours = django::collectstatic_command(&[]);
    let ours = collect(&ours.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ours.contains("static files copied"), "{ours}");
    assert!(ours.ends_with("removed:"), "{ours}");
    assert_eq!(
        docker(["exec", &container, "ls", "-A", "/srv/viatique/static"]),
        served
    );
}

fn events_of_a_run(finished: &Finished, tag: &str) {
    let events = finished.json_lines();
    assert!(events.iter().all(|event| event["schema"] == 1));
    assert_eq!(events[0]["event"], "run_started");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "finished", "{last}");
    assert_eq!(last["outcome"], "succeeded", "{last}");
    assert_eq!(last["exit_code"], 0, "{last}");
    assert_eq!(last["release"], tag, "{last}");
    let steps: Vec<&str> = last["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "check",
            "backup",
            "build",
            "gate",
            "migrate",
            "collectstatic",
            "deploy",
            "health"
        ]
    );
}

/// Seven services under Compose's names, the ledger, and nothing else.
fn everything_stands(stack: &Stack, snapshot: &Snapshot, tag: &str) {
    let project = &stack.project;
    let services = SERVICES.iter().map(|service| format!("{project}-{service}-1"));
    let ledger = format!("viatique-deploy-ledger-{project}");
    let expected: BTreeSet<String> = services.chain([ledger]).collect();
    let names: BTreeSet<String> = snapshot.containers.keys().cloned().collect();
    assert_eq!(names, expected);
    for service in SERVICES {
        assert_eq!(snapshot.service(service).state, "running", "{service}");
    }
    for service in ["backend", "celery_beat", "celery_worker", "frontend"] {
        let release = snapshot.service(service).release.as_deref();
        assert_eq!(release, Some(tag), "{service}");
    }
    let networks: Vec<&String> = snapshot.networks.keys().collect();
    assert_eq!(
        networks,
        [&format!("{project}_back"), &format!("{project}_front")]
    );
}

fn compose_works_on_it(stack: &Stack, tag: &str) {
    let listed = text(stack.compose(tag).arg("ps"));
    for service in SERVICES {
        let name = format!("{}-{service}-1", stack.project);
        let line = listed.lines().find(|line| line.starts_with(&name));
        assert!(line.is_some_and(|line| line.contains("Up")), "{name}:\n{listed}");
    }
    let log = text(stack.compose(tag).args(["logs", "--no-color", "backend"]));
    assert!(log.contains("Booting worker"), "{log}");
    text(stack.compose(tag).args(["exec", "-T", "backend", "true"]));
}

fn dry_runs_change_nothing(stack: &Stack) {
    let before = stack.snapshot();
    let planned = stack.run(&["rollback", "--dry-run"]).expect_code(0);
    assert!(planned.stdout.starts_with("from v2 to v1:\n"), "{planned}");
    assert!(planned.stdout.contains("  backend: image "), "{planned}");
    for words in [
        &["check", "--tag", "v9"][..],
        &["backup"],
        &["build", "--tag", "v9"],
        &["migrate", "--tag", "v1"],
        &["collectstatic", "--tag", "v1"],
        &["deploy", "--tag", "v1"],
        &["health"],
        &["rollback"],
        &["rollback", "--to", "v1"],
        &["run", "--tag", "v9"],
        &["status"],
        &["releases"],
    ] {
        let words = [words, &["--dry-run"]].concat();
        stack.run(&words).expect_code(0);
        assert_eq!(stack.snapshot(), before, "{words:?} changed something");
    }
}

fn an_unknown_tag_is_refused(stack: &Stack) {
    let before = stack.snapshot();
    let refused = stack.run(&["rollback", "--to", "v7"]).expect_code(3);
    refused.says("v7").says("known: v2, v1");
    assert_eq!(stack.snapshot(), before);
}

fn looking_as_json(stack: &Stack) {
    let status = stack.run(&["status", "--output", "json"]).expect_code(0).json();
    assert_eq!(status["schema"], 1, "{status}");
    assert_eq!(status["release"]["tag"], "v2", "{status}");
    assert_eq!(status["unfinished_run"], Value::Null, "{status}");
    assert_eq!(status["drift"], serde_json::json!([]), "{status}");
    assert_eq!(status["runs"][0]["outcome"], "succeeded", "{status}");
    assert_eq!(status["containers"].as_array().unwrap().len(), SERVICES.len());
    let releases = stack.run(&["releases", "--output", "json"]).expect_code(0).json();
    assert_eq!(releases["schema"], 1, "{releases}");
    assert_eq!(tags(&releases), ["v2", "v1"]);
    assert_eq!(releases["releases"][0]["current"], true, "{releases}");
    assert_eq!(releases["releases"][1]["rollback_target"], true, "{releases}");
    let differs = stack.run(&["releases", "diff", "v1", "v2"]).expect_code(0);
    assert!(differs.stdout.contains("backend: image"), "{differs}");
    assert!(
        differs.stdout.contains("environment RELEASE_TAG") || !differs.stdout.contains("environment"),
        "{differs}"
    );
    let shown = stack
        .run(&["releases", "show", "v1", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(shown["tag"], "v1", "{shown}");
    changed_by_hand(stack);
    let health = stack.run(&["health", "--output", "json"]).expect_code(0);
    assert!(health.json_lines().iter().all(|event| event["schema"] == 1));
}

/// Somebody stops a container, and `status` says so and what to do.
fn changed_by_hand(stack: &Stack) {
    let frontend = format!("{}-frontend-1", stack.project);
    docker(["stop", &frontend]);
    let status = stack.run(&["status"]).expect_code(0);
    for said in ["not as recorded:", "frontend: 0 of 1 runs", "rollback --to v2"] {
        assert!(status.stdout.contains(said), "`{said}` is not in {status}");
    }
    docker(["start", &frontend]);
}

fn tags(releases: &Value) -> Vec<&str> {
    let releases = releases["releases"].as_array().unwrap().iter();
    releases.map(|release| release["tag"].as_str().unwrap()).collect()
}

/// Back, forth and back again. Sources that cannot be built show that none of it builds.
fn rollbacks(stack: &Stack, first: &Snapshot) {
    let second = stack.snapshot();
    for folder in ["backend", "frontend"] {
        stack
            .example
            .append(&format!("{folder}/Dockerfile"), "\nRUN false\n");
    }
    for (words, tag, images_of) in [
        (&["rollback"][..], "v1", first),
        (&["rollback", "--to", "v2"], "v2", &second),
        (&["rollback", "--to", "v1"], "v1", first),
    ] {
        let visitor = stack.poll();
        stack.run(words).expect_code(0);
        let other = if tag == "v1" { "v2" } else { "v1" };
        let mut seen = [tag, other];
        seen.sort_unstable();
        visitor.stop().expect_only(&seen);
        assert_eq!(stack.serves(), tag);
        let now = stack.snapshot();
        everything_stands(stack, &now, tag);
        for service in SERVICES {
            let (image, wanted) = (&now.service(service).image, &images_of.service(service).image);
            assert_eq!(image, wanted, "{service} after {words:?}");
        }
        assert_eq!(now.images, second.images, "{words:?} built something");
    }
    // The database was never touched: every release ran on the first one's.
    assert_eq!(stack.snapshot().service("db"), first.service("db"));
}
