//! Which backups stay, and which go.

use std::collections::BTreeSet;
use std::fs;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::config::BackupKeep;
use viatique_deploy::pipeline::StepId;
use viatique_deploy::steps::backup::retention::expendable;
use viatique_deploy::steps::backup::{BackupFile, MANIFEST, Manifest};

use crate::support::Stack;

fn backup(completed_at: &str) -> Manifest {
    Manifest {
        format: 1,
        written_by: "0.1.0".to_owned(),
        id: completed_at.to_owned(),
        project: "viatique".to_owned(),
        release: None,
        taken_before: "v1".to_owned(),
        started_at: None,
        encrypted_to: Vec::new(),
        completed_at: completed_at.to_owned(),
        database: None,
        media: None,
        made: None,
        files: vec![BackupFile {
            name: "database.dump".to_owned(),
            bytes: 1_500_000,
            sha256: String::new(),
            about: String::new(),
        }],
    }
}

fn stay(all: &[&str], keep: BackupKeep, needed: &[&str]) -> Vec<String> {
    let backups: Vec<Manifest> = all.iter().map(|at| backup(at)).collect();
    let needed: BTreeSet<String> = needed.iter().map(|id| (*id).to_owned()).collect();
    let gone = expendable(&backups, &keep, &needed);
    all.iter()
        .map(|at| (*at).to_owned())
        .filter(|id| !gone.contains(id))
        .collect()
}

const NONE: BackupKeep = BackupKeep {
    newest: 0,
    days: 0,
    weeks: 0,
    months: 0,
};

#[test]
fn the_last_one_stays_whatever_is_said() {
    let all = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    assert_eq!(stay(&all, NONE, &[]), ["2026-01-02T00:00:00Z"]);
    assert_eq!(stay(&all, NONE, &["2026-01-01T00:00:00Z"]), all);
    assert_eq!(stay(&[], NONE, &[]), Vec::<String>::new());
}

#[test]
fn the_last_of_each_period_stays() {
    let all = [
        "2025-12-28T10:00:00Z",
        // The same ISO week and month as the next, another year.
        "2025-12-31T10:00:00Z",
        "2026-01-01T10:00:00Z",
        "2026-01-05T10:00:00Z",
        "2026-01-06T08:00:00Z",
        "2026-01-06T10:00:00Z",
        // In UTC still the sixth.
        "2026-01-07T00:30:00+01:00",
    ];
    let days = BackupKeep { days: 2, ..NONE };
    assert_eq!(
        stay(&all, days, &[]),
        ["2026-01-05T10:00:00Z", "2026-01-07T00:30:00+01:00"]
    );
    let weeks = BackupKeep { weeks: 3, ..NONE };
    assert_eq!(
        stay(&all, weeks, &[]),
        [
            "2025-12-28T10:00:00Z",
            "2026-01-01T10:00:00Z",
            "2026-01-07T00:30:00+01:00"
        ]
    );
    let months = BackupKeep { months: 2, ..NONE };
    assert_eq!(
        stay(&all, months, &[]),
        ["2025-12-31T10:00:00Z", "2026-01-07T00:30:00+01:00"]
    );
    let newest = BackupKeep { newest: 2, ..NONE };
    assert_eq!(
        stay(&all, newest, &[]),
        ["2026-01-06T10:00:00Z", "2026-01-07T00:30:00+01:00"]
    );
    // One that does not say when it was made is not judged by its age.
    assert_eq!(
        stay(&["some day", "2026-01-05T10:00:00Z"], NONE, &[]),
        ["some day", "2026-01-05T10:00:00Z"]
    );
}

fn names(stack: &Stack) -> BTreeSet<String> {
    let folders = fs::read_dir(stack.backups()).unwrap();
    folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "media-objects")
        .collect()
}

