//! The production configuration: each mistake is told with its file and line, without a secret's value.

use std::os::unix::fs::PermissionsExt as _;

use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::pipeline::StepId;
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, Stack};

const ENV: &str = "\
DEBUG=False
SECRET_KEY=s1ZmEoLm35EEkrRy0CHrwI2zq8Kc3nRIExP-OQ-deBUXfha6AHoiKTr4w
DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@db:5432/copies
ALLOWED_HOSTS=viatique.test,www.viatique.test
CSRF_TRUSTED_ORIGINS=https://viatique.test
SESSION_COOKIE_SECURE=True
CSRF_COOKIE_SECURE=True
SSL_ENABLED=True
EMAIL_HOST=smtp.viatique.test
EMAIL_PORT=587
EMAIL_HOST_USER=noreply@viatique.test
EMAIL_HOST_PASSWORD=Wv7pLq0Rt4Zm
CELERY_BROKER_URL=redis://redis:6379/0
REGION=eu
";

const COMPOSE: &str = "\
services:
  db:
    image: postgres:17
    environment:
      POSTGRES_USER: viatique
      POSTGRES_PASSWORD: Zq8/Kc3nRIExP
      POSTGRES_DB: copies
    networks: [back]
  redis:
    image: redis:7
    networks: [back]
  apart:
    image: redis:7
    networks: [front]
  backend:
    image: viatique-backend:v1
    env_file: .env.production
    networks: [back]
  worker:
    image: viatique-backend:v1
    env_file: .env.production
    networks: [back]
networks:
  back:
  front:
";

const DEPLOY_YML: &str = "\
project: viatique
compose: [docker-compose.yml]
django: { service: backend }
backup: { directory: backups, database: { service: db } }
health: { url: 'http://127.0.0.1:8080/health/', host: viatique.test }
checks:
  environment: { required: { REGION: [eu, us] }, forbidden: [OLD_SWITCH] }
";

fn stack(compose: &str, env: &str, deploy_yml: &str) -> Stack {
    let stack = Stack::of(compose, deploy_yml);
    let file = stack.directory.path().join(".env.production");
    std::fs::write(&file, env).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    stack
}

async fn only(stack: &Stack, id: &str) -> Ended {
    let selection = Selection::of(&[id.to_owned()], &[]).unwrap();
    stack.command(Chosen::check_with(selection), "v1").await
}

/// Everything that a person is told of one check.
async fn told(stack: &Stack, id: &str) -> String {
    let ended = only(stack, id).await;
    for secret in ["Zq8/Kc3n", "Zq8%2FKc3n", "s1ZmEoLm", "Wv7pLq0Rt4Zm", "hunter"] {
        for event in &ended.events {
            assert!(
                !format!("{event:?}").contains(secret),
                "a secret is told: {event:?}"
            );
        }
    }
    format!(
        "{}\n{}\n{}\n{}",
        ended.message(),
        ended.evidence(),
        ended.warnings(),
        ended.task_message(StepId::Check, id).unwrap_or_default()
    )
}

/// The env file with the line of this variable replaced; an empty one leaves it out.
fn with(key: &str, line: &str) -> String {
    let prefix = format!("{key}=");
    let lines = ENV
        .lines()
        .map(|one| if one.starts_with(&prefix) { line } else { one });
    let mut text: String = lines.map(|one| format!("{one}\n")).collect();
    if !ENV.contains(&format!("\n{prefix}")) && !ENV.starts_with(&prefix) {
        text += &format!("{line}\n");
    }
    text
}

