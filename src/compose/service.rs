//! One service of the merged tree, resolved. Keys with syntax of their own are read in the sibling files.

use std::collections::BTreeMap;

use crate::yaml::Value;

use super::build::build;
use super::environment::environment;
use super::limits::{Deploy, deploy, limits, replicas, ulimits};
use super::model::{
    Dependency, DependencyCondition, Device, Healthcheck, Logging, NetworkMode, PullPolicy, RestartPolicy,
    Service, ServiceName,
};
use super::mounts::{Files, mounts};
use super::networks::{attachments, extra_hosts, mode};
use super::ports::{expose, ports};
use super::reader::{At, Fields};
use super::words;

/// Keys that Compose knows and this program does not implement, and what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("annotations", ""),
    ("attach", ""),
    ("blkio_config", ""),
    ("cgroup", ""),
    ("cpu_count", "it belongs to Windows; write `cpus`"),
    ("cpu_percent", "it belongs to Windows; write `cpus`"),
    ("cpu_period", "write `cpus`"),
    ("cpu_quota", "write `cpus`"),
    ("cpu_rt_period", ""),
    ("cpu_rt_runtime", ""),
    ("credential_spec", ""),
    (
        "develop",
        "it serves `docker compose watch`; keep it in a file of its own that deploy.yml does not name",
    ),
    ("device_cgroup_rules", ""),
    ("external_links", "put both containers on one network"),
    ("gpus", ""),
    ("isolation", ""),
    ("label_file", "write the labels under `labels`"),
    (
        "links",
        "services on one network find each other by name; write `networks.<name>.aliases` for another name",
    ),
    ("mac_address", "write it under `networks.<name>`"),
    ("models", ""),
    ("post_start", ""),
    ("pre_stop", ""),
    ("provider", ""),
    ("storage_opt", ""),
    ("use_api_socket", ""),
    ("uts", ""),
    ("volumes_from", "name the volumes under `volumes`"),
];

/// Reads one service.
pub(super) fn service(at: &At<'_>, name: ServiceName, secrets: &Files, configs: &Files) -> Option<Service> {
    let fields = at.fields()?;
    let deploy = fields
        .get("deploy")
        .map_or_else(Deploy::default, |at| deploy(&at));
    let network_mode = fields.get("network_mode").and_then(|at| mode(&at));
    let networks = fields
        .get("networks")
        .map(|at| attachments(&at))
        .unwrap_or_default();
    let (environment, environment_source) = environment(&fields);
    let mut service = Service {
        image: fields.text("image"),
        build: fields.get("build").and_then(|at| build(&at)),
        command: fields.get("command").and_then(|at| command(&at)),
        entrypoint: fields.get("entrypoint").and_then(|at| command(&at)),
        environment,
        environment_source,
        user: fields.text("user"),
        working_dir: fields.text("working_dir"),
        hostname: fields.text("hostname"),
        domainname: fields.text("domainname"),
        labels: fields.text_map("labels"),
        container_name: fields.text("container_name"),
        restart: fields
            .get("restart")
            .and_then(|at| restart(&at))
            .or(deploy.restart),
        healthcheck: fields.get("healthcheck").and_then(|at| healthcheck(&at)),
        depends_on: fields
            .get("depends_on")
            .map(|at| depends_on(&at))
            .unwrap_or_default(),
        ports: fields.get("ports").map(|at| ports(&at)).unwrap_or_default(),
        expose: fields.get("expose").map(|at| expose(&at)).unwrap_or_default(),
        mounts: mounts(&fields, secrets, configs),
        networks,
        network_mode,
        extra_hosts: fields
            .get("extra_hosts")
            .map(|at| extra_hosts(&at))
            .unwrap_or_default(),
        dns: fields.one_or_many_texts("dns"),
        dns_search: fields.one_or_many_texts("dns_search"),
        dns_opt: fields.texts_once("dns_opt"),
        stop_signal: fields.text("stop_signal"),
        stop_grace_period: fields.duration("stop_grace_period"),
        init: fields.boolean("init"),
        tty: fields.flag("tty"),
        stdin_open: fields.flag("stdin_open"),
        read_only: fields.flag("read_only"),
        privileged: fields.flag("privileged"),
        cap_add: fields.texts_once("cap_add"),
        cap_drop: fields.texts_once("cap_drop"),
        security_opt: fields.texts_once("security_opt"),
        group_add: fields.texts_once("group_add"),
        sysctls: fields.text_map("sysctls"),
        devices: fields.get("devices").map(|at| devices(&at)).unwrap_or_default(),
        shm_size: fields.bytes("shm_size"),
        ulimits: fields.get("ulimits").map(|at| ulimits(&at)).unwrap_or_default(),
        logging: fields.get("logging").and_then(|at| logging(&at)),
        limits: limits(&fields, &deploy),
        replicas: replicas(&fields, &deploy),
        pid: fields.text("pid"),
        ipc: fields.text("ipc"),
        userns_mode: fields.text("userns_mode"),
        cgroup_parent: fields.text("cgroup_parent"),
        runtime: fields.text("runtime"),
        platform: fields.text("platform"),
        pull_policy: fields.get("pull_policy").and_then(|at| pull_policy(&at)),
        profiles: fields.texts_once("profiles"),
        name,
    };
    // Still there only where it could not be worked out, which has been reported.
    let extends_nothing = fields.get("extends").is_none();
    if service.image.is_none() && service.build.is_none() && extends_nothing {
        at.refuse("neither `image` nor `build`");
    }
    if service.network_mode.is_some() && !service.networks.is_empty() {
        at.refuse("`network_mode` and `networks` cannot stand together");
    }
    if service.network_mode.is_none() && service.networks.is_empty() {
        service
            .networks
            .insert("default".to_owned(), super::model::NetworkAttachment::default());
    }
    depend_on_shared_namespaces(&mut service);
    fields.finish(UNSUPPORTED);
    Some(service)
}

