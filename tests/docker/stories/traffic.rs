//! Where requests go during a deploy, for every kind of caller: nginx that looks names up at run time and has no shell,
//! and a service that calls another by its name. And releases that only their callers find out to be broken: those
//! never get a visitor.

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use super::support::{Stack, docker};

/// Both call the backend by its name, again and again, and write what they were answered. The second one is replaced in
/// the same run, and is up before the new backend is: only as v1 may it wait for a first answer.
const CALLER: &str = r#"
  caller:
    image: PROJECT-backend:v1
    environment: { BACKEND: "http://backend:8000" }
    networks: [front]
    depends_on: [backend]
    command:
      - python3
      - -uc
      - |
        import json, os, time, urllib.request
        url = os.environ["BACKEND"] + "/health/"
        while True:
            request = urllib.request.Request(url, headers={"Host": "viatique.example.com"})
            try:
                print("answer", json.load(urllib.request.urlopen(request, timeout=20))["release"])
            except Exception as error:
                print("failure", repr(error))
            time.sleep(0.02)
  renderer:
    image: PROJECT-backend:${RELEASE_TAG}
    environment: { BACKEND: "http://backend:8000" }
    networks: [front]
    volumes: [media:/srv/viatique/media]
    command:
      - python3
      - -uc
      - |
        import os, time, urllib.request
        url = os.environ["BACKEND"] + "/health/"
        known = os.environ["RELEASE"] == "v2"
        while True:
            request = urllib.request.Request(url, headers={"Host": "viatique.example.com"})
            try:
                urllib.request.urlopen(request, timeout=20).read()
                known = True
            except Exception as error:
                if known:
                    print(os.environ["RELEASE"], repr(error), file=open("/srv/viatique/media/failures", "a"))
            time.sleep(0.02)

networks:
  front:
"#;

#[test]
fn every_kind_of_caller_is_led_from_one_release_to_the_next() {
    let stack = Stack::new("callers");
    stack.example.edit("nginx/conf.d/viatique.conf", |text| {
        text.replace(
            "upstream backend { server backend:8000; }",
            "resolver 127.0.0.11 valid=1s;",
        )
        .replace(
            "proxy_pass http://backend;",
            "set $backend http://backend:8000;\n        proxy_pass $backend;",
        )
    });
    stack.example.append(
        "nginx/Dockerfile",
        "RUN [\"/usr/bin/rm\", \"/bin/sh\", \"/bin/bash\"]\n",
    );
    let caller = CALLER.replace("PROJECT", &stack.project);
    stack
        .example
        .replace("docker-compose.prod.yml", "\nnetworks:\n  front:\n", &caller);
    stack.run(&["run", "--tag", "v1"]).expect_code(0);

    for (words, releases) in [
        (&["run", "--tag", "v2"][..], ["v1", "v2"]),
        (&["rollback"], ["v1", "v2"]),
    ] {
        let visitor = stack.poll();
        stack.run(words).expect_code(0);
        visitor.stop().expect_only(&releases);
    }
    let log = docker(["logs", &format!("{}-caller-1", stack.project)]);
    let failures: Vec<&str> = log.lines().filter(|line| line.starts_with("failure")).collect();
    assert!(failures.is_empty(), "{failures:?}");
    for release in ["answer v1", "answer v2"] {
        assert!(log.lines().any(|line| line == release), "no {release}");
    }
    let backend = format!("{}-backend-1", stack.project);
    let failures = "import os; path = '/srv/viatique/media/failures'; \
                    print(open(path).read() if os.path.exists(path) else '')";
    assert_eq!(docker(["exec", &backend, "python3", "-c", failures]), "");
    nothing_is_diverted_any_more(&stack);
}

/// No sidecar runs, and asking a sidecar of our own shows no table in the proxy's namespace.
fn nothing_is_diverted_any_more(stack: &Stack) {
    let sidecars = format!("name={}-sidecar", stack.project);
    assert_eq!(docker(["ps", "--all", "--quiet", "--filter", &sidecars]), "");
}

#[test]
fn what_only_its_callers_find_broken_gets_no_visitor() {
    let stack = Stack::new("proof");
    stack.example.replace(
        "deploy.yml",
        "services:\n",
        "services:\n  backend: { drain: 3s }\n",
    );
    stack.run(&["run", "--tag", "v1"]).expect_code(0);
    let before = stack.snapshot();

    // Healthy inside, and nobody outside reaches it.
    stack
        .example
        .replace("backend/Dockerfile", "0.0.0.0:8000", "127.0.0.1:8000");
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v2"]).expect_code(6);
    visitor.stop().expect_only(&["v1"]);
    finished
        .says("is healthy, but does not serve nginx at")
        .says("Connection refused")
        .says("0.0.0.0");
    assert_eq!(stack.snapshot().standing(), before.standing());

    // Healthy, and ends when somebody else than its health test asks.
    stack.example.mend();
    stack.example.append(
        "backend/viatique/wsgi.py",
        "\nimport os, signal\ninner = application\n\n\ndef application(environ, start_response):\n    \
         if environ[\"HTTP_USER_AGENT\" if \"HTTP_USER_AGENT\" in environ else \"SERVER_NAME\"] != \"healthcheck\":\n        \
         os.kill(1, signal.SIGQUIT)\n    return inner(environ, start_response)\n",
    );
    let visitor = stack.poll();
    stack
        .run(&["run", "--tag", "v3"])
        .expect_code(6)
        .says("deploying backend");
    visitor.stop().expect_only(&["v1"]);
    assert_eq!(stack.snapshot().standing(), before.standing());

    // A connection that never ends: the drain does, and that is said.
    stack.example.mend();
    stack.example.replace(
        "deploy.yml",
        "services:\n",
        "services:\n  backend: { drain: 3s }\n",
    );
    let mut connection = TcpStream::connect((address(&stack), 8000)).unwrap();
    connection.write_all(b"POST /health/ HTTP/1.1\r\n").unwrap();
    let visitor = stack.poll();
    let finished = stack.run(&["run", "--tag", "v4"]).expect_code(0);
    visitor.stop().expect_only(&["v1", "v4"]);
    finished
        .says("still had 1 connections when its drain of 3 s was over")
        .says("services.backend.drain");
}

/// The backend's address on the front network.
fn address(stack: &Stack) -> std::net::Ipv4Addr {
    let name = format!("{}-backend-1", stack.project);
    let inspected: Value = serde_json::from_str(&docker(["inspect", &name])).unwrap();
    let network = format!("{}_front", stack.project);
    let found = &inspected[0]["NetworkSettings"]["Networks"][network]["IPAddress"];
    found.as_str().unwrap().parse().unwrap()
}
