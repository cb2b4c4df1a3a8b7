//! A ledger that somebody pruned: what containers and images still tell, and how far it carries.

use viatique_deploy::engine::Engine as _;
use viatique_deploy::error::FailureKind;
use viatique_deploy::ledger;
use viatique_deploy::release::{Release, Tag};

use crate::support::{ImageBehaviour, PROJECT, Stack};

const BUILT: [&str; 4] = ["backend", "worker", "beat", "frontend"];

/// Each release has images of its own.
async fn released(stack: &Stack, tag: &str) {
    for image in BUILT {
        stack.image_is(&format!("viatique-{image}:{tag}"), ImageBehaviour::running());
    }
    stack.run(tag).await.succeeded();
}

/// `docker system prune --volumes`, with Docker before 23.
async fn prune(stack: &Stack) {
    let engine = stack.engine.onlooker();
    let name = ledger::object_name(PROJECT);
    let opener = stack.engine.peek().container(&name).id.clone();
    engine.remove_container(&opener).await.unwrap();
    engine.remove_volume(&name).await.unwrap();
}

async fn pruned(tags: &[&str]) -> Stack {
    let stack = Stack::viatique();
    for tag in tags {
        released(&stack, tag).await;
    }
    prune(&stack).await;
    stack
}

#[track_caller]
fn serves(stack: &Stack, tag: &str) {
    for service in ["backend", "celery_worker", "celery_beat", "frontend"] {
        assert_eq!(stack.engine.peek().releases(service), [tag], "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_serves_and_what_has_its_images_is_known_again() {
    let stack = pruned(&["v1", "v2", "v3"]).await;
    // Half of a release is none.
    let engine = stack.engine.onlooker();
    engine.remove_image("viatique-beat:v2").await.unwrap();
    let before = stack.engine.peek();
    let releases = stack.releases().await;
    assert_eq!(stack.engine.peek(), before);
    assert_eq!(releases.known(), "known: v3, v1");
    let current = releases.current().unwrap();
    assert!(current.is_rebuilt());
    assert_eq!(current.images.len(), 7);
    let backend = current.images.iter().find(|(name, _)| name.as_str() == "backend");
    assert_eq!(backend.unwrap().1.reference, "viatique-backend:v3");
    // Which one came before is told by nothing.
    let refused = stack.rollback(None).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Configuration);
    assert_eq!(
        refused.error.to_string(),
        "the ledger was lost, and which release came before v3 is not known; known: v3, v1"
    );
    assert!(
        refused
            .hints
            .contains(&"viatique-deploy rollback --to <TAG>".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn one_goes_back_to_a_release_that_only_its_images_tell_of() {
    let stack = pruned(&["v1", "v2"]).await;
    let ended = stack.rollback(Some("v1")).await.unwrap();
    ended.succeeded();
    let warnings = ended.warnings();
    let said = "the ledger of viatique was lost, and is made anew of what containers and images tell: v2 serves; \
                known: v2, v1";
    assert!(warnings.contains(said), "{warnings}");
    serves(&stack, "v1");
    let releases = stack.releases().await;
    let current = releases.current().unwrap();
    assert_eq!(current.tag.as_str(), "v1");
    // How it was made is recorded again.
    assert!(!current.is_rebuilt());
    let tags: Vec<&str> = releases
        .all()
        .iter()
        .map(|release| release.tag.as_str())
        .collect();
    assert_eq!(tags, ["v1", "v2", "v1"]);
    stack.rollback(Some("v2")).await.unwrap().succeeded();
    serves(&stack, "v2");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_returns_to_what_served_and_the_ledger_stands_again() {
    let stack = pruned(&["v1"]).await;
    stack.image_is("viatique-worker:v2", ImageBehaviour::exits(1));
    let ended = stack.run("v2").await;
    assert_eq!(ended.serves.as_deref(), Some("v1"));
    serves(&stack, "v1");
    let of = |release: &Release| (release.tag.to_string(), release.is_rebuilt());
    let releases = stack.releases().await;
    assert_eq!(
        releases.all().iter().map(of).collect::<Vec<_>>(),
        [("v1".to_owned(), true)]
    );
    // And with the next release that succeeds one can go back to it as to any other.
    released(&stack, "v3").await;
    assert_eq!(
        stack
            .releases()
            .await
            .previous()
            .map(|release| release.tag.clone()),
        Some(Tag::new("v1").unwrap())
    );
    stack.rollback(None).await.unwrap().succeeded();
    serves(&stack, "v1");
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_was_stopped_half_way_is_no_lost_ledger() {
    let stack = Stack::viatique();
    let memory = stack.memory().await;
    assert!(memory.releases.current().is_none());
    stack.image_is("viatique-worker:v1", ImageBehaviour::exits(1));
    stack.run("v1").await;
    assert!(stack.releases().await.current().is_none());
}
