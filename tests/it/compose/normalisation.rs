//! What `docker compose config --format json` wrote, without what it leaves open: nulls, empty parts, defaults it
//! writes out, spellings of durations.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON's other kinds are all alike here"
)]

use serde_json::{Map, Value, json};
use viatique_deploy::compose::parse_duration;

/// What Docker Compose wrote, without what has no meaning.
pub(crate) fn normalised(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(service) = &mut value {
        canonical_service(service);
    }
    pruned(value)
}

/// Spellings that our model does not keep.
fn canonical_service(service: &mut Map<String, Value>) {
    // An empty command and entrypoint mean something; nulls do not.
    for key in ["command", "entrypoint"] {
        if service
            .get(key)
            .is_some_and(|value| value.as_array().is_some_and(Vec::is_empty))
        {
            service.insert(key.to_owned(), json!("emptied"));
        }
    }
    if let Some(Value::String(text)) = service.get("stop_grace_period") {
        let duration = nanoseconds(text);
        service.insert("stop_grace_period".to_owned(), duration);
    }
    if let Some(Value::Object(check)) = service.get_mut("healthcheck") {
        for key in ["interval", "timeout", "start_period", "start_interval"] {
            if let Some(Value::String(text)) = check.get(key) {
                let duration = nanoseconds(text);
                check.insert(key.to_owned(), duration);
            }
        }
        if check.get("test") == Some(&json!(["NONE"])) {
            *check = Map::from_iter([("disable".to_owned(), json!(true))]);
        }
    }
    if let Some(Value::Object(environment)) = service.get_mut("environment") {
        for value in environment.values_mut() {
            if value.is_null() {
                *value = json!({ "unset": true });
            } else if value == "" {
                *value = json!({ "empty": true });
            }
        }
    }
    if let Some(Value::Object(build)) = service.get_mut("build") {
        if let (Some(Value::String(context)), Some(Value::String(file))) =
            (build.get("context"), build.get("dockerfile"))
        {
            let path = std::path::Path::new(context).join(file);
            let clean = path
                .display()
                .to_string()
                .replace("/dir/../", "/")
                .replace("/./", "/");
            build.insert("dockerfile".to_owned(), json!(clean));
        }
        if let Some(Value::Object(args)) = build.get_mut("args") {
            for value in args.values_mut() {
                if value.is_null() {
                    *value = json!({ "unset": true });
                } else if value == "" {
                    *value = json!({ "empty": true });
                }
            }
        }
    }
    if let Some(Value::Object(ulimits)) = service.get_mut("ulimits") {
        for value in ulimits.values_mut() {
            if value.is_number() {
                *value = json!({ "soft": value, "hard": value });
            }
        }
    }
    canonical_limits(service);
    canonical_expose(service);
    canonical_mounts(service);
    if let Some(Value::Array(ports)) = service.get_mut("ports") {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            for key in ["mode", "name", "app_protocol"] {
                port.remove(key);
            }
        }
        // The merge of several files gives an order of no meaning.
        ports.sort_by_key(Value::to_string);
    }
    if let Some(Value::Array(hosts)) = service.get_mut("extra_hosts") {
        hosts.sort_by_key(Value::to_string);
    }
    if let Some(Value::Object(networks)) = service.get_mut("networks") {
        for attachment in networks.values_mut() {
            if attachment.as_object().is_none_or(Map::is_empty) {
                *attachment = json!({ "attached": true });
            }
        }
    }
}

