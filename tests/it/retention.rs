//! Which images of earlier releases stay, and which go.

use std::collections::BTreeSet;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::Engine as _;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger::{Ledger, object_name};
use viatique_deploy::pipeline::Outcome;

use crate::support::{ImageBehaviour, Stack};

/// Every reference on the engine that is a release's own.
fn references(stack: &Stack) -> BTreeSet<String> {
    let seen = stack.engine.peek();
    let all = seen.images.into_values().flatten();
    all.filter(|reference| reference.starts_with("viatique-"))
        .collect()
}

fn of(tags: &[&str]) -> BTreeSet<String> {
    let each = tags.iter().flat_map(|tag| {
        ["backend", "worker", "beat", "frontend"].map(|image| format!("viatique-{image}:{tag}"))
    });
    each.collect()
}

/// Each release has images of its own.
async fn released(stack: &Stack, tag: &str) {
    for image in ["backend", "worker", "beat", "frontend"] {
        stack.image_is(&format!("viatique-{image}:{tag}"), ImageBehaviour::running());
    }
    stack.run(tag).await.succeeded();
}

fn keeping(count: u32) -> Stack {
    let stack = Stack::viatique();
    stack.edit_deploy_yml("django:", &format!("release: {{ keep: {count} }}\ndjango:"));
    stack
}

#[tokio::test(start_paused = true)]
async fn the_newest_stay_and_what_was_removed_is_said() {
    let stack = keeping(2);
    for tag in ["v1", "v2"] {
        released(&stack, tag).await;
    }
    assert_eq!(references(&stack), of(&["v1", "v2"]));
    for image in ["backend", "worker", "beat", "frontend"] {
        stack.image_is(&format!("viatique-{image}:v3"), ImageBehaviour::running());
    }
    let ended = stack.run("v3").await;
    ended.succeeded();
    assert_eq!(references(&stack), of(&["v2", "v3"]));
    let said = ended
        .task_message(viatique_deploy::pipeline::StepId::Deploy, "retention")
        .unwrap();
    assert!(said.starts_with("4 image names of v1 removed"), "{said}");
    // What is shared with others stays: it is no release's own.
    assert!(
        stack
            .engine
            .peek()
            .images
            .into_values()
            .flatten()
            .any(|one| one == "redis:7")
    );
    // And one cannot go back to what went.
    let before = stack.engine.peek();
    stack
        .rollback(Some("v1"))
        .await
        .unwrap()
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("viatique-backend:v1");
    assert_eq!(stack.engine.peek(), before);
}

/// A service whose sources do not change has one image under many names.
#[tokio::test(start_paused = true)]
async fn a_kept_image_loses_the_names_of_old_releases_and_stays() {
    let stack = keeping(1);
    stack.edit_compose("viatique-frontend:${RELEASE_TAG}", "viatique-frontend:1");
    for tag in ["v1", "v2", "v3", "v4"] {
        stack.run(tag).await.succeeded();
    }
    let seen = stack.engine.peek();
    let frontend = seen.container("viatique-frontend-1").image.clone();
    let names: Vec<&str> = seen.images[&frontend].iter().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "viatique-frontend:1",
            "viatique-frontend:v3",
            "viatique-frontend:v4"
        ]
    );
    stack.rollback(None).await.unwrap().succeeded();
}

#[tokio::test(start_paused = true)]
async fn what_rollback_returns_to_stays_however_few_are_kept() {
    let stack = keeping(1);
    for tag in ["v1", "v2", "v3"] {
        released(&stack, tag).await;
    }
    assert_eq!(references(&stack), of(&["v2", "v3"]));
    stack.rollback(None).await.unwrap().succeeded();
    assert!(references(&stack).is_superset(&of(&["v2"])));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_removes_nothing() {
    let stack = keeping(1);
    for tag in ["v1", "v2"] {
        released(&stack, tag).await;
    }
    stack.image_is("viatique-worker:v3", ImageBehaviour::exits(1));
    stack
        .run("v3")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    assert!(references(&stack).is_superset(&of(&["v1", "v2"])));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_container_of_somebody_else_uses_stays() {
    let stack = keeping(1);
    released(&stack, "v1").await;
    // Stopped, in no project.
    let like = stack.engine.peek().container("viatique-frontend-1").id.clone();
    let somebody = stack.engine.onlooker();
    let twin = somebody.create_twin(&like, "by-hand").await.unwrap();
    stack
        .engine
        .relabel("by-hand", "com.docker.compose.project", "other");
    for tag in ["v2", "v3"] {
        released(&stack, tag).await;
    }
    let mut expected = of(&["v2", "v3"]);
    expected.insert("viatique-frontend:v1".to_owned());
    assert_eq!(references(&stack), expected);
    somebody.remove_container(&twin).await.unwrap();
    // Another time it goes.
    released(&stack, "v4").await;
    assert_eq!(references(&stack), of(&["v3", "v4"]));
}

/// Another project remembers the release v1 of this one as its own; nothing opens its ledger, as after
/// `docker container prune`.
async fn shared_with_another_project(stack: &Stack) {
    released(stack, "v1").await;
    let releases = stack.releases().await;
    let other = Ledger::open(&stack.engine, "other").await.unwrap();
    let header = stack.memory().await.runs[0].header.clone();
    let mut journal = other.begin(header).unwrap();
    journal.record(releases.current().unwrap()).await.unwrap();
    let opener = stack.engine.peek().container(&object_name("other")).id.clone();
    stack.engine.onlooker().remove_container(&opener).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_kept_release_of_another_project_has_stays() {
    let stack = keeping(1);
    shared_with_another_project(&stack).await;
    let like = stack.engine.peek().container("viatique-redis-1").id.clone();
    stack
        .engine
        .onlooker()
        .create_twin(&like, "other-redis-1")
        .await
        .unwrap();
    stack
        .engine
        .relabel("other-redis-1", "com.docker.compose.project", "other");
    for tag in ["v2", "v3"] {
        released(&stack, tag).await;
    }
    assert_eq!(references(&stack), of(&["v1", "v2", "v3"]));
}

/// What is left of it may be going just now: a volume that is opened cannot be removed.
#[tokio::test(start_paused = true)]
async fn the_ledger_of_a_project_that_was_taken_down_is_not_opened() {
    let stack = keeping(1);
    shared_with_another_project(&stack).await;
    for tag in ["v2", "v3"] {
        released(&stack, tag).await;
    }
    assert_eq!(references(&stack), of(&["v2", "v3"]));
    let opener = object_name("other");
    assert!(!stack.engine.peek().names().contains(opener.as_str()));
}

#[tokio::test(start_paused = true)]
async fn images_of_a_release_that_never_served_go_once_another_one_serves() {
    let stack = keeping(3);
    released(&stack, "v1").await;
    // Waits for its deploy.
    for image in ["backend", "worker", "beat", "frontend"] {
        for tag in ["v2", "v9"] {
            stack.image_is(&format!("viatique-{image}:{tag}"), ImageBehaviour::running());
        }
    }
    stack.command(Chosen::build(), "v9").await.succeeded();
    stack.image_is("viatique-worker:v2", ImageBehaviour::exits(1));
    stack
        .run("v2")
        .await
        .ended(Outcome::RolledBack, ExitCode::RolledBack);
    // For a second try.
    assert_eq!(references(&stack), of(&["v1", "v2", "v9"]));
    released(&stack, "v3").await;
    assert_eq!(references(&stack), of(&["v1", "v3", "v9"]));
}
