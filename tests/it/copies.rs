//! Copies of backups in other places: what a place has is whole, what it has is not sent again, and what cannot be copied
//! is said.

use std::path::{Path, PathBuf};

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::config::BackupCopy;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::storage::Storage;

use crate::support::{Ended, FakeS3, Stack};

/// A stack whose backups are copied to a folder beside theirs.
async fn copied() -> (Stack, PathBuf) {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.put_file("viatique_media", "scans/1.png", b"one");
    let place = stack.backups().with_file_name("elsewhere");
    std::fs::create_dir(&place).unwrap();
    copy_to(&stack, "elsewhere");
    (stack, place)
}

fn copy_to(stack: &Stack, place: &str) {
    stack.edit_deploy_yml(
        "directory: backups",
        &format!("directory: backups\n  copies: [{{ to: {place} }}]"),
    );
}

/// Every file below a folder, with its content; what is known of a volume is no part of a backup.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_str().unwrap().contains("/known-") {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn failed_to_copy(stack: &Stack, ended: &Ended, why: &str) {
    ended.ended(Outcome::Failed, ExitCode::Failed);
    assert_eq!(ended.step(StepId::Copy), StepResult::Failed);
    assert_eq!(ended.step(StepId::Backup), StepResult::Succeeded);
    let told = format!("{} {}", ended.message(), ended.hints());
    assert!(told.contains(why), "{told}");
    assert!(told.contains("viatique-deploy backup copy"), "{told}");
    // The backup itself is whole.
    assert!(stack.backups().join(&ended.run.0).join("manifest.json").exists());
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_a_folder_of_backups_like_the_one_here() {
    let (stack, place) = copied().await;
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    assert_eq!(files(&place), files(&stack.backups()));
    assert!(ended.warnings().contains("unencrypted"), "{}", ended.warnings());
    // What is there is not sent again, and what is lacking is.
    let again = stack.command(Chosen::copy(), "v1").await;
    assert_eq!(again.step_message(StepId::Copy), "elsewhere has every backup");
    std::fs::remove_dir_all(place.join(&ended.run.0)).unwrap();
    let again = stack.command(Chosen::copy(), "v1").await;
    assert!(
        again
            .step_message(StepId::Copy)
            .starts_with("elsewhere has got 1 backup, ")
    );
    assert_eq!(files(&place), files(&stack.backups()));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(place.join(&ended.run.0))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(start_paused = true)]
async fn a_run_copies_once_it_has_succeeded_and_a_place_that_is_gone_is_a_warning() {
    let (stack, place) = copied().await;
    stack.run("v2").await.succeeded();
    assert_eq!(files(&place), files(&stack.backups()));
    let gone = place.with_file_name("unmounted");
    std::fs::rename(&place, &gone).unwrap();
    let ended = stack.run("v3").await;
    ended.succeeded();
    let told = ended.warnings();
    assert!(
        told.contains("is its disk mounted?") && told.contains("backup copy"),
        "{told}"
    );
    assert!(!place.exists());
    failed_to_copy(
        &stack,
        &stack.command(Chosen::backup(), "v3").await,
        "is its disk mounted?",
    );
    // Once it is back, it gets what it lacks.
    std::fs::rename(&gone, &place).unwrap();
    stack.command(Chosen::copy(), "v3").await.succeeded();
    assert_eq!(files(&place), files(&stack.backups()));
}

#[tokio::test(start_paused = true)]
async fn the_same_backups_go_there_as_here() {
    let (stack, place) = copied().await;
    stack.edit_deploy_yml(
        "directory: backups",
        "directory: backups\n  keep: { newest: 1, days: 0, weeks: 0, months: 0 }",
    );
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.engine.put_file("viatique_media", "scans/1.png", b"two");
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    assert_eq!(files(&place), files(&stack.backups()));
    // Where there is one that is not understood, it may need contents that nobody else does.
    let theirs = place.join("20200101T000000Z-000000");
    std::fs::create_dir_all(&theirs).unwrap();
    std::fs::write(theirs.join("manifest.json"), "{\"format\": 99}").unwrap();
    let contents = |place: &Path| files(&place.join("media-objects"));
    let before = contents(&place);
    stack.engine.put_file("viatique_media", "scans/1.png", b"three");
    stack.command(Chosen::backup(), "v1").await.succeeded();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let after = contents(&place);
    assert!(before.iter().all(|one| after.contains(one)), "{after:?}");
    assert!(theirs.join("manifest.json").exists());
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_here_is_not_copied() {
    let (stack, place) = copied().await;
    let gone = place.with_file_name("unmounted");
    std::fs::rename(&place, &gone).unwrap();
    let ended = stack.command(Chosen::backup(), "v1").await;
    std::fs::rename(&gone, &place).unwrap();
    for damaged in ["media-objects", "database.dump"] {
        let path = match damaged {
            "media-objects" => {
                let objects = files(&stack.backups().join("media-objects"));
                stack.backups().join("media-objects").join(&objects[0].0)
            }
            file => stack.backups().join(&ended.run.0).join(file),
        };
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "damaged").unwrap();
        let copied = stack.command(Chosen::copy(), "v1").await;
        copied.ended(Outcome::Failed, ExitCode::Failed);
        copied.says("is damaged: it is not what was written");
        assert!(!place.join(&ended.run.0).join("manifest.json").exists());
        std::fs::write(&path, whole).unwrap();
    }
    stack.command(Chosen::copy(), "v1").await.succeeded();
    assert_eq!(files(&place), files(&stack.backups()));
}

