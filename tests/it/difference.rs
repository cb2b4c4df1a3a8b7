//! What differs between two recorded releases, for people: never a value of the environment.

use viatique_deploy::release::difference::differences;

use crate::support::{PASSWORD, Stack};

#[tokio::test(start_paused = true)]
async fn images_configuration_and_names_of_the_environment_are_told() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.edit_compose(
        "environment: { DATABASE_PASSWORD: \"${DB_PASSWORD}\" }",
        "environment: { DATABASE_PASSWORD: \"other ${DB_PASSWORD}\", WORKERS: \"4\" }",
    );
    stack.edit_compose("stop_grace_period: 60s", "stop_grace_period: 90s");
    stack.edit_compose(
        "  frontend:\n    build",
        "  added:\n    image: redis:7\n    networks: [back]\n  frontend:\n    build",
    );
    stack.edit_compose(
        "volumes:\n  postgres_data:\n",
        "volumes:\n  more:\n  postgres_data:\n",
    );
    stack.run("v2").await.succeeded();
    let releases = stack.releases().await;
    let [first, second] = releases.all() else {
        panic!("two releases")
    };
    let lines: Vec<String> = differences(first, second)
        .iter()
        .map(ToString::to_string)
        .collect();
    for expected in [
        "added: image added",
        "backend: environment DATABASE_PASSWORD changed",
        "backend: environment WORKERS added",
        "volume more: added",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "`{expected}`: {lines:#?}"
        );
    }
    let image = lines
        .iter()
        .find(|line| line.starts_with("backend: image viatique-backend:v1 ("));
    assert!(
        image.is_some_and(|line| line.contains(" → viatique-backend:v2 (")),
        "{lines:#?}"
    );
    let grace = lines
        .iter()
        .find(|line| line.starts_with("celery_worker: stop_grace_period"));
    assert!(grace.is_some(), "{lines:#?}");
    assert!(!lines.concat().contains(PASSWORD), "{lines:#?}");
    assert!(differences(first, first).is_empty());
    // The other way round it is taken back.
    let back: Vec<String> = differences(second, first)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        back.contains(&"backend: environment WORKERS removed".to_owned()),
        "{back:#?}"
    );
}

/// Nobody who has a record alone can try values out.
#[tokio::test(start_paused = true)]
async fn fingerprints_of_secrets_are_keyed_anew_in_each_ledger() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let stack = Stack::viatique();
        stack.run("v1").await.succeeded();
        stack.run("v2").await.succeeded();
        let releases = stack.releases().await;
        let secret = |at: usize| {
            let project = &releases.all()[at].project;
            project["services"]["db"]["environment"]["POSTGRES_PASSWORD"].to_string()
        };
        // The same value is the same in one ledger.
        assert_eq!(secret(0), secret(1));
        seen.push(secret(0));
    }
    assert_ne!(seen[0], seen[1]);
    assert!(!seen.concat().contains(PASSWORD));
}
