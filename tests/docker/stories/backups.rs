//! Backups of a real PostgreSQL and a real volume: what is saved, what is found damaged, and what is left where a backup
//! is stopped half-way.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::database::{answers, hold, query};
use super::support::{Stack, docker};

#[test]
fn backups_are_whole_or_none() {
    let stack = Stack::new("backups");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    only_what_is_new_is_read(&stack);
    files_that_change_meanwhile(&stack);
    damage_is_found(&stack);
    stopped_half_way(&stack);
    the_wrong_server(&stack);
    a_full_disk(&stack);
    encrypted(&stack);
    // What came of all this is another backup like the first.
    stack.run(&["backup"]).expect_code(0);
    stack.run(&["backup", "verify"]).expect_code(0);
}

fn shell(stack: &Stack, service: &str, script: &str) -> String {
    docker([
        "exec",
        "--user",
        "0",
        &format!("{}-{service}-1", stack.project),
        "sh",
        "-c",
        script,
    ])
}

/// The newest backup, as `backup show` tells it.
fn newest(stack: &Stack) -> Value {
    stack
        .run(&["backup", "show", "--output", "json"])
        .expect_code(0)
        .json()
}

fn folders(stack: &Stack) -> Vec<PathBuf> {
    let folders = fs::read_dir(stack.example.file("backups")).unwrap();
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.unwrap().path()).collect();
    found.retain(|folder| !folder.ends_with("media-objects"));
    found.sort();
    found
}

