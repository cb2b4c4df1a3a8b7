//! `run --maintenance`: nobody is served and nothing is written while a migration is applied that the running release
//! would fail on; and whatever goes wrong, the site is open again on code and data that fit together.

use viatique_deploy::cli::BuildArgs;
use viatique_deploy::commands::steps::{Chosen, Rehearsing};
use viatique_deploy::engine::{ContainerState, EngineErrorKind};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, FOREVER, FakeOutput, Fault, ImageBehaviour, Stack};

const BREAKS: &str = "Remove field note from copy: what runs still reads it";

/// `v1` serves, and the next image brings what it cannot bear. The database knows of its migrations.
async fn about_to_break() -> Stack {
    let stack = Stack::viatique();
    stack.bring_migration("copies", "0001_initial");
    stack.run("v1").await.succeeded();
    stack.bring_migration_that("copies", "0002_without_note", "breaks", BREAKS);
    stack.database.lock().unwrap().server.live().migrations = vec!["copies.0001_initial".to_owned()];
    keeps_books(&stack);
    stack
}

/// What Django applies stands in the database, too.
fn keeps_books(stack: &Stack) {
    let database = stack.database.clone();
    stack.answer(move |command| {
        if command.orders("migrate") {
            let mut database = database.lock().unwrap();
            let pending: Vec<String> = database
                .pending
                .iter()
                .map(|(app, name)| format!("{app}.{name}"))
                .collect();
            database.server.live().migrations.extend(pending);
        }
        None
    });
}

fn forked(stack: &Stack) -> Stack {
    let fork = stack.fork();
    keeps_books(&fork);
    fork
}

async fn maintained(stack: &Stack) -> Ended {
    let mut settings = stack.settings("v2");
    settings.maintenance = true;
    settings.allow_incompatible = true;
    let chosen = Chosen::run_in_maintenance(BuildArgs::default(), Rehearsing::Not, Selection::All);
    stack.command_with(chosen, settings).await
}

/// The orders that pages and sidecars were given, with their arguments.
fn orders(stack: &Stack) -> Vec<(String, String)> {
    let commands = stack.engine.commands();
    let told = commands
        .iter()
        .filter(|command| command.words.len() == 6 && command.words[1] == "-IS");
    told.map(|command| (command.words[4].clone(), command.words[5].clone()))
        .filter(|(order, _)| order == "close" || order == "open")
        .collect()
}

#[track_caller]
fn is_open_on(stack: &Stack, tag: &str, what: &str) {
    let seen = stack.engine.peek();
    for service in ["backend", "celery_worker", "celery_beat"] {
        assert_eq!(seen.releases(service), [tag], "{what}: {service}");
        let container = seen.container(&format!("viatique-{service}-1"));
        assert_eq!(container.state, ContainerState::Running, "{what}: {service}");
    }
    let names = seen.names().into_iter().collect::<Vec<_>>().join(" ");
    assert!(!names.contains("-maintenance-"), "{what}: {names}");
    assert!(!names.contains("-held-"), "{what}: {names}");
    let migrations = stack.database.lock().unwrap().server.live().migrations.clone();
    let expected: &[&str] = if tag == "v2" {
        &["copies.0001_initial", "copies.0002_without_note"]
    } else {
        &["copies.0001_initial"]
    };
    assert_eq!(migrations, expected, "{what}");
}

