//! Restores of a real PostgreSQL and a real volume: what serves afterwards, what is kept, and what stands where a
//! restore is stopped half-way.

use std::fs;
use std::process::{Command, Stdio};

use super::support::database::{answers, hold, query};
use super::support::{Stack, docker};

const DIRECTORY: &str = "  directory: backups\n";
const AGREED: [&str; 2] = ["--yes", "--accept-loss"];

#[test]
fn what_was_saved_serves_again_or_nothing_has_changed() {
    let stack = Stack::new("restore");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    an_accident_and_back(&stack);
    stopped_half_way(&stack);
    damaged(&stack);
    encrypted(&stack);
    another_schema(&stack);
    with_the_code_that_it_was_of(&stack);
    on_a_fresh_machine(&stack);
}

fn media(stack: &Stack, script: &str) -> String {
    let script = format!("cd /srv/viatique/media && {script}");
    let container = format!("{}-backend-1", stack.project);
    docker(["exec", "--user", "0", &container, "sh", "-c", &script])
}

/// Every file with its rights and content, what is set aside left out.
fn files(stack: &Stack) -> String {
    media(
        stack,
        "find . -path ./.viatique-deploy -prune -o -printf '%p %y %m %U %G %l\\n' | sort; \
         find . -path ./.viatique-deploy -prune -o -type f -print0 | sort -z | xargs -0r sha256sum",
    )
}

/// The databases of the server, those of the server itself left out.
fn databases(stack: &Stack) -> Vec<String> {
    let sql = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1";
    query(stack, sql).lines().map(str::to_owned).collect()
}

/// What people would miss.
fn rows(stack: &Stack) -> String {
    query(
        stack,
        "SELECT count(*), coalesce(min(username), '-'), coalesce(max(username), '-') FROM accounts_user",
    )
}

fn restore(stack: &Stack, more: &[&str]) -> super::support::Finished {
    let words = [&["backup", "restore"], &AGREED[..], more].concat();
    stack.run(&words)
}

fn newest(stack: &Stack) -> String {
    let shown = stack.run(&["backup", "show", "--output", "json"]).expect_code(0);
    shown.json()["id"].as_str().unwrap().to_owned()
}