#[tokio::test(start_paused = true)]
async fn old_ones_go_after_a_success_and_what_is_not_ours_stays() {
    let stack = Stack::viatique();
    stack.edit_deploy_yml(
        "directory: backups",
        "directory: backups\n  keep: { newest: 2, days: 0, weeks: 0, months: 0 }",
    );
    stack.edit_deploy_yml("django:", "release: { keep: 1 }\ndjango:");
    stack.run("v1").await.succeeded();
    // Before v2: kept as long as one can go back to it.
    let first = stack.command(Chosen::backup(), "v1").await.run.0;
    let of_v2 = stack.run("v2").await.run.0;
    assert_eq!(names(&stack), [first.clone(), of_v2.clone()].into());
    let foreign = ["by-hand", "of-another", "newer", "cut"];
    for name in foreign {
        fs::create_dir(stack.backups().join(name)).unwrap();
    }
    let write = |name: &str, manifest: &Manifest| {
        let text = serde_json::to_string(manifest).unwrap();
        fs::write(stack.backups().join(name).join(MANIFEST), text).unwrap();
    };
    let mut other = backup("2020-01-01T00:00:00Z");
    other.project = "other".to_owned();
    other.id = "of-another".to_owned();
    write("of-another", &other);
    let mut newer = backup("2020-01-01T00:00:00Z");
    newer.format = 99;
    newer.id = "newer".to_owned();
    write("newer", &newer);
    fs::write(stack.backups().join("cut").join(MANIFEST), "{").unwrap();
    // What a run that was killed has left.
    let unfinished = stack.memory().await.runs[0].header.run.0.clone();
    fs::create_dir(stack.backups().join(&unfinished)).unwrap();

    let second = stack.command(Chosen::backup(), "v2").await.run.0;
    let third = stack.command(Chosen::backup(), "v2").await;
    third.succeeded();
    let ours = [of_v2, second.clone(), third.run.0.clone()];
    let expected: BTreeSet<String> = foreign.map(str::to_owned).into_iter().chain(ours).collect();
    assert_eq!(names(&stack), expected);
    // Once a release is not kept any more, its backup is one as any other.
    stack.run("v3").await.succeeded();
    let fourth = stack.run("v4").await;
    let said = fourth.task_message(StepId::Backup, "retention").unwrap();
    assert!(said.contains("removed"), "{said}");
    assert!(!names(&stack).contains(&second), "{:?}", names(&stack));
}

#[tokio::test(start_paused = true)]
async fn contents_go_with_the_last_backup_that_lists_them() {
    let stack = Stack::viatique();
    stack.edit_deploy_yml(
        "directory: backups",
        "directory: backups\n  keep: { newest: 3, days: 0, weeks: 0, months: 0 }",
    );
    stack.run("v1").await.succeeded();
    let backup = async |content: &[u8]| {
        stack.engine.put_file("viatique_media", "scan", content);
        stack.command(Chosen::backup(), "v1").await.succeeded();
    };
    let contents = || {
        let root = stack.backups().join("media-objects/viatique/plain");
        let folders = fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path());
        let folders = folders.filter(|folder| folder.is_dir());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
        let read = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        read.collect::<BTreeSet<String>>()
    };
    let set = |contents: &[&str]| {
        contents
            .iter()
            .map(|one| (*one).to_owned())
            .collect::<BTreeSet<_>>()
    };
    for content in [&b"a"[..], b"b", b"b", b"c"] {
        backup(content).await;
    }
    // Three backups are left, and two contents.
    assert_eq!(contents(), set(&["b", "c"]));
    stack.edit_deploy_yml("newest: 3", "newest: 1");
    let planned = stack.dry_run(Chosen::prune(), "v1").await;
    planned.succeeded();
    assert_eq!(contents(), set(&["b", "c"]));
    stack.command(Chosen::prune(), "v1").await.succeeded();
    assert_eq!(contents(), set(&["c"]));
    let again = stack.command(Chosen::prune(), "v1").await;
    assert_eq!(again.step_message(StepId::Prune), "every backup is kept");
    // Whose list cannot be read may have any of them.
    stack.edit_deploy_yml("newest: 1", "newest: 2");
    backup(b"d").await;
    let unreadable = stack.backups().join("newer");
    fs::create_dir(&unreadable).unwrap();
    fs::write(unreadable.join(MANIFEST), r#"{"format": 99}"#).unwrap();
    stack.edit_deploy_yml("newest: 2", "newest: 1");
    stack.command(Chosen::prune(), "v1").await.succeeded();
    assert_eq!(contents(), set(&["c", "d"]));
}