/// `deploy` and the older keys as one.
fn canonical_limits(service: &mut Map<String, Value>) {
    let deploy = service.remove("deploy").unwrap_or_default();
    let mut limits = Map::new();
    let number = |value: &Value| match value {
        Value::String(text) => json!(text.parse::<i64>().unwrap()),
        other => other.clone(),
    };
    let nano = |value: &Value| json!((value.as_f64().unwrap() * 1e9).round() as u64);
    for (ours, theirs) in [
        ("memory", "mem_limit"),
        ("memory_reservation", "mem_reservation"),
        ("memory_swap", "memswap_limit"),
        ("memory_swappiness", "mem_swappiness"),
        ("cpu_shares", "cpu_shares"),
        ("cpuset", "cpuset"),
        ("pids", "pids_limit"),
        ("oom_kill_disable", "oom_kill_disable"),
        ("oom_score_adj", "oom_score_adj"),
    ] {
        if let Some(value) = service.remove(theirs) {
            limits.insert(
                ours.to_owned(),
                if theirs == "cpuset" { value } else { number(&value) },
            );
        }
    }
    if let Some(cpus) = service.remove("cpus") {
        limits.insert("nano_cpus".to_owned(), nano(&cpus));
    }
    let resources = &deploy["resources"];
    for (ours, value) in [
        ("memory", &resources["limits"]["memory"]),
        ("pids", &resources["limits"]["pids"]),
        ("memory_reservation", &resources["reservations"]["memory"]),
    ] {
        if !value.is_null() {
            limits.insert(ours.to_owned(), number(value));
        }
    }
    if !resources["limits"]["cpus"].is_null() {
        limits.insert("nano_cpus".to_owned(), nano(&resources["limits"]["cpus"]));
    }
    if !limits.is_empty() {
        service.insert("limits".to_owned(), Value::Object(limits));
    }
    let scale = service.remove("scale").unwrap_or(json!(1));
    let replicas = if deploy["replicas"].is_null() {
        scale
    } else {
        deploy["replicas"].clone()
    };
    service.insert("replicas".to_owned(), replicas);
    let policy = &deploy["restart_policy"];
    if !policy.is_null() && service.get("restart").is_none() {
        let word = match policy["condition"].as_str().unwrap() {
            "any" => "always".to_owned(),
            "none" => "no".to_owned(),
            other => format!("{other}:{}", policy["max_attempts"]),
        };
        service.insert("restart".to_owned(), json!(word));
    }
    if service.get("restart") == Some(&json!("no")) {
        service.remove("restart");
    }
    if let Some(size) = service.get("shm_size").cloned() {
        service.insert("shm_size".to_owned(), number(&size));
    }
    if let Some(Value::Object(build)) = service.get_mut("build")
        && let Some(size) = build.get("shm_size").cloned()
    {
        build.insert("shm_size".to_owned(), number(&size));
    }
}

/// Compose keeps ranges as written.
fn canonical_expose(service: &mut Map<String, Value>) {
    let Some(Value::Array(exposed)) = service.get("expose") else {
        return;
    };
    let mut ports = Vec::new();
    for text in exposed.iter().map(|value| value.as_str().unwrap()) {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        for port in from.parse::<u16>().unwrap()..=to.parse().unwrap() {
            ports.push(json!(format!("{port}/{protocol}")));
        }
    }
    service.insert("expose".to_owned(), Value::Array(ports));
}

/// `tmpfs`, `secrets` and `configs` as mounts; the files' own paths are compared with the sections.
fn canonical_mounts(service: &mut Map<String, Value>) {
    let mut mounts = match service.remove("volumes") {
        Some(Value::Array(mounts)) => mounts,
        _ => Vec::new(),
    };
    for mount in &mut mounts {
        if mount["type"] == "tmpfs" && mount["tmpfs"]["size"].is_string() {
            mount["tmpfs"]["size"] = json!(mount["tmpfs"]["size"].as_str().unwrap().parse::<u64>().unwrap());
        }
    }
    for mount in service
        .remove("tmpfs")
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (target, options) = mount
            .as_str()
            .unwrap()
            .split_once(':')
            .unwrap_or((mount.as_str().unwrap(), ""));
        mounts.push(json!({ "type": "tmpfs", "target": target, "tmpfs": { "options": options } }));
    }
    for (key, folder) in [("secrets", "/run/secrets/"), ("configs", "/")] {
        for file in service
            .remove(key)
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let target = file["target"].as_str().or(file["source"].as_str()).unwrap();
            let target = if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("{folder}{target}")
            };
            mounts.push(json!({ "type": "file", "target": target }));
        }
    }
    mounts.sort_by_key(Value::to_string);
    service.insert("mounts".to_owned(), Value::Array(mounts));
}

fn nanoseconds(text: &str) -> Value {
    json!(u64::try_from(parse_duration(text).unwrap().as_nanos()).unwrap())
}

/// Without nulls, falsehoods and empty parts; `$$` as `$`, which Compose doubles in its output.
pub(crate) fn pruned(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key.replace("$$", "$"), pruned(value)))
                .filter(|(_, value)| !is_nothing(value))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        Value::String(text) => Value::String(text.replace("$$", "$")),
        other => other,
    }
}

pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
