//! The checks on a real Django and a real engine: what the image says of itself before anything runs and beside what
//! serves, a release that any of them would be right to stop, and that none of this changes anything.

use std::collections::BTreeMap;
use std::fs;

use super::support::database::query;
use super::support::{Finished, Stack, docker};

/// What [`Stack::new`] waives, for stories that are about something else.
const WAIVER: &str = "    - { check: model-changes, reason: a story, owner: the story, until: 2099-12-31 }\n";

const OF_DJANGO: [&str; 6] = [
    "django-deploy",
    "django-settings",
    "model-changes",
    "migration-graph",
    "schema-ahead",
    "migrations",
];

#[test]
fn a_release_is_checked_before_it_changes_anything() {
    let stack = Stack::new("checks");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.example.replace("deploy.yml", WAIVER, "");
    the_image_alone(&stack);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    the_image_beside_what_serves(&stack);
    a_database_in_the_open(&stack);
    settings_and_models(&stack);
    two_ends(&stack);
    settings_that_do_not_load(&stack);
    assert_eq!(stack.serves(), "v1");
}

/// The verdict of each check.
#[track_caller]
fn verdicts(finished: &Finished) -> BTreeMap<String, String> {
    let events = finished.json_lines();
    let checked = events.iter().filter(|event| event["event"] == "checked");
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checked
        .map(|event| (word(&event["check"]), word(&event["verdict"])))
        .collect()
}

#[track_caller]
fn check(stack: &Stack, tag: &str, only: &[&str], code: i32) -> Finished {
    let before = stack.snapshot();
    let mut words = vec!["check", "--tag", tag, "--output", "json"];
    words.extend(only.iter().flat_map(|id| ["--only", *id]));
    let finished = stack.run(&words).expect_code(code);
    assert_eq!(stack.snapshot(), before, "a check changed something");
    finished
}

#[track_caller]
fn expect(finished: &Finished, wanted: &[(&str, &str)]) {
    let found = verdicts(finished);
    for (id, verdict) in wanted {
        assert_eq!(
            found.get(*id).map(String::as_str),
            Some(*verdict),
            "{id}: {finished}"
        );
    }
}

/// Nothing runs that it could reach.
fn the_image_alone(stack: &Stack) {
    stack.run(&["build", "--tag", "v1"]).expect_code(0);
    let asked = check(stack, "v1", &OF_DJANGO, 0);
    expect(
        &asked,
        &[
            // The example is plain http, and says who answers for it.
            ("django-deploy", "waived"),
            ("django-settings", "waived"),
            ("model-changes", "passed"),
            ("migration-graph", "passed"),
            ("schema-ahead", "not_verified"),
            ("migrations", "not_verified"),
        ],
    );
}

fn the_image_beside_what_serves(stack: &Stack) {
    let well = check(stack, "v1", &OF_DJANGO, 0);
    expect(&well, &[("schema-ahead", "passed"), ("migrations", "passed")]);
    let later = "INSERT INTO django_migrations (app, name, applied) VALUES ('papers', '0099_later', now())";
    query(stack, later);
    let ahead = check(stack, "v1", &OF_DJANGO, 0);
    expect(&ahead, &[("schema-ahead", "failed")]);
    assert!(
        ahead
            .stdout
            .contains("papers.0099_later is applied, and the release does not know it"),
        "{ahead}"
    );
    query(stack, "DELETE FROM django_migrations WHERE name = '0099_later'");
}

/// As of countless databases that were found, emptied and held to ransom.
fn a_database_in_the_open(stack: &Stack) {
    let before = fs::read_to_string(stack.example.file("docker-compose.prod.yml")).unwrap();
    stack.example.replace(
        "docker-compose.prod.yml",
        "    env_file: .env.db\n",
        "    env_file: .env.db\n    ports: [\"5432:5432\"]\n",
    );
    let open = check(stack, "v1", &["published-ports"], 3);
    expect(&open, &[("published-ports", "failed")]);
    assert!(open.stdout.contains("5432"), "{open}");
    fs::write(stack.example.file("docker-compose.prod.yml"), before).unwrap();
    expect(
        &check(stack, "v1", &["published-ports"], 0),
        &[("published-ports", "passed")],
    );
}

/// The run itself stops at its gate: the image is built, and nothing that serves is touched.
fn settings_and_models(stack: &Stack) {
    let settings = "\nALLOWED_HOSTS = [\"*\"]\nCSRF_TRUSTED_ORIGINS = [\"http://viatique.example.com\"]\n";
    stack.example.append("backend/viatique/settings.py", settings);
    let model = "\n\nclass Room(models.Model):\n    name = models.TextField()\n";
    stack.example.append("backend/papers/models.py", model);
    let before = stack.snapshot();
    let visitor = stack.poll();
    let stopped = stack.run(&["run", "--tag", "v2"]).expect_code(5);
    visitor.stop().expect_only(&["v1"]);
    stopped
        .says("3 problems stand in the way of a deploy")
        .says("ALLOWED_HOSTS has `*`")
        .says("CSRF_TRUSTED_ORIGINS has http://viatique.example.com, which is not https")
        .says("no migration makes this: papers: Create model Room [model-changes]");
    assert_eq!(stack.snapshot().standing(), before.standing());
}

fn two_ends(stack: &Stack) {
    stack.example.mend();
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.example.replace("deploy.yml", WAIVER, "");
    for name in ["0004_one", "0004_other"] {
        super::support::django::migration(stack, name, &["0003_annotation_index"], "");
    }
    stack.run(&["build", "--tag", "v3"]).expect_code(0);
    let conflict = check(stack, "v3", &OF_DJANGO, 5);
    expect(
        &conflict,
        &[("migration-graph", "failed"), ("model-changes", "not_verified")],
    );
    assert!(
        conflict
            .stdout
            .contains("papers has 2 last migrations: 0004_one, 0004_other"),
        "{conflict}"
    );
}

fn settings_that_do_not_load(stack: &Stack) {
    stack
        .example
        .append("backend/viatique/settings.py", "\nimport no_such_module\n");
    stack.run(&["build", "--tag", "v4"]).expect_code(0);
    let broken = check(stack, "v4", &OF_DJANGO, 5);
    for (id, verdict) in verdicts(&broken) {
        assert_eq!(verdict, "not_verified", "{id}: {broken}");
    }
    assert!(
        broken.stdout.contains("No module named 'no_such_module'"),
        "{broken}"
    );
    let one_offs = format!("name={}-backend-run", stack.project);
    let left = docker(["ps", "-aq", "--filter", &one_offs]);
    assert_eq!(left, "", "a container was left");
}
