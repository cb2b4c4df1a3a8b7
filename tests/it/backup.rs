//! `backup`: what is written is proven readable, and nothing that is not whole is left.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

/// Of backups: the contents of media files stand beside them.
fn folders(stack: &Stack) -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir(stack.backups()) else {
        return Vec::new();
    };
    folders
        .map(|folder| folder.unwrap().path())
        .filter(|folder| !folder.ends_with("media-objects"))
        .collect()
}

/// The contents of media files, by digest, and whatever else stands there.
fn objects(stack: &Stack) -> BTreeMap<String, Vec<u8>> {
    objects_in(stack, "plain")
}

fn objects_in(stack: &Stack, space: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let root = stack.backups().join("media-objects/viatique").join(space);
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                if !name.starts_with("known-") {
                    found.insert(name.replace('/', ""), std::fs::read(path).unwrap());
                }
            }
        }
    }
    found
}

fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How often the script was asked to list the volume, and to read of it.
fn asked(stack: &Stack) -> (usize, usize) {
    let commands = stack.engine.commands();
    let count = |verb: &str| {
        let asked = commands.iter().filter(|command| {
            command.words.len() == 6 && command.words[4] == verb && command.words[5] == "/media"
        });
        asked.count()
    };
    (count("list"), count("read"))
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
    assert_eq!(
        names,
        [
            "database.dump",
            "database.json",
            "roles.sql",
            "media.jsonl.gz",
            "media.digests"
        ]
    );
    for file in &manifest.files {
        let content = std::fs::read(folder.join(&file.name)).unwrap();
        assert_eq!(file.bytes, content.len() as u64);
        assert_eq!(file.sha256, sha256(&content));
    }
    assert_eq!(
        manifest.files[0].about,
        "pg_dump -Fc of copies at server version 170002"
    );
    assert_eq!(
        manifest.files[3].about,
        "volume viatique_media: 1 files, 14 B; 1 new, 14 B"
    );
    let database = manifest.database.unwrap();
    assert_eq!(database.system, "7301846290123456789");
    let content = b"a scanned copy".to_vec();
    assert_eq!(objects(&stack), BTreeMap::from([(sha256(&content), content)]));
}

#[tokio::test(start_paused = true)]
async fn what_a_backup_has_already_is_neither_read_nor_kept_again() {
    let stack = serving().await;
    stack.command(Chosen::backup(), "v1").await.succeeded();
    assert_eq!(asked(&stack), (1, 1));
    let again = stack.command(Chosen::backup(), "v1").await;
    again.succeeded();
    assert_eq!(asked(&stack), (2, 1));
    let media = manifest(&stack.backups().join(&again.run.0)).media.unwrap();
    assert_eq!((media.files, media.added_objects), (1, 0));
    // The same content by another name, and one that has changed.
    stack
        .engine
        .put_file("viatique_media", "scans/0002.pdf", b"a scanned copy");
    stack
        .engine
        .put_file("viatique_media", "scans/0003.pdf", b"another copy");
    let third = stack.command(Chosen::backup(), "v1").await;
    third.succeeded();
    let commands = stack.engine.commands();
    let read = commands
        .iter()
        .rfind(|command| command.words.get(4).is_some_and(|word| word == "read"));
    assert_eq!(read.unwrap().input, b"scans/0002.pdf\nscans/0003.pdf\n");
    let media = manifest(&stack.backups().join(&third.run.0)).media.unwrap();
    assert_eq!((media.files, media.added_objects, media.added_bytes), (3, 1, 12));
    assert_eq!(objects(&stack).len(), 2);
    // A content that is gone is read again.
    let lost = sha256(b"another copy");
    let space = stack.backups().join("media-objects/viatique/plain");
    std::fs::remove_file(space.join(&lost[..2]).join(&lost[2..])).unwrap();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    assert_eq!(objects(&stack).len(), 2);
    // Without what is known of the volume all of it is.
    std::fs::write(space.join("known-viatique_media.jsonl.gz"), "damaged").unwrap();
    stack.command(Chosen::backup(), "v1").await.succeeded();
    let commands = stack.engine.commands();
    let read = commands
        .iter()
        .rfind(|command| command.words.get(4).is_some_and(|word| word == "read"));
    assert_eq!(read.unwrap().input.split(|byte| *byte == b'\n').count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_or_changes_meanwhile_is_told() {
    let stack = serving().await;
    for (path, content) in [("gone", &b"one"[..]), ("busy", b"two")] {
        stack.engine.put_file("viatique_media", path, content);
    }
    stack.answer(|command| {
        if command.words.get(4).is_none_or(|word| word != "read") {
            return None;
        }
        let mut archive = tar::Builder::new(Vec::new());
        for (mark, value, content) in [
            ("VIATIQUE.stat", "1 3 1 7", &b"twO"[..]),
            ("VIATIQUE.stat", "2 4 2 7", b"twoo"),
            ("VIATIQUE.unstable", "1", b""),
        ] {
            archive.append_pax_extensions([(mark, value.as_bytes())]).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, "busy", content).unwrap();
        }
        Some(FakeOutput::stdout(archive.into_inner().unwrap()))
    });
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("1 of the media files were being written all the while"),
        "{}",
        ended.warnings()
    );
    let media = manifest(&stack.backups().join(&ended.run.0)).media.unwrap();
    // What follows again counts.
    assert_eq!((media.files, media.bytes, media.unstable), (1, 4, 1));
    // It is never taken for unchanged.
    stack.answer(|_| None);
    stack.command(Chosen::backup(), "v1").await.succeeded();
    assert_eq!(asked(&stack).1, 2);
}

