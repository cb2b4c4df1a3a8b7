//! What is wrong with `notify`, word for word, where it stands, and without any secret.

use std::collections::BTreeMap;
use std::path::Path;

use viatique_deploy::config;
use viatique_deploy::notify::target;
use viatique_deploy::secret::Secret;

use super::CANARY;

/// The refusal of these entries, which begin at the fourth line.
fn refused(notify: &str) -> String {
    let text = format!("project: a\ncompose: a.yml\nnotify:\n{notify}");
    let error = config::parse(Path::new("deploy.yml"), &text).unwrap_err();
    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    match &error.hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn refusals_name_the_place_and_the_way_out() {
    for (notify, expected) in [
        (
            "  - on: [start]\n",
            "deploy.yml:4:5: `notify[0]`: an entry names one place where somebody is told, and one only\nhint: write one of \
             `slack`, `mattermost`, `discord`, `teams`, `email`, `webhook`, `sentry`, `grafana`, `healthchecks`, \
             `pushgateway` and `textfile`",
        ),
        (
            "  - slack: { url: canary-4f1d2c77 }\n",
            "deploy.yml:4:19: `notify[0].slack.url`: it is a secret, and deploy.yml is no place for one\nhint: write \
             \"${NAME}\", and set NAME in the environment, in a file of env_file, or under `secrets`",
        ),
        (
            "  - slak:\n      url: ${A}\n",
            "deploy.yml:4:5: unknown key `slak` in `notify[0]`; did you mean `slack`?",
        ),
        (
            "  - textfile: { directory: a }\n    on: [start]\n",
            "deploy.yml:4:5: `notify[0]`: `textfile` is told how a deploy ended, and not that one begins\nhint: leave \
             `start` out of `on`",
        ),
        (
            "  - textfile: { directory: a }\n    on: []\n",
            "deploy.yml:4:5: `notify[0]`: `on` is empty, so that nobody would ever be told",
        ),
        (
            "  - textfile: { directory: a }\n    timeout: 1h\n",
            "deploy.yml:4:5: `notify[0]`: `timeout` is between 1ms and 2m: the end of a deploy waits for it",
        ),
        (
            "  - name: a\n    textfile: { directory: a }\n  - name: a\n    textfile: { directory: b }\n",
            "deploy.yml:4:3: `notify`: two entries are called `a`",
        ),
        (
            "  - webhook:\n      url: http://a.test\n      body: '{{realease}}'\n",
            "deploy.yml:6:13: `notify[0].webhook.body`: there is no `{{realease}}`; did you mean `{{release}}`?\nhint: known \
             are title, text, moment, project, command, run, release, release_before, serves, by, started, seconds, \
             exit_code, step, service, error, evidence, warnings, changes, next",
        ),
        (
            "  - webhook:\n      url: http://a.test\n      body: '{{release'\n",
            "deploy.yml:6:13: `notify[0].webhook.body`: `{{` without its `}}`",
        ),
        (
            "  - email: { host: a, from: a, to: [b@c.test] }\n",
            "deploy.yml:4:29: `notify[0].email.from`: `a` is no mail address, such as ops@example.com or Ops \
             <ops@example.com>",
        ),
        (
            "  - email: { host: a, from: a@b.test, to: [b@c.test], user: me }\n",
            "deploy.yml:4:5: `notify[0]`: `email` needs both `user` and `password`, or neither",
        ),
        (
            "  - pushgateway: { url: 'http://a.test', job: a/b }\n",
            "deploy.yml:4:47: `notify[0].pushgateway.job`: a job has a name without `/`",
        ),
    ] {
        assert_eq!(refused(notify), expected);
    }
}

#[test]
fn variables_that_are_missing_or_no_address_are_told_together() {
    let text = "project: a\ncompose: a.yml\nnotify:\n  - slack:\n      url: ${HOOK}\n  - discord:\n      url: ${OTHER}\n  - \
                grafana:\n      url: http://a.test\n      token: ${TOKEN}\n  - teams:\n      url: ${EMPTY}\n";
    let config = config::parse(Path::new("deploy.yml"), text).unwrap();
    let variables: BTreeMap<String, Secret<String>> = [("OTHER", CANARY), ("TOKEN", "a\nb"), ("EMPTY", "")]
        .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())))
        .into();
    let errors = target::resolve(&config, &variables).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "deploy.yml:5:12: `notify[0].slack.url`: undefined variable `HOOK`",
            "deploy.yml:7:12: `notify[1].discord.url`: it is no `http://` or `https://` address, which is not shown, once \
             its variables are put in",
            "deploy.yml:10:14: `notify[2].grafana.token`: it has a line break, or a character that no HTTP header can have",
            "deploy.yml:12:12: `notify[3].teams.url`: it is empty once its variables are put in",
        ]
    );
    assert!(!format!("{errors:?}").contains(CANARY));
}

#[test]
fn entries_of_one_kind_are_numbered_and_written_names_stay() {
    let text = "project: a\ncompose: a.yml\nnotify:\n  - slack: { url: \"${A}\" }\n  - slack: { url: \"${B}\" }\n  - name: \
                slack-3\n    slack: { url: \"${B}\" }\n  - slack: { url: \"${B}\" }\n";
    let config = config::parse(Path::new("deploy.yml"), text).unwrap();
    let names: Vec<&str> = config.notify.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["slack", "slack-2", "slack-3", "slack-4"]);
    assert!(
        !format!("{:?}", config.notify).contains("${A}"),
        "what is written may be a secret"
    );
}
