//! Networks: those the files declare, how a service stands on them, and the older `network_mode`; and
//! `extra_hosts`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::yaml::Value;

use super::model::{ExtraHost, IpamPool, Network, NetworkAttachment, NetworkMode, ServiceName};
use super::reader::{At, Fields};

/// Reads the top-level `networks`.
pub(super) fn declared(at: Option<At<'_>>, project: &str) -> BTreeMap<String, Network> {
    let mut networks = BTreeMap::new();
    for (key, _, at) in at.iter().flat_map(At::named) {
        let mut network = implicit(key, project);
        if !at.node.is_null()
            && let Some(fields) = at.fields()
        {
            read(fields, key, &mut network);
        }
        networks.insert(key.to_owned(), network);
    }
    networks
}

/// A network of which nothing is said.
pub(super) fn implicit(key: &str, project: &str) -> Network {
    Network {
        key: key.to_owned(),
        name: format!("{project}_{key}"),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv6: false,
        labels: BTreeMap::new(),
        ipam: Vec::new(),
    }
}

fn read(fields: Fields<'_>, key: &str, network: &mut Network) {
    let (external, external_name) = external(&fields);
    network.external = external;
    // An external network bears its key's name unless another is given: it is nobody's project.
    let name = fields.text("name").or(external_name);
    network.name = match name {
        Some(name) => name,
        None if external => key.to_owned(),
        None => network.name.clone(),
    };
    network.driver = fields.text("driver");
    network.driver_opts = fields.text_map("driver_opts");
    network.internal = fields.flag("internal");
    network.attachable = fields.flag("attachable");
    network.enable_ipv6 = fields.flag("enable_ipv6");
    network.labels = fields.text_map("labels");
    if let Some(at) = fields.get("ipam")
        && let Some(fields) = at.fields()
    {
        if let Some(at) = fields.get("driver")
            && at.text().is_some_and(|driver| driver != "default")
        {
            at.refuse("only the address manager `default` is supported");
        }
        if let Some(at) = fields.get("config") {
            network.ipam = at.items().iter().filter_map(pool).collect();
        }
        fields.finish(&[("options", "")]);
    }
    fields.finish(&[("enable_ipv4", "")]);
}

fn pool(at: &At<'_>) -> Option<IpamPool> {
    let fields = at.fields()?;
    let pool = IpamPool {
        subnet: fields.text("subnet"),
        gateway: fields.text("gateway"),
        ip_range: fields.text("ip_range"),
    };
    fields.finish(&[("aux_addresses", "")]);
    Some(pool)
}

/// `external: true`, or the older `external: {name: …}`.
pub(super) fn external(fields: &Fields<'_>) -> (bool, Option<String>) {
    let Some(at) = fields.get("external") else {
        return (false, None);
    };
    match &at.node.value {
        Value::Mapping(_) => {
            let Some(fields) = at.fields() else {
                return (true, None);
            };
            let name = fields.text("name");
            fields.finish(&[]);
            (true, name)
        }
        Value::Scalar(_) | Value::Sequence(_) => (at.boolean().unwrap_or_default(), None),
    }
}

/// Reads a service's `networks`: a list of keys, or a mapping with how it stands on each.
pub(super) fn attachments(at: &At<'_>) -> IndexMap<String, NetworkAttachment> {
    match &at.node.value {
        Value::Mapping(_) => {
            let mut attachments = IndexMap::new();
            for (key, _, at) in at.named() {
                let attachment = if at.node.is_null() {
                    None
                } else {
                    at.fields().map(attachment)
                };
                attachments.insert(key.to_owned(), attachment.unwrap_or_default());
            }
            attachments
        }
        Value::Scalar(_) | Value::Sequence(_) => at
            .texts()
            .into_iter()
            .map(|key| (key, NetworkAttachment::default()))
            .collect(),
    }
}

fn attachment(fields: Fields<'_>) -> NetworkAttachment {
    let attachment = NetworkAttachment {
        aliases: fields.texts_once("aliases"),
        ipv4_address: fields.text("ipv4_address"),
        ipv6_address: fields.text("ipv6_address"),
        mac_address: fields.text("mac_address"),
        priority: fields
            .get("priority")
            .and_then(|at| at.integer("a whole number"))
            .unwrap_or_default(),
    };
    fields.finish(&[
        ("link_local_ips", ""),
        ("driver_opts", ""),
        ("gw_priority", ""),
        ("interface_name", ""),
    ]);
    attachment
}

/// Reads `network_mode`.
pub(super) fn mode(at: &At<'_>) -> Option<NetworkMode> {
    let text = at.filled_text()?;
    match text.as_str() {
        "none" => return Some(NetworkMode::None),
        "host" => return Some(NetworkMode::Host),
        "bridge" => return Some(NetworkMode::Bridge),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("service:") {
        match ServiceName::new(name) {
            Ok(name) => return Some(NetworkMode::Service(name)),
            Err(error) => at.refuse(error.to_string()),
        }
    } else if let Some(name) = text.strip_prefix("container:") {
        return Some(NetworkMode::Container(name.to_owned()));
    } else {
        at.refuse_with(
            format!("unknown network mode {}", at.node.describe()),
            "modes are `none`, `host`, `bridge`, `service:<name>` and `container:<name>`; a network goes under \
             `networks`",
        );
    }
    None
}

/// Reads `extra_hosts`: `host:address`, `host=address`, or a mapping; each pair once.
pub(super) fn extra_hosts(at: &At<'_>) -> Vec<ExtraHost> {
    let mut hosts: Vec<ExtraHost> = Vec::new();
    let mut add = |host: &str, address: &str| {
        let address = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        let host = ExtraHost {
            host: host.to_owned(),
            address: address.to_owned(),
        };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    };
    match &at.node.value {
        Value::Mapping(_) => {
            for (host, _, at) in at.named() {
                for at in at.one_or_many() {
                    if let Some(address) = at.filled_text() {
                        add(host, &address);
                    }
                }
            }
        }
        Value::Scalar(_) | Value::Sequence(_) => {
            for at in at.items() {
                let Some(text) = at.text() else { continue };
                match text.split_once('=').or_else(|| text.split_once(':')) {
                    Some((host, address)) if !host.is_empty() && !address.is_empty() => add(host, address),
                    Some(_) | None => at.expected("`host:address`"),
                }
            }
        }
    }
    hosts
}
