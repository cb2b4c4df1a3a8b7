//! Broken deploy.yml files and what a person is shown, word for word.

use std::path::Path;

use viatique_deploy::config;

/// What it is about; the file; the error and, on a line of its own, its hint.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("nothing", "", "deploy.yml:1:1: missing key `project`"),
    (
        "a watch that is too short to tell anything",
        "project: a\ncompose: a.yml\nmonitor: {for: 5s}\n",
        "deploy.yml:3:16: `monitor.for`: a release is watched for 10s to 24h",
    ),
    (
        "a line of the workflow that is not there",
        "project: a\ncompose: a.yml\nchecklist: {metric: false}\n",
        "deploy.yml:3:21: `checklist.metric`: the workflow has no line `metric`; did you mean `metrics`?\nhint: lines there: `health`, `logs`, `smoke`, `metrics`, `backup`, `notified`",
    ),
    (
        "other words for a line of the workflow",
        "project: a\ncompose: a.yml\nchecklist: {logs: no errors}\n",
        "deploy.yml:3:19: `checklist.logs`: `logs` is a line of the workflow, which has its own words\nhint: write `logs: false` to leave it out, and a line of your own under another id",
    ),
    (
        "a line's id that cannot be typed",
        "project: a\ncompose: a.yml\nchecklist: {the sheets: look right}\n",
        "deploy.yml:3:13: `checklist`: `the sheets` cannot be the id of a line: lower-case letters, digits and `-`, at most 40, beginning with a letter\nhint: write `sheets: the printed sheets look right`",
    ),
    (
        "a line that says nothing",
        "project: a\ncompose: a.yml\nchecklist: {sheets: ''}\n",
        "deploy.yml:3:21: `checklist.sheets`: a line says what is to be well",
    ),
    (
        "a log format that does not say how requests ended",
        "project: a\ncompose: a.yml\nmonitor: {for: 1m, access_log: {format: $request}}\n",
        "deploy.yml:3:41: `monitor.access_log.format`: the format has no `$status`",
    ),
    (
        "a probe that is no path",
        "project: a\ncompose: a.yml\nmonitor: {for: 1m, probes: [health]}\n",
        "deploy.yml:3:28: `monitor.probes`: `health` is no path that begins with `/`",
    ),
    (
        "a metric that is no name",
        "project: a\ncompose: a.yml\nmonitor: {for: 1m, prometheus: {url: \"http://a/metrics\", requests: \"a b\"}}\n",
        "deploy.yml:3:68: `monitor.prometheus.requests`: `a b` is no name of a metric: letters, digits, `_` and `:`",
    ),
    (
        "no project",
        r"compose: a.yml
",
        "deploy.yml:1:1: missing key `project`",
    ),
    (
        "no compose",
        r"project: a
",
        "deploy.yml:1:1: missing key `compose`",
    ),
    (
        "a project's name with a capital",
        r"project: Viatique
compose: a.yml
",
        "deploy.yml:1:10: `project`: `Viatique` is not a valid project name: lower-case letters, digits, `_` and `-`, beginning with a letter or a digit",
    ),
    (
        "a project that is a list",
        r"project: [a]
compose: a.yml
",
        "deploy.yml:1:10: `project`: expected text, found a list",
    ),
    (
        "a project that is a flag",
        r"project: true
compose: a.yml
",
        "deploy.yml:1:10: `project`: expected text, found `true`",
    ),
    (
        "no Compose file in the list",
        r"project: a
compose: []
",
        "deploy.yml:2:10: `compose`: at least one path is needed",
    ),
    (
        "an empty path in the list",
        r"project: a
compose: [a.yml, '']
",
        "deploy.yml:2:18: `compose[1]`: a path cannot be empty",
    ),
    (
        "a mapping for paths",
        r"project: a
compose: {file: a.yml}
",
        "deploy.yml:2:10: `compose`: expected a path or a list of paths, found a mapping",
    ),
    (
        "an unknown section",
        r"project: viatique
compose: docker-compose.prod.yml
helth: {}
",
        "deploy.yml:3:1: unknown key `helth`; did you mean `health`?",
    ),
    (
        "a key of a later release",
        r"project: viatique
compose: docker-compose.prod.yml
dashboard: { for: 10m }
",
        "deploy.yml:3:1: unknown key `dashboard`; known here: `project`, `compose`, `staging`, `env_file`, `secrets`, `release`, `django`, `services`, `build`, `backup`, `checks`, `health`, `smoke`, `maintenance`, `monitor`, `checklist`, `report`, `hooks`, `notify`",
    ),
    (
        "an unknown key with a neighbour",
        r"project: viatique
compose: docker-compose.prod.yml
django:
  service: backend
  managed: [python]
",
        "deploy.yml:5:3: unknown key `managed` in `django`; did you mean `manage`?",
    ),
    (
        "an unknown key with none",
        r"project: viatique
compose: docker-compose.prod.yml
release: {zzz: 1}
",
        "deploy.yml:3:11: unknown key `zzz` in `release`; known here: `tag`, `keep`",
    ),
    (
        "a section without its required key",
        r"project: viatique
compose: docker-compose.prod.yml
django: {manage: [a]}
",
        "deploy.yml:3:9: missing key `service` in `django`",
    ),
    (
        "a section that is a list",
        r"project: viatique
compose: docker-compose.prod.yml
release: [git]
",
        "deploy.yml:3:10: `release`: expected a mapping, found a list",
    ),
    (
        "a tag with a slash",
        r"project: viatique
compose: docker-compose.prod.yml
release: {tag: a/b}
",
        "deploy.yml:3:16: `release.tag`: `a/b` is not a valid image tag: up to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`",
    ),
    (
        "too few releases",
        r"project: viatique
compose: docker-compose.prod.yml
release: {keep: 0}
",
        "deploy.yml:3:17: `release.keep`: expected a whole number from 1 to 1000, found `0`",
    ),
    (
        "too many releases",
        r"project: viatique
compose: docker-compose.prod.yml
release: {keep: 5000}
",
        "deploy.yml:3:17: `release.keep`: expected a whole number from 1 to 1000, found `5000`",
    ),
    (
        "releases in words",
        r"project: viatique
compose: docker-compose.prod.yml
release: {keep: many}
",
        "deploy.yml:3:17: `release.keep`: expected a whole number from 1 to 1000, found `many`",
    ),
    (
        "a negative number",
        r"project: viatique
compose: docker-compose.prod.yml
release: {keep: -1}
",
        "deploy.yml:3:17: `release.keep`: expected a whole number from 1 to 1000, found `-1`",
    ),
    (
        "no build at once",
        r"project: viatique
compose: docker-compose.prod.yml
build: {parallel: 0}
",
        "deploy.yml:3:19: `build.parallel`: expected a whole number from 1 to 100, found `0`",
    ),
    (
        "an option of a build that there is not",
        r"project: viatique
compose: docker-compose.prod.yml
build: {nocache: true}
",
        "deploy.yml:3:9: unknown key `nocache` in `build`; did you mean `no_cache`?",
    ),
    (
        "manage.py as text",
        r"project: viatique
compose: docker-compose.prod.yml
django: {service: a, manage: python manage.py}
",
        "deploy.yml:3:30: `django.manage`: expected a list, found `python manage.py`",
    ),
    (
        "manage.py as nothing",
        r"project: viatique
compose: docker-compose.prod.yml
django: {service: a, manage: []}
",
        "deploy.yml:3:30: `django.manage`: a command needs at least one word",
    ),
    (
        "a service's name with a slash",
        r"project: viatique
compose: docker-compose.prod.yml
django: {service: a/b}
",
        "deploy.yml:3:19: `django.service`: `a/b` is not a valid name: letters, digits, `_`, `.` and `-`, beginning with a letter or a digit",
    ),
    (
        "an unknown strategy",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {strategy: roling}}