/// The check, the variable, the line that is written for it, and what is said.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY=hunter2",
        ".env.production:2: SECRET_KEY has 7 characters, and needs 50 or more",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY=",
        ".env.production:2: SECRET_KEY is empty",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY=django-insecure-hunter2-s1ZmEoLm35EEkrRy0CHrwI2zq8Kc3nRIExPOQ",
        ".env.production:2: SECRET_KEY begins with `django-insecure-`",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ".env.production:2: SECRET_KEY is made of 1 different characters",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY=0123456789012345678901234567890123456789012345678901234567",
        ".env.production:2: SECRET_KEY can be guessed",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "",
        "neither SECRET_KEY nor DJANGO_SECRET_KEY is set",
    ),
    (
        "secret-key",
        "SECRET_KEY",
        "SECRET_KEY_FILE=/run/secrets/key",
        "SECRET_KEY_FILE names a file in the container",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=changeme",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=CHANGE_ME!",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=<your token>",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=your-token-here",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=xxxxxxxx",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=an-example-token",
        ".env.production:15: API_TOKEN is a placeholder",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=password123",
        ".env.production:15: API_TOKEN is one that everybody tries first",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=12345678",
        ".env.production:15: API_TOKEN is one that everybody tries first",
    ),
    (
        "placeholders",
        "API_TOKEN",
        "API_TOKEN=admin",
        ".env.production:15: API_TOKEN is one that everybody tries first",
    ),
    (
        "placeholders",
        "REGION",
        "REGION=TODO",
        ".env.production:14: REGION is a placeholder",
    ),
    (
        "placeholders",
        "REGION",
        "REGION=replace me",
        ".env.production:14: REGION is a placeholder",
    ),
    (
        "placeholders",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:change%2Dme@db/copies",
        ".env.production:3: the password in DATABASE_URL is a placeholder",
    ),
    (
        "placeholders",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://hunter:hunter@db/copies",
        ".env.production:3: the password in DATABASE_URL is one that everybody",
    ),
    (
        "debug-off",
        "DEBUG",
        "DEBUG=True",
        ".env.production:1: DEBUG is `True`",
    ),
    ("debug-off", "DEBUG", "DEBUG=1", ".env.production:1: DEBUG is `1`"),
    (
        "debug-off",
        "DEBUG",
        "DEBUG=on",
        ".env.production:1: DEBUG is `on`",
    ),
    (
        "debug-off",
        "DEBUG",
        "DEBUG=never",
        ".env.production:1: DEBUG is neither true nor false",
    ),
    (
        "debug-off",
        "DEBUG",
        "DJANGO_DEBUG=yes",
        ".env.production:1: DJANGO_DEBUG is `yes`",
    ),
    ("debug-off", "DEBUG", "", "DEBUG is not set"),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=",
        ".env.production:4: ALLOWED_HOSTS is empty",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=*",
        ".env.production:4: ALLOWED_HOSTS: `*` lets every host in",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test,.",
        ".env.production:4: ALLOWED_HOSTS: `.` is no host",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test,https://a.test",
        "`https://a.test` has a scheme",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test,a.test/x",
        "`a.test/x` has a path",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test,a.test:8000",
        "`a.test:8000` has a port",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test, a.test",
        "` a.test` has a blank before or after it",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=viatique.test,a..test",
        "`a..test` is no host name",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=.viatique.test",
        "`.viatique.test` lets every host below it in",
    ),
    (
        "allowed-hosts",
        "ALLOWED_HOSTS",
        "ALLOWED_HOSTS=other.test",
        "does not let `viatique.test` in, which health.host asks for",
    ),
    ("allowed-hosts", "ALLOWED_HOSTS", "", "ALLOWED_HOSTS is not set"),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=http://viatique.test",
        ".env.production:5: CSRF_TRUSTED_ORIGINS: `http://viatique.test` is not https",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=viatique.test",
        "`viatique.test` has no scheme",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=https://viatique.test/x",
        "has a path, and matches nothing",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=https://other.test",
        "is a host that ALLOWED_HOSTS does not let in",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=https://",
        "names no host",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=https://viatique.test:x",
        "has a port that is no port",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "CSRF_TRUSTED_ORIGINS=",
        "CSRF_TRUSTED_ORIGINS is empty",
    ),
    (
        "csrf-origins",
        "CSRF_TRUSTED_ORIGINS",
        "",
        "CSRF_TRUSTED_ORIGINS is not set",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=",
        ".env.production:3: DATABASE_URL is empty",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=db",
        ".env.production:3: DATABASE_URL is no address",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=mysql://u:hunter2@db/copies",
        "DATABASE_URL does not lead to PostgreSQL",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:hunter#2@db/copies",
        "DATABASE_URL cannot be read as an address",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@db",
        "DATABASE_URL names no database",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://db/copies",
        "DATABASE_URL names no user",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique@db/copies",
        "DATABASE_URL has no password",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:postgres@db/copies",
        "DATABASE_URL has a password that everybody tries first",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@bd/copies",
        "DATABASE_URL names a host that no service has",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@localhost/copies",
        "DATABASE_URL leads to the container itself",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@apart/copies",
        "DATABASE_URL leads to `apart`, which is on none of its networks",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@db:5433/copies",
        "asks for port 5433, and `db` listens on 5432",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:hunter2xyz@db/copies",
        "has another password than POSTGRES_PASSWORD of `db`",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://other:Zq8%2FKc3nRIExP@db/copies",
        "names another user than POSTGRES_USER of `db`",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@db/old",
        "names another database of `db` than the one that is backed up",
    ),
    (
        "database-url",
        "DATABASE_URL",
        "DATABASE_URL=postgresql://viatique:Zq8%2FKc3nRIExP@db.far.test/copies",
        "not verified: .env.production:3: DATABASE_URL leads out of the project",
    ),
    ("database-url", "DATABASE_URL", "", "DATABASE_URL is not set"),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=amqp://guest:guest@redis//",
        ".env.production:13: CELERY_BROKER_URL uses RabbitMQ's own user and password",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=redis://:changeme@redis/0",
        "CELERY_BROKER_URL has a password that everybody tries first",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=redis://rediss/0",
        "CELERY_BROKER_URL names a host that no service has",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=redis://apart/0",
        "leads to `apart`, which is on none of its networks",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=memory://",
        "names no server",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=http://redis",
        "has a scheme that is no broker's",
    ),
    (
        "broker-url",
        "CELERY_BROKER_URL",
        "CELERY_BROKER_URL=redis://redis.far.test/0",
        "not verified: .env.production:13: CELERY_BROKER_URL leads out of the project",
    ),
    (
        "secure-cookies",
        "SESSION_COOKIE_SECURE",
        "SESSION_COOKIE_SECURE=False",
        ".env.production:6: SESSION_COOKIE_SECURE is `False`",
    ),
    (
        "secure-cookies",
        "CSRF_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE=maybe",
        ".env.production:7: CSRF_COOKIE_SECURE is neither true nor false",
    ),
    (
        "secure-cookies",
        "SSL_ENABLED",
        "SSL_ENABLED=False",
        ".env.production:8: SSL_ENABLED is `False`",
    ),
    (
        "secure-cookies",
        "CSRF_COOKIE_SECURE",
        "",
        "CSRF_COOKIE_SECURE is not set",
    ),
    (
        "email",
        "EMAIL_HOST",
        "",
        "services.backend, services.worker: EMAIL_HOST is missing",
    ),
    (
        "email",
        "EMAIL_PORT",
        "EMAIL_PORT=smtp",
        ".env.production:10: EMAIL_PORT is `smtp`, which is no port",
    ),
    (
        "email",
        "EMAIL_HOST_PASSWORD",
        "",
        "EMAIL_HOST_PASSWORD is missing, though EMAIL_HOST_USER is set",
    ),
    (
        "email",
        "EMAIL_HOST_PASSWORD",
        "EMAIL_HOST_PASSWORD_FILE=/run/x",
        "EMAIL_HOST_PASSWORD_FILE names a file in the container",
    ),
    (
        "email",
        "EMAIL_PORT",
        "EMAIL_USE_TLS=True\nEMAIL_USE_SSL=True",
        ".env.production:11: EMAIL_USE_TLS and EMAIL_USE_SSL are both on",
    ),
    (
        "env-declared",
        "REGION",
        "",
        "services.backend, services.worker: REGION is missing",
    ),
    (
        "env-declared",
        "REGION",
        "REGION=asia",
        ".env.production:14: REGION is not one of `eu`, `us`",
    ),
    (
        "env-declared",
        "REGION",
        "REGION=",
        ".env.production:14: REGION is empty",
    ),
    (
        "env-declared",
        "REGION",
        "REGION_FILE=/run/region",
        "REGION_FILE names a file in the container",
    ),
    (
        "env-declared",
        "OLD_SWITCH",
        "OLD_SWITCH=1",
        ".env.production:15: OLD_SWITCH must not be set",
    ),
];

