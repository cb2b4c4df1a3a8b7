//! Somebody is told of a deploy that goes well, and of one that breaks, which names what on-call needs; a receiver that
//! answers nothing changes neither.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::support::{Finished, Stack};

const CANARY: &str = "canary-4f1d2c77";

/// What the run has seen is answered, the rest is not verified until somebody says so, on any machine.
fn the_checklist_says_who_has_got_it(run: &dyn Fn(&[&str]) -> Finished) {
    let found = run(&["checklist", "--output", "json"]).expect_code(5);
    let lines = found.json_lines().remove(0)["checklist"]["lines"].clone();
    let line = |id: &str| -> Value {
        let mut lines = lines.as_array().unwrap().iter();
        lines.find(|line| line["id"] == id).unwrap().clone()
    };
    for id in ["health", "logs"] {
        assert_eq!(
            (&line(id)["verdict"], &line(id)["by"]),
            (&"ok".into(), &"evidence".into())
        );
    }
    let notified = line("notified");
    assert_eq!(notified["verdict"], "not_verified", "{notified}");
    let seen = notified["seen"].as_str().unwrap();
    assert!(
        seen.starts_with("told ops (succeeded), and not silent: "),
        "{seen}"
    );
    let open = lines.as_array().unwrap().iter();
    let open = open.filter(|line| line["verdict"] == "not_verified");
    let answers: Vec<String> = open
        .map(|line| format!("--answer={}=yes", line["id"].as_str().unwrap()))
        .collect();
    let mut words = vec!["checklist", "v1"];
    words.extend(answers.iter().map(String::as_str));
    run(&words).expect_code(0);
    let shown = run(&["releases", "show", "v1"]).expect_code(0);
    assert!(shown.stdout.contains("told ops (succeeded)"), "{shown}");
    let refused = run(&["checklist", "v1", "--answer", "logs=no"]).expect_code(5);
    assert!(refused.stdout.contains("1 not OK (logs)"), "{refused}");
}

#[test]
fn the_team_is_told_how_a_deploy_went() {
    let stack = Stack::new("notices");
    stack.example.without(&["celery_worker", "celery_beat"]);
    stack.example.append(
        "deploy.yml",
        "\nnotify:\n  - name: ops\n    webhook:\n      url: ${NOTICE_URL}\n  - name: silent\n    on: [success, rolled_back]\n    \
         timeout: 500ms\n    webhook:\n      url: ${SILENT_URL}\n",
    );
    let (told, port) = receiver();
    // Connections are taken, and nothing is ever read from one.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let run = |words: &[&str]| -> Finished {
        let mut command = stack.command(words);
        command
            .env("NOTICE_URL", format!("http://127.0.0.1:{port}/{CANARY}"))
            .env("SILENT_URL", format!("http://127.0.0.1:{silent_port}/{CANARY}"));
        let finished = stack.start_command(&mut command).finish();
        assert!(!finished.to_string().contains(CANARY), "{finished}");
        finished
    };

    let test = run(&["notify", "--test", "ops"]).expect_code(0);
    assert!(test.to_string().contains("notified"), "{test}");
    run(&["run", "--tag", "v1", "--dry-run"])
        .expect_code(0)
        .says("would notify ops");
    assert_eq!(moments(&told), ["test"]);

    run(&["run", "--tag", "v1"])
        .expect_code(0)
        .says("not notified: silent")
        .says("no answer in time");
    assert_eq!(moments(&told), ["started", "succeeded"]);
    the_checklist_says_who_has_got_it(&run);

    // A health test that is never passed; seen sooner than production would.
    stack.example.replace(
        "backend/healthcheck.py",
        "def main():\n",
        "def main():\n    sys.exit(\"broken on purpose\")\n",
    );
    stack.example.replace(
        "docker-compose.prod.yml",
        "      retries: 10\n      start_period: 20s\n",
        "      retries: 2\n      start_period: 1s\n",
    );
    run(&["run", "--tag", "v2"]).expect_code(6);
    let heard = std::mem::take(&mut *told.lock().unwrap());
    let end = heard.last().unwrap();
    for (field, value) in [
        ("moment", "rolled_back"),
        ("release", "v2"),
        ("serves", "v1"),
        ("step", "deploy"),
        ("service", "backend"),
    ] {
        assert_eq!(end[field], value, "{end}");
    }
    assert!(end["evidence"].to_string().contains("broken on purpose"), "{end}");
    assert!(end["next"].to_string().contains("viatique-deploy "), "{end}");
    assert_eq!(stack.serves(), "v1");

    // Without the variable: what begins is refused, also by `check`; what goes back is not.
    for words in [&["run", "--tag", "v2"][..], &["check", "--tag", "v2"]] {
        stack
            .run(words)
            .expect_code(3)
            .says("undefined variable `NOTICE_URL`");
    }
    stack
        .run(&["rollback", "--to", "v1", "--yes"])
        .expect_code(0)
        .says("nobody is notified");
}

fn moments(told: &Mutex<Vec<Value>>) -> Vec<Value> {
    let heard = std::mem::take(&mut *told.lock().unwrap());
    heard.into_iter().map(|mut one| one["moment"].take()).collect()
}

/// Keeps each document, and answers 204.
fn receiver() -> (Arc<Mutex<Vec<Value>>>, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let document = read(&stream);
            heard.lock().unwrap().push(document);
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    (told, port)
}

fn read(stream: &TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}