",
        "deploy.yml:3:28: `services.web.strategy`: unknown choice `roling`; did you mean `rolling`?",
    ),
    (
        "a strategy like none",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {strategy: canary}}
",
        "deploy.yml:3:28: `services.web.strategy`: unknown choice `canary`; known here: `rolling`, `recreate`, `singleton`, `reload`, `untouched`, `oneshot`",
    ),
    (
        "a probe that is a whole address",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {probe: 'http://127.0.0.1/health/'}}
",
        "deploy.yml:3:25: `services.web.probe`: `http://127.0.0.1/health/` is not a path: it begins with `/`, and what is no plain ASCII in it is written `%…`",
    ),
    (
        "a surge below nothing",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {max_surge: -1}}
",
        "deploy.yml:3:29: `services.web.max_surge`: expected u32, found `-1`",
    ),
    (
        "a strategy that is a list",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {strategy: [reload]}}
",
        "deploy.yml:3:28: `services.web.strategy`: expected one of `rolling`, `recreate`, `singleton`, `reload`, `untouched`, `oneshot`, found a list",
    ),
    (
        "an unknown key of a service",
        r"project: viatique
compose: docker-compose.prod.yml
services:
  web:
    health_timout: 60s
",
        "deploy.yml:5:5: unknown key `health_timout` in `services.web`; did you mean `health_timeout`?",
    ),
    (
        "a duration without unit",
        r"project: viatique
compose: docker-compose.prod.yml
services:
  web: {drain: 10}
",
        r"deploy.yml:4:16: `services.web.drain`: the duration `10` has no unit
hint: write `10s` for seconds or `10m` for minutes",
    ),
    (
        "a duration that is none",
        r"project: viatique
compose: docker-compose.prod.yml
services: {web: {drain: a while}}
",
        r"deploy.yml:3:25: `services.web.drain`: `a while` is not a duration
hint: write a number with its unit, such as `500ms`, `10s` or `1h30m`",
    ),
    (
        "a duration that is a list",
        r"project: viatique
compose: docker-compose.prod.yml
health: {url: 'http://x/', timeout: [1s]}
",
        "deploy.yml:3:37: `health.timeout`: expected a duration such as `10m`, found a list",
    ),
    (
        "an address without scheme",
        r"project: viatique
compose: docker-compose.prod.yml
health: {url: example.com/health}
",
        "deploy.yml:3:15: `health.url`: `example.com/health` is not an `http://` or `https://` address",
    ),
    (
        "no address",
        r"project: viatique
compose: docker-compose.prod.yml
health: {host: a}
",
        "deploy.yml:3:9: missing key `url` in `health`",
    ),
    (
        "no good answers",
        r"project: viatique
compose: docker-compose.prod.yml
health: {url: 'http://x/', successes: 0}
",
        "deploy.yml:3:39: `health.successes`: expected a whole number from 1 to 100, found `0`",
    ),
    (
        "a header that is a flag",
        r"project: viatique
compose: docker-compose.prod.yml
health: {url: 'http://x/', headers: {X-A: true}}
",
        "deploy.yml:3:43: `health.headers.X-A`: expected text, found `true`",
    ),
    (
        "a database without service",
        r"project: viatique
compose: docker-compose.prod.yml
backup: {database: {user: a}}
",
        "deploy.yml:3:20: missing key `service` in `backup.database`",
    ),
    (
        "a volume that is nothing",
        r"project: viatique
compose: docker-compose.prod.yml
backup: {media: {volume: }}
",
        "deploy.yml:3:24: `backup.media.volume`: expected text, found nothing",
    ),
    (
        "a key twice",
        r"project: viatique
compose: docker-compose.prod.yml
compose: b.yml
",
        "deploy.yml:3:1: the key `compose` stands twice",
    ),
    (
        "a second document",
        r"project: viatique
compose: docker-compose.prod.yml
---
a: 1
",
        "deploy.yml:3:1: a second document in one file",
    ),
    (
        "a tag",
        r"project: viatique
compose: docker-compose.prod.yml
env_file: !vault x
",
        "deploy.yml:3:11: the tag `!vault` is not supported",
    ),
    (
        "not YAML",
        r"project: viatique
compose: docker-compose.prod.yml
release: {keep: [}
",
        "deploy.yml:3:18: not valid YAML: while parsing a node, did not find expected node content",
    ),
    (
        "a service's name as a number",
        r"project: viatique
compose: docker-compose.prod.yml
services: {1: {}}
",
        r#"deploy.yml:3:12: the key `1` is not text
hint: write `"1"`"#,
    ),
    (
        "secrets that are no list",
        r"project: a
compose: a.yml
secrets: {SECRET_KEY: {file: a}}
",
        "deploy.yml:3:10: `secrets`: expected a list, found a mapping",
    ),
    (
        "a secret from nowhere",
        r"project: a
compose: a.yml
secrets:
  - name: SECRET_KEY
",
        r"deploy.yml:4:5: `secrets[0]`: nothing says where it comes from
hint: write `file`, `command` or `credential`",
    ),
    (
        "a secret from two places",
        r"project: a
compose: a.yml
secrets:
  - file: a
  - name: SECRET_KEY
    file: a
    credential: b
",
        r"deploy.yml:5:5: `secrets[1]`: it can come from one place only
hint: write one of `file`, `command` and `credential`",
    ),
    (
        "a secret with an unknown key",
        r"project: a
compose: a.yml
secrets:
  - name: SECRET_KEY
    fiel: a
",
        "deploy.yml:5:5: unknown key `fiel` in `secrets[0]`; did you mean `file`?",
    ),
    (
        "a secret twice",
        r"project: a
compose: a.yml
secrets:
  - {name: SECRET_KEY, file: a}
  - {name: OTHER, file: a}
  - {name: SECRET_KEY, file: b}
",
        "deploy.yml:6:5: `secrets[2]`: `SECRET_KEY` stands above already",
    ),
    (
        "a secret that no variable can name",
        r"project: a
compose: a.yml
secrets: [{name: 1-KEY, file: a}]
",
        "deploy.yml:3:11: `secrets[0]`: `1-KEY` is no variable's name: letters, digits and `_`, not beginning with a digit",
    ),
    (
        "a secret of a command without words",
        r"project: a
compose: a.yml
secrets: [{name: KEY, command: []}]
",
        "deploy.yml:3:32: `secrets[0].command`: a command needs at least one word",
    ),
    (
        "a secret of an empty path",
        r"project: a
compose: a.yml
secrets: [{name: KEY, file: ''}]
",
        "deploy.yml:3:11: `secrets[0]`: `file` cannot be empty",
    ),
    (
        "a credential that is a path",
        r"project: a
compose: a.yml
secrets: [{name: KEY, credential: ../key}]
",
        "deploy.yml:3:11: `secrets[0]`: `../key` is no credential's name: a file of $CREDENTIALS_DIRECTORY, without `/`",
    ),
    (
        "a timeout of a file",
        r"project: a
compose: a.yml
secrets: [{name: KEY, file: a, timeout: 1m}]
",
        "deploy.yml:3:11: `secrets[0]`: `timeout` is meant for a `command`",
    ),
    (
        "an invalid service's name",
        r"project: viatique
compose: docker-compose.prod.yml
services: {a b: {}}
",
        "deploy.yml:3:12: `services`: `a b` is not a valid name: letters, digits, `_`, `.` and `-`, beginning with a letter or a digit",
    ),
];

fn refusal(text: &str) -> String {
    let error = config::parse(Path::new("deploy.yml"), text).unwrap_err();
    match &error.hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn refusals_name_the_place_and_the_way_out() {
    for (about, text, expected) in REFUSALS {
        assert_eq!(refusal(text), *expected, "{about}");
    }
}
