//! `migrate`: what is pending is applied and recorded; what a failure leaves is said.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::ContainerState;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult, UnwindResult};

use crate::support::{CommandKind, FakeOutput, ImageBehaviour, Stack};

/// Every container in which Django was started for the database's sake.
fn starts(stack: &Stack) -> usize {
    let commands = stack.engine.commands();
    commands
        .iter()
        .filter(|command| command.line().contains("MigrationExecutor"))
        .count()
}

fn migrations<'a>(pairs: impl IntoIterator<Item = &'a viatique_deploy::release::Migration>) -> Vec<String> {
    pairs.into_iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_applied_in_the_new_image_and_recorded() {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.bring_migration("pupils", "0004_class");
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(
        ended.step_message(StepId::Migrate),
        "applied copies.0002_mark, pupils.0004_class"
    );
    let releases = stack.releases().await;
    let record = releases.current().unwrap().migrations.clone().unwrap();
    assert_eq!(migrations(&record.before), ["copies.0001_initial"]);
    assert_eq!(
        migrations(record.added()),
        ["copies.0002_mark", "pupils.0004_class"]
    );
    let commands = stack.engine.commands();
    let migrate = commands
        .iter()
        .rfind(|command| command.orders("migrate"))
        .unwrap();
    assert_eq!(migrate.kind, CommandKind::OneOff);
    let seen = stack.engine.peek();
    assert_eq!(migrate.image, seen.container("viatique-backend-1").image);
}

#[tokio::test(start_paused = true)]
async fn nothing_pending_changes_nothing() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let ended = stack.run("v2").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Migrate), StepResult::Unchanged);
    assert_eq!(ended.step_message(StepId::Migrate), "no migration is pending");
    assert_eq!(starts(&stack), 2, "one for each run");
}

