//! The files of the stack, and what the commands in its containers answer on a healthy day.

use super::Database;
use crate::support::{FakeCommand, FakeOutput};

/// The value of `DB_PASSWORD`; must never be seen.
pub(crate) const PASSWORD: &str = "geheimes-passwort";

/// What `pg_dump` writes.
pub(crate) const DUMP: &[u8] = b"PGDMP\x01\x0e\x00 pupils, copies and annotations";

/// What `pg_dumpall --globals-only` writes.
pub(crate) const ROLES: &str =
    "CREATE ROLE viatique;\n--\n-- PostgreSQL database cluster dump complete\n--\n";

/// As `examples/viatique`, but every service of the application has an image of its own, so that a test can break
/// one alone.
pub(crate) const COMPOSE: &str = r#"
services:
  db:
    image: postgres:17
    environment:
      POSTGRES_USER: viatique
      POSTGRES_DB: copies
      POSTGRES_PASSWORD: ${DB_PASSWORD}
    networks: [back]
    volumes: [postgres_data:/var/lib/postgresql/data]
    healthcheck: { test: [CMD, pg_isready] }
  redis:
    image: redis:7
    networks: [back]
    volumes: [redis_data:/data]
    healthcheck: { test: [CMD, redis-cli, ping] }
  backend:
    build: ./backend
    image: viatique-backend:${RELEASE_TAG}
    restart: unless-stopped
    environment: { DATABASE_PASSWORD: "${DB_PASSWORD}" }
    networks: [front, back]
    volumes:
      - static:/srv/static
      - media:/srv/media
    healthcheck: { test: [CMD, python, healthcheck.py], interval: 2s }
    depends_on:
      db: { condition: service_healthy }
      redis: { condition: service_healthy }
  celery_worker:
    build: ./worker
    image: viatique-worker:${RELEASE_TAG}
    command: [celery, -A, viatique, worker]
    restart: unless-stopped
    networks: [back]
    stop_grace_period: 60s
    healthcheck: { test: [CMD, celery, inspect, ping], interval: 5s }
    depends_on: [db, redis]
  celery_beat:
    build: ./beat
    image: viatique-beat:${RELEASE_TAG}
    command: [celery, -A, viatique, beat]
    restart: unless-stopped
    networks: [back]
    depends_on: [db, redis]
  frontend:
    build: ./frontend
    image: viatique-frontend:${RELEASE_TAG}
    restart: unless-stopped
    networks: [front]
    healthcheck: { test: [CMD, curl, localhost], interval: 2s }
  nginx:
    image: nginx:1.28
    restart: unless-stopped
    ports: ["127.0.0.1:8080:80"]
    networks: [front]
    volumes:
      - static:/srv/static:ro
      - media:/srv/media:ro
    healthcheck: { test: [CMD, curl, localhost] }
    depends_on: [backend, frontend]
networks:
  front:
  back:
volumes:
  postgres_data:
  redis_data:
  static:
  media:
"#;

/// With everything that has a step.
pub(crate) const DEPLOY_YML: &str = r#"
project: viatique
compose: [docker-compose.yml]
django: { service: backend, manage: [python, manage.py] }
backup:
  directory: backups
  database: { service: db }
  media: { volume: media }
health: { url: "http://127.0.0.1:8080/health/", timeout: 20s }
"#;

impl Database {
    /// What a script of the tool prints of it.
    pub(crate) fn answer(&self) -> String {
        let assessed: Vec<serde_json::Value> = self
            .pending
            .iter()
            .map(|(app, name)| {
                let of = |kind: &str| -> Vec<&str> {
                    let judged = self.judged.iter();
                    let own = judged.filter(|one| one.0 == format!("{app}.{name}") && one.1 == kind);
                    own.map(|one| one.2).collect()
                };
                serde_json::json!({
                    "migration": [app, name],
                    "breaks": of("breaks"),
                    "unsure": of("unsure"),
                    "irreversible": of("irreversible"),
                    "loses": of("loses"),
                })
            })
            .collect();
        let state = serde_json::json!({
            "applied": self.applied,
            "pending": self.pending,
            "assessed": assessed,
        });
        format!("\nviatique-deploy:{}\n", serde_json::json!({ "state": state }))
    }

    /// Whether code that runs would fail on what is pending.
    fn breaks(&self) -> bool {
        let mut pending = self.pending.iter().map(|(app, name)| format!("{app}.{name}"));
        pending.any(|one| {
            self.judged
                .iter()
                .any(|judged| judged.0 == one && judged.1 == "breaks")
        })
    }
}

