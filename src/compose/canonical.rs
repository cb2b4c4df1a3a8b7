//! The resolved project as JSON in one fixed form: without its secrets for the ledger, and one service with them
//! for a hash in memory. Every field is named by destructuring, so that a new one cannot be forgotten.

use serde_json::{Map, Value, json};

use crate::secret::Secret;

use super::model::{
    Build, EnvironmentValue, ExtraHost, Healthcheck, HostPort, InterpolatedSecret, Limits, Logging, Mount,
    MountKind, Network, NetworkAttachment, NetworkMode, Project, PublishedPort, PullPolicy, RestartPolicy,
    Service, Volume,
};

impl Project {
    /// The project for the ledger: the same project always gives the same value, whatever order the files are in.
    ///
    /// A secret value stands as `{"secret": "<fingerprint>"}` in the environment and as `[secret:<fingerprint>]`
    /// inside other texts. `fingerprint` must be keyed (an HMAC): of a short password a bare hash gives the
    /// password away.
    pub fn without_secrets(&self, fingerprint: &dyn Fn(&str) -> String) -> Value {
        let Self {
            name,
            directory,
            files,
            services,
            networks,
            volumes,
            env_files: _,
            interpolated_secrets,
        } = self;
        let services: Map<String, Value> = services
            .values()
            .map(|service| {
                let mut value = service_value(service);
                redact(&mut value, interpolated_secrets, fingerprint);
                let mut environment =
                    environment_value(service, &|secret| json!({ "secret": fingerprint(secret) }));
                redact(&mut environment, interpolated_secrets, fingerprint);
                insert(&mut value, "environment", environment);
                (service.name.as_str().to_owned(), value)
            })
            .collect();
        let mut networks: Value = networks
            .values()
            .map(|network| (network.key.clone(), network_value(network)))
            .collect();
        redact(&mut networks, interpolated_secrets, fingerprint);
        let mut volumes: Value = volumes
            .values()
            .map(|volume| (volume.key.clone(), volume_value(volume)))
            .collect();
        redact(&mut volumes, interpolated_secrets, fingerprint);
        json!({
            "name": name,
            "directory": directory,
            "files": files,
            "services": services,
            "networks": networks,
            "volumes": volumes,
        })
    }
}

impl Service {
    /// Everything that makes a container of this service what it is, **secret values included**: to be hashed in
    /// memory for "is it unchanged", and for nothing else; never to be stored or shown.
    ///
    /// Left out is what does not reach the container: `build`, `pull_policy`, `depends_on`, `profiles` and the
    /// number of replicas.
    pub fn configuration_to_hash(&self) -> Secret<String> {
        let mut value = service_value(self);
        insert(
            &mut value,
            "environment",
            environment_value(self, &|secret| json!({ "secret": secret })),
        );
        if let Value::Object(map) = &mut value {
            for key in ["build", "pull_policy", "depends_on", "profiles", "replicas"] {
                map.remove(key);
            }
        }
        Secret::new(value.to_string())
    }
}

fn insert(value: &mut Value, key: &str, inserted: Value) {
    if let Value::Object(map) = value {
        map.insert(key.to_owned(), inserted);
    }
}

