//! Migrations tried on a restored copy first, on a real Django and a real PostgreSQL: what is found out, what is refused,
//! and that nothing of it reaches what serves.

use std::fs;

use serde_json::Value;

use super::support::database::query;
use super::support::django::migration;
use super::support::{Stack, docker};

const FIRST: &str = "0003_annotation_index";

#[test]
fn migrations_are_tried_on_a_copy_first() {
    let stack = Stack::new("rehearsal");
    as_it_was_copied(&stack);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    query(
        &stack,
        "INSERT INTO papers_exam (title, held_on, maximum) SELECT 'exam ' || n % 2, now(), 20 FROM generate_series(1, 4) n",
    );
    timed_and_taken_back(&stack);
    what_fails_is_found_out(&stack);
    by_hand_and_then_not_again(&stack);
    what_cannot_be_taken_back(&stack);
    killed(&stack);
}

fn as_it_was_copied(stack: &Stack) {
    stack.example.mend();
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.example.replace(
        "deploy.yml",
        "manage: [python3, manage.py] }",
        "manage: [python3, manage.py], rehearse: true }",
    );
}

/// What a run makes for a rehearsal, and should have removed.
fn left(stack: &Stack) -> String {
    docker([
        "ps",
        "--all",
        "--quiet",
        "--filter",
        &format!("label=viatique-deploy.project={}", stack.project),
        "--filter",
        "label=viatique-deploy.role=drill",
    ])
}

fn applied(stack: &Stack) -> String {
    query(
        stack,
        "SELECT string_agg(name, ' ' ORDER BY name) FROM django_migrations WHERE app = 'papers' AND name > '0003_z'",
    )
}

/// What the run that made the current release found out.
fn noted(stack: &Stack) -> Value {
    let shown = stack.run(&["releases", "show", &stack.serves(), "--output", "json"]);
    shown.expect_code(0).json()["rehearsal"].clone()
}