/// Every file below `media-objects`.
fn objects(stack: &Stack) -> Vec<PathBuf> {
    let mut folders = vec![stack.example.file("backups/media-objects")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_str().unwrap().contains("/known-") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn only_what_is_new_is_read(stack: &Stack) {
    // Names that are no text, files that only their owner may read, links, and the same content twice.
    shell(
        stack,
        "backend",
        "cd /srv/viatique/media && mkdir -p scans/a && printf one > 'scans/a/Élève 100%.pdf' && \
         printf two > \"$(printf 'scans/\\377\\n\\t')\" && cp scans/a/* scans/again && chmod 0600 scans/again && \
         chown 4242 scans/again && ln -s again scans/link && : > scans/empty",
    );
    stack.run(&["backup"]).expect_code(0);
    let first = newest(stack);
    assert_eq!(first["media"]["files"], 4, "{first}");
    // One and two, and nothing at all.
    assert_eq!(first["media"]["added_objects"], 3, "{first}");
    assert_eq!(first["database"]["name"], "viatique_prod");
    let contents = |stack: &Stack| {
        let read = objects(stack)
            .into_iter()
            .map(|path| fs::read_to_string(path).unwrap());
        let mut read: Vec<String> = read.collect();
        read.sort();
        read
    };
    assert_eq!(contents(stack), ["", "one", "two"]);
    shell(
        stack,
        "backend",
        "cd /srv/viatique/media && printf TWO > scans/again && rm scans/empty && mv scans/a scans/b",
    );
    stack.run(&["backup"]).expect_code(0);
    let second = newest(stack);
    assert_eq!(second["media"]["files"], 3, "{second}");
    assert_eq!(second["media"]["added_objects"], 1, "{second}");
    assert_eq!(contents(stack), ["", "TWO", "one", "two"]);
    let roles = folders(stack).pop().unwrap().join("roles.sql");
    let roles = fs::read_to_string(roles).unwrap();
    assert!(roles.contains("CREATE ROLE viatique"), "{roles}");
    stack.run(&["backup", "verify"]).expect_code(0);
    stack
        .run(&["backup", "verify", first["id"].as_str().unwrap()])
        .expect_code(0);
}

/// One is written all the while, others come and go.
fn files_that_change_meanwhile(stack: &Stack) {
    let writes = "cd /srv/viatique/media && touch writing && i=0 && while [ -e writing ]; do \
                  printf '%064d' $i >> busy; rm -f gone.$((i-1)); : > gone.$i; i=$((i+1)); done";
    let container = format!("{}-backend-1", stack.project);
    let mut writer = Command::new("docker")
        .args(["exec", "--user", "0", &container, "sh", "-c", writes])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while shell(
        stack,
        "backend",
        "cd /srv/viatique/media && [ -e busy ] && echo yes || true",
    ) != "yes"
    {
        assert!(writer.try_wait().unwrap().is_none(), "the writer has ended");
    }
    // So large that it is not read between two of its changes.
    shell(
        stack,
        "backend",
        "cd /srv/viatique/media && head -c 30000000 /dev/zero >> busy",
    );
    let finished = stack.run(&["backup"]).expect_code(0);
    finished.says("1 of the media files were being written all the while");
    shell(stack, "backend", "cd /srv/viatique/media && rm -f writing");
    writer.wait().unwrap();
    shell(stack, "backend", "cd /srv/viatique/media && rm -f busy gone.*");
    assert_eq!(newest(stack)["media"]["unstable"], 1);
    // What was read is what is kept.
    stack.run(&["backup", "verify"]).expect_code(0);
    stack.run(&["backup"]).expect_code(0);
    assert_eq!(newest(stack)["media"]["unstable"], 0);
}

fn damage_is_found(stack: &Stack) {
    let id = newest(stack)["id"].as_str().unwrap().to_owned();
    let folder = stack.example.file("backups").join(&id);
    let content = objects(stack)
        .into_iter()
        .find(|path| fs::read(path).unwrap() == b"one");
    for file in [folder.join("database.dump"), content.unwrap()] {
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [flipped.as_slice(), &whole[..whole.len() / 2]] {
            fs::write(&file, damaged).unwrap();
            let finished = stack.run(&["backup", "verify"]).expect_code(5);
            finished.says(&format!("backup {id} is not verified"));
            assert!(
                finished.stderr.contains(file.to_str().unwrap()),
                "{} is not named: {finished}",
                file.display()
            );
        }
        fs::write(&file, whole).unwrap();
    }
    stack.run(&["backup", "verify", &id]).expect_code(0);
}

/// A transaction that stands in the dump's way until it is ended.
fn stands_in_the_way(stack: &Stack) -> Child {
    let sql = "BEGIN; LOCK TABLE papers_copy IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3600)";
    let holder = hold(stack, sql);
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                  AND relation = 'papers_copy'::regclass";
    while query(stack, locked) != "1" {}
    holder
}

const DUMPS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'viatique-deploy backup%'";
const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'viatique-deploy backup%' \
                     AND wait_event_type = 'Lock'";

/// However it is stopped: no folder more, nothing that came in, no container, and no dump that goes on.
fn stopped_half_way(stack: &Stack) {
    let (folders_before, objects_before) = (folders(stack), objects(stack));
    let standing = stack.snapshot().containers;
    let kill = "for process in /proc/[0-9]*; do read name < $process/comm && [ \"$name\" = pg_dump ] && \
                kill -9 ${process#/proc/}; done; true";
    let stops: [(&str, &dyn Fn(), i32, &str); 3] = [
        (
            "pg_dump is killed",
            &|| drop(shell(stack, "db", kill)),
            1,
            "pg_dump ended with exit code 137",
        ),
        (
            "its connection is ended",
            &|| {
                drop(query(
                    stack,
                    &DUMPS.replace("count(*)", "pg_terminate_backend(pid)"),
                ))
            },
            1,
            "terminating connection",
        ),
        (
            "the database is restarted",
            &|| drop(docker(["restart", &format!("{}-db-1", stack.project)])),
            1,
            // Both the dump and the count beside it lose their server: the first to notice speaks.
            "database viatique_prod: p",
        ),
    ];
    for (what, stop, code, said) in stops {
        let mut holder = stands_in_the_way(stack);
        let backup = stack.start(&["backup"]);
        while query(stack, WAITS) != "1" {}
        stop();
        let finished = backup.finish().expect_code(code);
        assert!(finished.stderr.contains(said), "{what}: {finished}");
        assert_eq!(folders(stack), folders_before, "{what}");
        assert_eq!(objects(stack), objects_before, "{what}");
        holder.kill().unwrap();
        holder.wait().unwrap();
        // Once it answers again: the container runs before the server takes connections.
        while !answers(stack) {}
        end_sleepers(stack);
    }
    // The operator: the dump does not go on where nobody reads it.
    let mut holder = stands_in_the_way(stack);
    let backup = stack.start(&["backup"]);
    while query(stack, WAITS) != "1" {}
    backup.signal("INT");
    backup.finish().expect_code(130);
    while query(stack, DUMPS) != "0" {}
    assert_eq!(folders(stack), folders_before);
    // The tool itself: nothing that it leaves counts as a backup.
    let backup = stack.start(&["backup"]);
    while query(stack, WAITS) != "1" {}
    backup.signal("KILL");
    assert_eq!(backup.finish().code, None);
    let listed = stack.run(&["backup", "list", "--output", "json"]).json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), folders_before.len());
    end_sleepers(stack);
    holder.wait().unwrap();
    stack.run(&["backup"]).expect_code(0);
    let names =
        |containers: &std::collections::BTreeMap<String, _>| containers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&stack.snapshot().containers), names(&standing));
    // Its folder is gone too, and one is there that is whole.
    stack.run(&["backup", "prune"]).expect_code(0);
    assert_eq!(folders(stack).len(), folders_before.len() + 1);
}

