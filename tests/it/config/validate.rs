//! deploy.yml, held against the Compose project.

use std::path::Path;

use viatique_deploy::compose::ServiceName;
use viatique_deploy::config::{self, Config};

use crate::compose::support::Texts;

const STACK: &str = r#"
services:
  backend: {image: app, deploy: {replicas: 2}}
  celery_beat: {image: app}
  nginx: {image: "nginx:1.27"}
  proxy: {image: "registry.example.com/nginx:1"}
  named: {image: app, container_name: one}
  db: {image: postgres, environment: {POSTGRES_USER: shop}, volumes: ["media:/m"]}
volumes: {media: , postgres_data: }
"#;

fn read(text: &str) -> Config {
    let text = format!("project: project\ncompose: compose.yml\n{text}");
    config::parse(Path::new("deploy.yml"), &text).unwrap_or_else(|error| panic!("{error}"))
}

fn errors(text: &str) -> String {
    let errors = config::validate(&read(text), &Texts::compose(STACK).project());
    config::ConfigErrors(errors).to_string()
}

#[test]
fn what_fits_is_taken() {
    let fits = "django: {service: backend}\nservices:\n  nginx: {strategy: reload}\n  proxy: {strategy: reload, test: \
                [nginx, -t]}\n  celery_beat: {strategy: singleton}\n  backend: {strategy: rolling, max_surge: 0, max_unavailable: 1, callers: [nginx], probe: /health/}\n  db: {strategy: \
                untouched}\n  named: {strategy: recreate}\nbackup: {database: {service: db}, media: {volume: media}}\n";
    assert_eq!(errors(fits), "");
}

#[test]
fn what_does_not_fit_is_named_where_it_stands() {
    for (text, expected) in [
        (
            "django: {service: backnd}\n",
            "deploy.yml:3:19: `django.service`: the Compose files have no service `backnd`; did you mean `backend`?\n\
             hint: services there: `backend`, `celery_beat`, `db`, `named`, `nginx`, `proxy`",
        ),
        (
            "services:\n  celery_beta: {drain: 1m}\n",
            "deploy.yml:4:3: `services.celery_beta`: the Compose files have no service `celery_beta`; did you mean \
             `celery_beat`?\nhint: services there: `backend`, `celery_beat`, `db`, `named`, `nginx`, `proxy`",
        ),
        (
            "backup:\n  database:\n    service: postgres\n",
            "deploy.yml:5:14: `backup.database.service`: the Compose files have no service `postgres`\n\
             hint: services there: `backend`, `celery_beat`, `db`, `named`, `nginx`, `proxy`",
        ),
        (
            "monitor:\n  for: 1m\n  access_log: {service: ngnix}\n",
            "deploy.yml:5:25: `monitor.access_log.service`: the Compose files have no service `ngnix`; did you mean \
             `nginx`?\nhint: services there: `backend`, `celery_beat`, `db`, `named`, `nginx`, `proxy`",
        ),
        (
            "monitor:\n  for: 1m\n  probes: [/]\n",
            "deploy.yml:5:11: `monitor.probes` are paths below the address in `health.url`, which is not there\n\
             hint: write the section `health`",
        ),
        (
            "backup:\n  media: {volume: medai}\n",
            "deploy.yml:4:19: `backup.media.volume`: the Compose files have no volume `medai`; did you mean `media`?\n\
             hint: volumes there: `media`, `postgres_data`",
        ),
        (
            "services:\n  backend: {strategy: reload}\n",
            "deploy.yml:4:23: `services.backend.strategy` is `reload`, and nothing says how it reloads\n\
             hint: write `reload: [<command>]` under `services.backend`",
        ),
        (
            "services:\n  backend: {strategy: singleton}\n",
            "deploy.yml:4:23: `services.backend.strategy` is `singleton`, and the Compose files ask for 2 containers\n\
             hint: leave `deploy.replicas` or `scale` out there",
        ),
        (
            "services:\n  named: {strategy: rolling}\n",
            "deploy.yml:4:21: `services.named.strategy` is `rolling`, and its `container_name` can be had only once\n\
             hint: leave `container_name` out of the Compose file, or write `strategy: recreate`",
        ),
        (
            "services:\n  backend: {max_surge: 0}\n",
            "deploy.yml:4:24: `services.backend.max_surge` and `services.backend.max_unavailable` are both 0, so that \
             nothing could be replaced\n\
             hint: leave `max_surge` out, or write `max_unavailable: 1` where two containers do not fit",
        ),
        (
            "services:\n  backend: {callers: [frontend]}\n",
            "deploy.yml:4:22: `services.backend.callers`: the Compose files have no service `frontend`\n\
             hint: services there: `backend`, `celery_beat`, `db`, `named`, `nginx`, `proxy`",
        ),
        (
            "services:\n  backend: {callers: [backend]}\n",
            "deploy.yml:4:22: `services.backend.callers` names the service itself",
        ),
        (
            "services:\n  backend: {test: [x, -t]}\n",
            "deploy.yml:4:19: `services.backend.test` has no use without `reload`\n\
             hint: write the command that makes the service read its configuration again",
        ),
    ] {
        assert_eq!(errors(text), expected);
    }
}

#[test]
fn an_nginx_reloads_without_a_word() {
    let project = Texts::compose(STACK).project();
    let commands = |text: &str, service: &str| {
        read(text).reload_commands(&project.services[&ServiceName::new(service).unwrap()])
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let nginx = (Some(words(&["nginx", "-t"])), words(&["nginx", "-s", "reload"]));
    assert_eq!(commands("", "nginx"), Some(nginx.clone()));
    assert_eq!(commands("", "proxy"), Some(nginx));
    assert_eq!(commands("", "backend"), None);
    assert_eq!(
        commands("services: {backend: {reload: [kill, -HUP, '1']}}\n", "backend"),
        Some((None, words(&["kill", "-HUP", "1"])))
    );
}

#[test]
fn the_databases_role_and_name_come_from_its_service() {
    let project = Texts::compose(STACK).project();
    let db = &project.services[&ServiceName::new("db").unwrap()];
    let config = read("backup: {database: {service: db}}\n");
    let database = config.backup.database.as_ref().unwrap();
    assert_eq!(
        (database.user_in(db).as_str(), database.name_in(db).as_str()),
        ("shop", "shop")
    );
    let config = read("backup: {database: {service: db, user: admin, name: prod}}\n");
    let database = config.backup.database.as_ref().unwrap();
    assert_eq!(
        (database.user_in(db).as_str(), database.name_in(db).as_str()),
        ("admin", "prod")
    );
}
