//! The resolved project: what is secret, what comes first, what the ledger gets, and where errors of merged files
//! point.

use viatique_deploy::compose::{EnvironmentValue, Project, ServiceName, Source, read_sources};

use super::support::Texts;

const STACK: &str = r#"
services:
  web:
    image: app:${RELEASE_TAG}
    command: serve --token ${TOKEN} --name app
    labels: {rule: "Host(`${DOMAIN}`)"}
    environment:
      WRITTEN: text
      RELEASE: ${RELEASE_TAG}
      PASSWORD: ${PASSWORD}
      MIXED: postgres://${PASSWORD}@db
      DEFAULTED: ${NOPE:-text}
      PASSED:
    env_file: app.env
    depends_on: [db, cache]
  db: {image: postgres}
  cache: {image: redis, depends_on: [db]}
  app: {image: x}
"#;

fn stack() -> Texts {
    Texts::compose(STACK)
        .file("app.env", "FROM_FILE=hunter4\n")
        .public("RELEASE_TAG", "v1.2.0")
        .variable("TOKEN", "hunter2")
        .variable("PASSWORD", "hunter3")
        .variable("DOMAIN", "example.com")
        .variable("PASSED", "hunter5")
}

fn environment<'p>(project: &'p Project, key: &str) -> &'p EnvironmentValue {
    &project.services[&ServiceName::new("web").unwrap()].environment[key]
}

#[test]
fn only_what_is_written_or_public_is_plain() {
    let project = stack().project();
    for (key, text) in [("WRITTEN", "text"), ("RELEASE", "v1.2.0"), ("DEFAULTED", "text")] {
        assert_eq!(
            environment(&project, key),
            &EnvironmentValue::Plain(text.to_owned()),
            "{key}"
        );
    }
    for (key, text) in [
        ("PASSWORD", "hunter3"),
        ("MIXED", "postgres://hunter3@db"),
        ("PASSED", "hunter5"),
        ("FROM_FILE", "hunter4"),
    ] {
        assert!(
            matches!(environment(&project, key), EnvironmentValue::Secret(_)),
            "{key}"
        );
        assert_eq!(environment(&project, key).reveal(), Some(text));
    }
}

#[test]
fn the_ledger_gets_no_secret_and_keeps_the_rest() {
    let project = stack().project();
    let ledger = project.without_secrets(&|secret| format!("{}", secret.len()));
    assert!(!ledger.to_string().contains("hunter"), "{ledger:#}");
    let web = &ledger["services"]["web"];
    assert_eq!(web["image"], "app:v1.2.0");
    assert_eq!(
        web["command"],
        serde_json::json!(["serve", "--token", "[secret:7]", "--name", "app"])
    );
    assert_eq!(web["labels"]["rule"], "Host(`[secret:11]`)");
    assert_eq!(
        web["environment"]["PASSWORD"],
        serde_json::json!({ "secret": "7" })
    );
    assert_eq!(web["environment"]["WRITTEN"], "text");
}

#[test]
fn a_secret_that_is_a_common_word_leaves_other_texts_alone() {
    let project = Texts::compose(
        "services: {viatique: {image: 'viatique:1', healthcheck: {test: 'pg_isready -U ${POSTGRES_USER}'}}}",
    )
    .variable("POSTGRES_USER", "viatique")
    .project();
    let ledger = project.without_secrets(&|_| "x".to_owned());
    assert_eq!(ledger["services"]["viatique"]["image"], "viatique:1");
    assert_eq!(
        ledger["services"]["viatique"]["healthcheck"]["test"][1],
        "pg_isready -U [secret:x]"
    );
}

#[test]
fn the_ledgers_form_does_not_depend_on_the_order_in_the_files() {
    let fingerprint = |_: &str| "x".to_owned();
    let one = Texts::compose("services:\n  a: {image: x, environment: {A: 1, B: 2}}\n  b: {image: y}\n");
    let other = Texts::compose("services:\n  b: {image: y}\n  a: {environment: [B=2, A=1], image: x}\n");
    assert_eq!(
        one.project().without_secrets(&fingerprint).to_string(),
        other.project().without_secrets(&fingerprint).to_string()
    );
}

#[test]
fn the_hashed_configuration_changes_with_a_secret_and_not_with_the_replicas() {
    let hashed = |texts: &Texts| {
        let project = texts.project();
        project.services[&ServiceName::new("a").unwrap()]
            .configuration_to_hash()
            .reveal()
            .clone()
    };
    let text = "services: {a: {image: x, environment: {P: '${P}'}}}";
    let one = Texts::compose(text).variable("P", "one");
    assert_ne!(hashed(&one), hashed(&Texts::compose(text).variable("P", "two")));
    let scaled = one.and(
        "services: {a: {scale: 3, depends_on: [b]}, b: {image: y}}",
        "b.yml",
    );
    assert_eq!(
        hashed(&scaled),
        hashed(&Texts::compose(text).variable("P", "one"))
    );
}

