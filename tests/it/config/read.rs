//! What deploy.yml says, and what is taken where it is silent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use viatique_deploy::compose::ServiceName;
use viatique_deploy::config::{self, Config, Strategy, TagSource};

fn read(text: &str) -> Config {
    config::parse(Path::new("/srv/app/deploy.yml"), text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn two_lines_are_enough() {
    let config = read("project: viatique\ncompose: docker-compose.prod.yml\n");
    assert_eq!(
        config.compose_files(),
        [PathBuf::from("/srv/app/docker-compose.prod.yml")]
    );
    assert!(config.env_files().is_empty());
    assert_eq!((&config.release.tag, config.release.keep), (&TagSource::Git, 5));
    assert!(config.django.is_none() && config.health.is_none() && config.backup.database.is_none());
    assert_eq!(config.backup_directory(), PathBuf::from("/srv/app/backups"));
    let any = config.service(&ServiceName::new("any").unwrap());
    assert_eq!(
        (any.strategy, any.drain, any.health_timeout.0),
        (None, None, Duration::from_secs(120))
    );
}

#[test]
fn sections_have_defaults_of_their_own() {
    let config = read(
        "project: a\ncompose: [a.yml, b.yml]\nenv_file: [one, /two]\nrelease:\nservices: {web: }\n\
         django: {service: web}\nhealth: {url: 'https://example.com/'}\n",
    );
    assert_eq!(
        config.env_files(),
        [PathBuf::from("/srv/app/one"), PathBuf::from("/two")]
    );
    assert_eq!(config.django.as_ref().unwrap().manage, ["python", "manage.py"]);
    let health = config.health.as_ref().unwrap();
    assert_eq!(
        (
            health.timeout.0.as_secs(),
            health.request_timeout.0.as_secs(),
            health.successes
        ),
        (60, 5, 3)
    );
    assert_eq!(config.release.keep, 5);
}

#[test]
fn a_number_where_text_is_wanted_keeps_its_digits() {
    let config = read("project: a\ncompose: a.yml\nrelease: {tag: 1.10}\n");
    assert_eq!(config.release.tag, TagSource::Literal("1.10".to_owned()));
}

#[test]
fn every_strategy_and_duration_is_read() {
    let config = read(
        "project: a\ncompose: a.yml\nservices:\n  a: {strategy: rolling, health_timeout: 1h30m}\n  b: {strategy: \
         recreate, drain: 500ms}\n  c: {strategy: singleton}\n  d: {strategy: reload, reload: [x, -s]}\n  e: \
         {strategy: untouched}\n  f: {strategy: oneshot, max_surge: 2, max_unavailable: 1, probe: /up?x=1, callers: [a, b]}\n",
    );
    let strategies: Vec<Strategy> = config
        .services
        .values()
        .filter_map(|settings| settings.strategy)
        .collect();
    assert_eq!(
        strategies,
        [
            Strategy::Rolling,
            Strategy::Recreate,
            Strategy::Singleton,
            Strategy::Reload,
            Strategy::Untouched,
            Strategy::OneShot
        ]
    );
    let of = |name: &str| config.service(&ServiceName::new(name).unwrap());
    assert_eq!(of("a").health_timeout.0, Duration::from_secs(5400));
    assert_eq!(of("b").drain.unwrap().0, Duration::from_millis(500));
    assert_eq!((of("a").max_surge, of("a").max_unavailable), (1, 0));
    assert_eq!((of("f").max_surge, of("f").max_unavailable), (2, 1));
    assert_eq!(of("f").probe.as_deref(), Some("/up?x=1"));
    assert_eq!(of("f").callers.len(), 2);
    assert_eq!(of("d").reload.unwrap(), ["x", "-s"]);
}

#[test]
fn what_health_expects_may_be_any_json() {
    let config = read(
        "project: a\ncompose: a.yml\nhealth: {url: http://x/, expect: {database: connected, workers: 3, ok: true, \
         deep: {a: [1]}}}\n",
    );
    let expect = &config.health.as_ref().unwrap().expect;
    assert_eq!(expect["workers"], 3);
    assert_eq!(expect["ok"], true);
    assert_eq!(expect["deep"], serde_json::json!({ "a": [1] }));
}