/// Takes secret values out of every text that is, is part of, or holds one of the interpolated texts. A value alone
/// is not looked for: a role called as the project is would take the project's name out of its images.
fn redact(value: &mut Value, secrets: &[InterpolatedSecret], fingerprint: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => {
            for secret in secrets {
                let whole = secret.text.reveal();
                let holds = whole.chars().count() >= 4 && text.contains(whole.as_str());
                if !whole.contains(text.as_str()) && !holds {
                    continue;
                }
                for value in &secret.values {
                    let replacement = format!("[secret:{}]", fingerprint(value.reveal()));
                    *text = text.replace(value.reveal().as_str(), &replacement);
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| redact(item, secrets, fingerprint)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|item| redact(item, secrets, fingerprint)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn environment_value(service: &Service, secret: &dyn Fn(&str) -> Value) -> Value {
    service
        .environment
        .iter()
        .map(|(key, value)| {
            let value = match value {
                EnvironmentValue::Plain(text) => Value::String(text.clone()),
                EnvironmentValue::Secret(text) => secret(text.reveal()),
                EnvironmentValue::Unset => Value::Null,
            };
            (key.clone(), value)
        })
        .collect()
}

/// All but the environment.
fn service_value(service: &Service) -> Value {
    let Service {
        name,
        image,
        build,
        command,
        entrypoint,
        environment: _,
        environment_source: _,
        user,
        working_dir,
        hostname,
        domainname,
        labels,
        container_name,
        restart,
        healthcheck,
        depends_on,
        ports,
        expose,
        mounts,
        networks,
        network_mode,
        extra_hosts,
        dns,
        dns_search,
        dns_opt,
        stop_signal,
        stop_grace_period,
        init,
        tty,
        stdin_open,
        read_only,
        privileged,
        cap_add,
        cap_drop,
        security_opt,
        group_add,
        sysctls,
        devices,
        shm_size,
        ulimits,
        logging,
        limits,
        replicas,
        pid,
        ipc,
        userns_mode,
        cgroup_parent,
        runtime,
        platform,
        pull_policy,
        profiles,
    } = service;
    let depends_on: Value = depends_on
        .iter()
        .map(|(name, dependency)| {
            let value = json!({
                "condition": dependency.condition.as_str(),
                "restart": dependency.restart,
                "required": dependency.required,
            });
            (name.as_str().to_owned(), value)
        })
        .collect();
    let devices: Vec<Value> = devices
        .iter()
        .map(|device| json!([device.host_path, device.container_path, device.permissions]))
        .collect();
    let ulimits: Value = ulimits
        .iter()
        .map(|(name, ulimit)| (name.clone(), json!([ulimit.soft, ulimit.hard])))
        .collect();
    let networks: Value = networks
        .iter()
        .map(|(key, value)| (key.clone(), attachment_value(value)))
        .collect();
    let mut value = json!({
        "name": name,
        "image": image,
        "build": build.as_ref().map(build_value),
        "command": command,
        "entrypoint": entrypoint,
        "user": user,
        "working_dir": working_dir,
        "hostname": hostname,
        "domainname": domainname,
        "labels": labels,
        "container_name": container_name,
        "restart": restart_value(restart.unwrap_or_default()),
        "healthcheck": healthcheck.as_ref().map(healthcheck_value),
        "depends_on": depends_on,
        "ports": ports.iter().map(port_value).collect::<Vec<_>>(),
        "expose": expose,
        "mounts": mounts.iter().map(mount_value).collect::<Vec<_>>(),
        "networks": networks,
        "network_mode": network_mode.as_ref().map(network_mode_value),
        "extra_hosts": hosts_value(extra_hosts),
        "dns": dns,
        "dns_search": dns_search,
        "dns_opt": dns_opt,
        "stop_signal": stop_signal,
        "stop_grace_period_ns": stop_grace_period.map(nanoseconds),
        "init": init,
        "tty": tty,
        "stdin_open": stdin_open,
        "read_only": read_only,
        "privileged": privileged,
    });
    let rest = json!({
        "cap_add": cap_add,
        "cap_drop": cap_drop,
        "security_opt": security_opt,
        "group_add": group_add,
        "sysctls": sysctls,
        "devices": devices,
        "shm_size": shm_size,
        "ulimits": ulimits,
        "logging": logging.as_ref().map(|Logging { driver, options }| json!({ "driver": driver, "options": options })),
        "limits": limits_value(limits),
        "replicas": replicas,
        "pid": pid,
        "ipc": ipc,
        "userns_mode": userns_mode,
        "cgroup_parent": cgroup_parent,
        "runtime": runtime,
        "platform": platform,
        "pull_policy": pull_policy.map(pull_policy_value),
        "profiles": profiles,
    });
    // One macro call for all would exceed the compiler's recursion limit.
    if let (Value::Object(value), Value::Object(rest)) = (&mut value, rest) {
        value.extend(rest);
    }
    value
}

fn build_value(build: &Build) -> Value {
    let Build {
        context,
        dockerfile,
        dockerfile_inline,
        args,
        target,
        labels,
        cache_from,
        network,
        extra_hosts,
        shm_size,
        no_cache,
        pull,
        tags,
        platforms,
    } = build;
    json!({
        "context": context,
        "dockerfile": dockerfile,
        "dockerfile_inline": dockerfile_inline,
        "args": args,
        "target": target,
        "labels": labels,
        "cache_from": cache_from,
        "network": network,
        "extra_hosts": hosts_value(extra_hosts),
        "shm_size": shm_size,
        "no_cache": no_cache,
        "pull": pull,
        "tags": tags,
        "platforms": platforms,
    })
}

fn restart_value(restart: RestartPolicy) -> Value {
    match restart {
        RestartPolicy::No => json!("no"),
        RestartPolicy::Always => json!("always"),
        RestartPolicy::UnlessStopped => json!("unless-stopped"),
        RestartPolicy::OnFailure { max_retries } => json!({ "on-failure": max_retries }),
    }
}

const fn pull_policy_value(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::Always => "always",
        PullPolicy::Never => "never",
        PullPolicy::Missing => "missing",
        PullPolicy::Build => "build",
    }
}

fn healthcheck_value(healthcheck: &Healthcheck) -> Value {
    match healthcheck {
        Healthcheck::Disabled => json!("disabled"),
        Healthcheck::Test {
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        } => json!({
            "test": test,
            "interval_ns": interval.map(nanoseconds),
            "timeout_ns": timeout.map(nanoseconds),
            "retries": retries,
            "start_period_ns": start_period.map(nanoseconds),
            "start_interval_ns": start_interval.map(nanoseconds),
        }),
    }
}

fn port_value(port: &PublishedPort) -> Value {
    let PublishedPort {
        target,
        protocol,
        host_ip,
        published,
    } = port;
    let published = match published {
        HostPort::Ephemeral => Value::Null,
        HostPort::Fixed(port) => json!(port),
        HostPort::Range(from, to) => json!([from, to]),
    };
    json!({ "target": target, "protocol": protocol.as_str(), "host_ip": host_ip, "published": published })
}

fn mount_value(mount: &Mount) -> Value {
    let Mount {
        target,
        read_only,
        kind,
    } = mount;
    let kind = match kind {
        MountKind::Volume { key, nocopy, subpath } => {
            json!({ "volume": key, "nocopy": nocopy, "subpath": subpath })
        }
        MountKind::AnonymousVolume => json!("anonymous volume"),
        MountKind::Bind {
            source,
            create_host_path,
            propagation,
            selinux,
        } => json!({
            "bind": source,
            "create_host_path": create_host_path,
            "propagation": propagation,
            "selinux": selinux,
        }),
        MountKind::Tmpfs { size, mode, options } => {
            json!({ "tmpfs": { "size": size, "mode": mode, "options": options } })
        }
    };
    json!({ "target": target, "read_only": read_only, "kind": kind })
}

fn attachment_value(attachment: &NetworkAttachment) -> Value {
    let NetworkAttachment {
        aliases,
        ipv4_address,
        ipv6_address,
        mac_address,
        priority,
    } = attachment;
    json!({
        "aliases": aliases,
        "ipv4_address": ipv4_address,
        "ipv6_address": ipv6_address,
        "mac_address": mac_address,
        "priority": priority,
    })
}

fn network_mode_value(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Service(name) => format!("service:{name}"),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

fn limits_value(limits: &Limits) -> Value {
    let Limits {
        memory,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        nano_cpus,
        cpu_shares,
        cpuset,
        pids,
        oom_kill_disable,
        oom_score_adj,
    } = limits;
    json!({
        "memory": memory,
        "memory_reservation": memory_reservation,
        "memory_swap": memory_swap,
        "memory_swappiness": memory_swappiness,
        "nano_cpus": nano_cpus,
        "cpu_shares": cpu_shares,
        "cpuset": cpuset,
        "pids": pids,
        "oom_kill_disable": oom_kill_disable,
        "oom_score_adj": oom_score_adj,
    })
}

fn hosts_value(hosts: &[ExtraHost]) -> Vec<String> {
    hosts
        .iter()
        .map(|ExtraHost { host, address }| format!("{host}={address}"))
        .collect()
}

fn network_value(network: &Network) -> Value {
    let Network {
        key: _,
        name,
        external,
        driver,
        driver_opts,
        internal,
        attachable,
        enable_ipv6,
        labels,
        ipam,
    } = network;
    let ipam: Vec<Value> = ipam
        .iter()
        .map(|pool| json!([pool.subnet, pool.gateway, pool.ip_range]))
        .collect();
    json!({
        "name": name,
        "external": external,
        "driver": driver,
        "driver_opts": driver_opts,
        "internal": internal,
        "attachable": attachable,
        "enable_ipv6": enable_ipv6,
        "labels": labels,
        "ipam": ipam,
    })
}

fn volume_value(volume: &Volume) -> Value {
    let Volume {
        key: _,
        name,
        external,
        driver,
        driver_opts,
        labels,
    } = volume;
    json!({ "name": name, "external": external, "driver": driver, "driver_opts": driver_opts, "labels": labels })
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
