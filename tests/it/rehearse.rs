//! `rehearse`: migrations are tried on a copy before they are applied, and nothing of the copy is left.

use viatique_deploy::cli::BuildArgs;
use viatique_deploy::commands::steps::{Chosen, Rehearsing};
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::release::rehearsal::{Rehearsal, WayBack};
use viatique_deploy::steps::check::Selection;

use crate::support::{FakeOutput, Fault, Stack};

fn run() -> Chosen {
    Chosen::run_with(BuildArgs::default(), Rehearsing::First, Selection::All)
}

async fn serving() -> Stack {
    let stack = Stack::viatique();
    stack.command(run(), "v1").await.succeeded();
    stack
}

async fn recorded(stack: &Stack) -> Option<Rehearsal> {
    stack.releases().await.current().unwrap().rehearsal.clone()
}

/// How often a script of the tool was started with this order.
fn orders(stack: &Stack, order: &str) -> usize {
    let commands = stack.engine.commands();
    let given = commands.iter().filter(|command| command.orders(order));
    given.count()
}

#[track_caller]
fn nothing_is_left(stack: &Stack, what: &str) {
    let seen = stack.engine.peek();
    let names = seen.names().into_iter().collect::<Vec<_>>().join(" ");
    assert!(
        !names.contains("-drill-") && !names.contains("-run-"),
        "{what}: {names}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_tried_on_the_backup_of_the_run_and_then_applied() {
    let stack = serving().await;
    stack.bring_migration("copies", "0002_mark");
    let ended = stack.command(run(), "v2").await;
    ended.succeeded();
    let backup = &ended.run.0;
    assert_eq!(
        ended.step_message(StepId::Rehearse),
        format!(
            "on a copy restored from backup {backup}: 1 migration in 1.0 s; nobody could use copies for 0.7 s; taken \
             back exactly, in 1.0 s"
        )
    );
    assert_eq!(ended.step_message(StepId::Migrate), "applied copies.0002_mark");
    // Three times what it took on the copy, a minute at least.
    let commands = stack.engine.commands();
    let migrate = commands
        .iter()
        .rfind(|command| command.orders("migrate"))
        .unwrap();
    assert!(migrate.line().contains("within=60"));
    let noted = recorded(&stack).await.unwrap();
    assert_eq!((&noted.backup, noted.migrations.len()), (backup, 1));
    assert_eq!(noted.way_back, WayBack::Exact { milliseconds: 1000 });
    nothing_is_left(&stack, "it was tried");
    // It shares the scratch server's network, and has no other.
    let commands = stack.engine.commands();
    let tried = commands
        .iter()
        .find(|command| command.orders("rehearse"))
        .unwrap();
    assert!(
        tried.container.starts_with("viatique-backend-run-rehearse-"),
        "{}",
        tried.container
    );
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_pending_django_is_started_once_and_nothing_is_restored() {
    let stack = serving().await;
    let before = (orders(&stack, "judge"), orders(&stack, "migrate"));
    let ended = stack.command(run(), "v2").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Rehearse), StepResult::Unchanged);
    assert_eq!(ended.step_message(StepId::Migrate), "no migration is pending");
    let after = (orders(&stack, "judge"), orders(&stack, "migrate"));
    assert_eq!(after, (before.0 + 1, before.1));
    assert_eq!(recorded(&stack).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_has_nothing_to_rehearse_on() {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    let ended = stack.command(run(), "v1").await;
    ended.succeeded();
    assert_eq!(
        ended.step_message(StepId::Rehearse),
        "nothing serves yet: there is nothing to rehearse on"
    );
    assert_eq!(ended.step_message(StepId::Migrate), "applied copies.0001_initial");
}

#[tokio::test(start_paused = true)]
async fn what_the_running_release_would_fail_on_is_refused_before_anything_is_restored() {
    let stack = serving().await;
    let why = "Remove field total from copy: what runs still reads it";
    stack.bring_migration_that("copies", "0002_without_total", "breaks", why);
    let ended = stack.command(run(), "v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("the running release would fail on the migrated database");
    assert_eq!(ended.step(StepId::Collectstatic), StepResult::NotRun);
    assert_eq!(orders(&stack, "rehearse"), 0);
    let mut settings = stack.settings("v2");
    settings.allow_incompatible = true;
    stack.command_with(run(), settings).await.succeeded();
    assert_eq!(orders(&stack, "rehearse"), 1);
}

#[tokio::test(start_paused = true)]
async fn migrations_that_fail_on_the_copy_are_not_applied() {
    let stack = serving().await;
    stack.bring_migration("copies", "0002_unique");
    let database = stack.database.clone();
    stack.answer(move |command| {
        let tried = command.orders("rehearse");
        tried.then(|| {
            let said = database.lock().unwrap().answer();
            FakeOutput::stdout(said)
                .and_stderr("could not create unique index\n")
                .exits(1)
        })
    });
    let ended = stack.command(run(), "v2").await;
    ended.ended(Outcome::Failed, ExitCode::Gate);
    ended.says("the migrations fail on a copy of the data; the data themselves were not touched");
    assert!(ended.evidence().contains("could not create unique index"));
    for step in [StepId::Migrate, StepId::Collectstatic, StepId::Deploy] {
        assert_eq!(ended.step(step), StepResult::NotRun);
    }
    assert_eq!(stack.database.lock().unwrap().pending.len(), 1);
    nothing_is_left(&stack, "it has failed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_back_is_known_before() {
    let stack = serving().await;
    stack.bring_migration_that("copies", "0002_marks", "irreversible", "Run fill()");
    let ended = stack.command(run(), "v2").await;
    ended.succeeded();
    let said = ended.step_message(StepId::Rehearse);
    assert!(
        said.ends_with("cannot be taken back: go back with --restore-db"),
        "{said}"
    );
    let why = vec!["copies.0002_marks: Run fill()".to_owned()];
    assert_eq!(
        recorded(&stack).await.unwrap().way_back,
        WayBack::Irreversible { why }
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_is_not_tried_twice_while_it_is_young() {
    let stack = serving().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.command(Chosen::build(), "v2").await.succeeded();
    stack.command(Chosen::rehearse(None), "v2").await.succeeded();
    // Another migration is another rehearsal.
    let other = stack.fork();
    other.bring_migration("copies", "0003_more");
    other.command(Chosen::rehearse(None), "v2").await.succeeded();
    assert_eq!(orders(&other, "rehearse"), 1);
    // `fork` shares the folder of the backups: on another one than the last.
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.command(Chosen::rehearse(None), "v2").await.succeeded();
    let before = orders(&stack, "rehearse");
    let ended = stack.command(Chosen::rehearse(None), "v2").await;
    ended.succeeded();
    assert!(
        ended
            .step_message(StepId::Rehearse)
            .starts_with("rehearsed before, at ")
    );
    assert_eq!(orders(&stack, "rehearse"), before);
    stack.edit_deploy_yml("  directory: backups\n", "  directory: backups\n  max_age: 1s\n");
    stack.command(Chosen::rehearse(None), "v2").await.succeeded();
    assert_eq!(orders(&stack, "rehearse"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_backup_there_is_nothing_to_rehearse_on() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    let ended = stack.command(Chosen::rehearse(None), "v1").await;
    ended.ended(Outcome::Failed, ExitCode::Configuration);
    ended.says("there is no backup yet");
    nothing_is_left(&stack, "there is no backup");
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_nothing_of_the_copy_is_left_and_nothing_is_applied() {
    let stack = serving().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.bring_migration("copies", "0002_mark");
    stack.command(Chosen::build(), "v2").await.succeeded();
    let clean = stack.fork();
    clean.command(Chosen::rehearse(None), "v2").await.succeeded();
    let calls = clean.engine.calls().len();
    for backup in std::fs::read_dir(stack.backups()).unwrap().flatten() {
        // `fork` shares the folder of the backups.
        let _ = std::fs::remove_file(backup.path().join("rehearsal.json"));
    }
    for number in 1..=calls {
        for fault in [
            Fault::Fail(EngineErrorKind::Other),
            Fault::LoseReply(EngineErrorKind::ConnectionLost),
        ] {
            let stack = stack.fork();
            stack.engine.fault_at(number, fault);
            let ended = stack.command(Chosen::rehearse(None), "v2").await;
            stack.engine.heal();
            let what = format!("call {number} of {calls}, {fault:?}: {}", ended.message());
            assert_eq!(stack.database.lock().unwrap().pending.len(), 1, "{what}");
            if ended.outcome == Outcome::Stuck {
                // It could not be removed, which is said; the next run does.
                stack.command(Chosen::backup(), "v1").await;
            }
            nothing_is_left(&stack, &what);
            for backup in std::fs::read_dir(stack.backups()).unwrap().flatten() {
                let _ = std::fs::remove_file(backup.path().join("rehearsal.json"));
            }
        }
    }
}