/// What Django says of itself where all is well.
pub(crate) fn fit_for_production(with_database: bool) -> String {
    let settings = serde_json::json!({
        "debug": false,
        "secret_key_length": 64,
        "secret_key_characters": 40,
        "secret_key_made_for_development": false,
        "allowed_hosts": ["viatique.example.com"],
        "trusted_origins": ["https://viatique.example.com"],
        "session_cookie_secure": true,
        "csrf_cookie_secure": true,
    });
    let mut answers = vec![
        serde_json::json!({"messages": []}),
        serde_json::json!({"settings": settings}),
        serde_json::json!({"changes": []}),
        serde_json::json!({"conflicts": []}),
    ];
    if with_database {
        answers.push(serde_json::json!({"ahead": []}));
    }
    let lines = answers
        .iter()
        .map(|answer| format!("\nviatique-deploy:{answer}\n"));
    lines.collect()
}

/// Answers as the programs of a healthy stack do.
pub(super) fn healthy_day(command: &FakeCommand, database: &mut Database) -> FakeOutput {
    let scratch = command.container.contains("-drill-");
    let server = if scratch {
        &mut database.scratch
    } else {
        &mut database.server
    };
    if let Some(answer) = server.answers(command) {
        return answer;
    }
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["python", "manage.py", ..] if command.collects_static_files() => {
            FakeOutput::stdout("3 static files copied.\n")
        }
        ["python" | "python3", "manage.py", "shell", "-c", script] if script.contains("FileField") => {
            let files = serde_json::json!({"files": [
                ["copies", "scan", "/srv/media/scans"],
                ["pupils", "letter", "/elsewhere"],
            ]});
            FakeOutput::stdout(format!("\nviatique-deploy:{files}\n"))
        }
        ["python" | "python3", "manage.py", "shell", "-c", script] if script.contains("\nlook(") => {
            FakeOutput::stdout(fit_for_production(script.contains("\nlook(True)")))
        }
        ["python" | "python3", "manage.py", "shell", "-c", script]
            if script.contains("\nrun(\"rehearse\"") =>
        {
            rehearsed(database)
        }
        ["python" | "python3", "manage.py", "shell", "-c", script]
            if script.contains("\nrun(\"loses\"") || script.contains("\nrun(\"reverse\"") =>
        {
            taken_back(script, database)
        }
        ["python" | "python3", "manage.py", "shell", "-c", script] => {
            let mut output = format!("settings loaded\n{}", database.answer());
            let migrates = script.contains("\nrun(\"migrate\"");
            if migrates && script.contains("run(\"migrate\", allow_incompatible=False") && database.breaks() {
                output.push_str("\nviatique-deploy:{\"refused\": true}\n");
            } else if migrates && !database.pending.is_empty() {
                for (app, name) in std::mem::take(&mut database.pending) {
                    output.push_str(&format!("  Applying {app}.{name}... OK\n"));
                    database.applied.push((app, name));
                }
                output.push_str(&database.answer());
            }
            FakeOutput::stdout(output)
        }
        ["nginx", "-T"] => FakeOutput::stdout(NGINX),
        ["nginx", ..] => FakeOutput::silent(),
        // Health tests that the deploy runs itself: here the engine alone says who is healthy.
        ["curl", ..] | ["python", "healthcheck.py"] | ["pg_isready"] | ["celery", "inspect", "ping"] => {
            FakeOutput::silent().exits(7)
        }
        ["python3", "-c", script, _, _, _] if script.contains("find_app") => FakeOutput::silent().exits(7),
        ["redis-cli", .., "llen", _] => FakeOutput::stdout("0\n"),
        ["redis-cli", .., "info"] => {
            FakeOutput::stdout("connected_clients:7\r\nused_memory:1048576\r\nmaxmemory:0\r\n")
        }
        ["celery", .., "ping", "--timeout", _, "-d", _] => FakeOutput::silent(),
        ["python", "-IS", "-c", _, "list", folder] => media_list(command, folder),
        ["python", "-IS", "-c", _, "read", folder] => media_archive(command, folder),
        ["python", "-IS", "-c", _, "asides", _] => FakeOutput::stdout("end\t0\n"),
        ["python", "-IS", "-c", _, "put", _, _] => {
            let mut archive = tar::Archive::new(command.input.as_slice());
            let count = archive.entries().unwrap().filter_map(Result::ok).count();
            FakeOutput::stdout(format!("end\t{count}\n"))
        }
        ["python", "-IS", "-c", _, order, _] => sidecar(order),
        other => panic!("a command that the stack does not know: {other:?}"),
    }
}

