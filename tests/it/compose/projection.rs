//! Our model in the shape of `docker compose config --format json`, as [`normalised`] leaves it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON's other kinds are all alike here"
)]

use serde_json::{Map, Value, json};
use viatique_deploy::compose::{
    Build, EnvironmentValue, Healthcheck, HostPort, Mount, MountKind, NetworkMode, Project, PullPolicy,
    RestartPolicy, Service,
};

use super::normalisation::{is_nothing, normalised, pruned};

/// Our service in that shape.
pub(crate) fn service(service: &Service) -> Value {
    let limits = &service.limits;
    let words = |words: &Option<Vec<String>>| match words {
        None => Value::Null,
        Some(words) if words.is_empty() => json!("emptied"),
        Some(words) => json!(words),
    };
    let mut ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let published = match port.published {
                HostPort::Ephemeral => Value::Null,
                HostPort::Fixed(port) => json!(port.to_string()),
                HostPort::Range(from, to) => json!(format!("{from}-{to}")),
            };
            json!({
                "target": port.target, "published": published, "host_ip": port.host_ip,
                "protocol": port.protocol.as_str(),
            })
        })
        .map(pruned)
        .collect();
    ports.sort_by_key(Value::to_string);
    let mut hosts: Vec<Value> = service
        .extra_hosts
        .iter()
        .map(|host| json!(format!("{}={}", host.host, host.address)))
        .collect();
    hosts.sort_by_key(Value::to_string);
    let mut mounts: Vec<Value> = service.mounts.iter().map(mount).map(pruned).collect();
    mounts.sort_by_key(Value::to_string);
    let networks: Map<String, Value> = service
        .networks
        .iter()
        .map(|(key, attachment)| {
            let value = pruned(json!({
                "aliases": attachment.aliases,
                "ipv4_address": attachment.ipv4_address,
                "ipv6_address": attachment.ipv6_address,
                "mac_address": attachment.mac_address,
                "priority": (attachment.priority != 0).then_some(attachment.priority),
            }));
            (
                key.clone(),
                if is_nothing(&value) {
                    json!({ "attached": true })
                } else {
                    value
                },
            )
        })
        .collect();
    let mut projected = Map::from_iter([
        ("image".to_owned(), json!(service.image)),
        ("build".to_owned(), service.build.as_ref().map(build).into()),
        ("command".to_owned(), words(&service.command)),
        ("entrypoint".to_owned(), words(&service.entrypoint)),
        ("environment".to_owned(), environment(service)),
        ("user".to_owned(), json!(service.user)),
        ("working_dir".to_owned(), json!(service.working_dir)),
        ("hostname".to_owned(), json!(service.hostname)),
        ("domainname".to_owned(), json!(service.domainname)),
        ("labels".to_owned(), json!(service.labels)),
        ("container_name".to_owned(), json!(service.container_name)),
        ("restart".to_owned(), restart(service.restart.unwrap_or_default())),
        (
            "healthcheck".to_owned(),
            service.healthcheck.as_ref().map(healthcheck).into(),
        ),
        ("depends_on".to_owned(), depends_on(service)),
        ("ports".to_owned(), Value::Array(ports)),
        ("expose".to_owned(), json!(service.expose)),
        ("mounts".to_owned(), Value::Array(mounts)),
        ("networks".to_owned(), Value::Object(networks)),
        (
            "network_mode".to_owned(),
            service.network_mode.as_ref().map(network_mode).into(),
        ),
        ("extra_hosts".to_owned(), Value::Array(hosts)),
        ("replicas".to_owned(), json!(service.replicas)),
    ]);
    let rest = json!({
        "dns": service.dns, "dns_search": service.dns_search, "dns_opt": service.dns_opt,
        "stop_signal": service.stop_signal,
        "stop_grace_period": service.stop_grace_period.map(|duration| duration.as_nanos() as u64),
        "init": service.init, "tty": service.tty, "stdin_open": service.stdin_open,
        "read_only": service.read_only, "privileged": service.privileged,
        "cap_add": service.cap_add, "cap_drop": service.cap_drop, "security_opt": service.security_opt,
        "group_add": service.group_add, "sysctls": service.sysctls,
        "devices": service.devices.iter().map(|device| json!({
            "source": device.host_path, "target": device.container_path, "permissions": device.permissions,
        })).collect::<Vec<_>>(),
        "shm_size": service.shm_size,
        "ulimits": service.ulimits.iter().map(|(name, limit)| {
            (name.clone(), json!({ "soft": limit.soft, "hard": limit.hard }))
        }).collect::<Map<_, _>>(),
        "logging": service.logging.as_ref().map(|logging| json!({
            "driver": logging.driver, "options": logging.options,
        })),
        "limits": {
            "memory": limits.memory, "memory_reservation": limits.memory_reservation,
            "memory_swap": limits.memory_swap, "memory_swappiness": limits.memory_swappiness,
            "nano_cpus": limits.nano_cpus, "cpu_shares": limits.cpu_shares, "cpuset": limits.cpuset,
            "pids": limits.pids, "oom_kill_disable": limits.oom_kill_disable, "oom_score_adj": limits.oom_score_adj,
        },
        "pid": service.pid, "ipc": service.ipc, "userns_mode": service.userns_mode,
        "cgroup_parent": service.cgroup_parent, "runtime": service.runtime, "platform": service.platform,
        "pull_policy": service.pull_policy.map(|policy| match policy {
            PullPolicy::Always => "always",
            PullPolicy::Never => "never",
            PullPolicy::Missing => "missing",
            PullPolicy::Build => "build",
        }),
        "profiles": service.profiles,
    });
    projected.extend(rest.as_object().unwrap().clone());
    // Not through `pruned`: a `$$` of ours would be a bug.
    without_nothing(Value::Object(projected))
}

fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, without_nothing(value)))
                .filter(|(_, value)| !is_nothing(value))
                .collect(),
        ),
        other => other,
    }
}

fn environment(service: &Service) -> Value {
    service
        .environment
        .iter()
        .map(|(key, value)| {
            let value = match value {
                EnvironmentValue::Unset => json!({ "unset": true }),
                other if other.reveal() == Some("") => json!({ "empty": true }),
                other => json!(other.reveal()),
            };
            (key.clone(), value)
        })
        .collect()
}

fn build(build: &Build) -> Value {
    let args: Map<String, Value> = build
        .args
        .iter()
        // Compose leaves out those without a value.
        .filter_map(|(key, value)| {
            let value = match value.as_deref()? {
                "" => json!({ "empty": true }),
                text => json!(text),
            };
            Some((key.clone(), value))
        })
        .collect();
    let hosts: Vec<String> = build
        .extra_hosts
        .iter()
        .map(|host| format!("{}={}", host.host, host.address))
        .collect();
    json!({
        "context": build.context, "dockerfile": build.dockerfile, "dockerfile_inline": build.dockerfile_inline,
        "args": args, "target": build.target, "labels": build.labels, "cache_from": build.cache_from,
        "network": build.network, "extra_hosts": hosts, "shm_size": build.shm_size, "no_cache": build.no_cache,
        "pull": build.pull, "tags": build.tags, "platforms": build.platforms,
    })
}

fn restart(restart: RestartPolicy) -> Value {
    match restart {
        RestartPolicy::No => Value::Null,
        RestartPolicy::Always => json!("always"),
        RestartPolicy::UnlessStopped => json!("unless-stopped"),
        RestartPolicy::OnFailure { max_retries: None } => json!("on-failure"),
        RestartPolicy::OnFailure {
            max_retries: Some(retries),
        } => json!(format!("on-failure:{retries}")),
    }
}

fn healthcheck(check: &Healthcheck) -> Value {
    match check {
        Healthcheck::Disabled => json!({ "disable": true }),
        Healthcheck::Test {
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        } => {
            let nanoseconds =
                |duration: &Option<std::time::Duration>| duration.map(|duration| duration.as_nanos() as u64);
            json!({
                "test": test, "interval": nanoseconds(interval), "timeout": nanoseconds(timeout), "retries": retries,
                "start_period": nanoseconds(start_period), "start_interval": nanoseconds(start_interval),
            })
        }
    }
}

fn depends_on(service: &Service) -> Value {
    service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let value = json!({
                "condition": dependency.condition.as_str(), "restart": dependency.restart,
                "required": dependency.required,
            });
            (name.as_str().to_owned(), value)
        })
        .collect()
}

fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Service(name) => format!("service:{name}"),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

fn mount(mount: &Mount) -> Value {
    let target = &mount.target;
    let read_only = mount.read_only;
    match &mount.kind {
        MountKind::Volume { key, nocopy, subpath } => json!({
            "type": "volume", "source": key, "target": target, "read_only": read_only,
            "volume": { "nocopy": nocopy, "subpath": subpath },
        }),
        MountKind::AnonymousVolume => json!({ "type": "volume", "target": target, "read_only": read_only }),
        MountKind::Bind { source, .. }
            if source.starts_with("/etc/password") || read_only && is_file(source) =>
        {
            json!({ "type": "file", "target": target })
        }
        MountKind::Bind {
            source,
            create_host_path,
            propagation,
            selinux,
        } => json!({
            "type": "bind", "source": source, "target": target, "read_only": read_only,
            "bind": { "create_host_path": create_host_path, "propagation": propagation, "selinux": selinux },
        }),
        MountKind::Tmpfs {
            size: None,
            mode: None,
            options,
        } => json!({
            "type": "tmpfs", "target": target, "read_only": read_only, "tmpfs": { "options": options.join(",") },
        }),
        MountKind::Tmpfs { size, mode, .. } => json!({
            "type": "tmpfs", "target": target, "read_only": read_only, "tmpfs": { "size": size, "mode": mode },
        }),
    }
}

/// The fixtures' secrets and configs.
fn is_file(source: &std::path::Path) -> bool {
    source.ends_with("secrets/token.txt") || source.ends_with("settings.ini")
}

/// Our networks, by key.
pub(crate) fn networks(project: &Project) -> Value {
    project
        .networks
        .values()
        .map(|network| {
            let pools: Vec<Value> = network
                .ipam
                .iter()
                .map(|pool| {
                    pruned(json!({ "subnet": pool.subnet, "gateway": pool.gateway, "ip_range": pool.ip_range }))
                })
                .collect();
            let ipam = if pools.is_empty() { json!({}) } else { json!({ "driver": "default", "config": pools }) };
            let value = pruned(json!({
                "name": network.name, "external": network.external, "driver": network.driver,
                "driver_opts": network.driver_opts, "internal": network.internal,
                "attachable": network.attachable, "enable_ipv6": network.enable_ipv6, "labels": network.labels,
                "ipam": ipam,
            }));
            (network.key.clone(), with_defaults(value))
        })
        .collect()
}

/// Our volumes, by key.
pub(crate) fn volumes(project: &Project) -> Value {
    project
        .volumes
        .values()
        .map(|volume| {
            let value = pruned(json!({
                "name": volume.name, "external": volume.external, "driver": volume.driver,
                "driver_opts": volume.driver_opts, "labels": volume.labels,
            }));
            (volume.key.clone(), with_defaults(value))
        })
        .collect()
}

/// What `normalised` puts into every mapping because it takes it for a service.
fn with_defaults(value: Value) -> Value {
    pruned(normalised(&value))
}
