//! Migrations on a real Django and a real PostgreSQL: one that the running release would fail on, one that waits for its
//! lock, two at once, and one that is left half-done.

use std::process::Child;

use super::support::database::{answers, hold, query};
use super::support::django::{migration, migration_in_pieces};
use super::support::{Stack, docker};

#[test]
fn migrations_are_judged_wait_and_are_only_one_at_a_time() {
    let stack = Stack::new("migrations");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    refused(&stack);
    waits_for_its_lock(&stack);
    only_one(&stack);
    left_half_done(&stack);
    takes_too_long(&stack);
    the_database_is_restarted(&stack);
}

fn refused(stack: &Stack) {
    let field = "migrations.RemoveField(\"copy\", \"total\")";
    migration(stack, "0004_without_total", &["0003_annotation_index"], field);
    let before = stack.snapshot();
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(5);
    visitor.stop().expect_only(&["v1"]);
    finished
        .says("the running release would fail on the migrated database")
        .says("papers.0004_without_total: Remove field total from copy: what runs still reads it")
        .says("--allow-breaking");
    assert_eq!(stack.snapshot().standing(), before.standing());
    assert_eq!(
        query(
            stack,
            "SELECT count(*) FROM django_migrations WHERE name = '0004_without_total'"
        ),
        "0"
    );
    stack.example.mend();
    stack.example.without(&["celery_worker", "celery_beat"]);
}

/// Until the database counts one of these.
fn wait_until_it_holds(stack: &Stack, holder: &mut Child, count: &str) {
    while query(stack, count) == "0" {
        assert!(holder.try_wait().unwrap().is_none(), "it has ended");
    }
}

fn waits_for_its_lock(stack: &Stack) {
    let field = "migrations.AddField(\"copy\", \"note\", models.TextField(null=True))";
    migration(stack, "0004_note", &["0003_annotation_index"], field);
    // A report that reads for a long time; what stands in quotes is nobody's business.
    let mut report = hold(
        stack,
        "BEGIN; LOCK TABLE papers_copy IN ACCESS SHARE MODE; SELECT pg_sleep(3600), 'Jeanne'",
    );
    let mut run = stack.start(&["run", "--tag", "v2", "--output", "json"]);
    let warned = run.wait_for_event("a warning that it waits", |event| {
        event["event"] == "warning"
            && event["message"]
                .as_str()
                .unwrap()
                .contains("did not get its lock")
    });
    let said = warned["message"].as_str().unwrap();
    assert!(
        said.contains("papers.0004_note did not get its lock in time"),
        "{said}"
    );
    assert!(
        said.contains("SELECT pg_sleep(3600), '…'") && !said.contains("Jeanne"),
        "{said}"
    );
    let hint = warned["hint"].as_str().unwrap();
    let ends = hint.strip_prefix("to end the oldest: ").unwrap();
    assert_eq!(query(stack, ends), "t");
    report.wait().unwrap();
    run.finish().expect_code(0);
    assert_eq!(stack.serves(), "v2");
    let planned = stack.run(&["rollback", "--dry-run"]).expect_code(0);
    planned.says("migrations applied since v1 stay applied (papers.0004_note); they only add to the schema, and its code fits it");
}

fn only_one(stack: &Stack) {
    let field = "migrations.AddField(\"copy\", \"note2\", models.TextField(null=True))";
    migration(stack, "0005_note2", &["0004_note"], field);
    // What another one holds, from wherever it was started.
    let mut other = hold(
        stack,
        "SELECT pg_advisory_lock(x'7669617469717565'::bigint), pg_sleep(3600)",
    );
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    wait_until_it_holds(stack, &mut other, held);
    let finished = stack.run(&["run", "--tag", "v3"]).expect_code(1);
    finished.says("another migration of this database is under way (database process");
    assert_eq!(stack.serves(), "v2");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(query(stack, end), "t");
    other.wait().unwrap();
    stack.run(&["run", "--tag", "v3"]).expect_code(0);
}

