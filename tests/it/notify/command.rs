//! `notify --test`, as it is typed; and that no output tells a secret.

use std::path::Path;
use std::process::Output;

use super::CANARY;
use crate::support::{Receiver, Say};

/// A folder whose deploy.yml notifies Slack and a webhook.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let deploy_yml = "project: shop\ncompose: compose.yml\nsecrets:\n  - { name: HOOK, file: hook }\nnotify:\n  - slack:\n      \
                      url: ${HOOK}\n    on: [failure]\n  - name: own\n    webhook:\n      url: ${OTHER}\n    timeout: \
                      2s\n";
    std::fs::write(folder.path().join("deploy.yml"), deploy_yml).unwrap();
    folder
}

fn typed(folder: &Path, other: &Receiver, words: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_viatique-deploy"))
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("OTHER", format!("{}/{CANARY}", other.url()))
        .output()
        .unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    said
}

#[test]
fn all_are_told_that_it_is_a_test_whatever_they_are_told_otherwise() {
    let folder = folder();
    let (slack, other) = (Receiver::saying(&[]), Receiver::saying(&[Say::Status(503, "")]));
    std::fs::write(folder.path().join("hook"), format!("{}/{CANARY}\n", slack.url())).unwrap();
    let said = said(&typed(folder.path(), &other, &["notify", "--test"]), 0);
    assert!(
        said.contains("slack") && said.contains("own") && said.contains("notified"),
        "{said}"
    );
    assert_eq!(
        slack.heard()[0].json()["text"],
        "shop: a test notice, nothing has happened"
    );
    let heard = other.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[1].json()["moment"], "test");
}

#[test]
fn whoever_has_not_got_it_is_named_and_told_why() {
    let folder = folder();
    let (slack, other) = (
        Receiver::saying(&[Say::Status(404, CANARY)]),
        Receiver::saying(&[]),
    );
    std::fs::write(folder.path().join("hook"), format!("{}/{CANARY}\n", slack.url())).unwrap();
    for output in ["human", "json", "github"] {
        let slack = Receiver::saying(&[Say::Status(404, CANARY)]);
        std::fs::write(folder.path().join("hook"), format!("{}/{CANARY}\n", slack.url())).unwrap();
        let said = said(
            &typed(folder.path(), &other, &["notify", "--test", "--output", output]),
            5,
        );
        assert!(said.contains("it answered 404: [secret]"), "{said}");
        assert!(said.contains(&slack.url()), "{said}");
    }
    let other = Receiver::saying(&[]);
    said(&typed(folder.path(), &other, &["notify", "--test", "own"]), 0);
    assert_eq!(other.heard().len(), 1);
}

#[test]
fn what_is_wrong_is_said_before_anybody_is_told() {
    let folder = folder();
    let other = Receiver::saying(&[]);
    let output = typed(folder.path(), &other, &["notify", "--test"]);
    assert!(
        said(&output, 3).contains("cannot read"),
        "the secret's file is missing"
    );
    std::fs::write(folder.path().join("hook"), CANARY).unwrap();
    let output = typed(folder.path(), &other, &["notify", "--test"]);
    let wrong = said(&output, 3);
    assert!(
        wrong.contains("deploy.yml:7:12: `notify[0].slack.url`: it is no `http://`"),
        "{wrong}"
    );
    std::fs::write(folder.path().join("hook"), format!("{}/{CANARY}", other.url())).unwrap();
    let output = typed(folder.path(), &other, &["notify", "--test", "slak"]);
    assert!(said(&output, 2).contains("notifies nobody called `slak`; did you mean `slack`?"));
    let output = typed(folder.path(), &other, &["notify", "--test", "--dry-run"]);
    assert!(said(&output, 0).contains("would be notified"));
    let output = typed(folder.path(), &other, &["notify"]);
    said(&output, 2);
    assert!(other.heard().is_empty());
}
