//! Which hosts the application answers to, and which origins it trusts. Host names are no secrets and are shown.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::{Findings, Variable, concerned, doubtful, not_known, shown};
use crate::pipeline::Settings;

pub(super) const ALLOWED: &[&str] = &["ALLOWED_HOSTS", "DJANGO_ALLOWED_HOSTS"];
pub(super) const ORIGINS: &[&str] = &["CSRF_TRUSTED_ORIGINS", "DJANGO_CSRF_TRUSTED_ORIGINS"];

/// The entries: with commas between them or, without any, with blanks.
fn entries(value: &str) -> Vec<&str> {
    if value.contains(',') {
        value
            .split(',')
            .filter(|entry| !entry.trim().is_empty())
            .collect()
    } else {
        value.split_whitespace().collect()
    }
}

pub(super) fn allowed(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let services = concerned(settings, ALLOWED);
    let wanted = asked_for(settings);
    let mut findings = Findings::among(services.clone());
    for service in services {
        let set = Variable::all(service, ALLOWED);
        if set.is_empty() {
            let why = "ALLOWED_HOSTS is not set; the settings may set it themselves";
            findings.without(service, "ALLOWED_HOSTS", not_known(why));
        }
        for variable in set {
            let hosts = entries(variable.value);
            if hosts.is_empty() {
                let problem = format!("{} is empty: every request is answered with 400", variable.key);
                findings.about(&variable, Problem::wrong(problem));
                continue;
            }
            for host in &hosts {
                if let Some(problem) = entry_problem(variable.key, host) {
                    findings.about(&variable, problem);
                }
            }
            if let Some((host, by)) = &wanted
                && !is_allowed(host, &hosts)
            {
                let problem = format!(
                    "{} does not let {} in, which {by} asks for",
                    variable.key,
                    shown(host)
                );
                findings.about(&variable, Problem::wrong(problem));
            }
        }
    }
    findings.verdict("each a host")
}

/// The host that a request of `health` comes with, and who says so. Over plain http it may well be the address of the
/// container.
fn asked_for(settings: &Settings) -> Option<(String, &'static str)> {
    let health = settings.config.health.as_ref()?;
    if let Some(host) = &health.host {
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        return Some((name.to_ascii_lowercase(), "health.host"));
    }
    let url = url::Url::parse(&health.url).ok()?;
    (url.scheme() == "https").then(|| url.host_str().map(|host| (host.to_owned(), "health.url")))?
}

/// As Django compares.
fn is_allowed(host: &str, allowed: &[&str]) -> bool {
    let host = host.to_ascii_lowercase();
    allowed.iter().any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        match entry.strip_prefix('.') {
            Some(domain) => host == domain || host.ends_with(&entry),
            None => entry == "*" || entry == host,
        }
    })
}

fn entry_problem(key: &str, entry: &str) -> Option<Problem> {
    let wrong = |why: String| Some(Problem::wrong(format!("{key}: {why}")));
    let said = shown(entry);
    if entry != entry.trim() {
        return wrong(format!(
            "{said} has a blank before or after it, and may match nothing"
        ));
    }
    if entry == "*" {
        return wrong("`*` lets every host in".to_owned());
    }
    if entry == "." {
        return wrong("`.` is no host".to_owned());
    }
    if entry.contains("://") {
        return wrong(format!("{said} has a scheme; a host stands alone"));
    }
    if entry.contains('/') {
        return wrong(format!("{said} has a path; a host stands alone"));
    }
    if is_ip(entry) {
        return None;
    }
    if let Some((_, port)) = entry.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return wrong(format!("{said} has a port; a host stands alone"));
    }
    match entry.strip_prefix('.') {
        Some(domain) if is_host(domain) => {
            Some(doubtful(format!("{key}: {said} lets every host below it in")))
        }
        None if is_host(entry) => None,
        Some(_) | None => wrong(format!("{said} is no host name")),
    }
}

pub(super) fn is_ip(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text).parse::<std::net::IpAddr>().is_ok()
}

/// Letters, digits, `-` and, as services are called, `_`.
pub(super) fn is_host(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

pub(super) fn origins(at: At<'_>) -> Verdict {
    let services = concerned(at.view.settings, ORIGINS);
    let mut findings = Findings::among(services.clone());
    for service in services {
        let set = Variable::all(service, ORIGINS);
        if set.is_empty() {
            let why = "CSRF_TRUSTED_ORIGINS is not set; the settings may set it themselves";
            findings.without(service, "CSRF_TRUSTED_ORIGINS", not_known(why));
        }
        let allowed = Variable::all(service, ALLOWED);
        let allowed: Vec<&str> = allowed
            .iter()
            .flat_map(|variable| entries(variable.value))
            .collect();
        for variable in set {
            let origins = entries(variable.value);
            if origins.is_empty() {
                let problem = format!("{} is empty: a form behind a proxy is refused", variable.key);
                findings.about(&variable, doubtful(problem));
            }
            for origin in origins {
                if let Some(why) = origin_problem(origin, &allowed) {
                    let problem = format!("{}: {} {why}", variable.key, shown(origin));
                    findings.about(&variable, Problem::wrong(problem));
                }
            }
        }
    }
    findings.verdict("each https, and a host of the application")
}

fn origin_problem(origin: &str, allowed: &[&str]) -> Option<String> {
    if origin != origin.trim() {
        return Some("has a blank before or after it, and may match nothing".to_owned());
    }
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Some("has no scheme: Django refuses it".to_owned());
    };
    if scheme != "https" {
        return Some("is not https".to_owned());
    }
    if rest.contains(['/', '?', '#']) {
        return Some("has a path, and matches nothing".to_owned());
    }
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) if is_ip(rest) => rest,
        Some(_) => return Some("has a port that is no port".to_owned()),
        None => rest,
    };
    let domain = host.strip_prefix("*.");
    if !is_ip(host) && !is_host(domain.unwrap_or(host)) {
        return Some("names no host".to_owned());
    }
    if allowed.is_empty() {
        return None;
    }
    let is_covered = match domain {
        Some(domain) => {
            let below = format!(".{domain}");
            is_allowed(domain, allowed) || allowed.iter().any(|entry| entry.trim().ends_with(&below))
        }
        None => is_allowed(host, allowed),
    };
    (!is_covered).then(|| "is a host that ALLOWED_HOSTS does not let in".to_owned())
}