#[tokio::test(start_paused = true)]
async fn the_site_is_closed_for_the_backup_and_the_migration_and_open_for_the_health_test() {
    let stack = about_to_break().await;
    let ended = maintained(&stack).await;
    ended.succeeded();
    assert_eq!(
        ended.step_message(StepId::Close),
        "visitors get 503; stopped: celery_beat, celery_worker"
    );
    let closed = ended.span(StepId::Close).end;
    assert!(ended.span(StepId::Build).end <= ended.span(StepId::Close).start);
    assert!(
        closed <= ended.span(StepId::Backup).start,
        "nobody writes any more"
    );
    assert!(ended.span(StepId::Backup).end <= ended.span(StepId::Migrate).start);
    let told = orders(&stack);
    let names: Vec<&str> = told.iter().map(|(order, _)| order.as_str()).collect();
    assert_eq!(names, ["close", "open"]);
    let arguments: serde_json::Value = serde_json::from_str(&told[0].1).unwrap();
    assert_eq!(arguments["ports"], serde_json::json!([8000, 3000]));
    assert_eq!(arguments["retry_after"], 120);
    assert!(arguments["page"].as_str().unwrap().contains("<title>Maintenance"));
    is_open_on(&stack, "v2", "it has succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_ones_own_is_shown() {
    let stack = about_to_break().await;
    stack.edit_deploy_yml(
        "backup:\n",
        "maintenance: { page: closed.html, retry_after: 10m }\nbackup:\n",
    );
    let ended = maintained(&stack).await;
    ended.ended(Outcome::Failed, ExitCode::Configuration);
    ended.says("reading the maintenance page");
    is_open_on(&stack, "v1", "there is no such file");
    std::fs::write(
        stack.directory.path().join("closed.html"),
        "<p>à tout de suite</p>",
    )
    .unwrap();
    maintained(&stack).await.succeeded();
    let arguments: serde_json::Value = serde_json::from_str(&orders(&stack)[0].1).unwrap();
    assert_eq!(arguments["page"], "<p>à tout de suite</p>");
    assert_eq!(arguments["retry_after"], 600);
}

#[tokio::test(start_paused = true)]
async fn what_the_new_release_fails_with_is_taken_back_with_its_migrations() {
    let stack = about_to_break().await;
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    let ended = maintained(&stack).await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    is_open_on(&stack, "v1", "it has failed");
    let (_, said) = ended.undo(StepId::Migrate).unwrap();
    assert!(
        said.starts_with(&format!("database copies is as it was in backup {}", ended.run)),
        "{said}"
    );
    // Closed again before the old code came back, and opened at the very end.
    let names: Vec<String> = orders(&stack).into_iter().map(|(order, _)| order).collect();
    assert_eq!(names.last().unwrap(), "open");
    assert!(
        names.iter().filter(|order| *order == "close").count() > 1,
        "{names:?}"
    );
}

/// The engine's health test comes to its answer later than the question that a worker is asked at its start.
#[tokio::test(start_paused = true)]
async fn a_worker_that_has_answered_is_back_before_its_health_test_has_passed() {
    let stack = Stack::viatique();
    let slow = ImageBehaviour::healthy_after(std::time::Duration::from_secs(10));
    stack.image_is("viatique-worker:v1", slow);
    stack.run("v1").await.succeeded();
    stack.image_is("viatique-backend:v2", ImageBehaviour::exits(1));
    stack.answer(|command| command.line().contains("find_app").then(FakeOutput::silent));
    let ended = maintained(&stack).await;
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    let worker = stack.engine.peek();
    let worker = worker.container("viatique-celery_worker-1");
    assert_eq!(worker.state, ContainerState::Running);
}

#[tokio::test(start_paused = true)]
async fn where_no_page_can_be_shown_nothing_is_stopped() {
    let stack = about_to_break().await;
    stack.edit_compose("image: nginx:1.28", "image: viatique/edge:1");
    stack.edit_compose("    ports: [\"127.0.0.1:8080:80\"]\n", "");
    let ended = maintained(&stack).await;
    assert_ne!(ended.outcome, Outcome::Succeeded);
    is_open_on(&stack, "v1", "there is no proxy");
    assert_eq!(ended.step(StepId::Backup), StepResult::NotRun);
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_killed_it_is_closed_until_it_is_finished() {
    let stack = about_to_break().await;
    let clean = forked(&stack);
    maintained(&clean).await.succeeded();
    let calls = clean.engine.calls().len();
    let mut finished = 0;
    for number in (1..=calls).step_by(3) {
        let stack = forked(&stack);
        stack.engine.fault_at(number, Fault::HangAfter);
        let killed = tokio::time::timeout(FOREVER, maintained(&stack)).await;
        stack.engine.heal();
        if killed.is_ok() {
            // Something else was waited for beside it.
            continue;
        }
        stack.process_is_gone();
        let what = format!("call {number} of {calls}");
        if let Some(resumed) = stack.resume().await.unwrap() {
            assert_eq!(
                resumed.outcome,
                Outcome::Succeeded,
                "{what}: {}",
                resumed.message()
            );
            is_open_on(&stack, "v2", &what);
            finished += 1;
        }
    }
    assert!(finished > 20, "{finished}");
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_it_is_open_on_code_and_data_that_fit() {
    let stack = about_to_break().await;
    let clean = forked(&stack);
    maintained(&clean).await.succeeded();
    let calls = clean.engine.calls().len();
    for number in (1..=calls).step_by(2) {
        for fault in [
            Fault::Fail(EngineErrorKind::Other),
            Fault::LoseReply(EngineErrorKind::ConnectionLost),
        ] {
            let stack = forked(&stack);
            stack.engine.fault_at(number, fault);
            let ended = maintained(&stack).await;
            stack.engine.heal();
            let what = format!("call {number} of {calls}, {fault:?}: {}", ended.message());
            match ended.outcome {
                // What it could not clear away then is said, and the next run does.
                Outcome::Succeeded if !ended.warnings().is_empty() => {}
                Outcome::Succeeded => is_open_on(&stack, "v2", &what),
                // A person is needed, and is told what stands.
                Outcome::Stuck => {}
                Outcome::Failed | Outcome::RolledBack | Outcome::Interrupted => {
                    is_open_on(&stack, "v1", &what)
                }
            }
        }
    }
}
