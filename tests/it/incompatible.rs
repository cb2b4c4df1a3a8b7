//! Migrations that the running release would not bear: refused before anything is applied, applied all the same where that
//! is asked for, and spoken of when one goes back.

use viatique_deploy::commands::rollback;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Event, Outcome, StepId};
use viatique_deploy::release::schema::{Fit, Since, fit, since};

use crate::support::{FakeOutput, Stack};

const BREAKS: &str = "Remove field note from paper: what runs still reads it";

async fn served() -> Stack {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_breaks_what_runs_is_refused_and_nothing_is_applied() {
    let stack = served().await;
    stack.bring_migration("copies", "0002_adds");
    stack.bring_migration_that("copies", "0003_removes", "breaks", BREAKS);
    let before = stack.engine.peek();
    for chosen in [Chosen::run(), Chosen::migrate()] {
        let ended = stack.command(chosen, "v2").await;
        ended
            .ended(Outcome::Failed, ExitCode::Gate)
            .says("the running release would fail on the migrated database")
            .shows("copies.0003_removes: Remove field note from paper: what runs still reads it")
            .hints_at("take two releases")
            .hints_at("--allow-breaking");
        assert_eq!(ended.serves.as_deref(), Some("v1"));
        assert_eq!(stack.engine.peek().containers, before.containers);
    }
    assert_eq!(stack.database.lock().unwrap().applied.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_applied_where_that_is_asked_for() {
    let stack = served().await;
    stack.bring_migration_that("copies", "0002_removes", "breaks", BREAKS);
    let mut settings = stack.settings("v2");
    settings.allow_incompatible = true;
    let ended = stack.command_with(Chosen::run(), settings).await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert!(
        warnings.contains("what runs will fail on it: copies.0002_removes: Remove field note"),
        "{warnings}"
    );
    // A run that is finished later was asked for it too.
    let runs = stack.memory().await.runs;
    assert!(runs.last().unwrap().header.allow_incompatible);
    // And going back to what cannot bear it says so before it is begun.
    let refused = of_rollback(&stack).await;
    assert!(
        refused.contains(
            "migrations applied since v1 stay applied (copies.0002_removes); its code does not fit their schema: \
             copies.0002_removes: Remove field note from paper: what runs still reads it"
        ),
        "{refused}"
    );
}

/// What a rollback to the release before says first.
async fn of_rollback(stack: &Stack) -> String {
    let memory = stack.memory().await;
    let target = rollback::target(&memory, None).unwrap();
    let settings = stack.recorded_settings(target);
    let told = rollback::warnings(&memory.releases, target, &settings);
    let told = told.iter().map(|event| {
        let Event::Warning { message, .. } = event else {
            panic!("{event:?}")
        };
        message.clone()
    });
    told.collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn where_nothing_runs_nothing_breaks() {
    let stack = Stack::viatique();
    stack.bring_migration_that("copies", "0001_initial", "breaks", BREAKS);
    stack.bring_migration_that("copies", "0002_data", "unsure", "Run fill()");
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.warnings(), "");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_and_what_cannot_be_undone_is_said_and_done() {
    let stack = served().await;
    stack.bring_migration("copies", "0002_adds");
    stack.run("v2").await.succeeded();
    assert_eq!(
        of_rollback(&stack).await,
        "migrations applied since v1 stay applied (copies.0002_adds); they only add to the schema, and its code fits it"
    );
    stack.bring_migration_that("copies", "0003_data", "unsure", "Run fill()");
    stack.bring_migration_that("copies", "0004_sql", "irreversible", "Raw SQL operation");
    let ended = stack.run("v3").await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert!(
        warnings.contains("whether what runs bears it cannot be told: copies.0003_data: Run fill()"),
        "{warnings}"
    );
    assert!(
        warnings.contains("it cannot be taken back: copies.0004_sql: Raw SQL operation"),
        "{warnings}"
    );
    let said = of_rollback(&stack).await;
    assert!(
        said.contains("whether its code fits their schema cannot be told: copies.0003_data: Run fill()"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_nobody_judged_is_not_called_harmless() {
    let stack = served().await;
    let releases = stack.releases().await;
    let release = releases.current().unwrap();
    assert_eq!(fit(&since([release])), Fit::Adds);
    let mut old = release.clone();
    old.migrations.as_mut().unwrap().assessed.clear();
    let Fit::CannotTell(why) = fit(&since([&old])) else {
        panic!("{:?}", fit(&since([&old])))
    };
    assert_eq!(
        why,
        ["copies.0001_initial: it was not judged when it was applied"]
    );
    assert_eq!(fit(&Since::default()), Fit::Same);
}

#[tokio::test(start_paused = true)]
async fn who_stands_in_the_way_of_a_migration_is_named() {
    let stack = served().await;
    stack.bring_migration("copies", "0002_adds");
    let database = std::sync::Arc::clone(&stack.database);
    stack.answer(move |command| {
        let migrates = command.orders("migrate");
        migrates.then(|| {
            let mut database = database.lock().unwrap();
            let mut output = database.answer();
            let answers = [
                r#"{"waiting": {"for": ["copies", "0002_adds"], "in_the_way": [{"process": 123, "for_seconds": 8,
                    "state": "idle in transaction", "query": "select '…' from copies"}], "next_try": 2, "tries": 5}}"#,
                r#"{"took": {"migration": ["copies", "0002_adds"], "seconds": 0.25}}"#,
                r#"{"unusable": ["copies_note_idx"]}"#,
            ];
            for answer in answers {
                let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                output.push_str(&format!("\nviatique-deploy:{line}\n"));
            }
            let pending = std::mem::take(&mut database.pending);
            database.applied.extend(pending);
            FakeOutput::stdout(output + &database.answer())
        })
    });
    let ended = stack.run("v2").await;
    ended.succeeded();
    let warnings = ended.warnings();
    for said in [
        "copies.0002_adds did not get its lock in time; in the way may be database process 123 (idle in transaction, for 8 s: \
         select '…' from copies); try 2 of 5 follows",
        "indexes stand half-made, and are not used: copies_note_idx",
    ] {
        assert!(warnings.contains(said), "{warnings}");
    }
    assert_eq!(ended.step_message(StepId::Migrate), "applied copies.0002_adds");
}

/// What `migrate --dry-run` plans beyond the command itself.
async fn foreseen(stack: &Stack, chosen: Chosen, tag: &str) -> Vec<String> {
    let ended = stack.dry_run(chosen, tag).await;
    ended.succeeded();
    let planned = ended.planned(StepId::Migrate);
    let judged = planned
        .iter()
        .filter(|change| !change.detail.contains("manage.py migrate"));
    judged
        .map(|change| format!("{}: {}", change.target, change.detail))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_judged_in_a_dry_run_and_by_check() {
    let stack = served().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    for chosen in [Chosen::migrate, Chosen::run] {
        assert_eq!(
            foreseen(&stack, chosen(), "v1").await,
            ["migrations: none is pending, 1 are applied"]
        );
    }
    let ended = stack.dry_run(Chosen::run(), "v2").await;
    assert!(ended.planned(StepId::Migrate).iter().any(|change| {
        change
            .detail
            .ends_with("there is no image of backend yet: viatique-deploy build --tag v2")
    }),);
    stack.command(Chosen::build(), "v2").await.succeeded();
    stack.bring_migration("copies", "0002_adds");
    stack.bring_migration_that("copies", "0003_data", "unsure", "Run fill()");
    assert_eq!(
        foreseen(&stack, Chosen::migrate(), "v2").await,
        [
            "copies.0002_adds: the running release bears it; it can be taken back",
            "copies.0003_data: whether the running release bears it cannot be told (Run fill()); it can be taken back",
        ]
    );
    let checked = stack.command(Chosen::check(), "v2").await;
    checked.succeeded();
    assert!(
        checked.warnings().contains("copies.0003_data: whether"),
        "{}",
        checked.warnings()
    );
    stack.bring_migration_that("copies", "0004_removes", "breaks", BREAKS);
    let planned = foreseen(&stack, Chosen::migrate(), "v2").await;
    assert!(
        planned[2].starts_with("copies.0004_removes: the running release fails on it (Remove field note"),
        "{planned:?}"
    );
    let checked = stack.command(Chosen::check(), "v2").await;
    checked.ended(Outcome::Failed, ExitCode::Gate);
    checked.says("the running release would fail on the migrated database");
}

#[tokio::test(start_paused = true)]
async fn check_says_what_it_has_not_verified() {
    let stack = served().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let checked = stack.command(Chosen::check(), "v2").await;
    checked.succeeded();
    assert_eq!(
        checked.task_message(StepId::Check, "migrations").unwrap(),
        "not verified: there is no image of backend yet: viatique-deploy build --tag v2"
    );
}