fn without_python(command: &FakeCommand) -> Option<FakeOutput> {
    let lists = command.words.get(4).is_some_and(|word| word == "list");
    lists.then(FakeOutput::missing)
}

#[tokio::test(start_paused = true)]
async fn without_python_all_of_the_volume_is_archived() {
    let stack = serving().await;
    stack.answer(without_python);
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    let folder = stack.backups().join(&ended.run.0);
    let manifest = manifest(&folder);
    assert_eq!(manifest.media, None);
    assert_eq!(
        manifest.file("media.tar").unwrap().about,
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
async fn a_listing_or_an_archive_that_breaks_off_is_no_backup() {
    for (verb, cut) in [
        (
            "list",
            FakeOutput::stdout("folder\t.\t493\t0\t0\t1\t4096\t1\t1\t\n"),
        ),
        ("read", FakeOutput::stdout("")),
        (
            "read",
            FakeOutput::silent()
                .and_stderr("OSError: [Errno 5] Input/output error\n")
                .exits(1),
        ),
    ] {
        let stack = serving().await;
        stack.answer(move |command| {
            let asked = command.words.get(4).is_some_and(|word| word == verb);
            asked.then(|| cut.clone())
        });
        let ended = stack.run("v2").await;
        failed_and_left_nothing(&stack, &ended);
        assert!(objects(&stack).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn roles_are_saved_without_passwords_where_these_may_not_be_read() {
    let stack = serving().await;
    stack.answer(|command| {
        let whole = is("pg_dumpall")(command) && !command.line().contains("--no-role-passwords");
        whole.then(|| {
            FakeOutput::silent()
                .and_stderr("permission denied for table pg_authid")
                .exits(1)
        })
    });
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("viatique may not read the passwords of the server's roles"),
        "{}",
        ended.warnings()
    );
    let manifest = manifest(&stack.backups().join(&ended.run.0));
    assert_eq!(
        manifest.file("roles.sql").unwrap().about,
        "roles of the server, without their passwords"
    );
    // What does not say that it is complete is not.
    stack.answer(|command| is("pg_dumpall")(command).then(|| FakeOutput::stdout("CREATE ROLE a;\n")));
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Failed)
        .says("what pg_dumpall wrote breaks off");
}

#[tokio::test(start_paused = true)]
async fn another_server_than_the_one_that_is_meant_is_refused() {
    let stack = serving().await;
    stack.edit_deploy_yml("service: db }", "service: db, system: \"42\" }");
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("its system identifier is 7301846290123456789")
        .hints_at("backup.database.system");
    assert!(folders(&stack).is_empty());
    assert!(!stack.engine.commands().iter().any(is("pg_dump")));
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_room_is_told_before_anything_is_written() {
    let stack = serving().await;
    stack.answer(|command| {
        let asks = is("psql")(command) && command.line().contains("pg_control_system");
        asks.then(|| {
            FakeOutput::stdout(r#"{"version": "170002", "system": "1", "bytes": 9000000000000000000}"#)
        })
    });
    let ended = stack.run("v2").await;
    ended
        .says("there is no room for a dump of the database")
        .hints_at("viatique-deploy backup prune");
    failed_and_left_nothing(&stack, &ended);
    assert!(!stack.engine.commands().iter().any(is("pg_dump")));
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_verified_to_its_last_byte() {
    let stack = serving().await;
    let id = stack.command(Chosen::backup(), "v1").await.run.0;
    let folder = stack.backups().join(&id);
    let verify = async || stack.command(Chosen::verify(None), "v1").await;
    let ended = verify().await;
    ended.succeeded();
    assert!(ended.step_message(StepId::Verify).ends_with("is whole"));

    let content = b"a scanned copy".to_vec();
    let digest = sha256(&content);
    let object = stack
        .backups()
        .join("media-objects/viatique/plain")
        .join(&digest[..2])
        .join(&digest[2..]);
    for file in ["database.dump", "roles.sql", "media.jsonl.gz", "media.digests"]
        .map(|name| folder.join(name))
        .iter()
        .chain([&object])
    {
        let whole = std::fs::read(file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [flipped.as_slice(), &whole[..whole.len() - 1]] {
            std::fs::write(file, damaged).unwrap();
            let ended = verify().await;
            ended
                .ended(Outcome::Failed, ExitCode::Gate)
                .says(&format!("backup {id} is not verified"));
        }
        std::fs::remove_file(file).unwrap();
        verify().await.ended(Outcome::Failed, ExitCode::Gate);
        std::fs::write(file, whole).unwrap();
    }
    verify().await.succeeded();
    // Damaged before it was written: the digest is as it should be.
    stack.answer(|command| is("pg_restore")(command).then(|| FakeOutput::silent().exits(1)));
    verify()
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("pg_restore ended with exit code 1");
    // What nobody can look at is not verified.
    stack.engine.kill("viatique-db-1", 137);
    verify()
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("viatique-db-1 does not run");
    stack
        .command(Chosen::verify(Some("2001".to_owned())), "v1")
        .await
        .ended(Outcome::Failed, ExitCode::Configuration)
        .says("there is no backup 2001");
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
        stack.answer(without_python);
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
        .fault_on("exec", done + 3, Fault::Fail(EngineErrorKind::Sink));
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

/// Made for these tests.
const KEY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn recipient(key: &str) -> String {
    let key: age::x25519::Identity = key.parse().unwrap();
    key.to_public().to_string()
}

fn decrypted(sealed: &[u8]) -> Vec<u8> {
    let key: age::x25519::Identity = KEY.parse().unwrap();
    age::decrypt(&key, sealed).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_encrypted_needs_a_key_to_be_verified_and_none_to_be_made() {
    let stack = serving().await;
    let to = |recipients: &str| format!("directory: backups\n  encrypt_to: [{recipients}]");
    stack.edit_deploy_yml("directory: backups", &to(&recipient(KEY)));
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    let folder = stack.backups().join(&ended.run.0);
    let made = manifest(&folder);
    assert_eq!(made.encrypted_to, [recipient(KEY)]);
    let names: Vec<&str> = made.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "database.dump.age",
            "database.json.age",
            "roles.sql.age",
            "media.jsonl.gz.age",
            "media.digests"
        ]
    );
    let dump = std::fs::read(folder.join("database.dump.age")).unwrap();
    assert_eq!(decrypted(&dump), DUMP);
    let content = b"a scanned copy";
    let space = made.media.unwrap().objects;
    let kept = objects_in(&stack, &space);
    assert_eq!(decrypted(&kept[&sha256(content)]), content);
    assert!(objects(&stack).is_empty());
    // Unchanged is unchanged, though nobody here can read the list.
    stack.command(Chosen::backup(), "v1").await.succeeded();
    assert_eq!(asked(&stack), (2, 1));
    // Nor is it verified.
    let ended = stack.command(Chosen::verify(None), "v1").await;
    ended
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("it is encrypted, and no key is at hand")
        .hints_at("backup.identity");
    // With the key it is; a damaged one, one of somebody else and none are told from it.
    stack.edit_deploy_yml("directory: backups", "directory: backups\n  identity: key.txt");
    let key = stack.backups().with_file_name("key.txt");
    let verify = async |text: &str| {
        std::fs::write(&key, text).unwrap();
        stack.command(Chosen::verify(None), "v1").await
    };
    verify(&format!("# created: today\n{KEY}\n")).await.succeeded();
    let other = generated();
    verify(&other)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("cannot be read: No matching keys found");
    let said = verify("AGE-SECRET-KEY-1NONE").await;
    said.ended(Outcome::Failed, ExitCode::Gate)
        .says("a line of it is no AGE-SECRET-KEY");
    assert!(!said.message().contains("1NONE"));
    // Whoever makes one with the wrong key at hand is told at once.
    std::fs::write(&key, other).unwrap();
    let ended = stack.command(Chosen::backup(), "v1").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("is none of those that backups are encrypted to"),
        "{}",
        ended.warnings()
    );
    // A stream that was changed is not what was encrypted.
    let path = stack.backups().join("media-objects/viatique").join(&space);
    let path = path.join(&sha256(content)[..2]).join(&sha256(content)[2..]);
    let mut sealed = std::fs::read(&path).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, sealed).unwrap();
    verify(KEY)
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("1 media files of the backup are damaged");
    // To somebody else, too: everything is encrypted anew.
    let both = format!("{}, {}", recipient(KEY), recipient(&generated()));
    stack.edit_deploy_yml(&recipient(KEY), &both);
    stack.command(Chosen::backup(), "v1").await.succeeded();
    verify(KEY).await.succeeded();
}

fn generated() -> String {
    let key = age::x25519::Identity::generate();
    age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned()
}
