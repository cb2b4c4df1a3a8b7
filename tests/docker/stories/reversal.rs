//! `rollback --reverse-migrations` on a real Django and a real PostgreSQL: exactly what was applied since goes, no request
//! is lost, and what cannot be taken back is refused before anything is touched.

use super::support::Stack;
use super::support::database::{hold, query};
use super::support::django::migration;

const AGREED: [&str; 4] = ["rollback", "--reverse-migrations", "--yes", "--accept-loss"];

#[test]
fn migrations_are_taken_back_exactly() {
    let stack = Stack::new("reversal");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    query(
        &stack,
        "INSERT INTO papers_exam (title, held_on, maximum) SELECT 'exam ' || n, now(), 20 FROM generate_series(1, 4) n",
    );
    both_branches_of_a_merge(&stack);
    what_a_failed_run_has_left(&stack);
    killed(&stack);
    neither_can_serve_in_between(&stack);
    irreversible(&stack);
}

fn applied(stack: &Stack) -> String {
    query(
        stack,
        "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM django_migrations \
         WHERE app = 'papers' AND name > '0003_z'",
    )
}

fn columns(stack: &Stack) -> String {
    query(
        stack,
        "SELECT string_agg(column_name, ' ' ORDER BY column_name) FROM information_schema.columns \
         WHERE table_name = 'papers_exam'",
    )
}

fn end_sleepers(stack: &Stack) {
    query(
        stack,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' \
         AND pid <> pg_backend_pid()",
    );
}

/// The example with the migrations that stand in the way of nothing.
fn mended(stack: &Stack) {
    stack.example.mend();
    stack.example.without(&["celery_worker", "celery_beat"]);
}

fn both_branches_of_a_merge(stack: &Stack) {
    let before = columns(stack);
    let first = "0003_annotation_index";
    migration(
        stack,
        "0004_note",
        &[first],
        "migrations.AddField(\"exam\", \"note\", models.TextField(null=True))",
    );
    migration(
        stack,
        "0004_room",
        &[first],
        "migrations.CreateModel(\"Room\", [(\"id\", models.BigAutoField(primary_key=True)), \
         (\"at\", models.DateTimeField())])",
    );
    migration(stack, "0005_both", &["0004_note", "0004_room"], "");
    stack.run(&["run", "--tag", "v2"]).expect_code(0);
    query(
        stack,
        "UPDATE papers_exam SET note = 'kept' WHERE title < 'exam 3'",
    );
    query(
        stack,
        "INSERT INTO papers_room (at) VALUES ('2026-11-26T10:00:00Z')",
    );
    // What would go is shown, and nothing is done.
    let planned = stack
        .run(&["rollback", "--reverse-migrations", "--dry-run"])
        .expect_code(0);
    for line in [
        "papers_exam  note       2 ",
        "papers_room  all of it  1       2026-11-26T10:00:00",
    ] {
        assert!(planned.stdout.contains(line), "{line}: {planned}");
    }
    stack
        .run(&["rollback", "--reverse-migrations", "--yes"])
        .expect_code(5)
        .says("data may go, and nobody is here to agree; nothing was changed");
    assert_eq!(applied(stack), "0004_note 0004_room 0005_both");
    // A report that stands in the way is waited for, and named.
    let mut report = hold(
        stack,
        "BEGIN; LOCK TABLE papers_exam IN ACCESS SHARE MODE; SELECT pg_sleep(3600)",
    );
    let visitor = stack.poll();
    let words: Vec<&str> = AGREED.into_iter().chain(["--output", "json"]).collect();
    let mut rollback = stack.start(&words);
    let warned = rollback.wait_for_event("a warning that it waits", |event| {
        event["event"] == "warning"
            && event["message"]
                .as_str()
                .unwrap()
                .contains("papers.0004_note did not get its lock")
    });
    assert_eq!(stack.serves(), "v1", "the code goes first: {warned}");
    end_sleepers(stack);
    report.wait().unwrap();
    rollback.finish().expect_code(0);
    visitor.stop().expect_only(&["v1", "v2"]);
    assert_eq!(applied(stack), "");
    assert_eq!(columns(stack), before);
    // They are in the backup that was made before.
    let shown = stack.run(&["releases", "--output", "json"]).expect_code(0).json();
    assert_eq!(shown["releases"][0]["tag"], "v1");
    let again: Vec<&str> = AGREED.into_iter().chain(["--to", "v1"]).collect();
    stack.run(&again).expect_code(3);
}

