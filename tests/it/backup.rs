//! `backup`: what is written is proven readable, and nothing that is not whole is left.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::engine::EngineErrorKind;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Interrupt, Outcome, StepId, StepResult, UnwindResult};
use viatique_deploy::steps::backup::{MANIFEST, MANIFEST_FORMAT, Manifest};

use crate::support::{DUMP, Ended, FOREVER, FakeCommand, FakeOutput, Fault, PASSWORD, Stack};

async fn serving() -> Stack {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack
        .engine
        .put_file("viatique_media", "scans/0001.pdf", b"a scanned copy");
    stack
}

fn manifest(folder: &Path) -> Manifest {
    serde_json::from_slice(&std::fs::read(folder.join(MANIFEST)).unwrap()).unwrap()
}

fn folders(stack: &Stack) -> Vec<std::path::PathBuf> {
    match std::fs::read_dir(stack.backups()) {
        Ok(folders) => folders.map(|folder| folder.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is(program: &'static str) -> impl Fn(&FakeCommand) -> bool {
    move |command| command.words.first().is_some_and(|word| word == program)
}

/// Failed, and neither a folder nor a container of it is left.
#[track_caller]
fn failed_and_left_nothing(stack: &Stack, ended: &Ended) {
    ended.ended(Outcome::Failed, ExitCode::Failed);
    assert_eq!(ended.step(StepId::Backup), StepResult::Failed);
    assert_eq!(folders(stack), Vec::<std::path::PathBuf>::new());
    assert_eq!(stack.engine.peek().containers.len(), 8);
    assert_eq!(stack.engine.peek().releases("backend"), ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn the_database_and_the_media_are_written_with_what_proves_them() {
    let stack = serving().await;
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    let folder = stack.backups().join(&ended.run.0);
    assert_eq!(folders(&stack), [folder.as_path()]);
    let dump = std::fs::read(folder.join("database.dump")).unwrap();
    assert_eq!(dump, DUMP);
    let manifest = manifest(&folder);
    assert_eq!(manifest.format, MANIFEST_FORMAT);
    assert_eq!(manifest.id, ended.run.0);
    assert_eq!(manifest.release.as_deref(), Some("v1"));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["database.dump", "media.tar"]);
    for file in &manifest.files {
        let content = std::fs::read(folder.join(&file.name)).unwrap();
        assert_eq!(file.bytes, content.len() as u64);
        let digest = Sha256::digest(&content);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file.sha256, hex);
    }
    assert_eq!(
        manifest.files[0].about,
        "pg_dump -Fc of copies at server version 170002"
    );
    assert_eq!(
        manifest.files[1].about,
        "volume viatique_media: 1 files, 14 bytes"
    );
    let mut archive = tar::Archive::new(std::fs::File::open(folder.join("media.tar")).unwrap());
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(
        paths.iter().any(|path| path.ends_with("scans/0001.pdf")),
        "{paths:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_can_read_it() {
    let stack = serving().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let folder = folders(&stack).remove(0);
    assert_eq!(mode(&stack.backups()), 0o700);
    assert_eq!(mode(&folder), 0o700);
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert!(!path.display().to_string().ends_with(".partial"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_password_is_given_as_an_argument() {
    let stack = serving().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let commands = stack.engine.commands();
    let dump = commands.iter().find(|command| is("pg_dump")(command)).unwrap();
    assert_eq!(dump.service, "db");
    assert!(
        dump.line().contains("--username viatique --dbname copies"),
        "{}",
        dump.line()
    );
    assert!(commands.iter().all(|command| !command.line().contains(PASSWORD)));
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_one_before_it_migrates_and_records_it() {
    let stack = serving().await;
    let ended = stack.run("v2").await;
    ended.succeeded();
    let releases = stack.releases().await;
    let id = releases.current().unwrap().backup.clone().unwrap();
    let manifest = manifest(&stack.backups().join(&id));
    assert_eq!(
        (manifest.release.as_deref(), manifest.taken_before.as_str()),
        (Some("v1"), "v2")
    );
}

#[tokio::test(start_paused = true)]
async fn on_an_empty_engine_there_is_nothing_to_back_up() {
    let stack = Stack::viatique();
    let ended = stack.run("v1").await;
    ended.succeeded();
    assert_eq!(ended.step(StepId::Backup), StepResult::Unchanged);
    assert_eq!(
        ended.step_message(StepId::Backup),
        "there is nothing to back up yet"
    );
    assert!(folders(&stack).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dump_that_fails_shows_what_pg_dump_wrote_and_stops_the_run() {
    let stack = serving().await;
    stack.answer(|command| {
        is("pg_dump")(command).then(|| {
            FakeOutput::stdout(b"PGDMP half".to_vec())
                .and_stderr("pg_dump: error: connection to server was lost\n")
                .exits(1)
        })
    });
    let ended = stack.run("v2").await;
    ended
        .says("dumping database copies as viatique: pg_dump ended with exit code 1")
        .shows("connection to server was lost");
    failed_and_left_nothing(&stack, &ended);
    assert_eq!(ended.step(StepId::Migrate), StepResult::NotRun);
}

#[tokio::test(start_paused = true)]
async fn a_dump_that_cannot_be_read_back_is_no_backup() {
    let stack = serving().await;
    stack.answer(|command| is("pg_dump")(command).then(|| FakeOutput::stdout(b"PGDMP cut".to_vec())));
    let ended = stack.run("v2").await;
    ended
        .says("the dump cannot be read back: pg_restore ended with exit code 1")
        .shows("could not read from input file");
    failed_and_left_nothing(&stack, &ended);
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_breaks_off_is_no_backup() {
    for kind in [EngineErrorKind::Sink, EngineErrorKind::ConnectionLost] {
        let stack = serving().await;
        stack.engine.fault_on("archive", 1, Fault::LoseReply(kind));
        let ended = stack.run("v2").await;
        ended.says("archiving volume viatique_media");
        failed_and_left_nothing(&stack, &ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_is_said_with_what_was_being_done() {
    let stack = serving().await;
    let exec = |call: &&crate::support::Call| call.name == "exec";
    let done = stack.engine.calls().iter().filter(exec).count();
    stack
        .engine
        .fault_on("exec", done + 1, Fault::Fail(EngineErrorKind::Sink));
    let ended = stack.run("v2").await;
    ended.says("dumping database copies as viatique");
    failed_and_left_nothing(&stack, &ended);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_made_is_said_with_the_key_to_change() {
    let stack = serving().await;
    std::fs::write(stack.backups(), "not a folder").unwrap();
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("creating the backup folder")
        .hints_at("backup.directory in deploy.yml");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_does_not_run_is_not_passed_over() {
    let stack = serving().await;
    stack.engine.kill("viatique-db-1", 137);
    let ended = stack.run("v2").await;
    ended
        .says("the database cannot be backed up: viatique-db-1 does not run")
        .hints_at("docker start viatique-db-1");
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(ended.serves.as_deref(), Some("v1"));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_during_the_dump_leaves_nothing() {
    let stack = serving().await;
    stack.answer(|command| is("pg_dump")(command).then(|| FakeOutput::stdout(DUMP).taking(FOREVER * 2)));
    let (sender, interrupt) = Interrupt::new();
    let mut typing = std::pin::pin!(stack.run_interruptibly("v2", &interrupt));
    assert!(tokio::time::timeout(FOREVER, &mut typing).await.is_err());
    sender.send_modify(|count| *count += 1);
    let ended = typing.await;
    ended.ended(Outcome::Interrupted, ExitCode::Interrupted);
    assert_eq!(ended.undo(StepId::Backup).unwrap().0, UnwindResult::Reverted);
    assert!(folders(&stack).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_backup_stays_where_a_later_step_fails() {
    let stack = serving().await;
    stack.answer(|command| {
        command
            .collects_static_files()
            .then(|| FakeOutput::silent().exits(1))
    });
    let ended = stack.run("v2").await;
    ended.ended(Outcome::Failed, ExitCode::Failed);
    let (result, why) = ended.undo(StepId::Backup).unwrap();
    assert_eq!(result, UnwindResult::LeftInPlace);
    let folder = folders(&stack).remove(0);
    assert!(why.contains(&folder.display().to_string()), "{why}");
    assert!(folder.join(MANIFEST).exists());
}