/// A container that lives in another's namespace needs it, and must be made anew with it.
fn depend_on_shared_namespaces(service: &mut Service) {
    let from_mode = match &service.network_mode {
        Some(NetworkMode::Service(name)) => Some(name.clone()),
        Some(NetworkMode::None | NetworkMode::Host | NetworkMode::Bridge | NetworkMode::Container(_))
        | None => None,
    };
    let shared = [&service.pid, &service.ipc]
        .into_iter()
        .flatten()
        .filter_map(|text| ServiceName::new(text.strip_prefix("service:")?).ok());
    for name in shared.chain(from_mode).collect::<Vec<_>>() {
        service.depends_on.entry(name).or_insert(Dependency {
            condition: DependencyCondition::Started,
            restart: true,
            required: true,
        });
    }
}

/// A list of words, or one text that is cut into words.
fn command(at: &At<'_>) -> Option<Vec<String>> {
    match &at.node.value {
        Value::Sequence(_) => Some(at.texts()),
        Value::Scalar(_) | Value::Mapping(_) => {
            let text = at.text()?;
            words::split(&text)
                .map_err(|message| {
                    at.refuse_with(message, "write a list of words, or `[sh, -c, \"…\"]` for a shell");
                })
                .ok()
        }
    }
}

fn restart(at: &At<'_>) -> Option<RestartPolicy> {
    let text = at.filled_text()?;
    match text.split_once(':') {
        None if text == "no" => Some(RestartPolicy::No),
        None if text == "always" => Some(RestartPolicy::Always),
        None if text == "unless-stopped" => Some(RestartPolicy::UnlessStopped),
        None if text == "on-failure" => Some(RestartPolicy::OnFailure { max_retries: None }),
        Some(("on-failure", retries)) if retries.parse::<u32>().is_ok() => Some(RestartPolicy::OnFailure {
            max_retries: retries.parse().ok(),
        }),
        None | Some(_) => {
            at.expected("`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:<retries>`");
            None
        }
    }
}

fn pull_policy(at: &At<'_>) -> Option<PullPolicy> {
    match at.filled_text()?.as_str() {
        "always" => Some(PullPolicy::Always),
        "never" => Some(PullPolicy::Never),
        "missing" | "if_not_present" => Some(PullPolicy::Missing),
        "build" => Some(PullPolicy::Build),
        _ => {
            at.expected("`always`, `never`, `missing` or `build`");
            None
        }
    }
}

fn healthcheck(at: &At<'_>) -> Option<Healthcheck> {
    let fields = at.fields()?;
    let disabled = fields.flag("disable");
    let test = fields.get("test").and_then(|at| health_test(&at));
    let check = Healthcheck::Test {
        interval: fields.duration("interval"),
        timeout: fields.duration("timeout"),
        retries: fields
            .get("retries")
            .and_then(|at| at.integer("a number of attempts")),
        start_period: fields.duration("start_period"),
        start_interval: fields.duration("start_interval"),
        test: test.clone().filter(|words| !words.is_empty()),
    };
    fields.finish(&[]);
    let none = test
        .as_ref()
        .and_then(|words| words.first())
        .is_some_and(|first| first == "NONE");
    Some(if disabled || none {
        Healthcheck::Disabled
    } else {
        check
    })
}