fn an_accident_and_back(stack: &Stack) {
    query(
        stack,
        "INSERT INTO accounts_user (username, password, first_name, last_name, email, is_staff, is_active, is_superuser, \
         date_joined, role) SELECT 'pupil' || n, '', '', '', '', false, true, false, now(), 'pupil' \
         FROM generate_series(1, 50) n",
    );
    query(stack, "CREATE ROLE reader NOLOGIN");
    query(
        stack,
        "GRANT CONNECT ON DATABASE viatique_prod TO reader WITH GRANT OPTION",
    );
    query(stack, "GRANT SELECT ON accounts_user TO reader");
    query(
        stack,
        "ALTER DATABASE viatique_prod SET search_path = \"$user\", public",
    );
    query(
        stack,
        "ALTER ROLE reader IN DATABASE viatique_prod SET work_mem = '8MB'",
    );
    query(stack, "COMMENT ON DATABASE viatique_prod IS 'the pupils'' exams'");
    let long = "a".repeat(120);
    media(
        stack,
        &format!(
            "mkdir -p scans/{long}/{long} && printf one > 'scans/Élève 100%.pdf' && printf two > scans/{long}/{long}/2 && \
             chmod 0640 scans/{long}/{long}/2 && chown 4242:4243 scans/{long}/{long}/2 && ln -s {long}/{long} scans/link && \
             printf three > \"$(printf 'scans/\\377\\n\\t')\""
        ),
    );
    // One of them is in no volume and in no backup, one is named twice.
    query(
        stack,
        "INSERT INTO papers_exam (title, held_on, maximum) VALUES ('one', now(), 20), ('two', now(), 20)",
    );
    query(
        stack,
        "INSERT INTO papers_copy (exam_id, pupil_id, teacher_id, scan, uploaded_at) \
         SELECT e.id, u.id, u.id, s.scan, now() FROM papers_exam e, accounts_user u, (VALUES \
         ('one', 'pupil2', 'scans/gone.pdf'), ('one', 'pupil3', 'scans/Élève 100%.pdf'), \
         ('two', 'pupil2', 'scans/Élève 100%.pdf')) s (exam, pupil, scan) \
         WHERE e.title = s.exam AND u.username = s.pupil",
    );
    let (rows_before, files_before) = (rows(stack), files(stack));
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    // Somebody removes, changes and adds.
    query(stack, "DELETE FROM accounts_user WHERE username LIKE 'pupil%5%'");
    query(
        stack,
        "UPDATE accounts_user SET username = 'changed' WHERE username = 'pupil1'",
    );
    media(
        stack,
        "rm 'scans/Élève 100%.pdf' && printf TWO > scans/link/2 && rm scans/link && mkdir scans/link && \
         printf new > scans/link/new && printf more > scans/more",
    );
    let (rows_after, files_after) = (rows(stack), files(stack));
    assert_ne!((&rows_before, &files_before), (&rows_after, &files_after));
    // That it can be restored is tried where it harms nobody.
    let standing = stack.snapshot();
    stack
        .run(&["backup", "drill"])
        .expect_code(0)
        .says("can be restored, in ")
        .says("papers_copy.scan: scans/gone.pdf; hint:")
        .says("2 files are named, 1 are missing");
    assert_eq!(stack.snapshot().standing(), standing.standing());
    let status = stack.run(&["status", "--output", "json"]).expect_code(0).json();
    assert_eq!(
        status["backups"],
        serde_json::json!({"newest": saved, "fresh": true})
    );
    // Nobody is asked where nobody is, and nothing is changed.
    let refused = stack.run(&["backup", "restore", &saved]).expect_code(5);
    refused.says("--yes --accept-loss");
    let planned = stack
        .run(&["backup", "restore", &saved, "--dry-run"])
        .expect_code(0);
    assert!(planned.stdout.contains("public.accounts_user"), "{planned}");
    assert_eq!(databases(stack), ["viatique_prod"]);
    // One sits in the way, in the middle of a transaction.
    let mut sleeper = hold(
        stack,
        "BEGIN; SELECT count(*) FROM accounts_user; SELECT pg_sleep(3600)",
    );
    let client = stack.poll();
    let restored = restore(stack, &[&saved]).expect_code(0);
    let seen = client.stop();
    restored.says("the one before is kept as viatique_prod_before_");
    assert!(!sleeper.wait().unwrap().success());
    assert_eq!(rows(stack), rows_before);
    assert_eq!(files(stack), files_before);
    assert!(seen.releases.contains_key("v1"), "{seen:?}");
    assert_eq!(
        query(
            stack,
            "SELECT shobj_description(oid, 'pg_database'), array_to_string(array(SELECT acl::text FROM unnest(datacl) acl \
             ORDER BY 1), ' '), (SELECT string_agg(array_to_string(setconfig, ' '), '; ' ORDER BY setrole) FROM \
             pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = 'viatique_prod'"
        ),
        "the pupils' exams|=Tc/viatique reader=c*/viatique viatique=CTc/viatique|search_path=\"$user\", public; work_mem=8MB"
    );
    assert_eq!(
        query(
            stack,
            "SELECT has_table_privilege('reader', 'accounts_user', 'SELECT')"
        ),
        "t"
    );
    assert_eq!(databases(stack).len(), 2);
    // What was there before is there still, and back; and so on.
    let undo = [&["backup", "restore", "--undo"], &AGREED[..]].concat();
    stack.run(&undo).expect_code(0);
    assert_eq!((rows(stack), files(stack)), (rows_after, files_after));
    stack.run(&undo).expect_code(0);
    assert_eq!((rows(stack), files(stack)), (rows_before.clone(), files_before));
    // It goes when its time is over, and not before.
    stack.run(&["backup", "prune"]).expect_code(0);
    assert_eq!(databases(stack).len(), 2);
    prune_all(stack);
    assert_eq!(rows(stack), rows_before);
}

/// What is kept beside goes at once.
fn prune_all(stack: &Stack) {
    let keep = (
        "  directory: backups\n",
        "  directory: backups\n  keep_replaced: 1ms\n",
    );
    stack.example.replace("deploy.yml", keep.0, keep.1);
    stack.run(&["backup", "prune"]).expect_code(0);
    stack.example.replace("deploy.yml", keep.1, keep.0);
    assert_eq!(databases(stack), ["viatique_prod"]);
}

