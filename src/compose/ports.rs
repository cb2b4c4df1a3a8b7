//! `ports` and `expose`, short and long.

use crate::yaml::Value;

use super::model::{HostPort, Protocol, PublishedPort};
use super::reader::{At, once};

/// Reads `ports`: one entry for each container port, each once.
pub(super) fn ports(at: &At<'_>) -> Vec<PublishedPort> {
    let mut ports: Vec<PublishedPort> = Vec::new();
    for at in at.items() {
        let read = match &at.node.value {
            Value::Mapping(_) => long(&at),
            Value::Scalar(_) | Value::Sequence(_) => short_at(&at),
        };
        for port in read {
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    ports
}

/// Reads `expose`, as `8000/tcp`.
pub(super) fn expose(at: &At<'_>) -> Vec<String> {
    let mut exposed = Vec::new();
    for at in at.items() {
        let Some(text) = at.text() else { continue };
        match target(&text) {
            Ok(((first, last), protocol)) => {
                exposed.extend((first..=last).map(|port| format!("{port}/{}", protocol.as_str())));
            }
            Err(message) => at.refuse(shown(&at, message)),
        }
    }
    once(exposed)
}

fn short_at(at: &At<'_>) -> Vec<PublishedPort> {
    let Some(text) = at.text() else { return Vec::new() };
    short(&text).unwrap_or_else(|message| {
        at.refuse_with(
            shown(at, message),
            "write `\"<host port>:<container port>\"`, such as `\"127.0.0.1:8000:8000\"`",
        );
        Vec::new()
    })
}

/// A message that may quote the value, unless the value may be secret.
fn shown(at: &At<'_>, message: String) -> String {
    match at.origin() {
        crate::yaml::Origin::Written => message,
        crate::yaml::Origin::Variable => format!("not a port: {}", at.node.describe()),
    }
}

/// `[ip:][published:]target[/protocol]`, each port perhaps a range.
fn short(text: &str) -> Result<Vec<PublishedPort>, String> {
    let (rest, target_text) = match text.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, text),
    };
    let ((first, last), protocol) = target(target_text)?;
    let (host_ip, published) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            Some((ip, published)) => (Some(address(ip)?), published),
            None => (None, rest),
        },
    };
    let count = u32::from(last - first) + 1;
    let port = |target: u16, published: HostPort| PublishedPort {
        target,
        protocol,
        host_ip: host_ip.clone(),
        published,
    };
    if published.is_empty() {
        return Ok((first..=last)
            .map(|target| port(target, HostPort::Ephemeral))
            .collect());
    }
    let (from, to) = range(published)?;
    let published_count = u32::from(to - from) + 1;
    if published_count == count {
        Ok((first..=last)
            .zip(from..=to)
            .map(|(target, published)| port(target, HostPort::Fixed(published)))
            .collect())
    } else if count == 1 {
        Ok(vec![port(first, HostPort::Range(from, to))])
    } else {
        Err(format!(
            "`{text}`: {published_count} host ports for {count} container ports"
        ))
    }
}

fn long(at: &At<'_>) -> Vec<PublishedPort> {
    let Some(fields) = at.fields() else {
        return Vec::new();
    };
    let target = fields
        .get("target")
        .map(|at| at.integer::<u16>("a container port").filter(|port| *port > 0));
    let published = fields.get("published").map(|at| {
        let text = at.text()?;
        range(&text)
            .map_err(|message| at.refuse(shown(&at, message)))
            .ok()
    });
    let host_ip = fields.get("host_ip").and_then(|at| {
        let text = at.filled_text()?;
        address(&text)
            .map_err(|message| at.refuse(shown(&at, message)))
            .ok()
    });
    let protocol = fields.get("protocol").and_then(|at| {
        let text = at.filled_text()?;
        protocol(&text)
            .map_err(|message| at.refuse(shown(&at, message)))
            .ok()
    });
    if let Some(at) = fields.get("mode")
        && let Some(mode) = at.text()
        && !matches!(mode.as_str(), "host" | "ingress")
    {
        at.expected("`host` or `ingress`");
    }
    // Both are for people only.
    fields.ignore("name");
    fields.ignore("app_protocol");
    fields.finish(&[]);
    let target = match target {
        None => {
            at.refuse("missing key `target`");
            return Vec::new();
        }
        Some(None) => return Vec::new(),
        Some(Some(target)) => target,
    };
    let published = match published {
        None => HostPort::Ephemeral,
        Some(None) => return Vec::new(),
        Some(Some((from, to))) if from == to => HostPort::Fixed(from),
        Some(Some((from, to))) => HostPort::Range(from, to),
    };
    vec![PublishedPort {
        target,
        protocol: protocol.unwrap_or(Protocol::Tcp),
        host_ip,
        published,
    }]
}

/// `8000`, `8000-8010`, with `/udp` perhaps.
fn target(text: &str) -> Result<((u16, u16), Protocol), String> {
    match text.split_once('/') {
        Some((ports, name)) => Ok((range(ports)?, protocol(name)?)),
        None => Ok((range(text)?, Protocol::Tcp)),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>()
            .ok()
            .filter(|port| digits && *port > 0)
            .ok_or_else(|| format!("`{part}` is not a port"))
    };
    match text.split_once('-') {
        Some((from, to)) => {
            let (from, to) = (port(from)?, port(to)?);
            if from <= to {
                Ok((from, to))
            } else {
                Err(format!("the range `{text}` ends before it begins"))
            }
        }
        None => port(text).map(|port| (port, port)),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(format!("`{text}` is not a protocol: `tcp`, `udp` or `sctp`")),
    }
}

/// An address of the host; IPv6 in brackets or not.
fn address(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(format!("`{text}` is not an IP address")),
    }
}
