//! `rollback`: a deploy of a recorded release, and what `releases` means after it.

use viatique_deploy::commands::rollback;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::Engine as _;
use viatique_deploy::error::Failure;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger::is_closed;
use viatique_deploy::pipeline::{Outcome, StepId};
use viatique_deploy::steps::backup::restore::Restore;
use viatique_deploy::steps::backup::sets::Sets;

use crate::support::{Ended, FOREVER, Fault, ImageBehaviour, PROJECT, Stack};

const WEB: [&str; 4] = ["backend", "frontend", "celery_worker", "celery_beat"];

#[track_caller]
fn serves(stack: &Stack, tag: &str) {
    let seen = stack.engine.peek();
    for service in WEB {
        assert_eq!(seen.releases(service), [tag], "{service}");
    }
    assert_eq!(seen.containers.len(), 8, "{:?}", seen.names());
}

async fn with_releases(tags: &[&str]) -> Stack {
    let stack = Stack::viatique();
    for tag in tags {
        stack.run(tag).await.succeeded();
    }
    stack
}

#[tokio::test(start_paused = true)]
async fn without_a_tag_it_goes_to_the_previous_release_with_its_images_and_builds_nothing() {
    let stack = with_releases(&["v1"]).await;
    let v1 = stack.engine.peek();
    stack.run("v2").await.succeeded();
    let builds = |stack: &Stack| {
        stack
            .engine
            .calls()
            .iter()
            .filter(|call| call.name == "build")
            .count()
    };
    let before = builds(&stack);
    let ended = stack.rollback(None).await.unwrap();
    ended.succeeded();
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    serves(&stack, "v1");
    let now = stack.engine.peek();
    for service in WEB {
        let name = format!("viatique-{service}-1");
        assert_eq!(now.container(&name).image, v1.container(&name).image);
    }
    assert_eq!(builds(&stack), before);
}