fn end_sleepers(stack: &Stack) {
    query(
        stack,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)' \
         AND pid <> pg_backend_pid()",
    );
    while query(stack, DUMPS) != "0" {}
}

fn the_wrong_server(stack: &Stack) {
    let before = folders(stack);
    let system = newest(stack)["database"]["system"].as_str().unwrap().to_owned();
    let database = "  database: { service: db }\n";
    let pinned = |system: &str| format!("  database: {{ service: db, system: \"{system}\" }}\n");
    stack.example.replace("deploy.yml", database, &pinned(&system));
    stack.run(&["backup"]).expect_code(0);
    stack
        .example
        .replace("deploy.yml", &pinned(&system), &pinned("42"));
    stack
        .run(&["backup"])
        .expect_code(3)
        .says(&format!("its system identifier is {system}"))
        .says("backup.database.system");
    assert_eq!(folders(stack).len(), before.len() + 1);
    stack.example.replace("deploy.yml", &pinned("42"), database);
}

/// To a key that is not on this machine, until it is.
fn encrypted(stack: &Stack) {
    let key = age::x25519::Identity::generate();
    let to = format!("  directory: backups\n  encrypt_to: [{}]\n", key.to_public());
    let plain = "  directory: backups\n";
    stack.example.replace("deploy.yml", plain, &to);
    stack.run(&["backup"]).expect_code(0);
    let made = newest(stack);
    let files = made["files"].as_array().unwrap();
    let folder = stack.example.file("backups").join(made["id"].as_str().unwrap());
    for file in files.iter().filter(|file| file["name"] != "media.digests") {
        let name = file["name"].as_str().unwrap();
        let sealed = fs::read(folder.join(name)).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1\n"), "{name}");
    }
    stack
        .run(&["backup", "verify"])
        .expect_code(5)
        .says("no key is at hand that could open it")
        .says("backup.identity");
    let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
    fs::write(stack.example.file("key.txt"), &text).unwrap();
    let with_key = format!("{to}  identity: key.txt\n");
    stack.example.replace("deploy.yml", &to, &with_key);
    let finished = stack.run(&["backup", "verify"]).expect_code(0);
    finished.says("whole, decrypted");
    assert!(!finished.stderr.contains(&text));
    stack.example.replace("deploy.yml", &with_key, plain);
}

/// A file system of one megabyte, of which the folder of the backups is made.
fn a_full_disk(stack: &Stack) {
    let folder = stack.example.file("small");
    fs::create_dir(&folder).unwrap();
    let mount = |words: &[&str]| {
        let done = Command::new(words[0])
            .args(&words[1..])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(done.success(), "{words:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "none"]);
    let unmount = Unmount(&mount);
    stack
        .example
        .replace("deploy.yml", "  directory: backups\n", "  directory: small\n");
    // The media do not fit, which is seen before they are read.
    shell(
        stack,
        "backend",
        "head -c 3000000 /dev/urandom > /srv/viatique/media/large",
    );
    let finished = stack.run(&["backup"]).expect_code(1);
    finished
        .says("there is no room for the new media files")
        .says("backup prune");
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    // Nor does the dump, which is not known before a first one.
    query(
        stack,
        "CREATE TABLE large AS SELECT md5(g::text) FROM generate_series(1, 100000) g",
    );
    let finished = stack.run(&["backup"]).expect_code(1);
    finished.says("No space left on device").says("df -h");
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    drop(unmount);
    query(stack, "DROP TABLE large");
    shell(stack, "backend", "rm /srv/viatique/media/large");
    stack
        .example
        .replace("deploy.yml", "  directory: small\n", "  directory: backups\n");
}

/// Unmounts at the end of the test, whatever it comes to.
struct Unmount<'a>(&'a dyn Fn(&[&str]));

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        (self.0)(&["umount", "--lazy"]);
    }
}
