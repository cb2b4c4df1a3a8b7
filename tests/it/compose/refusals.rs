//! What is refused, word for word: the message names the place and the way out.

use super::support::Texts;

/// What it is about; the Compose file; what a person is shown.
const REFUSALS: &[(&str, &str, &str)] = &[
    (
        "an unknown key with a neighbour",
        r"services:
  web:
    image: x
    helthcheck: {}
",
        "compose.yml:4:5: services.web.helthcheck: unknown key; did you mean `healthcheck`?",
    ),
    (
        "an unknown key with none",
        r"services:
  web:
    image: x
    frobnicate: 1
",
        "compose.yml:4:5: services.web.frobnicate: unknown key",
    ),
    (
        "an unknown key further in",
        r"services:
  web:
    image: x
    healthcheck: {intervall: 5s}
",
        "compose.yml:4:19: services.web.healthcheck.intervall: unknown key; did you mean `interval`?",
    ),
    (
        "an unknown section",
        r"services:
  web:
    image: x
volume: {}
",
        "compose.yml:4:1: volume: unknown key; did you mean `volumes`?",
    ),
    (
        "links",
        r"services:
  web:
    image: x
    links: [db]
",
        r"compose.yml:4:5: services.web.links: not supported by viatique-deploy
hint: services on one network find each other by name; write `networks.<name>.aliases` for another name",
    ),
    (
        "volumes_from",
        r"services:
  web:
    image: x
    volumes_from: [db]
",
        r"compose.yml:4:5: services.web.volumes_from: not supported by viatique-deploy
hint: name the volumes under `volumes`",
    ),
    (
        "develop",
        r"services:
  web:
    image: x
    develop: {watch: []}
",
        r"compose.yml:4:5: services.web.develop: not supported by viatique-deploy
hint: it serves `docker compose watch`; keep it in a file of its own that deploy.yml does not name",
    ),
    (
        "gpus",
        r"services:
  web:
    image: x
    gpus: all
",
        "compose.yml:4:5: services.web.gpus: not supported by viatique-deploy",
    ),
    (
        "update_config",
        r"services:
  web:
    image: x
    deploy:
      update_config: {order: start-first}
",
        r"compose.yml:5:7: services.web.deploy.update_config: not supported by viatique-deploy
hint: it belongs to Swarm; say how a service is replaced under `services` in deploy.yml",
    ),
    (
        "placement and labels of Swarm",
        r"services:
  web:
    image: x
    deploy: {placement: {}, labels: {a: b}}
",
        r"compose.yml:4:14: services.web.deploy.placement: not supported by viatique-deploy
hint: it belongs to Swarm
compose.yml:4:29: services.web.deploy.labels: not supported by viatique-deploy
hint: they belong to Swarm's service; write `labels` beside `image`",
    ),
    (
        "a reservation without effect",
        r"services:
  web:
    image: x
    deploy: {resources: {reservations: {cpus: '0.5'}}}
",
        r"compose.yml:4:41: services.web.deploy.resources.reservations.cpus: not supported by viatique-deploy
hint: outside of Swarm it has no effect; `cpu_shares` has",
    ),
    (
        "global mode",
        r"services:
  web:
    image: x
    deploy: {mode: global}
",
        r"compose.yml:4:20: services.web.deploy.mode: unsupported mode `global`
hint: the only mode is `replicated`",
    ),
    (
        "include",
        r"include: [other.yml]
services:
  web:
    image: x
",
        r"compose.yml:1:1: include: not supported by viatique-deploy
hint: name the file under `compose` in deploy.yml",
    ),
    (
        "build secrets",
        r"services:
  web:
    image: x
    build: {context: ., ssh: [default]}
",
        "compose.yml:4:25: services.web.build.ssh: not supported by viatique-deploy",
    ),
    (
        "a context on the network",
        r"services:
  web:
    image: x
    build: https://example.com/repo.git#main
",
        r"compose.yml:4:12: services.web.build: a build context on the network is not supported
hint: check it out and name its folder",
    ),
    (
        "an undefined variable",
        r"services:
  web:
    image: x
    environment:
      SECRET_KEY: ${SECRET_KEY}
",
        r"compose.yml:5:19: services.web.environment.SECRET_KEY: undefined variable `SECRET_KEY`
hint: set `SECRET_KEY` in the env file or the environment, or write a default: `${SECRET_KEY:-}`; a dollar sign itself is `$$`",
    ),
    (
        "an undefined variable in a list",
        r#"services:
  web:
    image: x
    command: [run, "$NOPE"]
"#,
        r"compose.yml:4:20: services.web.command[1]: undefined variable `NOPE`
hint: set `NOPE` in the env file or the environment, or write a default: `${NOPE:-}`; a dollar sign itself is `$$`",
    ),
    (
        "a required variable",
        r"services:
  web:
    image: x
    user: ${APP_USER:?say who}
",
        r"compose.yml:4:11: services.web.user: required variable `APP_USER` is not set: say who
hint: set `APP_USER` in the env file or the environment",
    ),
    (
        "a dollar sign alone",
        r"services:
  web:
    image: x
    labels: {price: 5$}
",
        r"compose.yml:4:21: services.web.labels.price: a `$` that begins no variable's name
hint: write `$$` for a dollar sign itself",
    ),
    (
        "an open brace",
        r"services:
  web:
    image: x
    labels: {a: '${B'}
",
        r"compose.yml:4:17: services.web.labels.a: `${` without its `}`
hint: write `$$` for a dollar sign itself",
    ),
    (
        "an unknown operator",
        r"services:
  web:
    image: x
    labels: {a: '${B/c}'}
",
        r"compose.yml:4:17: services.web.labels.a: `${B…}` with an unknown operator
hint: write `$$` for a dollar sign itself",
    ),
    (
        "no image and no build",
        r"services:
  web:
    command: [run]
",
        "compose.yml:3:5: services.web: neither `image` nor `build`",
    ),
    (
        "no services",
        r"volumes: {}
",
        "compose.yml:1:1: no `services`",
    ),
    (
        "an empty file",
        "",
        "compose.yml:1:1: expected a mapping with `services`, found nothing",
    ),
    (
        "a file that is a list",
        r"- a
",
        "compose.yml:1:1: expected a mapping with `services`, found a list",
    ),
    (
        "not YAML",
        r"services:
  web: [
",
        "compose.yml:3:1: not valid YAML: while parsing a node, did not find expected node content",
    ),
    (
        "a key twice",
        r"services:
  web:
    image: x
    image: y
",
        "compose.yml:4:5: the key `image` stands twice",
    ),
    (
        "a second document",
        r"services:
  web:
    image: x
---
services: {}
",
        "compose.yml:4:1: a second document in one file",
    ),
    (
        "!reset",
        r"services:
  web:
    image: x
    ports: !reset []
",
        r"compose.yml:4:12: the tag `!reset` is not supported
hint: leave the key out of the earlier file, or write the value whole in one file",
    ),
    (
        "!override",
        r"services:
  web:
    image: x
    ports: !override ['1:1']
",
        r"compose.yml:4:12: the tag `!override` is not supported
hint: leave the key out of the earlier file, or write the value whole in one file",
    ),
    (
        "a foreign tag",
        r"services:
  web:
    image: x
    user: !secret abc
",
        "compose.yml:4:11: the tag `!secret` is not supported",
    ),
    (
        "a key that is no text",
        r"services:
  web:
    image: x
    environment: {true: 1}
",
        r#"compose.yml:4:19: the key `true` is not text
hint: write `"true"`"#,
    ),
    (
        "a merge key over text",
        r"services:
  web:
    image: x
    <<: nothing
",
        "compose.yml:4:9: `<<` takes a mapping or a list of mappings",
    ),
    (
        "a name the engine refuses",
        r"services:
  a/b: {image: x}
",
        "compose.yml:2:3: services.a/b: `a/b` is not a valid name: letters, digits, `_`, `.` and `-`, beginning with a letter or a digit",
    ),
    (
        "an unknown dependency",
        r"services:
  web:
    image: x
    depends_on: [databse]
  database: {image: x}
",
        "compose.yml:4:18: services.web.depends_on.databse: unknown service `databse`; did you mean `database`?",
    ),
    (
        "an unknown network",
        r"services:
  web:
    image: x
    networks: [back]
networks: {backend: {}}
",
        r"compose.yml:4:16: services.web.networks.back: unknown network `back`; did you mean `backend`?
hint: declare it under the top-level `networks`",
    ),
    (
        "an unknown volume",
        r"services:
  web:
    image: x
    volumes: ['dta:/data']
volumes: {data: {}}
",
        r"compose.yml:4:15: services.web.volumes.dta: unknown volume `dta`; did you mean `data`?
hint: declare it under the top-level `volumes`; a folder of the host begins with `./`",
    ),
    (
        "a volume meant as a folder",
        r"services:
  web:
    image: x
    volumes: ['data/x:/data']
",
        r"compose.yml:4:15: services.web.volumes.data/x: unknown volume `data/x`
hint: declare it under the top-level `volumes`; a folder of the host begins with `./`",
    ),
    (
        "an unknown namespace",
        r"services:
  web:
    image: x
    network_mode: service:vpn
",
        "compose.yml:4:5: services.web.network_mode: unknown service `vpn`",
    ),
    (
        "a circle",
        r"services:
  a: {image: x, depends_on: [b]}
  b: {image: x, depends_on: [c]}
  c: {image: x, depends_on: [a]}
",
        "compose.yml:2:17: services.a.depends_on: services depend on each other in a circle: a -> b -> c -> a",
    ),
    (
        "a service on itself",
        r"services:
  web:
    image: x
    depends_on: [web]
",
        "compose.yml:4:5: services.web.depends_on: services depend on each other in a circle: web -> web",
    ),
    (
        "one container name twice",
        r"services:
  web:
    image: x
    container_name: one
  other: {image: x, container_name: one}
",
        "compose.yml:4:5: services.web.container_name: service `other` has the container name `one` too",
    ),
    (
        "one host port twice",
        r"services:
  web:
    image: x
    ports: ['80:80']
  other: {image: x, ports: ['127.0.0.1:80:8080']}
",
        "compose.yml:4:5: services.web.ports: host port 80/tcp is published by service `other` already",
    ),
    (
        "replicas on one port",
        r"services:
  web:
    image: x
    ports: ['80:80']
    scale: 2
",
        r"compose.yml:4:5: services.web.ports: 2 containers cannot share host port 80
hint: publish a range or no host port, and let nginx stand before them",
    ),
    (
        "replicas under one name",
        r"services:
  web:
    image: x
    container_name: one
    deploy: {replicas: 3}
",
        r"compose.yml:4:5: services.web.container_name: 3 containers cannot share one name
hint: leave `container_name` out",
    ),
    (
        "scale and replicas",
        r"services:
  web:
    image: x
    scale: 2
    deploy: {replicas: 3}
",
        r"compose.yml:4:12: services.web.scale: differs from `deploy.replicas`
hint: write one of the two",
    ),
    (
        "both kinds of network",
        r"services:
  web:
    image: x
    network_mode: host
    networks: [default]
",
        "compose.yml:3:5: services.web: `network_mode` and `networks` cannot stand together",
    ),
    (
        "a port beyond all",
        r"services:
  web:
    image: x
    ports: ['80:99999']
",
        r#"compose.yml:4:13: services.web.ports[0]: `99999` is not a port
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
    (
        "ranges of two lengths",
        r"services:
  web:
    image: x
    ports: ['8000-8002:80-81']
",
        r#"compose.yml:4:13: services.web.ports[0]: `8000-8002:80-81`: 3 host ports for 2 container ports
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
    (
        "a port in words",
        r"services:
  web:
    image: x
    ports: [http]
",
        r#"compose.yml:4:13: services.web.ports[0]: `http` is not a port
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
    (
        "an address in words",
        r"services:
  web:
    image: x
    ports: ['localhost:80:80']
",
        r#"compose.yml:4:13: services.web.ports[0]: `localhost` is not an IP address
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
    (
        "an unknown protocol",
        r"services:
  web:
    image: x
    ports: ['80:80/http']
",
        r#"compose.yml:4:13: services.web.ports[0]: `http` is not a protocol: `tcp`, `udp` or `sctp`
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
    (
        "a long port without target",
        r"services:
  web:
    image: x
    ports: [{published: 80}]
",
        "compose.yml:4:13: services.web.ports[0]: missing key `target`",
    ),
    (
        "a relative target",
        r"services:
  web:
    image: x
    volumes: ['./a:b']
",
        r"compose.yml:4:15: services.web.volumes[0]: the path in the container is not absolute
hint: write a target that begins with `/`",
    ),
    (
        "an unknown mount option",
        r"services:
  web:
    image: x
    volumes: ['./a:/b:rx']
",
        r"compose.yml:4:15: services.web.volumes[0]: unknown mount option in `./a:/b:rx`
hint: options are `ro`, `rw`, `z`, `Z`, `nocopy` and the propagations `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`",
    ),
    (
        "an unknown type of mount",
        r"services:
  web:
    image: x
    volumes: [{type: npipe, source: a, target: /a}]
",
        r"compose.yml:4:15: services.web.volumes[0]: unknown type of mount
hint: types are `bind`, `volume` and `tmpfs`",
    ),
    (
        "a duration without unit",
        r"services:
  web:
    image: x
    stop_grace_period: 30
",
        r"compose.yml:4:24: services.web.stop_grace_period: the duration `30` has no unit
hint: write `30s` for seconds or `30m` for minutes",
    ),
    (
        "a duration that is none",
        r"services:
  web:
    image: x
    healthcheck: {interval: soon}
",
        r"compose.yml:4:29: services.web.healthcheck.interval: `soon` is not a duration
hint: write a number with its unit, such as `500ms`, `10s` or `1h30m`",
    ),
    (
        "a size that is none",
        r"services:
  web:
    image: x
    mem_limit: lots
",
        r"compose.yml:4:16: services.web.mem_limit: `lots` is not a size
hint: write a number of bytes or a number with `k`, `m`, `g` or `t`, such as `512m`",
    ),
    (
        "a restart policy that is none",
        r"services:
  web:
    image: x
    restart: sometimes
",
        "compose.yml:4:14: services.web.restart: expected `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:<retries>`, found `sometimes`",
    ),
    (
        "a condition that is none",
        r"services:
  web:
    image: x
    depends_on: {web: {condition: healthy}}
",
        "compose.yml:4:35: services.web.depends_on.web.condition: expected `service_started`, `service_healthy` or `service_completed_successfully`, found `healthy`",
    ),
    (
        "a test without its first word",
        r"services:
  web:
    image: x
    healthcheck: {test: [curl, x]}
",
        r"compose.yml:4:25: services.web.healthcheck.test: a list must begin with `CMD`, `CMD-SHELL` or `NONE`
hint: write `[CMD, …]` to run a program, or one text to run it in a shell",
    ),
    (
        "a shell's operator",
        r"services:
  web:
    image: x
    command: migrate && serve
",
        r#"compose.yml:4:14: services.web.command: `&` means nothing without a shell
hint: write a list of words, or `[sh, -c, "…"]` for a shell"#,
    ),
    (
        "a quote that stays open",
        r"services:
  web:
    image: x
    command: echo 'a
",
        r#"compose.yml:4:14: services.web.command: a single quote does not close
hint: write a list of words, or `[sh, -c, "…"]` for a shell"#,
    ),
    (
        "a number that would change",
        r"services:
  web:
    image: x
    environment: {VERSION: 1.10}
",
        r#"compose.yml:4:28: services.web.environment.VERSION: `1.10` without quotes is read as `1.1`
hint: write `"1.10"`"#,
    ),
    (
        "text for a flag",
        r"services:
  web:
    image: x
    read_only: perhaps
",
        "compose.yml:4:16: services.web.read_only: expected `true` or `false`, found `perhaps`",
    ),
    (
        "a list for text",
        r"services:
  web:
    image: x
    user: [a]
",
        "compose.yml:4:11: services.web.user: expected text, found a list",
    ),
    (
        "text for a list",
        r"services:
  web:
    image: x
    ports: 80:80
",
        "compose.yml:4:12: services.web.ports: expected a list, found `80:80`",
    ),
    (
        "limits that differ",
        r"services:
  web:
    image: x
    mem_limit: 1g
    deploy: {resources: {limits: {memory: 2g}}}
",
        r"compose.yml:4:16: services.web.mem_limit: differs from `deploy.resources.limits.memory`
hint: write one of the two",
    ),
    (
        "a missing env file",
        r"services:
  web:
    image: x
    env_file: [absent.env]
",
        r"compose.yml:4:16: services.web.env_file[0]: cannot read the env file absent.env: no such file
hint: write the file, or `{path: …, required: false}` if it may be absent",
    ),
    (
        "a secret from outside",
        r"services:
  web:
    image: x
    secrets: [a]
secrets: {a: {external: true}}
",
        r"compose.yml:5:15: secrets.a.external: not supported by viatique-deploy
hint: only files of the host are supported: `file: <path>`",
    ),
    (
        "a secret from the environment",
        r"services:
  web:
    image: x
secrets: {a: {environment: A}}
",
        r"compose.yml:4:15: secrets.a.environment: not supported by viatique-deploy
hint: only files of the host are supported: `file: <path>`",
    ),
    (
        "a secret that is not declared",
        r"services:
  web:
    image: x
    secrets: [tokn]
secrets: {token: {file: ./t}}
",
        "compose.yml:4:15: services.web.secrets[0]: no `tokn` in the top-level `secrets`; did you mean `token`?",
    ),
    (
        "the mode of a secret",
        r"services:
  web:
    image: x
    secrets: [{source: a, mode: 0o400}]
secrets: {a: {file: ./t}}
",
        r"compose.yml:4:27: services.web.secrets[0].mode: not supported by viatique-deploy
hint: a bind mount keeps the file's own mode",
    ),
    (
        "another project's name",
        r"name: other
services:
  web:
    image: x
",
        r"compose.yml:1:7: name: the project is called `other` here and `project` in deploy.yml
hint: leave `name` out of the Compose file, or write the same one",
    ),
    (
        "an unknown service to extend",
        r"services:
  web:
    image: x
    extends: bse
  base: {image: x}
",
        "compose.yml:4:14: services.web.extends: no service `bse` in compose.yml; did you mean `base`?",
    ),
    (
        "services that extend each other",
        r"services:
  a: {extends: b}
  b: {extends: a}
",
        r"compose.yml:2:16: services.a.extends: services extend each other in a circle: a in compose.yml -> b in compose.yml -> a in compose.yml
compose.yml:3:16: services.b.extends: services extend each other in a circle: b in compose.yml -> a in compose.yml -> b in compose.yml",
    ),
    (
        "a missing file to extend",
        r"services:
  web:
    image: x
    extends: {file: absent.yml, service: a}
",
        "compose.yml:4:14: services.web.extends: cannot read absent.yml: no such file",
    ),
    (
        "an unknown network mode",
        r"services:
  web:
    image: x
    network_mode: back
",
        r"compose.yml:4:19: services.web.network_mode: unknown network mode `back`
hint: modes are `none`, `host`, `bridge`, `service:<name>` and `container:<name>`; a network goes under `networks`",
    ),
    (
        "a number with a zero before it",
        r"services:
  web:
    image: x
    healthcheck: {retries: 010}
",
        r"compose.yml:4:28: services.web.healthcheck.retries: `010` may be read as an octal number or not
hint: write `0o…` for an octal number, or leave the zero out",
    ),
    (
        "several at once",
        r"services:
  web:
    image: x
    links: [a]
    restart: maybe
    ports: [http]
",
        r#"compose.yml:4:5: services.web.links: not supported by viatique-deploy
hint: services on one network find each other by name; write `networks.<name>.aliases` for another name
compose.yml:5:14: services.web.restart: expected `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:<retries>`, found `maybe`
compose.yml:6:13: services.web.ports[0]: `http` is not a port
hint: write `"<host port>:<container port>"`, such as `"127.0.0.1:8000:8000"`"#,
    ),
];

#[test]
fn refusals_name_the_place_and_the_way_out() {
    for (about, text, expected) in REFUSALS {
        assert_eq!(Texts::compose(text).refusal(), *expected, "{about}");
    }
    assert!(REFUSALS.len() >= 40);
}