fn health_test(at: &At<'_>) -> Option<Vec<String>> {
    match &at.node.value {
        Value::Sequence(_) => {
            let words = at.texts();
            match words.first().map(String::as_str) {
                Some("CMD") if words.len() < 2 => at.refuse("`CMD` without a command"),
                Some("CMD-SHELL") if words.len() != 2 => at.refuse("`CMD-SHELL` takes one text"),
                Some("NONE" | "CMD" | "CMD-SHELL") | None => {}
                Some(_) => at.refuse_with(
                    "a list must begin with `CMD`, `CMD-SHELL` or `NONE`",
                    "write `[CMD, …]` to run a program, or one text to run it in a shell",
                ),
            }
            Some(words)
        }
        Value::Scalar(_) | Value::Mapping(_) => {
            let text = at.filled_text()?;
            Some(vec!["CMD-SHELL".to_owned(), text])
        }
    }
}

fn depends_on(at: &At<'_>) -> BTreeMap<ServiceName, Dependency> {
    let mut dependencies = BTreeMap::new();
    let mut add = |at: &At<'_>, name: &str, dependency: Dependency| match ServiceName::new(name) {
        Ok(name) => {
            dependencies.insert(name, dependency);
        }
        Err(error) => at.refuse(error.to_string()),
    };
    let started = Dependency {
        condition: DependencyCondition::Started,
        restart: false,
        required: true,
    };
    match &at.node.value {
        Value::Mapping(_) => {
            for (name, _, at) in at.named() {
                let dependency = if at.node.is_null() {
                    None
                } else {
                    at.fields().and_then(dependency)
                };
                add(&at, name, dependency.unwrap_or(started));
            }
        }
        Value::Scalar(_) | Value::Sequence(_) => {
            for at in at.items() {
                if let Some(name) = at.text() {
                    add(&at, &name, started);
                }
            }
        }
    }
    dependencies
}

fn dependency(fields: Fields<'_>) -> Option<Dependency> {
    let condition = match fields.get("condition") {
        None => Some(DependencyCondition::Started),
        Some(at) => match at.text()?.as_str() {
            "service_started" => Some(DependencyCondition::Started),
            "service_healthy" => Some(DependencyCondition::Healthy),
            "service_completed_successfully" => Some(DependencyCondition::CompletedSuccessfully),
            _ => {
                at.expected("`service_started`, `service_healthy` or `service_completed_successfully`");
                None
            }
        },
    };
    let restart = fields.flag("restart");
    let required = fields.boolean("required").unwrap_or(true);
    fields.finish(&[]);
    condition.map(|condition| Dependency {
        condition,
        restart,
        required,
    })
}

fn logging(at: &At<'_>) -> Option<Logging> {
    let fields = at.fields()?;
    let logging = Logging {
        driver: fields.text("driver"),
        options: fields.text_map("options"),
    };
    fields.finish(&[]);
    Some(logging)
}

/// `host[:container[:permissions]]`, or a mapping; a later one replaces an earlier one of its container path.
fn devices(at: &At<'_>) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for at in at.items() {
        let device = match &at.node.value {
            Value::Mapping(_) => at.fields().and_then(|fields| {
                let source = fields.text("source");
                let target = fields.text("target");
                let permissions = fields.text("permissions");
                fields.finish(&[]);
                let Some(host_path) = source else {
                    at.refuse("missing key `source`");
                    return None;
                };
                Some(Device {
                    container_path: target.unwrap_or_else(|| host_path.clone()),
                    host_path,
                    permissions: permissions.unwrap_or_else(|| "rwm".to_owned()),
                })
            }),
            Value::Scalar(_) | Value::Sequence(_) => {
                at.filled_text().and_then(|text| short_device(&at, &text))
            }
        };
        let Some(device) = device else { continue };
        match devices
            .iter_mut()
            .find(|earlier| earlier.container_path == device.container_path)
        {
            Some(earlier) => *earlier = device,
            None => devices.push(device),
        }
    }
    devices
}

fn short_device(at: &At<'_>, text: &str) -> Option<Device> {
    let is_permissions = |text: &str| !text.is_empty() && text.bytes().all(|byte| b"rwm".contains(&byte));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, permissions] if is_permissions(permissions) => (*host, *host, *permissions),
        [host, container] => (*host, *container, "rwm"),
        [host, container, permissions] if is_permissions(permissions) => (*host, *container, *permissions),
        _ => {
            at.expected("`host path[:container path[:rwm]]`");
            return None;
        }
    };
    Some(Device {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}
