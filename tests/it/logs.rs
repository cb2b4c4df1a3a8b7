//! `logs`: what containers have written, in order, and what they write.

use std::time::Duration;

use viatique_deploy::commands::logs::{Wanted, WrittenLine, read};
use viatique_deploy::error::FailureKind;

use crate::support::{ImageBehaviour, Stack};

/// The backend and the frontend have written two lines each.
async fn written() -> Stack {
    let stack = Stack::viatique();
    for (image, lines) in [
        ("viatique-backend:v1", ["GET /copies/", "ERROR no such copy"]),
        ("viatique-frontend:v1", ["listening", "an error of a page"]),
    ] {
        let telling = ImageBehaviour::healthy_after(Duration::ZERO).logging(&lines);
        stack.image_is(image, telling);
    }
    stack.run("v1").await.succeeded();
    stack
}

fn wanted(services: &[&str]) -> Wanted {
    Wanted {
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        newest: 100,
        ..Wanted::default()
    }
}

/// So many lines at most.
async fn lines(stack: &Stack, wanted: &Wanted, most: usize) -> Vec<String> {
    let mut taken = Vec::new();
    let mut take = |written: &WrittenLine| {
        taken.push(format!("{}: {}", written.container, written.line.text));
        taken.len() < most
    };
    read(&stack.engine, "viatique", wanted, &mut take).await.unwrap();
    taken
}

#[tokio::test(start_paused = true)]
async fn lines_come_in_the_order_of_their_moments() {
    let stack = written().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.engine.writes("viatique-backend-1", "GET /later/");
    stack.engine.writes("viatique-frontend-1", "last");
    let all = lines(&stack, &wanted(&[]), 100).await;
    let ends: Vec<&str> = all.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(
        ends,
        ["viatique-frontend-1: last", "viatique-backend-1: GET /later/"]
    );
    let backend = lines(&stack, &wanted(&["backend"]), 100).await;
    assert_eq!(
        backend,
        [
            "viatique-backend-1: GET /copies/",
            "viatique-backend-1: ERROR no such copy",
            "viatique-backend-1: GET /later/"
        ]
    );
    let newest = Wanted {
        newest: 1,
        ..wanted(&["backend"])
    };
    assert_eq!(
        lines(&stack, &newest, 100).await,
        ["viatique-backend-1: GET /later/"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pattern_picks_lines_of_every_service() {
    let stack = written().await;
    let wanted = Wanted {
        pattern: Some(regex_lite::Regex::new("(?i)error").unwrap()),
        ..wanted(&[])
    };
    let mut found = lines(&stack, &wanted, 100).await;
    found.sort();
    assert_eq!(
        found,
        [
            "viatique-backend-1: ERROR no such copy",
            "viatique-frontend-1: an error of a page"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_stand_is_named_with_those_that_do() {
    let stack = written().await;
    let failure = read(&stack.engine, "viatique", &wanted(&["backent"]), &mut |_| true)
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Usage);
    let told = format!("{:#}", failure.error);
    assert!(
        told.starts_with("no container of service `backent` stands in viatique; there are backend, "),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_deploy_brings_is_followed_too_and_nothing_comes_twice() {
    let stack = written().await;
    let following = Wanted {
        follow: true,
        ..wanted(&["backend"])
    };
    let engine = stack.engine.clone();
    let followed = tokio::spawn({
        let (engine, following) = (engine.clone(), following.clone());
        async move {
            let mut taken = Vec::new();
            let mut take = |written: &WrittenLine| {
                taken.push(written.line.text.clone());
                written.line.text != "the last one"
            };
            read(&engine, "viatique", &following, &mut take).await.unwrap();
            taken
        }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    engine.writes("viatique-backend-1", "GET /now/");
    let new = ImageBehaviour::healthy_after(Duration::ZERO).logging(&["begun as v2"]);
    stack.image_is("viatique-backend:v2", new);
    stack.run("v2").await.succeeded();
    tokio::time::sleep(Duration::from_secs(5)).await;
    engine.writes("viatique-backend-1", "the last one");
    assert_eq!(
        followed.await.unwrap(),
        [
            "GET /copies/",
            "ERROR no such copy",
            "GET /now/",
            "begun as v2",
            "the last one"
        ]
    );
}