fn bucket(s3: &FakeS3, folder: &Path) -> BackupCopy {
    std::fs::write(
        folder.join("s3.env"),
        "AWS_ACCESS_KEY_ID=teacher\nAWS_SECRET_ACCESS_KEY=geheim\n",
    )
    .unwrap();
    BackupCopy {
        to: "s3://exams/below".parse().unwrap(),
        endpoint: Some(s3.endpoint()),
        region: Some("eu-west-3".to_owned()),
        credentials: Some(PathBuf::from("s3.env")),
    }
}

#[tokio::test]
async fn s3_takes_small_files_and_large_ones_and_gives_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = FakeS3::start("teacher");
    let storage = Storage::open(&bucket(&s3, folder.path()), folder.path()).unwrap();
    let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (name, content) in [
        ("set/small", &b"small"[..]),
        ("set/deep/large", &large),
        ("set/empty", b""),
    ] {
        let file = folder.path().join("file");
        std::fs::write(&file, content).unwrap();
        let mut told = 0;
        let sent = storage.upload(&file, name, |bytes| told += bytes).await.unwrap();
        assert_eq!((sent.0, told), (content.len() as u64, content.len() as u64));
        assert_eq!(s3.content(&format!("exams/below/{name}")).unwrap(), content);
        assert_eq!(storage.digest(name).await.unwrap(), sent);
        let back = folder.path().join("back");
        assert_eq!(storage.fetch(name, &back).await.unwrap(), sent);
        assert_eq!(std::fs::read(back).unwrap(), content);
    }
    assert_eq!(s3.unfinished(), 0);
    s3.change("exams/elsewhere/else", b"somebody's");
    assert_eq!(storage.folders().await.unwrap(), ["set"]);
    let mut names = storage.names("set").await.unwrap();
    names.sort();
    assert_eq!(names, ["deep/large", "empty", "small"]);
    assert_eq!(storage.read("set/small").await.unwrap().unwrap(), b"small");
    assert_eq!(storage.read("set/none").await.unwrap(), None);
    storage.remove("set/small").await.unwrap();
    storage.remove("set/small").await.unwrap();
    assert_eq!(
        s3.names(),
        [
            "exams/below/set/deep/large",
            "exams/below/set/empty",
            "exams/elsewhere/else"
        ]
    );
}

#[tokio::test]
async fn s3_that_is_busy_is_asked_again_and_one_that_says_no_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = FakeS3::start("teacher");
    let copy = bucket(&s3, folder.path());
    let storage = Storage::open(&copy, folder.path()).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "one").unwrap();
    s3.refuse(&[503, 500]);
    storage.upload(&file, "set/one", |_| ()).await.unwrap();
    std::fs::write(
        folder.path().join("s3.env"),
        "AWS_ACCESS_KEY_ID=pupil\nAWS_SECRET_ACCESS_KEY=x\n",
    )
    .unwrap();
    let other = Storage::open(&copy, folder.path()).unwrap();
    let refused = other.upload(&file, "set/two", |_| ()).await.unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("copying ") && said.contains("403"), "{said}");
    std::fs::write(folder.path().join("s3.env"), "AWS_ACCESS_KEY_ID=pupil\n").unwrap();
    let said = format!("{:#}", Storage::open(&copy, folder.path()).err().unwrap());
    assert!(
        said.ends_with("s3.env has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        "{said}"
    );
}

/// The clock is not paused: there is a network.
#[tokio::test]
async fn s3_that_keeps_something_else_than_it_was_sent_is_found_out() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let s3 = FakeS3::start("teacher");
    let directory = stack.directory.path().to_owned();
    bucket(&s3, &directory);
    copy_to(
        &stack,
        &format!(
            "\"s3://exams/below\", endpoint: \"{}\", region: here, credentials: s3.env",
            s3.endpoint()
        ),
    );
    s3.damage(true);
    let ended = stack.command(Chosen::backup(), "v1").await;
    failed_to_copy(&stack, &ended, "reads back differently from what was sent");
    assert_eq!(s3.names(), Vec::<String>::new());
    s3.damage(false);
    let ended = stack.command(Chosen::copy(), "v1").await;
    ended.succeeded();
    let there = s3.names().into_iter().map(|name| {
        let content = s3.content(&name).unwrap();
        (name.strip_prefix("exams/below/").unwrap().to_owned(), content)
    });
    assert_eq!(there.collect::<Vec<_>>(), files(&stack.backups()));
}