#[tokio::test(start_paused = true)]
async fn each_mistake_is_told_with_its_line() {
    let mut missed = Vec::new();
    for (id, key, line, says) in MISTAKES {
        let text = told(&stack(COMPOSE, &with(key, line), DEPLOY_YML), id).await;
        if !text.contains(says) {
            missed.push(format!("{id}, `{line}` for {key}: {says:?} is not in\n{text}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_good_environment_passes_every_check() {
    let stack = stack(COMPOSE, ENV, DEPLOY_YML);
    for (id, says) in [
        ("secret-key", "long and random"),
        ("placeholders", "values looked at"),
        ("debug-off", "off"),
        ("allowed-hosts", "each a host"),
        ("csrf-origins", "each https"),
        ("database-url", "leads to the database that is meant"),
        ("broker-url", "leads to the broker that is meant"),
        ("secure-cookies", "over https only"),
        ("email", "complete"),
        ("env-declared", "as 2 declarations say"),
        ("env-permissions", "1 files"),
    ] {
        let ended = only(&stack, id).await;
        ended.succeeded();
        let message = ended.task_message(StepId::Check, id).unwrap();
        assert!(
            message.contains(says) && !message.contains("verified"),
            "{id}: {message}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn types_that_deploy_yml_declares_are_held() {
    for (kind, good, bad, says) in [
        ("integer", "4", "four", "is not a whole number"),
        ("boolean", "yes", "maybe", "is not true or false"),
        ("url", "https://a.test/x", "a.test", "is not an address"),
        ("email", "a@b.test", "a-at-b", "is not a mail address"),
        ("host", "a.test", "a..b", "is not a host name"),
        ("duration", "1m30s", "soon", "is not a duration"),
        (
            "secret",
            "Wv7pLq0Rt4ZmKc3n",
            "hunter2",
            "has 7 characters, and needs 16",
        ),
        ("text", "anything", "", "is empty"),
    ] {
        let deploy_yml = DEPLOY_YML.replace("REGION: [eu, us]", &format!("REGION: {kind}"));
        let of = |value: &str| stack(COMPOSE, &with("REGION", &format!("REGION={value}")), &deploy_yml);
        only(&of(good), "env-declared").await.succeeded();
        let text = told(&of(bad), "env-declared").await;
        assert!(
            text.contains(&format!(".env.production:14: REGION {says}")),
            "{kind}: {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_of_the_compose_file_is_told_with_its_key() {
    let compose = COMPOSE.replace("POSTGRES_PASSWORD: Zq8/Kc3nRIExP", "POSTGRES_PASSWORD: changeme");
    let text = told(&stack(&compose, ENV, DEPLOY_YML), "placeholders").await;
    let says =
        "docker-compose.yml:6: services.db.environment.POSTGRES_PASSWORD: POSTGRES_PASSWORD is a placeholder";
    assert!(text.contains(says), "{text}");
    // Behind `${…}` the env file's line is the one to mend.
    let compose = COMPOSE.replace(
        "POSTGRES_PASSWORD: Zq8/Kc3nRIExP",
        "POSTGRES_PASSWORD: ${API_TOKEN:?}",
    );
    let deploy_yml = format!("env_file: .env.production\n{DEPLOY_YML}");
    let text = told(
        &stack(&compose, &with("API_TOKEN", "API_TOKEN=changeme"), &deploy_yml),
        "placeholders",
    )
    .await;
    assert!(
        text.contains(".env.production:15: POSTGRES_PASSWORD is a placeholder"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_can_read_an_env_file_is_told() {
    let stack = stack(COMPOSE, ENV, DEPLOY_YML);
    let file = stack.directory.path().join(".env.production");
    for (mode, says) in [
        (
            0o644,
            ".env.production has mode 644: everybody on this machine can read it",
        ),
        (0o640, ".env.production has mode 640: its group can read it"),
        (
            0o660,
            ".env.production has mode 660: its group can read or change it",
        ),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let ended = only(&stack, "env-permissions").await;
        ended.succeeded();
        assert!(ended.warnings().contains(says), "{}", ended.warnings());
    }
    let deploy_yml = DEPLOY_YML.replace("directory: backups,", "directory: backups, identity: key.txt,");
    let text = told(&self::stack(COMPOSE, ENV, &deploy_yml), "env-permissions").await;
    assert!(text.contains("not verified: cannot look at key.txt"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn variables_that_came_or_went_are_told() {
    let deploy_yml = DEPLOY_YML.replace("forbidden: [OLD_SWITCH]", "sample: .env.example");
    let stack = stack(COMPOSE, ENV, &deploy_yml);
    let text = told(&stack, "env-keys").await;
    assert!(text.contains("not verified: .env.example: cannot read"), "{text}");
    let sample = stack.directory.path().join(".env.example");
    std::fs::write(&sample, ENV).unwrap();
    only(&stack, "env-keys").await.succeeded();
    assert_eq!(only(&stack, "env-keys").await.warnings(), "");
    std::fs::write(&sample, with("REGION", "NEWER=\n")).unwrap();
    let text = told(&stack, "env-keys").await;
    assert!(
        text.contains(".env.example:14: NEWER stands in the sample and is not set"),
        "{text}"
    );
    assert!(
        text.contains(".env.production:14: REGION does not stand in .env.example"),
        "{text}"
    );
}
