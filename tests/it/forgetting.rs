//! What the ledger forgets with time, and what never.

use std::collections::BTreeSet;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::Inspect as _;
use viatique_deploy::error::FailureKind;
use viatique_deploy::ledger::{self, Ledger, REMEMBERED, RunHeader};
use viatique_deploy::pipeline::Outcome;
use viatique_deploy::release::{Migration, MigrationRecord, Release, RunId, Sequence, Tag};

use crate::support::{PROJECT, Stack};

/// A stack at v2, with a history of so many further runs, which made no release, and of so many releases before v1.
async fn with_history(runs: u64, releases: u64) -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.run("v2").await.succeeded();
    let ledger = Ledger::open(&stack.engine, PROJECT).await.unwrap();
    let memory = ledger.read().await.unwrap();
    let last = memory.runs.last().unwrap();
    for number in 1..=runs {
        let header = RunHeader {
            run: RunId(format!("20270101T000000Z-{number:06x}")),
            number: last.header.number + number,
            command: "backup".to_owned(),
            ..last.header.clone()
        };
        let mut journal = ledger.begin(header).unwrap();
        let outcome = Outcome::Succeeded;
        let finished = ledger::EntryKind::Finished { outcome };
        journal
            .write("2027-01-01T00:00:00Z".to_owned(), finished)
            .await
            .unwrap();
    }
    let added = MigrationRecord {
        before: vec![migration("0001_initial")],
        after: vec![migration("0001_initial"), migration("0002_grades")],
        assessed: Vec::new(),
    };
    let current = memory.releases.current().unwrap().sequence.0;
    for number in 1..=releases {
        let release = Release {
            sequence: Sequence(current + number),
            tag: Tag::new(format!("w{number}")).unwrap(),
            migrations: Some(added.clone()),
            ..memory.releases.current().unwrap().clone()
        };
        let header = RunHeader {
            run: RunId(format!("20260101T000001Z-{number:06x}")),
            number: 0,
            ..last.header.clone()
        };
        ledger.begin(header).unwrap().record(&release).await.unwrap();
    }
    stack
}

fn migration(name: &str) -> Migration {
    Migration {
        app: "exams".to_owned(),
        name: name.to_owned(),
    }
}

/// Journals that stand, by their folder.
async fn journals(stack: &Stack) -> BTreeSet<String> {
    let name = ledger::object_name(PROJECT);
    let container = stack.engine.container(&name).await.unwrap().unwrap();
    let files = stack
        .engine
        .read_files(&container.id, ledger::DATA)
        .await
        .unwrap()
        .unwrap();
    let folders = files.iter().filter_map(|(path, _)| {
        let (folder, _) = path.strip_prefix("runs/")?.split_once('/')?;
        Some(folder.to_owned())
    });
    folders.collect()
}

#[tokio::test(start_paused = true)]
async fn journals_long_past_go_and_the_last_that_changed_what_serves_stays() {
    let stack = with_history(110, 0).await;
    let before = journals(&stack).await;
    assert_eq!(before.len(), 112);
    let last_number = stack.memory().await.next_run();
    stack.command(Chosen::backup(), "v2").await.succeeded();
    let after = journals(&stack).await;
    // Those of before this run, itself, and the deploy of v2.
    assert_eq!(after.len(), REMEMBERED + 2);
    assert!(after.contains(&stack.memory().await.releases.current().unwrap().run.0));
    // They are numbered on.
    assert_eq!(stack.memory().await.next_run(), last_number + 1);
    // Not one more than there must be: nothing goes until there are many again.
    stack.command(Chosen::backup(), "v2").await.succeeded();
    assert_eq!(journals(&stack).await.len(), REMEMBERED + 3);
}

#[tokio::test(start_paused = true)]
async fn of_releases_long_past_it_stays_that_they_were() {
    let stack = with_history(0, 110).await;
    let whole = |releases: &[Release]| releases.iter().filter(|one| !one.is_shortened()).count();
    assert_eq!(whole(stack.memory().await.releases.all()), 112);
    stack.command(Chosen::backup(), "w110").await.succeeded();
    let releases = stack.memory().await.releases;
    assert_eq!(releases.all().len(), 112);
    // And v1, which is what `rollback` without an argument returns to.
    assert_eq!(whole(releases.all()), REMEMBERED + 1);
    assert_eq!(releases.previous().unwrap().tag.as_str(), "v1");
    let old = releases.tagged(&Tag::new("w9").unwrap()).unwrap();
    assert_eq!(old.deployed_by, releases.current().unwrap().deployed_by);
    assert_eq!(
        old.migrations.as_ref().unwrap().added(),
        [&migration("0002_grades")]
    );
    assert!(!releases.known().contains("w9,"), "{}", releases.known());
    let before = stack.engine.peek();
    let refused = stack.rollback(Some("w9")).await.unwrap_err();
    assert_eq!(
        refused.error.to_string(),
        format!(
            "of release w9, deployed {}, only the images are remembered, not how it was made; {}",
            old.deployed_at,
            releases.known()
        )
    );
    assert_eq!(refused.hints, ["viatique-deploy releases"]);
    assert_eq!(refused.kind, FailureKind::Configuration);
    assert_eq!(stack.engine.peek(), before);
}
