//! `run --maintenance` on a real nginx, Django and PostgreSQL: visitors get a page and never an error, workers stop and
//! come back, and what goes wrong takes code and data back together.

use super::support::database::query;
use super::support::django::migration;
use super::support::{Client, Stack, docker};

const FIRST: &str = "0003_annotation_index";
/// Judged to be more than the running release can bear.
const FORBIDS: &str = "migrations.AddConstraint(\"exam\", models.CheckConstraint(check=models.Q(maximum__gte=0), name=\"maximum\"))";

#[test]
fn the_site_is_closed_for_a_migration() {
    let stack = Stack::new("maintenance");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    query(
        &stack,
        "INSERT INTO papers_exam (title, held_on, maximum) SELECT 'exam ' || n, now(), 20 FROM generate_series(1, 3) n",
    );
    closed_and_open_again(&stack);
    taken_back_with_its_data(&stack);
    killed(&stack);
}

/// Every answer was the release's own, or the page with a time to come again.
#[track_caller]
fn only_the_page(visitor: Client, releases: &[&str]) {
    let answers = visitor.stop();
    for failure in &answers.failures {
        let head = failure.split("\r\n\r\n").next().unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{failure}");
        assert!(head.contains("Retry-After: 120"), "{failure}");
        assert!(failure.contains("<title>Maintenance"), "{failure}");
    }
    assert!(!answers.failures.is_empty(), "it was never closed");
    let answered: Vec<&str> = answers.releases.keys().map(String::as_str).collect();
    assert_eq!(answered, releases, "{:?}", answers.releases);
}

fn states(stack: &Stack) -> String {
    let project = format!("label=com.docker.compose.project={}", stack.project);
    let words = [
        "ps",
        "--all",
        "--filter",
        &project,
        "--filter",
        "label=com.docker.compose.oneoff=False",
        "--format",
        "{{.Names}} {{.State}}",
    ];
    let listed = docker(words);
    let mut lines: Vec<String> = listed
        .lines()
        .map(|line| line.replace(&format!("{}-", stack.project), ""))
        .collect();
    lines.sort();
    lines.join("; ")
}

const ALL_RUN: &str = "backend-1 running; celery_beat-1 running; celery_worker-1 running; db-1 running; \
                       frontend-1 running; nginx-1 running; redis-1 running";

fn pages(stack: &Stack) -> String {
    let project = format!("label=viatique-deploy.project={}", stack.project);
    let role = "label=viatique-deploy.role=maintenance";
    docker(["ps", "--all", "--quiet", "--filter", &project, "--filter", role])
}

fn applied(stack: &Stack) -> String {
    query(
        stack,
        "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM django_migrations \
         WHERE app = 'papers' AND name > '0003_z'",
    )
}

fn closed_and_open_again(stack: &Stack) {
    let slow = format!("{FORBIDS}, migrations.RunSQL(\"SELECT pg_sleep(3)\", migrations.RunSQL.noop)");
    migration(stack, "0004_maximum", &[FIRST], &slow);
    let refused = stack.run(&["run", "--tag", "v2"]).expect_code(5);
    refused.says("--maintenance");
    let visitor = stack.poll();
    let mut run = stack.start(&["run", "--tag", "v2", "--maintenance", "--output", "json"]);
    run.wait_for_event("it migrates", |event| {
        event["event"] == "task_started" && event["step"] == "migrate" && event["task"] == "migrate"
    });
    let meanwhile = states(stack);
    assert!(meanwhile.contains("celery_worker-1-held-"), "{meanwhile}");
    assert!(!meanwhile.contains("celery_beat-1 running"), "{meanwhile}");
    run.finish().expect_code(0);
    only_the_page(visitor, &["v1", "v2"]);
    assert_eq!(states(stack), ALL_RUN);
    assert_eq!(pages(stack), "");
    assert_eq!(applied(stack), "0004_maximum");
}

/// The new code does not start: the database is what it was when the site was closed.
fn taken_back_with_its_data(stack: &Stack) {
    migration(
        stack,
        "0005_titles",
        &["0004_maximum"],
        "migrations.RemoveField(\"exam\", \"maximum\"), migrations.RunSQL(\"DELETE FROM papers_exam\")",
    );
    stack.example.replace(
        "backend/healthcheck.py",
        "import http.client\n",
        "raise SystemExit(1)\n",
    );
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v3", "--maintenance"]).expect_code(6);
    only_the_page(visitor, &["v2"]);
    finished.says("is as it was in backup");
    assert_eq!(states(stack), ALL_RUN);
    assert_eq!(pages(stack), "");
    assert_eq!(applied(stack), "0004_maximum");
    let rows = "SELECT string_agg(title || ' ' || maximum, ', ' ORDER BY title) FROM papers_exam";
    assert_eq!(query(stack, rows), "exam 1 20.00, exam 2 20.00, exam 3 20.00");
    stack.run(&["health"]).expect_code(0);
}

/// It stays closed until somebody finishes it.
fn killed(stack: &Stack) {
    stack.example.mend();
    migration(stack, "0004_maximum", &[FIRST], FORBIDS);
    migration(
        stack,
        "0005_slow",
        &["0004_maximum"],
        "migrations.RunSQL(\"SELECT pg_sleep(3600)\")",
    );
    let mut run = stack.start(&["run", "--tag", "v4", "--maintenance", "--output", "json"]);
    run.wait_for_event("it migrates", |event| {
        event["event"] == "task_started" && event["step"] == "migrate" && event["task"] == "migrate"
    });
    let sleeps = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)'";
    while query(stack, &format!("SELECT count(*) {sleeps}")) == "0" {}
    run.signal("KILL");
    run.finish();
    let answer = super::support::ask(stack.port).unwrap_err();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    query(stack, &format!("SELECT pg_terminate_backend(pid) {sleeps}"));
    let status = stack.run(&["status"]).expect_code(0);
    assert!(
        status
            .stdout
            .contains("closed: visitors get the maintenance page"),
        "{status}"
    );
    stack
        .run(&["rollback", "--dry-run"])
        .expect_code(0)
        .says("it had closed the site");
    stack
        .example
        .replace("backend/papers/migrations/0005_slow.py", "3600", "0");
    stack.run(&["resume"]).expect_code(0);
    assert_eq!(stack.serves(), "v4");
    assert_eq!(states(stack), ALL_RUN);
    assert_eq!(pages(stack), "");
    assert_eq!(applied(stack), "0004_maximum 0005_slow");
}