/// Once this returns, the dump is being read into the new database.
fn wait_until_it_is_filled(stack: &Stack) {
    let fills = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'viatique-deploy restore%' \
                 AND query LIKE 'COPY%'";
    while query(stack, fills) == "0" {}
}

fn stopped_half_way(stack: &Stack) {
    query(
        stack,
        "CREATE TABLE large AS SELECT n, md5(n::text) || md5((n + 1)::text) AS text FROM generate_series(1, 600000) n",
    );
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    let before = rows(stack);
    let words = [
        &["backup", "restore", "--skip-backup", saved.as_str()],
        &AGREED[..],
    ]
    .concat();
    let kill = "for process in /proc/[0-9]*; do read name < $process/comm && [ \"$name\" = pg_restore ] && \
                kill -9 ${process#/proc/}; done; true";
    let db = format!("{}-db-1", stack.project);
    let stops: [(&str, &dyn Fn()); 3] = [
        ("pg_restore is killed", &|| {
            drop(docker(["exec", "--user", "0", &db, "sh", "-c", kill]))
        }),
        ("its connection is ended", &|| {
            drop(query(
                stack,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'viatique-deploy restore%'",
            ));
        }),
        ("the database is restarted", &|| drop(docker(["restart", &db]))),
    ];
    for (what, stop) in stops {
        let restoring = stack.start(&words);
        wait_until_it_is_filled(stack);
        stop();
        let finished = restoring.finish();
        assert_eq!(finished.code, Some(1), "{what}: {finished}");
        while !answers(stack) {}
        assert_eq!(rows(stack), before, "{what}");
        assert_eq!(databases(stack), ["viatique_prod"], "{what}");
    }
    // The operator, and the machine.
    let restoring = stack.start(&words);
    wait_until_it_is_filled(stack);
    restoring.signal("INT");
    restoring.finish().expect_code(130);
    assert_eq!(databases(stack), ["viatique_prod"]);
    let restoring = stack.start(&words);
    wait_until_it_is_filled(stack);
    restoring.signal("KILL");
    assert_eq!(restoring.finish().code, None);
    assert_eq!(rows(stack), before);
    assert_eq!(databases(stack).len(), 2);
    // A lock is left, and nothing that must be finished.
    stack.run(&words).expect_code(0);
    assert_eq!(rows(stack), before);
    prune_all(stack);
    query(stack, "DROP TABLE large");
}

fn damaged(stack: &Stack) {
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    let before = (rows(stack), files(stack));
    let folder = stack.example.file("backups").join(&saved);
    let dump = folder.join("database.dump");
    let whole = fs::read(&dump).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for content in [flipped.as_slice(), &whole[..whole.len() / 2]] {
        fs::write(&dump, content).unwrap();
        stack
            .run(&["backup", "drill", &saved])
            .expect_code(1)
            .says("database.dump is damaged");
        restore(stack, &["--skip-backup", &saved])
            .expect_code(1)
            .says("database.dump is damaged: it is not what was written");
        assert_eq!(databases(stack), ["viatique_prod"]);
    }
    fs::write(&dump, whole).unwrap();
    // A content of a media file, which is missing in the volume.
    let digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"; // one
    let object = stack
        .example
        .file("backups/media-objects")
        .join(&stack.project)
        .join("plain")
        .join(&digest[..2])
        .join(&digest[2..]);
    assert_eq!(fs::read(&object).unwrap(), b"one");
    media(stack, "rm 'scans/Élève 100%.pdf' && printf x > scans/y");
    let now = files(stack);
    fs::write(&object, "oNe").unwrap();
    let failed = restore(stack, &["--skip-backup", &saved]);
    failed.says("its content is damaged");
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(databases(stack), ["viatique_prod"]);
    assert_eq!((rows(stack), files(stack)), (before.0.clone(), now));
    fs::write(&object, "one").unwrap();
    restore(stack, &["--skip-backup", &saved]).expect_code(0);
    assert_eq!((rows(stack), files(stack)), before);
    prune_all(stack);
}

