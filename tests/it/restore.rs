//! `backup restore`: what a backup has serves again, what served is kept, and whatever goes wrong, one of the two serves.

use std::collections::BTreeMap;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::backup::restore::{Parts, Restore};

use crate::support::{Ended, FakeApp, FakeDatabase, FakeOutput, Fault, LIVE, Stack};

const COPIES: &str = "public.copies";

/// Saved with three copies, and then all but one were removed. With the backup's id.
async fn after_an_accident() -> (Stack, String) {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let saved = stack.command(Chosen::backup(), "v1").await;
    saved.succeeded();
    set_copies(&stack, 1);
    (stack, saved.run.0)
}

fn set_copies(stack: &Stack, rows: u64) {
    let mut database = stack.database.lock().unwrap();
    database.server.live().rows.insert(COPIES.to_owned(), rows);
}

fn databases(stack: &Stack) -> BTreeMap<String, FakeDatabase> {
    stack.database.lock().unwrap().server.databases.clone()
}

/// How many copies the one that serves has.
fn copies(stack: &Stack) -> u64 {
    databases(stack)[LIVE].rows[COPIES]
}

/// The names of those beside it, with what stands in their marks as their state.
fn beside(stack: &Stack) -> Vec<(String, String)> {
    let all = databases(stack).into_iter().filter(|(name, _)| name != LIVE);
    all.map(|(name, database)| {
        let comment = database.comment.unwrap_or_default();
        let mark: serde_json::Value = serde_json::from_str(&comment).unwrap_or_default();
        (name, mark["state"].as_str().unwrap_or("unmarked").to_owned())
    })
    .collect()
}

fn restore(id: &str) -> Chosen {
    restore_of(id, Parts::All)
}

fn restore_of(id: &str, parts: Parts) -> Chosen {
    let id = Some(id.to_owned());
    Chosen::restore(Restore::of(id, parts), true)
}

/// The database is as before, and nothing of the restored one is left.
#[track_caller]
fn nothing_was_restored(stack: &Stack, ended: &Ended) {
    assert_eq!(ended.step(StepId::Restore), StepResult::Failed);
    assert_eq!(copies(stack), 1);
    assert_eq!(beside(stack), Vec::<(String, String)>::new());
}