/// What is pending is applied and taken back, a second each, on a database that is removed afterwards.
fn rehearsed(database: &Database) -> FakeOutput {
    let timed = |answer: &str, (app, name): &(String, String)| {
        let locks =
            serde_json::json!([{"table": "copies", "mode": "AccessExclusiveLock", "milliseconds": 700}]);
        let told =
            serde_json::json!({answer: {"migration": [app, name], "milliseconds": 1000, "locks": locks}});
        format!("\nviatique-deploy:{told}\n")
    };
    let took = database.pending.iter().map(|one| timed("took", one));
    let irreversible = database.judged.iter().filter(|one| one.1 == "irreversible");
    let irreversible: Vec<String> = irreversible.map(|one| format!("{}: {}", one.0, one.2)).collect();
    let back: Vec<String> = if irreversible.is_empty() {
        let reversed = database.pending.iter().rev();
        reversed.map(|one| timed("reversed", one)).collect()
    } else {
        let told = serde_json::json!({ "irreversible": irreversible });
        vec![format!("\nviatique-deploy:{told}\n")]
    };
    let lines: Vec<String> = [database.answer()]
        .into_iter()
        .chain(took)
        .chain(back)
        .chain([database.answer()])
        .collect();
    FakeOutput::stdout(lines.concat())
}

/// What stands beyond what is to be kept goes, or is only asked for; the newer image would apply it again.
fn taken_back(script: &str, database: &mut Database) -> FakeOutput {
    let (_, order) = script.rsplit_once("\nrun(").unwrap();
    let (_, kept) = order.split_once("to=").unwrap();
    let kept: Vec<(String, String)> = serde_json::from_str(kept.trim_end_matches([')', '\n'])).unwrap();
    let beyond = database.applied.iter().filter(|one| !kept.contains(one));
    let surplus: Vec<(String, String)> = beyond.rev().cloned().collect();
    let say = |told: serde_json::Value| format!("\nviatique-deploy:{told}\n");
    let unable: Vec<String> = surplus
        .iter()
        .flat_map(|(app, name)| {
            let judged = database.judged.iter();
            judged.filter(move |one| one.0 == format!("{app}.{name}") && one.1 == "irreversible")
        })
        .map(|one| format!("{}: {}", one.0, one.2))
        .collect();
    if !unable.is_empty() {
        return FakeOutput::stdout(database.answer() + &say(serde_json::json!({ "irreversible": unable })));
    }
    if order.starts_with("\"loses\"") {
        let lost: Vec<serde_json::Value> = surplus
            .iter()
            .map(|one| serde_json::json!({"migration": one, "table": "copies", "column": "mark", "rows": 3, "newest": null}))
            .collect();
        return FakeOutput::stdout(say(
            serde_json::json!({"loses": {"migrations": surplus, "lost": lost}}),
        ));
    }
    let mut output = database.answer();
    for one in &surplus {
        output += &say(serde_json::json!({"reversed": {"migration": one, "milliseconds": 1000}}));
    }
    database.applied.retain(|one| kept.contains(one));
    database.pending.splice(0..0, surplus.into_iter().rev());
    FakeOutput::stdout(output + &database.answer())
}

/// A file that has another content was written later.
fn file_state(content: &[u8]) -> [u64; 4] {
    let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
    [sum, content.len() as u64, sum, 7]
}

/// What the script prints of a volume.
fn media_list(command: &FakeCommand, folder: &str) -> FakeOutput {
    let mut lines = "folder\t.\t493\t0\t0\t1\t4096\t1\t1\t\n".to_owned();
    for (path, content) in &command.mounted {
        let path = path.strip_prefix(&format!("{folder}/")).unwrap();
        let [modified, size, changed, inode] = file_state(content);
        lines.push_str(&format!(
            "file\t{path}\t420\t1000\t1000\t{modified}\t{size}\t{changed}\t{inode}\t\n"
        ));
    }
    lines.push_str(&format!("end\t{}\n", command.mounted.len() + 1));
    FakeOutput::stdout(lines)
}

/// The archive that the script makes of the files it is asked for.
fn media_archive(command: &FakeCommand, folder: &str) -> FakeOutput {
    let mut archive = tar::Builder::new(Vec::new());
    for path in String::from_utf8(command.input.clone()).unwrap().lines() {
        let Some(content) = command.mounted.get(&format!("{folder}/{path}")) else {
            continue;
        };
        let state = file_state(content).map(|number| number.to_string()).join(" ");
        archive
            .append_pax_extensions([("VIATIQUE.stat", state.as_bytes())])
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    FakeOutput::stdout(archive.into_inner().unwrap())
}

/// What a sidecar answers where everything goes well.
fn sidecar(order: &str) -> FakeOutput {
    let answer = match order {
        "divert" | "close" | "open" => "{}",
        "adopt" => r#"{"stale": false}"#,
        "ask" => r#"{"status": 200, "body": "ok"}"#,
        "count" => r#"{"connections": 1}"#,
        "idle" => r#"{"left": []}"#,
        other => panic!("an order that no sidecar knows: {other}"),
    };
    FakeOutput::stdout(format!("viatique-deploy:{answer}\n"))
}

/// What the proxy's configuration says.
const NGINX: &str = "upstream backend { server backend:8000; }
upstream frontend { server frontend:3000; }
server {
    listen 80;
    location /api/ { proxy_pass http://backend; }
    location / { proxy_pass http://frontend; }
}
";