#[test]
fn nothing_secret_is_in_a_refusal() {
    for text in [
        "services: {a: {image: x, ports: ['${P}']}}",
        "services: {a: {image: x, restart: '${P}'}}",
        "services: {a: {image: x, mem_limit: '${P}'}}",
        "services: {a: {image: x, stop_grace_period: '${P}'}}",
        "services: {a: {image: x, volumes: ['./a:/b:${P}']}}",
        "services: {a: {image: x, tty: '${P}'}}",
        "services: {a: {image: x, network_mode: '${P}'}}",
        "services: {a: {image: x, expose: ['${P}']}}",
        "services: {a: {image: x, ports: [{target: '${P}'}]}}",
        "services: {a: {image: x, user: '${Q:?$P}'}}",
        "services: {a: {image: x, command: \"'${P}\"}}",
        "services: {a: {image: x, cpus: '${P}', depends_on: {b: {condition: '${P}'}}}}",
        "services: {a: {image: x, container_name: '${P}'}}",
        "services: {a: {image: x, depends_on: ['${P}']}}",
        "services: {a: {image: x, networks: ['${P}']}}",
        "services: {a: {image: x, volumes: ['${P}:/a']}}",
        "services: {a: {image: x, extends: '${P}'}}",
        "services: {a: {image: x, secrets: ['${P}']}}",
        "name: ${P}\nservices: {a: {image: x}}",
    ] {
        let refusal = Texts::compose(text).variable("P", "hunter 2").refusal();
        assert!(!refusal.contains("hunter"), "{text}: {refusal}");
    }
}

#[test]
fn dependencies_come_first_and_otherwise_the_alphabet() {
    let project = stack().project();
    let order: Vec<&str> = project
        .services_in_dependency_order()
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(order, ["app", "db", "cache", "web"]);
}

#[test]
fn a_service_that_its_profile_leaves_out_may_be_wrong() {
    let text =
        "services:\n  web: {image: x}\n  debug: {image: '${NOPE}', frobnicate: 1, profiles: [debug]}\n";
    assert_eq!(Texts::compose(text).project().services.len(), 1);
    let refusal = Texts::compose(text).profile("debug").refusal();
    assert!(refusal.contains("undefined variable `NOPE`"), "{refusal}");
    assert!(
        refusal.contains("services.debug.frobnicate: unknown key"),
        "{refusal}"
    );
}

#[test]
fn an_error_points_into_the_file_that_says_it() {
    let base = "services:\n  web:\n    image: x\n    ports: [80:80]\n    labels: {a: b}\n";
    let over = "services:\n  web:\n    restart: perhaps\n    ports: {80: 80}\n";
    let over = over.replace("{80: 80}", "{a: 80}");
    let refusal = Texts::compose(base).and(&over, "over/prod.yml").refusal();
    assert_eq!(
        refusal,
        "over/prod.yml:3:14: services.web.restart: expected `no`, `always`, `unless-stopped`, `on-failure` or \
         `on-failure:<retries>`, found `perhaps`\n\
         over/prod.yml:4:12: services.web.ports: cannot be merged: a mapping here, a list in compose.yml:4\n\
         over/prod.yml:4:12: services.web.ports: expected a list, found a mapping"
    );
}

#[test]
fn a_dependency_on_a_service_that_is_left_out_says_so() {
    let text = "services:\n  web: {image: x, depends_on: [db]}\n  db: {image: x, profiles: [local]}\n";
    assert_eq!(
        Texts::compose(text).refusal(),
        "compose.yml:2:32: services.web.depends_on.db: service `db` is left out by its `profiles`\n\
         hint: take the profile's services in, or write `required: false`"
    );
}

#[test]
fn a_reader_is_shown_which_compose_file_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("a.yml");
    std::fs::write(&there, "services: {}\n").unwrap();
    let sources = read_sources(std::slice::from_ref(&there)).unwrap();
    assert_eq!(
        sources,
        [Source {
            path: there.clone(),
            text: "services: {}\n".to_owned()
        }]
    );
    let absent = folder.path().join("b.yml");
    let errors = read_sources(&[there, absent.clone()]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        format!(
            "{}: cannot read the Compose file: no such file\n\
             hint: `compose` in deploy.yml names the files, relative to its own folder",
            absent.display()
        )
    );
}
