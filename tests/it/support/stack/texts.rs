//! The files of the stack, and what the commands in its containers answer on a healthy day.

use super::Database;
use crate::support::{FakeCommand, FakeOutput};

/// The value of `DB_PASSWORD`; must never be seen.
pub(crate) const PASSWORD: &str = "geheimes-passwort";

/// What `pg_dump` writes.
pub(crate) const DUMP: &[u8] = b"PGDMP\x01\x0e\x00 pupils, copies and annotations";

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

/// Answers as the programs of a healthy stack do.
pub(super) fn healthy_day(command: &FakeCommand, database: &mut Database) -> FakeOutput {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["python", "manage.py", ..] if command.collects_static_files() => {
            FakeOutput::stdout("3 static files copied.\n")
        }
        ["python", "manage.py", "shell", "-c", script] => {
            let mut output = format!("settings loaded\n{}", database.answer());
            let migrates = script.contains("\nrun(\"migrate\"");
            if migrates && script.contains("run(\"migrate\", allow_incompatible=False)") && database.breaks()
            {
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
        ["pg_dump", ..] => FakeOutput::stdout(DUMP),
        ["pg_restore", ..] if command.input == DUMP => FakeOutput::silent(),
        ["pg_restore", ..] => FakeOutput::silent()
            .and_stderr("pg_restore: error: could not read from input file\n")
            .exits(1),
        ["psql", ..] => FakeOutput::stdout("170002\n"),
        ["nginx", "-T"] => FakeOutput::stdout(NGINX),
        ["nginx", ..] => FakeOutput::silent(),
        // Health tests that the deploy runs itself: here the engine alone says who is healthy.
        ["curl", ..] | ["python", "healthcheck.py"] | ["pg_isready"] | ["celery", "inspect", "ping"] => {
            FakeOutput::silent().exits(7)
        }
        ["python3", "-c", script, _, _, _] if script.contains("find_app") => FakeOutput::silent().exits(7),
        ["celery", .., "ping", "--timeout", _, "-d", _] => FakeOutput::silent(),
        ["python", "-IS", "-c", _, order, _] => sidecar(order),
        other => panic!("a command that the stack does not know: {other:?}"),
    }
}

/// What a sidecar answers where everything goes well.
fn sidecar(order: &str) -> FakeOutput {
    let answer = match order {
        "divert" => "{}",
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
