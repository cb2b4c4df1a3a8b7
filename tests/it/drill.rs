//! `backup drill`: a backup is restored where it harms nobody, and nothing of it is left but that it was.

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId};
use viatique_deploy::steps::backup::drill::Drilled;

use crate::support::{Ended, FakeOutput, Fault, Stack};

async fn with_a_backup() -> (Stack, String) {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let saved = stack.command(Chosen::backup(), "v1").await;
    saved.succeeded();
    (stack, saved.run.0)
}

fn drilled(stack: &Stack, id: &str) -> Option<Drilled> {
    Drilled::of(&stack.backups().join(id))
}

/// What serves is as it was, and there is no container more.
#[track_caller]
fn harmed_nobody(stack: &Stack, what: &str) {
    let server = stack.database.lock().unwrap().server.clone();
    assert_eq!(server.databases.len(), 1, "{what}");
    assert_eq!(server.databases["copies"].rows["public.copies"], 3, "{what}");
    let seen = stack.engine.peek();
    assert_eq!(seen.containers.len(), 8, "{what}: {:?}", seen.names());
}

#[track_caller]
fn failed(stack: &Stack, id: &str, ended: &Ended, why: &str) {
    ended.ended(Outcome::Failed, ExitCode::Failed);
    ended.says(why);
    harmed_nobody(stack, why);
    assert_eq!(drilled(stack, id), None);
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_can_be_restored_is_noted_as_one() {
    let (stack, id) = with_a_backup().await;
    let ended = stack.command(Chosen::drill(None), "v1").await;
    ended.succeeded();
    let said = ended.step_message(StepId::Drill);
    let found = "5 rows in 2 tables, as when it was saved";
    assert!(
        said.starts_with(&format!("backup {id} of ")) && said.contains(found),
        "{said}"
    );
    harmed_nobody(&stack, "it was restored");
    let noted = drilled(&stack, &id).unwrap();
    assert_eq!(noted.found, found);
    assert_eq!(noted.missing_files, Some(2));
    // It stood by itself.
    let commands = stack.engine.commands();
    let restored = commands
        .iter()
        .find(|command| command.line().contains("--exit-on-error"));
    assert!(
        restored
            .unwrap()
            .container
            .starts_with("viatique-deploy-drill-viatique-")
    );
}

#[tokio::test(start_paused = true)]
async fn files_that_the_database_names_are_looked_for_in_the_backup() {
    let (stack, _) = with_a_backup().await;
    stack.engine.put_file("viatique_media", "scans/1.png", b"one");
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let ended = stack.command(Chosen::drill(None), "v1").await;
    ended.succeeded();
    let told = ended.warnings();
    assert!(
        told.contains(
            "1 files that the database names are not in the backup: copies.scan: scans/Élève 2.png"
        ),
        "{told}"
    );
    stack
        .engine
        .put_file("viatique_media", "scans/%C3%89l%C3%A8ve%202.png", b"two");
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let ended = stack.command(Chosen::drill(None), "v1").await;
    assert!(
        ended
            .step_message(StepId::Drill)
            .ends_with("every file that it names is there")
    );
    // Without an application nobody knows which columns name files.
    stack.engine.kill("viatique-backend-1", 0);
    let ended = stack.command(Chosen::drill(None), "v1").await;
    assert!(ended.step_message(StepId::Drill).ends_with("was not verified"));
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_is_said() {
    let (stack, id) = with_a_backup().await;
    stack.answer(|command| {
        let fills = command.line().contains("--exit-on-error");
        fills.then(|| {
            FakeOutput::silent()
                .and_stderr("pg_restore: error: no\n")
                .exits(1)
        })
    });
    let ended = stack.command(Chosen::drill(Some(id.clone())), "v1").await;
    failed(&stack, &id, &ended, &format!("backup {id} was not restored"));
    // And rows that are lacking.
    stack.answer(|command| {
        command
            .line()
            .contains("--exit-on-error")
            .then(FakeOutput::silent)
    });
    let ended = stack.command(Chosen::drill(None), "v1").await;
    failed(
        &stack,
        &id,
        &ended,
        "tables of the restored database are not as they were saved",
    );
    assert!(ended.evidence().contains("public.copies: 0 rows, 3 were saved"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_takes_connections_is_waited_for_and_then_removed() {
    let (stack, id) = with_a_backup().await;
    stack.answer(|command| {
        let asks = command.words.first().is_some_and(|word| word == "pg_isready");
        asks.then(|| FakeOutput::silent().exits(2))
    });
    let ended = stack.command(Chosen::drill(None), "v1").await;
    failed(&stack, &id, &ended, "takes no connections after 120 s");
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_nothing_of_it_is_left() {
    let (stack, id) = with_a_backup().await;
    let clean = stack.fork();
    let before = clean.engine.calls().len();
    clean.command(Chosen::drill(None), "v1").await.succeeded();
    let calls = clean.engine.calls().len() - before;
    // `fork` shares the folder of the backups.
    std::fs::remove_file(stack.backups().join(&id).join("drill.json")).unwrap();
    for number in 1..=calls {
        for fault in [
            Fault::Fail(EngineErrorKind::Other),
            Fault::LoseReply(EngineErrorKind::ConnectionLost),
        ] {
            let stack = stack.fork();
            stack.engine.fault_at(before + number, fault);
            let ended = stack.command(Chosen::drill(None), "v1").await;
            stack.engine.heal();
            let what = format!("call {number} of {calls}, {fault:?}: {}", ended.message());
            if ended.outcome == Outcome::Stuck {
                // It could not be removed, which is said; the next run does.
                stack.command(Chosen::backup(), "v1").await;
            }
            let seen = stack.engine.peek();
            let left = seen.names().into_iter().collect::<Vec<_>>().join(" ");
            assert!(
                !left.contains("-drill-") || ended.outcome == Outcome::Stuck,
                "{what}: {left}"
            );
        }
    }
}