#[tokio::test(start_paused = true)]
async fn again_it_goes_further_back_and_never_into_what_was_taken_back() {
    let stack = with_releases(&["v1", "v2", "v3"]).await;
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v2");
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v1");
    let failure = stack.rollback(None).await.unwrap_err();
    assert_eq!(
        failure.report().chain,
        ["there is no release before v1 to go back to; known: v1, v2, v3"]
    );
    // Forward by name.
    stack.rollback(Some("v3")).await.unwrap().succeeded();
    serves(&stack, "v3");
    let releases = stack.releases().await;
    let history: Vec<(u64, &str, &str, Option<u64>)> = releases
        .all()
        .iter()
        .map(|release| {
            (
                release.sequence.0,
                release.tag.as_str(),
                release.command.as_str(),
                release.previous.map(|previous| previous.0),
            )
        })
        .collect();
    assert_eq!(
        history,
        [
            (1, "v1", "run", None),
            (2, "v2", "run", Some(1)),
            (3, "v3", "run", Some(2)),
            (4, "v2", "rollback", Some(1)),
            (5, "v1", "rollback", None),
            (6, "v3", "rollback", Some(2)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_after_a_rollback_returns_to_what_served() {
    let stack = with_releases(&["v1", "v2"]).await;
    stack.rollback(None).await.unwrap().succeeded();
    stack.run("v3").await.succeeded();
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v1");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tag_is_refused_naming_the_known_ones() {
    let stack = with_releases(&["v1", "v2"]).await;
    let before = stack.engine.peek();
    let report = stack.rollback(Some("v9")).await.unwrap_err().report();
    assert_eq!(report.chain, ["there is no release v9; known: v2, v1"]);
    assert_eq!(report.hints, ["viatique-deploy releases"]);
    assert_eq!(stack.engine.peek(), before);
    let empty = Stack::viatique();
    let report = empty.rollback(None).await.unwrap_err().report();
    assert_eq!(
        report.chain,
        ["there is nothing to go back to: no release is recorded yet"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_recorded_files_are_deployed_and_not_today_s() {
    let stack = with_releases(&["v1"]).await;
    stack.edit_compose("python, healthcheck.py", "python, other.py");
    stack.edit_compose(
        "  frontend:\n    build",
        "  added:\n    image: redis:7\n  frontend:\n    build",
    );
    stack.run("v2").await.succeeded();
    let ended = stack.rollback(None).await.unwrap();
    ended.succeeded();
    let seen = stack.engine.peek();
    assert_eq!(seen.releases("backend"), ["v1"]);
    assert!(
        ended
            .warnings()
            .contains("added runs, but the Compose files do not name it"),
        "{}",
        ended.warnings()
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_images_are_gone_is_refused_before_anything_is_touched() {
    let stack = with_releases(&["v1", "v2"]).await;
    let engine = stack.engine.onlooker();
    viatique_deploy::engine::Engine::remove_image(&engine, "viatique-frontend:v1")
        .await
        .unwrap();
    let before = stack.engine.peek();
    let ended = stack.rollback(None).await.unwrap();
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("release v1 cannot be gone back to: no such image on the engine or in a registry: viatique-frontend:v1 (for frontend)")
        .hints_at("viatique-deploy releases");
    assert_eq!(stack.engine.peek(), before);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_is_pulled_where_a_registry_has_it() {
    let compose = "services:\n  web:\n    image: registry.example.com/web:${RELEASE_TAG}\n";
    let stack = Stack::of(compose, "project: viatique\ncompose: [docker-compose.yml]\n");
    let reference = |tag: &str| format!("registry.example.com/web:{tag}");
    for tag in ["v1", "v2"] {
        let engine = stack.engine.clone();
        let _ = engine.with_registry_image(&reference(tag), ImageBehaviour::running());
        stack.run(tag).await.succeeded();
    }
    let engine = stack.engine.onlooker();
    engine.remove_image(&reference("v1")).await.unwrap();
    let before = stack.engine.peek();
    let plan = stack.releases().await;
    let chosen = viatique_deploy::commands::steps::Chosen::rollback(&plan.all()[0]);
    let planned = stack.dry_run_of(chosen, &plan.all()[0]).await;
    assert_eq!(stack.engine.peek(), before);
    let changes = planned.planned(StepId::Fetch);
    assert_eq!(changes[0].target, "image registry.example.com/web:v1");
    stack.rollback(None).await.unwrap().succeeded();
    assert_eq!(stack.engine.peek().releases("web"), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_leaves_what_served() {
    let stack = with_releases(&["v1", "v2"]).await;
    let before = stack.engine.peek();
    let image = stack.releases().await.all()[0]
        .images
        .iter()
        .find(|(service, _)| service.as_str() == "celery_worker")
        .map(|(_, image)| image.id.clone())
        .unwrap();
    stack.engine.image_behaves(&image, ImageBehaviour::exits(1));
    let ended = stack.rollback(None).await.unwrap();
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert_eq!(ended.serves.as_deref(), Some("v2"));
    serves(&stack, "v2");
    assert_eq!(stack.engine.peek().names(), before.names());
    assert_eq!(stack.releases().await.current().unwrap().tag.as_str(), "v2");
}

#[tokio::test(start_paused = true)]
async fn a_release_is_recorded_with_everything_that_returning_to_it_needs() {
    let stack = with_releases(&["v1", "v2"]).await;
    let releases = stack.releases().await;
    let release = releases.current().unwrap();
    assert_eq!(release.images.len(), 7);
    let seen = stack.engine.peek();
    for (service, image) in &release.images {
        let running = seen.running(service.as_str());
        assert_eq!(running[0].image, image.id, "{service}");
    }
    let backend = release
        .images
        .iter()
        .find(|(service, _)| service.as_str() == "backend")
        .unwrap();
    assert_eq!(backend.1.reference, "viatique-backend:v2");
    assert_eq!(release.compose.len(), 1);
    assert!(release.compose[0].text.contains("${DB_PASSWORD}"));
    let backup = release.backup.as_deref().unwrap();
    assert!(stack.backups().join(backup).join("manifest.json").exists());
    assert!(release.migrations.is_some());
}

/// `docker container prune` takes containers that never ran, and with them what opens the ledger. Its volume stays.
#[tokio::test(start_paused = true)]
async fn a_ledger_whose_container_was_pruned_forgets_nothing() {
    let stack = with_releases(&["v1"]).await;
    let opener = stack
        .engine
        .peek()
        .container("viatique-deploy-ledger-viatique")
        .id
        .clone();
    stack.engine.remove_container(&opener).await.unwrap();
    assert!(is_closed(&stack.engine, "viatique").await.unwrap());
    stack.run("v2").await.succeeded();
    assert!(!is_closed(&stack.engine, "viatique").await.unwrap());
    let releases = stack.releases().await;
    let tags: Vec<&str> = releases
        .all()
        .iter()
        .map(|release| release.tag.as_str())
        .collect();
    assert_eq!(tags, ["v1", "v2"]);
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v1");
}

fn copies(stack: &Stack) -> u64 {
    let mut database = stack.database.lock().unwrap();
    database.server.live().rows["public.copies"]
}

/// `rollback --restore-db`, with an id or without.
async fn rollback_restoring(stack: &Stack, id: Option<&str>) -> Result<Ended, Failure> {
    let memory = stack.memory().await;
    let target = rollback::target(&memory, None)?;
    let sets = Sets::read(&stack.backups(), PROJECT).await?;
    let backup = rollback::backup_of(&sets, &memory.releases, target, id)?;
    let restore = Restore::with_its_code(backup.id.clone());
    let mut settings = stack.recorded_settings(target);
    settings.allow_incompatible = true;
    settings.restores = restore.id.clone();
    Ok(stack
        .command_with(Chosen::rollback_restoring(target, restore), settings)
        .await)
}

/// v2 has another schema, and another copy in it.
async fn with_another_schema() -> Stack {
    let stack = with_releases(&["v1", "v2"]).await;
    let mut database = stack.database.lock().unwrap();
    database.server.live().rows.insert("public.copies".to_owned(), 4);
    database.server.live().migrations = vec!["copies.0001".to_owned(), "copies.0002".to_owned()];
    drop(database);
    stack
}

#[tokio::test(start_paused = true)]
async fn with_its_database_it_goes_to_the_backup_made_before_the_release_after_it() {
    let stack = with_another_schema().await;
    // One more of v2, which is not meant.
    stack.command(Chosen::backup(), "v2").await.succeeded();
    let ended = rollback_restoring(&stack, None).await.unwrap();
    ended.succeeded();
    serves(&stack, "v1");
    assert_eq!(copies(&stack), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_code_and_database_as_they_were() {
    let stack = with_another_schema().await;
    let releases = stack.releases().await;
    let (_, backend) = releases.all()[0]
        .images
        .iter()
        .find(|(service, _)| service.as_str() == "backend")
        .unwrap();
    stack.engine.image_behaves(&backend.id, ImageBehaviour::exits(1));
    let ended = rollback_restoring(&stack, None).await.unwrap();
    ended.ended(Outcome::RolledBack, ExitCode::RolledBack);
    serves(&stack, "v2");
    assert_eq!(copies(&stack), 4);
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_another_release_is_none_of_it() {
    let stack = with_another_schema().await;
    let other = stack.command(Chosen::backup(), "v2").await;
    other.succeeded();
    let failure = rollback_restoring(&stack, Some(&other.run.0)).await.unwrap_err();
    assert!(
        failure.error.to_string().ends_with("is of v2, and not of v1"),
        "{failure:?}"
    );
    std::fs::remove_dir_all(stack.backups()).unwrap();
    let failure = rollback_restoring(&stack, None).await.unwrap_err();
    assert_eq!(
        failure.error.to_string(),
        "there is no backup of the time in which v1 served"
    );
}

/// Wherever it was killed: nothing of it had begun, or it is finished, the release with its database. The database is not
/// restored a second time over what was written since.
#[tokio::test(start_paused = true)]
async fn one_with_its_database_that_was_killed_is_finished_with_both() {
    let prepared = with_another_schema().await;
    let execs = |stack: &Stack| {
        stack
            .engine
            .calls()
            .iter()
            .filter(|call| call.name == "exec")
            .count()
    };
    let clean = prepared.fork();
    let before = execs(&clean);
    rollback_restoring(&clean, None).await.unwrap().succeeded();
    let (mut begun, mut swapped) = (0, 0);
    for number in before + 1..=execs(&clean) {
        let stack = prepared.fork();
        stack.engine.fault_on("exec", number, Fault::HangAfter);
        let killed = tokio::time::timeout(FOREVER, rollback_restoring(&stack, None)).await;
        stack.engine.heal();
        if killed.is_ok() {
            // Something else was waited for beside it.
            continue;
        }
        stack.engine.relabel(
            "viatique-deploy-lock-viatique",
            "viatique-deploy.lock.process",
            "4194305",
        );
        let restored = copies(&stack) == 3;
        if restored {
            swapped += 1;
            let mut database = stack.database.lock().unwrap();
            database.server.live().rows.insert("public.copies".to_owned(), 5);
        }
        match stack.resume().await.unwrap() {
            None => {
                // Only the lock of the dead run is left.
                assert_eq!(stack.engine.peek().releases("backend"), ["v2"]);
                assert_eq!(copies(&stack), 4, "exec {number}");
            }
            Some(ended) => {
                begun += 1;
                ended.succeeded();
                serves(&stack, "v1");
                assert_eq!(copies(&stack), if restored { 5 } else { 3 }, "exec {number}");
            }
        }
    }
    assert!(
        begun > 10 && swapped > 0,
        "{begun} had begun, {swapped} had swapped"
    );
}
