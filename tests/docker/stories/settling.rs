//! Releases that pass every check and turn out bad once they are visited: each is found while it is watched, and taken
//! back, with what it was seen by; and good ones, visited or not, are left alone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::support::{Finished, Stack};

/// As in the example's own deploy.yml, which stories leave out.
const MONITOR: &str = "
monitor:
  for: 40s
  access_log:
    format: '$remote_addr \"$request\" $status $body_bytes_sent $request_time s upstream=$upstream_addr \
$upstream_status $upstream_response_time'
  probes: [/, /admin/login/]
";

/// Some twenty requests a second, from five visitors at once; they go when dropped.
struct Visitors {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

const PAGES: [&str; 4] = ["/health/", "/api/session/", "/admin/login/", "/"];

impl Visitors {
    fn of(stack: &Stack) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..5_usize).map(|first| {
            let (over, port) = (Arc::clone(&over), stack.port);
            thread::spawn(move || {
                let mut number = first;
                while !over.load(Ordering::Relaxed) {
                    visit(port, PAGES[number % PAGES.len()]);
                    number += 1;
                    thread::sleep(Duration::from_millis(250));
                }
            })
        });
        Self {
            threads: threads.collect(),
            over,
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// However it is answered: what the visitors think of it stands in nginx's log.
fn visit(port: u16, path: &str) {
    let Ok(mut connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return;
    };
    let _ = connection.set_read_timeout(Some(Duration::from_secs(40)));
    let request = format!("GET {path} HTTP/1.1\r\nHost: viatique.example.com\r\nConnection: close\r\n\r\n");
    if connection.write_all(request.as_bytes()).is_ok() {
        let _ = connection.read_to_end(&mut Vec::new());
    }
}

/// What is added to the session's view, for each fault that shows when it is visited.
const IN_A_VIEW: &str = "
import time as _time

_kept = []


class Fault:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path == \"/api/session/\":
            FAULT
        return self.get_response(request)
";

fn with_fault(stack: &Stack, fault: &str) {
    stack
        .example
        .append("backend/core/fault.py", &IN_A_VIEW.replace("FAULT", fault));
    stack.example.replace(
        "backend/viatique/settings.py",
        "    \"django.middleware.security.SecurityMiddleware\",\n",
        "    \"core.fault.Fault\",\n    \"django.middleware.security.SecurityMiddleware\",\n",
    );
}

#[track_caller]
fn taken_back(stack: &Stack, tag: &str, findings: &[&str]) -> Finished {
    let finished = stack.run(&["run", "--tag", tag]);
    let finished = finished.expect_code(6);
    finished.says(&format!("release {tag} is bad"));
    for finding in findings {
        finished.says(finding);
    }
    assert_eq!(stack.serves(), "v1", "{finished}");
    stack.example.mend();
    stack.example.append("deploy.yml", MONITOR);
    finished
}

#[test]
fn bad_releases_are_found_and_good_ones_left_alone() {
    let stack = Stack::new("settling");
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    stack.example.append("deploy.yml", MONITOR);
    {
        let _visitors = Visitors::of(&stack);
        // What is usual, for as long as it takes to know it.
        thread::sleep(Duration::from_secs(30));

        with_fault(&stack, "raise ValueError(\"broken on purpose\")");
        taken_back(
            &stack,
            "page",
            &[
                "/api/session/: ",
                "answered 5xx",
                "new exception in the log of backend",
            ],
        );

        with_fault(&stack, "_time.sleep(0.3)");
        taken_back(&stack, "slow", &["/api/session/: half of the answers take"]);

        with_fault(&stack, "_kept.append(bytearray(2_000_000))");
        taken_back(&stack, "leak", &["memory grows by"]);

        with_fault(
            &stack,
            "from django.db import connections; connection = connections.create_connection(\"default\"); \
             connection.connect(); _kept.append(connection)",
        );
        taken_back(&stack, "connections", &["the database has"]);

        // Healthy, answers a ping, and waits for tasks that nobody sends.
        stack.example.replace(
            "docker-compose.prod.yml",
            "\"worker\", \"--loglevel\"",
            "\"worker\", \"-Q\", \"another\", \"--loglevel\"",
        );
        stack.example.replace(
            "backend/viatique/settings.py",
            "\"schedule\": 30.0",
            "\"schedule\": 2.0",
        );
        taken_back(&stack, "idle", &["takes no tasks"]);

        // nginx has no such files.
        stack.example.replace(
            "backend/viatique/settings.py",
            "STATIC_URL = \"/static/\"",
            "STATIC_URL = \"/static/next/\"",
        );
        taken_back(&stack, "static", &["/static/next/", "answers 404"]);

        good(&stack, "v2", "good");
    }
    // Nobody comes any more.
    good(&stack, "v3", "good");
    let watched = stack
        .run(&["monitor", "--for", "20s", "--output", "json"])
        .expect_code(0);
    assert_eq!(verdicts(&watched), ["good"]);
}

#[track_caller]
fn good(stack: &Stack, tag: &str, verdict: &str) {
    let finished = stack
        .run(&["run", "--tag", tag, "--output", "json"])
        .expect_code(0);
    assert_eq!(verdicts(&finished), [verdict], "{finished}");
    assert_eq!(stack.serves(), tag);
}

fn verdicts(finished: &Finished) -> Vec<String> {
    let lines = finished.json_lines();
    let settled = lines.iter().filter(|line| line["event"] == "settled");
    settled
        .filter_map(|line| line["verdict"].as_str().map(ToOwned::to_owned))
        .collect()
}