/// Two branches and what merges them; one of them holds its lock for longer than a visitor waits.
fn timed_and_taken_back(stack: &Stack) {
    migration(
        stack,
        "0004_note",
        &[FIRST],
        "migrations.AddField(\"copy\", \"note\", models.TextField(null=True)), \
         migrations.RunSQL(\"SELECT pg_sleep(1.3)\", migrations.RunSQL.noop), \
         migrations.RunPython(reaches_redis, migrations.RunPython.noop)",
    );
    migration(
        stack,
        "0004_room",
        &[FIRST],
        "migrations.CreateModel(\"Room\", [(\"id\", models.BigAutoField(primary_key=True))])",
    );
    migration(stack, "0005_both", &["0004_note", "0004_room"], "");
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2", "--verbose"]).expect_code(0);
    visitor.stop().expect_only(&["v1", "v2"]);
    finished
        .says("papers.0004_note locks papers_copy for about 1.")
        .says("in which nobody can use it")
        .says("3 migrations in ")
        .says("taken back exactly, in ");
    // It was alone there, and is not when it counts.
    let said = &finished.stderr;
    let alone = said.find("redis is not reached").expect("it is alone");
    let beside = said.find("redis is reached").expect("it serves");
    assert!(alone < beside, "{finished}");
    assert_eq!(applied(stack), "0004_note 0004_room 0005_both");
    assert_eq!(left(stack), "");
    // On staging, too: a project of its own, which stays.
    let staging = format!("{}-staging-staging_db-1", stack.project);
    let sql = "SELECT count(*) FROM django_migrations WHERE name IN ('0004_note', '0004_room', '0005_both')";
    let words = [
        "exec",
        &staging,
        "psql",
        "-At",
        "-U",
        "viatique",
        "-d",
        "viatique_staging",
        "-c",
        sql,
    ];
    assert_eq!(docker(words), "3");
    let rehearsal = noted(stack);
    assert!(rehearsal["staging"].as_array().unwrap().len() > 3, "{rehearsal}");
    let names: Vec<&str> = rehearsal["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["migration"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "{rehearsal}");
    let slow = names.iter().position(|name| *name == "0004_note").unwrap();
    let lock = &rehearsal["migrations"][slow]["locks"][0];
    assert_eq!(lock["table"], "papers_copy", "{rehearsal}");
    let milliseconds = lock["milliseconds"].as_u64().unwrap();
    assert!((1000..=10_000).contains(&milliseconds), "{rehearsal}");
    assert!(
        rehearsal["way_back"]["exact"]["milliseconds"].is_u64(),
        "{rehearsal}"
    );
    let shown = stack.run(&["releases", "show", "v2"]).expect_code(0);
    assert!(shown.stdout.contains("rehearsed: "), "{shown}");
}

/// Only the data tell that it cannot work: staging has none.
fn what_fails_is_found_out(stack: &Stack) {
    migration(
        stack,
        "0006_unique",
        &["0005_both"],
        "migrations.RunSQL(\"CREATE UNIQUE INDEX exam_title ON papers_exam (title)\", \"DROP INDEX exam_title\")",
    );
    let before = stack.snapshot();
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v3"]).expect_code(5);
    visitor.stop().expect_only(&["v2"]);
    finished
        .says("the migrations fail on a copy of the data; the data themselves were not touched")
        .says("could not create unique index");
    assert_eq!(stack.snapshot().standing(), before.standing());
    assert_eq!(applied(stack), "0004_note 0004_room 0005_both");
    assert_eq!(left(stack), "");
    query(stack, "UPDATE papers_exam SET title = title || id");
}

fn by_hand_and_then_not_again(stack: &Stack) {
    stack.run(&["build", "--tag", "v3"]).expect_code(0);
    // The newest backup has the titles that are no good.
    stack.run(&["rehearse", "--tag", "v3"]).expect_code(5);
    stack.run(&["backup"]).expect_code(0);
    stack
        .run(&["rehearse", "--tag", "v3"])
        .expect_code(0)
        .says("1 migration in ");
    stack
        .run(&["rehearse", "--tag", "v3", "--dry-run"])
        .expect_code(0)
        .says("1 migration in ");
    assert_eq!(applied(stack), "0004_note 0004_room 0005_both");
    let finished = stack.run(&["run", "--tag", "v3"]).expect_code(0);
    finished.says("rehearsed before, at ");
    assert_eq!(noted(stack)["migrations"][0]["migration"]["name"], "0006_unique");
}

fn what_cannot_be_taken_back(stack: &Stack) {
    migration(
        stack,
        "0007_forward",
        &["0006_unique"],
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL(\"SELECT 1\")])",
    );
    let finished = stack.run(&["run", "--tag", "v4"]).expect_code(0);
    finished.says("cannot be taken back: go back with --restore-db");
    let why = &noted(stack)["way_back"]["irreversible"]["why"][0];
    assert!(
        why.as_str().unwrap().starts_with("papers.0007_forward: "),
        "{why}"
    );
}

/// Nothing of a copy of the pupils' data outlives the next run.
fn killed(stack: &Stack) {
    migration(
        stack,
        "0008_slow",
        &["0007_forward"],
        "migrations.RunSQL(\"SELECT pg_sleep(3600)\", migrations.RunSQL.noop)",
    );
    let staging = "staging: [docker-compose.staging.yml]";
    stack.example.replace("deploy.yml", staging, "");
    let mut run = stack.start(&["run", "--tag", "v5", "--output", "json"]);
    run.wait_for_event("a migration that is tried", |event| {
        event["event"] == "task_started" && event["step"] == "rehearse" && event["task"] == "migrate"
    });
    run.signal("KILL");
    run.finish();
    assert_ne!(left(stack), "");
    let folders = || fs::read_dir(stack.example.file("backups")).unwrap().count();
    let before = folders();
    as_it_was_copied(stack);
    stack.run(&["backup"]).expect_code(0);
    assert_eq!(left(stack), "");
    assert_eq!(folders(), before + 1);
    assert_eq!(
        applied(stack),
        "0004_note 0004_room 0005_both 0006_unique 0007_forward"
    );
}