/// The new code does not start: its migration stands, and no release tells of it.
fn what_a_failed_run_has_left(stack: &Stack) {
    stack.example.replace(
        "backend/healthcheck.py",
        "import http.client\n",
        "raise SystemExit(1)\n",
    );
    stack.run(&["run", "--tag", "v3"]).expect_code(6);
    assert_eq!(applied(stack), "0004_note 0004_room 0005_both");
    let words: Vec<&str> = AGREED.into_iter().chain(["--to", "v1"]).collect();
    stack.run(&words).expect_code(3).says("--with <TAG>");
    let words: Vec<&str> = words.into_iter().chain(["--with", "v3"]).collect();
    let visitor = stack.poll();
    stack.run(&words).expect_code(0);
    visitor.stop().expect_only(&["v1"]);
    assert_eq!(applied(stack), "");
}

fn killed(stack: &Stack) {
    mended(stack);
    migration(
        stack,
        "0004_slow",
        &["0003_annotation_index"],
        "migrations.RunSQL(migrations.RunSQL.noop, \"SELECT pg_sleep(3600)\")",
    );
    migration(
        stack,
        "0005_note",
        &["0004_slow"],
        "migrations.AddField(\"exam\", \"note\", models.TextField(null=True))",
    );
    stack.run(&["run", "--tag", "v4"]).expect_code(0);
    let rollback = stack.start(&AGREED);
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(3600)'";
    while query(stack, sleeps) == "0" {}
    rollback.signal("KILL");
    rollback.finish();
    assert_eq!(applied(stack), "0004_slow", "half of them");
    stack
        .run(&["rollback"])
        .expect_code(4)
        .says("may have taken migrations back");
    // What the killed one has left asks on; its session is ended as somebody would.
    end_sleepers(stack);
    let mut resumed = stack.start(&["resume", "--output", "json"]);
    resumed.wait_for_event("it takes back what is left", |event| {
        event["event"] == "task_started" && event["step"] == "reverse" && event["task"] == "migrate"
    });
    while query(stack, sleeps) == "0" {}
    end_sleepers(stack);
    // A migration whose session was ended has failed, and what serves bears that it stands.
    resumed.finish().expect_code(1);
    assert_eq!(stack.serves(), "v1");
    query(stack, "DELETE FROM django_migrations WHERE name = '0004_slow'");
}

fn neither_can_serve_in_between(stack: &Stack) {
    mended(stack);
    migration(
        stack,
        "0004_name",
        &["0003_annotation_index"],
        "migrations.RunSQL(\"ALTER TABLE papers_exam ADD extra integer NOT NULL DEFAULT 1\", \
         \"ALTER TABLE papers_exam DROP extra\"), \
         migrations.AddConstraint(\"exam\", models.CheckConstraint(check=models.Q(maximum__gte=0), name=\"maximum\"))",
    );
    stack
        .run(&["run", "--tag", "v5", "--allow-breaking"])
        .expect_code(0);
    let before = stack.snapshot();
    stack
        .run(&AGREED)
        .expect_code(5)
        .says("requests would fail from the first to the last replaced service");
    assert_eq!(stack.snapshot().standing(), before.standing());
    let words: Vec<&str> = AGREED.into_iter().chain(["--allow-breaking"]).collect();
    stack.run(&words).expect_code(0);
    assert_eq!(stack.serves(), "v1");
    assert_eq!(applied(stack), "");
}

fn irreversible(stack: &Stack) {
    mended(stack);
    migration(
        stack,
        "0004_note",
        &["0003_annotation_index"],
        "migrations.AddField(\"exam\", \"note\", models.TextField(null=True))",
    );
    migration(
        stack,
        "0005_only_forward",
        &["0004_note"],
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunSQL(\"SELECT 1\")])",
    );
    migration(stack, "0006_after", &["0005_only_forward"], "");
    stack.run(&["run", "--tag", "v6"]).expect_code(0);
    let before = stack.snapshot();
    stack
        .run(&AGREED)
        .expect_code(5)
        .says("the migrations cannot all be taken back; nothing was changed")
        .says("papers.0005_only_forward")
        .says("--restore-db");
    assert_eq!(applied(stack), "0004_note 0005_only_forward 0006_after");
    assert_eq!(stack.snapshot().standing(), before.standing());
}