/// An index that is made beside everybody's work and is ended meanwhile stands, half-made.
fn left_half_done(stack: &Stack) {
    let index = "AddIndexConcurrently(\"copy\", models.Index(fields=[\"note\"], name=\"copy_note\"))";
    migration_in_pieces(stack, "0006_index", &["0005_note2"], index);
    let mut report = hold(
        stack,
        "BEGIN; LOCK TABLE papers_copy IN ROW EXCLUSIVE MODE; SELECT pg_sleep(3600)",
    );
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'papers_copy'::regclass";
    wait_until_it_holds(stack, &mut report, locked);
    let visitor = stack.poll();
    let run = stack.start(&["run", "--tag", "v4"]);
    let making =
        "FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'";
    while query(stack, &format!("SELECT count(*) {making}")) == "0" {}
    assert_eq!(
        query(stack, &format!("SELECT pg_terminate_backend(pid) {making}")),
        "t"
    );
    let finished = run.finish().expect_code(1);
    visitor.stop().expect_only(&["v3"]);
    finished
        .says("the migration failed")
        .says("indexes stand half-made, and are not used: copy_note")
        .says("none of the pending migrations stands");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)' AND pid <> pg_backend_pid()";
    query(stack, end);
    report.wait().unwrap();
    // As it says, and then it goes.
    query(stack, "DROP INDEX CONCURRENTLY copy_note");
    stack.run(&["run", "--tag", "v4"]).expect_code(0);
    assert_eq!(stack.serves(), "v4");
}

/// The one under way is rolled back by the database, and those before it stand.
fn takes_too_long(stack: &Stack) {
    migration(
        stack,
        "0007_room",
        &["0006_index"],
        "migrations.CreateModel(\"Room\", [(\"id\", models.BigAutoField(primary_key=True))])",
    );
    migration(
        stack,
        "0008_slow",
        &["0007_room"],
        "migrations.AddField(\"room\", \"note\", models.TextField(null=True)), \
         migrations.RunSQL(\"SELECT pg_sleep(3600)\", migrations.RunSQL.noop)",
    );
    let django = "manage: [python3, manage.py] }";
    let limited = "manage: [python3, manage.py], migrate_within: 2s }";
    stack.example.replace("deploy.yml", django, limited);
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v5"]).expect_code(1);
    visitor.stop().expect_only(&["v4"]);
    finished
        .says("it took longer than 2 s, and was ended")
        .says("these migrations stand and were not taken back, the running release serves with them: papers.0007_room")
        .says("django.migrate_within");
    let column = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'papers_room' AND column_name = 'note'";
    assert_eq!(query(stack, column), "0");
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'";
    assert_eq!(query(stack, sleeps), "0", "nothing of it goes on");
    stack.example.replace("deploy.yml", limited, django);
}

/// In the middle of a migration: it is rolled back, what serves serves on once the database is back, and the same run
/// again does the rest.
fn the_database_is_restarted(stack: &Stack) {
    let run = stack.start(&["run", "--tag", "v6"]);
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'";
    while query(stack, sleeps) == "0" {}
    docker(["restart", &format!("{}-db-1", stack.project)]);
    let finished = run.finish().expect_code(1);
    finished.says("the migration failed");
    while !answers(stack) {}
    let applied = "SELECT string_agg(name, ' ' ORDER BY name) FROM django_migrations WHERE name > '0006' AND app = 'papers'";
    assert_eq!(query(stack, applied), "0006_index 0007_room");
    stack.run(&["health"]).expect_code(0);
    assert_eq!(stack.serves(), "v4");
    stack
        .example
        .replace("backend/papers/migrations/0008_slow.py", "3600", "0");
    stack.run(&["run", "--tag", "v6"]).expect_code(0);
    assert_eq!(query(stack, applied), "0006_index 0007_room 0008_slow");
}