fn encrypted(stack: &Stack) {
    let key = age::x25519::Identity::generate();
    let plain = DIRECTORY;
    let to = format!("{plain}  encrypt_to: [{}]\n", key.to_public());
    stack.example.replace("deploy.yml", plain, &to);
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    let before = (rows(stack), files(stack));
    query(stack, "DELETE FROM accounts_user WHERE username LIKE 'pupil4%'");
    media(stack, "printf changed > 'scans/Élève 100%.pdf'");
    restore(stack, &[&saved])
        .expect_code(1)
        .says("it is encrypted, and no key is at hand that could open it")
        .says("backup.identity");
    let text = age::secrecy::ExposeSecret::expose_secret(&key.to_string()).to_owned();
    fs::write(stack.example.file("key.txt"), &text).unwrap();
    let with_key = format!("{to}  identity: key.txt\n");
    stack.example.replace("deploy.yml", &to, &with_key);
    restore(stack, &[&saved]).expect_code(0);
    assert_eq!((rows(stack), files(stack)), before);
    stack.example.replace("deploy.yml", &with_key, plain);
    prune_all(stack);
}

/// A backup from before a migration.
fn another_schema(stack: &Stack) {
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    query(
        stack,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('papers', '0099_later', now())",
    );
    restore(stack, &[&saved])
        .expect_code(5)
        .says("the running release would fail on the restored database")
        .says("papers.0099_later stands now, and would not");
    assert_eq!(databases(stack), ["viatique_prod"]);
    restore(stack, &[&saved, "--allow-breaking", "--only", "database"]).expect_code(0);
    prune_all(stack);
}

/// A release that removes a column, taken back with the column and what was in it.
fn with_the_code_that_it_was_of(stack: &Stack) {
    let removes = "from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [(\"papers\", \"0003_annotation_index\")]
    operations = [migrations.RemoveField(\"copy\", \"total\")]
";
    let path = "backend/papers/migrations/0004_without_total.py";
    stack.example.append(path, removes);
    query(stack, "DELETE FROM django_migrations WHERE name = '0099_later'");
    let before = rows(stack);
    stack
        .run(&["run", "--tag", "v2", "--allow-breaking"])
        .expect_code(0);
    let has_total = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'papers_copy' AND column_name = 'total'";
    assert_eq!(query(stack, has_total), "0");
    query(stack, "DELETE FROM accounts_user WHERE username = 'pupil7'");
    stack
        .run(&["rollback", "--restore-db"])
        .expect_code(5)
        .says("--yes --accept-loss");
    assert_eq!(stack.serves(), "v2");
    let words = [&["rollback", "--restore-db"], &AGREED[..]].concat();
    stack.run(&words).expect_code(0);
    assert_eq!(stack.serves(), "v1");
    assert_eq!(query(stack, has_total), "1");
    assert_eq!(rows(stack), before);
    fs::remove_file(stack.example.file(path)).unwrap();
    prune_all(stack);
}

/// Nothing is left but the folder of the backups.
fn on_a_fresh_machine(stack: &Stack) {
    stack.run(&["backup"]).expect_code(0);
    let saved = newest(stack);
    let before = (rows(stack), files(stack));
    let compose = |words: &[&str]| {
        let mut command: Command = stack.compose("v1");
        let done = command
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{words:?}");
    };
    // And not even that: only its copy elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let copies = format!(
        "{DIRECTORY}  copies: [{{ to: {} }}]\n",
        elsewhere.path().display()
    );
    stack.example.replace("deploy.yml", DIRECTORY, &copies);
    stack.run(&["backup", "copy"]).expect_code(0);
    compose(&["down", "--volumes"]);
    fs::remove_dir_all(stack.example.file("backups")).unwrap();
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    assert_eq!(rows(stack), "0|-|-");
    restore(stack, &["--from-copy", &saved]).expect_code(0);
    assert_eq!((rows(stack), files(stack)), before);
    assert_eq!(
        query(
            stack,
            "SELECT has_table_privilege('reader', 'accounts_user', 'SELECT')"
        ),
        "t"
    );
    assert_eq!(
        query(
            stack,
            "SELECT string_agg(array_to_string(setconfig, ' '), '; ' ORDER BY setrole) FROM pg_db_role_setting \
             WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        "search_path=\"$user\", public; work_mem=8MB"
    );
}