#[tokio::test(start_paused = true)]
async fn what_was_saved_serves_and_what_served_is_kept() {
    let (stack, id) = after_an_accident().await;
    stack
        .engine
        .put_file("viatique_media", "scans/1.png", b"added since");
    let ended = stack.command(restore(&id), "v1").await;
    ended.succeeded();
    assert_eq!(copies(&stack), 3);
    let kept = beside(&stack);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let (name, state) = &kept[0];
    assert!(name.starts_with("copies_before_"), "{name}");
    assert_eq!(state, "replaced");
    assert_eq!(databases(&stack)[name].rows[COPIES], 1);
    let said = ended.step_message(StepId::Restore);
    assert!(
        said.contains(&format!("the one before is kept as {name} until ")),
        "{said}"
    );
    assert!(said.contains("1 set aside"), "{said}");
    // The state before is a backup, too; and the app was asked whether it is well.
    assert_eq!(ended.step(StepId::Backup), StepResult::Succeeded);
    assert_eq!(ended.step(StepId::Health), StepResult::Unchanged);
    assert_eq!(ended.outcome, Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn the_newest_backup_is_the_one_before_the_restore() {
    let (stack, _) = after_an_accident().await;
    stack
        .command(Chosen::restore(Restore::default(), true), "v1")
        .await
        .succeeded();
    assert_eq!(copies(&stack), 3);
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_taken_back_and_that_too() {
    let (stack, id) = after_an_accident().await;
    stack.command(restore(&id), "v1").await.succeeded();
    set_copies(&stack, 4);
    for (expected, state) in [(1, "taken_back"), (4, "taken_back")] {
        let ended = stack.command(Chosen::undo_restore(), "v1").await;
        ended.succeeded();
        assert_eq!(copies(&stack), expected);
        let kept = beside(&stack);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].1, state);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_restore_there_is_nothing_to_take_back() {
    let (stack, _) = after_an_accident().await;
    let ended = stack.command(Chosen::undo_restore(), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Configuration);
    ended.says("there is no restore to take back");
    assert_eq!(copies(&stack), 1);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_not_well_on_it_has_its_database_back() {
    let (mut stack, id) = after_an_accident().await;
    stack.app = FakeApp::unreachable();
    let ended = stack.command(restore(&id), "v1").await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(copies(&stack), 1);
    let kept = beside(&stack);
    assert_eq!(kept.len(), 1, "{kept:?}");
    // What was written to it meanwhile is not lost either.
    assert_eq!(kept[0].1, "taken_back");
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_another_schema_is_refused_unless_it_is_wanted() {
    let (stack, id) = after_an_accident().await;
    for (migration, expected) in [("copies.0001_initial", 1), ("copies.0002_mark", 1)] {
        let mut database = stack.database.lock().unwrap();
        let live = database.server.live();
        live.migrations.push(migration.to_owned());
        assert_eq!(live.rows[COPIES], expected);
    }
    // The backup has none, as one of a database that is no Django's: that is not held against it.
    stack.command(restore(&id), "v1").await.succeeded();
    stack.command(Chosen::undo_restore(), "v1").await.succeeded();
    let saved = stack.command(Chosen::backup(), "v1").await;
    saved.succeeded();
    stack
        .database
        .lock()
        .unwrap()
        .server
        .live()
        .migrations
        .push("copies.0003_note".to_owned());
    let ended = stack.command(restore(&saved.run.0), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("the running release would fail on the restored database");
    assert!(
        ended
            .evidence()
            .contains("copies.0003_note stands now, and would not")
    );
    assert!(ended.hints().contains("rollback --to v1 --restore-db"));
    let mut settings = stack.settings("v1");
    settings.allow_incompatible = true;
    stack
        .command_with(restore(&saved.run.0), settings)
        .await
        .succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_restored_database_that_lacks_rows_never_serves() {
    let (stack, id) = after_an_accident().await;
    let database = std::sync::Arc::clone(&stack.database);
    stack.answer(move |command| {
        let fills = command.words.first().is_some_and(|word| word == "pg_restore")
            && command.words.iter().any(|word| word == "--exit-on-error");
        fills.then(|| {
            let mut database = database.lock().unwrap();
            let filled = database
                .server
                .databases
                .iter_mut()
                .find(|(name, _)| name.contains("_restore_"));
            filled.unwrap().1.rows =
                BTreeMap::from([(COPIES.to_owned(), 2), ("public.pupils".to_owned(), 2)]);
            FakeOutput::silent()
        })
    });
    let ended = stack.command(restore(&id), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Failed);
    assert!(
        ended.evidence().contains("public.copies: 2 rows, 3 were saved"),
        "{}",
        ended.evidence()
    );
    nothing_was_restored(&stack, &ended);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_dump_never_serves_although_pg_restore_reads_it() {
    let (stack, id) = after_an_accident().await;
    let dump = stack.backups().join(&id).join("database.dump");
    let mut content = std::fs::read(&dump).unwrap();
    content.push(0);
    std::fs::write(&dump, content).unwrap();
    stack.answer(|command| {
        let restores = command.words.first().is_some_and(|word| word == "pg_restore");
        restores.then(FakeOutput::silent)
    });
    let ended = stack.command(restore(&id), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Failed);
    ended.says("database.dump is damaged: it is not what was written");
    nothing_was_restored(&stack, &ended);
}

#[tokio::test(start_paused = true)]
async fn an_older_server_and_a_full_disk_are_refused_before_anything_is_made() {
    let (stack, id) = after_an_accident().await;
    for (asked, answer, code, said) in [
        (
            "pg_control_system",
            r#"{"version": "160009", "system": "7301846290123456789", "bytes": 8000000}"#,
            ExitCode::Configuration,
            "the backup is of a PostgreSQL 17, and the server is a 16",
        ),
        (
            "df -Pk",
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 10 5 5 1% /\n",
            ExitCode::Failed,
            "there is no room for a second database beside copies",
        ),
    ] {
        stack.answer(move |command| command.line().contains(asked).then(|| FakeOutput::stdout(answer)));
        let ended = stack.command(restore(&id), "v1").await;
        ended.ended(Outcome::Failed, code);
        ended.says(said);
        nothing_was_restored(&stack, &ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_does_not_run_is_refused_before_anything_is_made() {
    let (stack, id) = after_an_accident().await;
    stack.engine.kill("viatique-db-1", 1);
    let with_backup = stack.command(restore(&id), "v1").await;
    let restore = Restore::of(Some(id), Parts::All);
    let without = stack.command(Chosen::restore(restore, false), "v1").await;
    for ended in [with_backup, without] {
        ended.ended(Outcome::Failed, ExitCode::Failed);
        ended.says("viatique-db-1 does not run");
    }
    assert_eq!(beside(&stack), Vec::<(String, String)>::new());
}

#[tokio::test(start_paused = true)]
async fn only_a_part_is_restored_where_only_that_is_asked_for() {
    let (stack, id) = after_an_accident().await;
    stack
        .engine
        .put_file("viatique_media", "scans/1.png", b"added since");
    let media = stack.command(restore_of(&id, Parts::Media), "v1").await;
    media.succeeded();
    assert_eq!(copies(&stack), 1);
    assert_eq!(
        media.step_message(StepId::Restore),
        "0 files put in place, 0 B; 1 set aside"
    );
    let database = stack.command(restore_of(&id, Parts::Database), "v1").await;
    database.succeeded();
    assert_eq!(copies(&stack), 3);
    assert_eq!(database.task_result(StepId::Restore, "media"), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_goes_after_its_time_and_what_was_left_half_at_once() {
    let (stack, id) = after_an_accident().await;
    stack.command(restore(&id), "v1").await.succeeded();
    let left = FakeDatabase {
        comment: databases(&stack)
            .into_values()
            .find_map(|one| one.comment)
            .map(|mark| mark.replace("replaced", "incoming")),
        ..FakeDatabase::default()
    };
    let others = FakeDatabase {
        comment: left
            .comment
            .as_ref()
            .map(|mark| mark.replace("\"viatique\"", "\"another\"")),
        ..FakeDatabase::default()
    };
    {
        let mut database = stack.database.lock().unwrap();
        database
            .server
            .databases
            .insert("copies_restore_half".to_owned(), left);
        database
            .server
            .databases
            .insert("another_restore_half".to_owned(), others);
        database
            .server
            .databases
            .insert("somebody_s_own".to_owned(), FakeDatabase::default());
    }
    let pruned = stack.command(Chosen::prune(), "v1").await;
    assert!(
        pruned
            .step_message(StepId::Prune)
            .starts_with("dropped copies_restore_half, ")
    );
    stack.edit_deploy_yml("directory: backups", "directory: backups\n  keep_replaced: 1s");
    let pruned = stack.command(Chosen::prune(), "v1").await;
    assert!(
        pruned
            .step_message(StepId::Prune)
            .starts_with("dropped copies_before_")
    );
    let names: Vec<String> = databases(&stack).into_keys().collect();
    assert_eq!(names, ["another_restore_half", LIVE, "somebody_s_own"]);
}

/// Whichever command in a container fails, or is done and its answer is lost: either of the two serves, whole, and the
/// other one is there, and what is said is true.
#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_one_of_the_two_serves_and_neither_is_lost() {
    let (stack, id) = after_an_accident().await;
    let clean = stack.fork();
    let before = clean.engine.calls().len();
    clean.command(restore(&id), "v1").await.succeeded();
    let calls = clean.engine.calls();
    let execs = calls
        .iter()
        .skip(before)
        .filter(|call| call.name == "exec")
        .count();
    let done = calls
        .iter()
        .take(before)
        .filter(|call| call.name == "exec")
        .count();
    for number in 1..=execs {
        for fault in [
            Fault::Fail(EngineErrorKind::Other),
            Fault::LoseReply(EngineErrorKind::Other),
        ] {
            let stack = stack.fork();
            stack.engine.fault_on("exec", done + number, fault);
            let ended = stack.command(restore(&id), "v1").await;
            let what = format!("exec {number} of {execs}, {fault:?}: {}", ended.message());
            let serves = copies(&stack);
            match ended.outcome {
                Outcome::Succeeded => assert_eq!(serves, 3, "{what}"),
                Outcome::Failed | Outcome::RolledBack => assert_eq!(serves, 1, "{what}"),
                Outcome::Stuck | Outcome::Interrupted => panic!("{what}: {:?}", ended.outcome),
            }
            let told = format!("{}{}", ended.hints(), ended.warnings());
            for (name, state) in beside(&stack) {
                match state.as_str() {
                    "replaced" | "taken_back" => {}
                    _ => assert!(told.contains(&name), "{what}: {name} is left {state}"),
                }
            }
            if serves == 3 {
                assert!(
                    databases(&stack).values().any(|one| one.rows[COPIES] == 1),
                    "{what}"
                );
            }
        }
    }
}