#[tokio::test(start_paused = true)]
async fn django_is_started_once_to_ask_to_apply_and_to_ask_again() {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(starts(&stack), 1);
    assert_eq!(
        ended.task_message(StepId::Migrate, "state").unwrap(),
        "0 applied, 1 pending"
    );
    assert_eq!(
        ended.task_message(StepId::Migrate, "migrate").unwrap(),
        "1 applied"
    );
    // What Django writes is the migration's; what the script says is nobody's.
    assert_eq!(
        ended.task_output(StepId::Migrate, "migrate"),
        ["  Applying copies.0001_initial... OK", ""]
    );
    assert!(
        ended
            .task_output(StepId::Migrate, "state")
            .contains(&"settings loaded".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_migration_leaves_the_old_release_serving_and_says_what_stands() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.bring_migration("copies", "0002_mark");
    stack.bring_migration("copies", "0003_breaks");
    let database = std::sync::Arc::clone(&stack.database);
    stack.answer(move |command| {
        command.orders("migrate").then(|| {
            let mut database = database.lock().unwrap();
            let before = database.answer();
            // The first commits on its own.
            let first = database.pending.remove(0);
            database.applied.push(first);
            let output = format!("{before}  Applying copies.0002_mark... OK\n{}", database.answer());
            FakeOutput::stdout(output)
                .and_stderr("django.db.utils.ProgrammingError: column exists\n")
                .exits(1)
        })
    });
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("the migration failed (exit code 1)")
        .shows("column exists")
        .hints_at("these migrations stand and were not taken back")
        .hints_at("copies.0002_mark")
        .hints_at("the backup taken before it");
    assert!(!ended.hints().contains("0003_breaks"));
    assert_eq!(stack.engine.peek().containers, before.containers);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    assert_eq!(starts(&stack), 3, "one for v1, and for v2 the gate's too");
}

/// A migration that fails before anything is applied, and says nothing any more after what was asked first.
fn fails_at_once(stack: &Stack, how: fn(String) -> FakeOutput) {
    let database = std::sync::Arc::clone(&stack.database);
    stack.answer(move |command| {
        command
            .orders("migrate")
            .then(|| how(database.lock().unwrap().answer()))
    });
}

#[tokio::test(start_paused = true)]
async fn a_migration_of_which_nothing_stands_is_said_to_have_left_nothing() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    fails_at_once(&stack, |before| {
        FakeOutput::stdout(format!("{before}{before}")).exits(1)
    });
    stack
        .run("v2")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .hints_at("none of the pending migrations stands");
}

/// Killed before it could say: asked again in another container.
#[tokio::test(start_paused = true)]
async fn what_a_killed_migration_left_is_found_out() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    fails_at_once(&stack, |before| FakeOutput::stdout(before).exits(137));
    stack
        .run("v2")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("the migration failed (exit code 137)")
        .hints_at("none of the pending migrations stands");
    assert_eq!(starts(&stack), 4, "one for v1, the gate's and two for v2");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_cannot_be_asked_again_is_said_so() {
    for (how, why) in [
        (
            (|before| {
                let unknown = "viatique-deploy:{\"unknown\":\"OperationalError: gone\"}\n";
                FakeOutput::stdout(format!("{before}{unknown}")).exits(1)
            }) as fn(String) -> FakeOutput,
            "OperationalError: gone",
        ),
        (
            |before| FakeOutput::out_of_memory_after(before),
            "django could not say which migrations are applied (exit code 137, killed for want of memory)",
        ),
    ] {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        stack.bring_migration("copies", "0002_mark");
        let database = std::sync::Arc::clone(&stack.database);
        stack.answer(move |command| {
            let asks = command.words.contains(&"shell".to_owned())
                && !command.orders("judge")
                && !command.asks_for_production();
            let again = || FakeOutput::out_of_memory();
            let migrates = || how(database.lock().unwrap().answer());
            asks.then(|| {
                if command.orders("migrate") {
                    migrates()
                } else {
                    again()
                }
            })
        });
        stack
            .run("v2")
            .await
            .ended(Outcome::Failed, ExitCode::Failed)
            .says("the migration failed")
            .hints_at(&format!("which migrations stand could not be found out: {why}"));
    }
}

#[tokio::test(start_paused = true)]
async fn applied_migrations_stay_where_a_later_step_fails() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    let ended = stack.run("v2").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    let (result, message) = ended.undo(StepId::Migrate).unwrap();
    assert_eq!(result, UnwindResult::LeftInPlace);
    assert_eq!(message, "the migrations stay applied: copies.0002_mark");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_is_an_error_and_not_an_empty_state() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.answer(|command| command.orders("migrate").then(|| FakeOutput::stdout("hello\n")));
    stack
        .run("v2")
        .await
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("django's answer about its migrations is missing");
}

#[tokio::test(start_paused = true)]
async fn on_an_empty_engine_it_starts_what_it_needs_and_only_that() {
    let stack = Stack::viatique();
    stack.command(Chosen::build(), "v1").await.succeeded();
    stack.bring_migration("copies", "0001_initial");
    stack.command(Chosen::migrate(), "v1").await.succeeded();
    let seen = stack.engine.peek();
    let names: Vec<_> = seen.names().into_iter().collect();
    assert_eq!(
        names,
        [
            "viatique-db-1",
            "viatique-deploy-ledger-viatique",
            "viatique-redis-1"
        ]
    );
    assert_eq!(seen.container("viatique-db-1").state, ContainerState::Running);
    // What it started is what the deploy would start: it is kept.
    let db = seen.container("viatique-db-1").id.clone();
    stack.run("v1").await.succeeded();
    assert_eq!(stack.engine.peek().container("viatique-db-1").id, db);
}

#[tokio::test(start_paused = true)]
async fn on_an_empty_engine_a_failure_takes_away_what_it_started() {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    fails_at_once(&stack, |before| FakeOutput::stdout(before).exits(1));
    let ended = stack.run("v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("the migration failed");
    let seen = stack.engine.peek();
    let names: Vec<_> = seen.names().into_iter().collect();
    assert_eq!(names, ["viatique-deploy-ledger-viatique"]);
    assert!(seen.networks.is_empty());
    assert!(seen.volumes.contains_key("viatique_postgres_data"), "data stays");
}
