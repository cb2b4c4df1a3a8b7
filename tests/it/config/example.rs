//! deploy.example.yml, held to the types.

use std::path::Path;

use viatique_deploy::config;
use viatique_deploy::yaml::{self, ErrorKind, Node, Value};

fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy.example.yml")).unwrap()
}

#[test]
fn the_example_loads() {
    let config = config::parse(Path::new("deploy.yml"), &text()).unwrap();
    assert_eq!(config.project.as_str(), "viatique");
    assert_eq!(config.services.len(), 4);
}

/// What keys the type of a section knows: it is asked for one that nobody knows, and says so.
fn known<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<&'static str> {
    let node = yaml::parse("no-such-key: 1", 0).unwrap();
    let error = yaml::from_node::<T>(&node).unwrap_err();
    let ErrorKind::UnknownKey { known, .. } = error.kind else {
        panic!("{error}")
    };
    known
}

#[test]
fn the_example_shows_every_key() {
    let root = yaml::parse(&text(), 0).unwrap();
    let section = |keys: &[&str]| {
        let found = keys
            .iter()
            .try_fold(&root, |node: &Node, key| node.as_mapping()?.get(key));
        found.unwrap_or_else(|| panic!("no {keys:?} in the example"))
    };
    let has = |node: &Node, key: &str| {
        node.as_mapping()
            .is_some_and(|mapping| mapping.get(key).is_some())
    };
    for (keys, known) in [
        (&[][..], known::<config::Config>()),
        (&["release"], known::<config::Release>()),
        (&["django"], known::<config::Django>()),
        (&["build"], known::<config::Build>()),
        (&["backup"], known::<config::Backup>()),
        (&["backup", "database"], known::<config::DatabaseBackup>()),
        (&["backup", "media"], known::<config::MediaBackup>()),
        (&["checks", "code"], known::<config::Code>()),
        (&["checks"], known::<config::Checks>()),
        (&["checks", "environment"], known::<config::DeclaredEnvironment>()),
        (&["health"], known::<config::Health>()),
        (&["smoke"], known::<config::Smoke>()),
        (&["monitor"], known::<config::Monitor>()),
        (&["monitor", "access_log"], known::<config::AccessLog>()),
        (&["monitor", "prometheus"], known::<config::Prometheus>()),
        (&["monitor", "thresholds"], known::<config::Thresholds>()),
    ] {
        assert!(!known.is_empty());
        for key in known {
            assert!(
                has(section(keys), key),
                "`{key}` of {keys:?} is not in the example"
            );
        }
    }
    let services = section(&["services"]).as_mapping().unwrap();
    for key in known::<config::ServiceSettings>() {
        let shown = services.entries.values().any(|entry| has(&entry.value, key));
        assert!(shown, "`{key}` of a service is not in the example");
    }
}

#[test]
fn the_example_shows_every_key_of_a_notice() {
    let root = yaml::parse(&text(), 0).unwrap();
    let Some(Value::Sequence(entries)) = root.as_mapping().unwrap().get("notify").map(|node| &node.value)
    else {
        panic!("`notify` is no list")
    };
    let entries: Vec<&yaml::Mapping> = entries.iter().filter_map(Node::as_mapping).collect();
    for key in known::<config::Notify>() {
        let shown = entries.iter().any(|entry| entry.get(key).is_some());
        assert!(shown, "`{key}` of a notice is not in the example");
    }
    for (kind, known) in [
        ("slack", known::<config::NotifyHook>()),
        ("mattermost", known::<config::Mattermost>()),
        ("discord", known::<config::NotifyHook>()),
        ("teams", known::<config::NotifyHook>()),
        ("email", known::<config::Email>()),
        ("webhook", known::<config::Webhook>()),
        ("sentry", known::<config::Sentry>()),
        ("grafana", known::<config::Grafana>()),
        ("healthchecks", known::<config::NotifyHook>()),
        ("pushgateway", known::<config::Pushgateway>()),
        ("textfile", known::<config::Textfile>()),
    ] {
        let shown = entries.iter().find_map(|entry| entry.get(kind)?.as_mapping());
        let shown = shown.unwrap_or_else(|| panic!("no `{kind}` in the example"));
        for key in known {
            assert!(
                shown.get(key).is_some(),
                "`{key}` of `{kind}` is not in the example"
            );
        }
    }
}

#[test]
fn the_example_shows_every_key_of_a_secret() {
    let root = yaml::parse(&text(), 0).unwrap();
    let Some(Value::Sequence(secrets)) = root.as_mapping().unwrap().get("secrets").map(|node| &node.value)
    else {
        panic!("`secrets` is no list")
    };
    for key in known::<config::SecretEntry>() {
        let mut entries = secrets.iter().filter_map(Node::as_mapping);
        assert!(
            entries.any(|entry| entry.get(key).is_some()),
            "`{key}` is not in the example"
        );
    }
}

#[test]
fn the_example_shows_every_key_of_a_scenario() {
    let root = yaml::parse(&text(), 0).unwrap();
    let items = |node: &Node, key: &str| -> Vec<Node> {
        match node
            .as_mapping()
            .and_then(|mapping| mapping.get(key))
            .map(|node| &node.value)
        {
            Some(Value::Sequence(items)) => items.clone(),
            Some(Value::Scalar(_) | Value::Mapping(_)) | None => Vec::new(),
        }
    };
    let get = |node: &Node, key: &str| node.as_mapping().and_then(|mapping| mapping.get(key)).cloned();
    let smoke = get(&root, "smoke").unwrap();
    let scenarios = items(&smoke, "scenarios");
    let steps = |part: &'static str| scenarios.iter().flat_map(move |one| items(one, part));
    let steps: Vec<Node> = steps("steps").chain(steps("cleanup")).collect();
    let expectations: Vec<Node> = steps.iter().filter_map(|step| get(step, "expect")).collect();
    for (what, known, shown) in [
        ("a scenario", known::<config::SmokeScenario>(), &scenarios),
        ("a step", known::<config::SmokeStep>(), &steps),
        ("expect", known::<config::Expectation>(), &expectations),
        (
            "a command",
            known::<config::SmokeCommand>(),
            &items(&smoke, "before"),
        ),
    ] {
        for key in known {
            let is_shown = shown.iter().any(|node| get(node, key).is_some());
            assert!(is_shown, "`{key}` of {what} is not in the example");
        }
    }
}
