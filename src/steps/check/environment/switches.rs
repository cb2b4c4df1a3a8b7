//! Switches: debugging off, cookies over https only. Their values are no secrets and are shown.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::{Findings, Variable, concerned, doubtful, not_known, shown};

pub(super) const DEBUG: &[&str] = &["DEBUG", "DJANGO_DEBUG"];

/// Each by its name in the settings, and by the name that many give it in the environment.
const SECURE: [[&str; 2]; 2] = [
    ["SESSION_COOKIE_SECURE", "DJANGO_SESSION_COOKIE_SECURE"],
    ["CSRF_COOKIE_SECURE", "DJANGO_CSRF_COOKIE_SECURE"],
];
const REDIRECTS: &[&str] = &["SECURE_SSL_REDIRECT", "DJANGO_SECURE_SSL_REDIRECT", "SSL_ENABLED"];

/// All that the check of cookies reads.
pub(super) const COOKIES: &[&str] = &[
    "SESSION_COOKIE_SECURE",
    "DJANGO_SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "DJANGO_CSRF_COOKIE_SECURE",
    "SECURE_SSL_REDIRECT",
    "DJANGO_SECURE_SSL_REDIRECT",
    "SSL_ENABLED",
];

/// As the usual ways of reading a switch from the environment agree; `None` where they do not.
pub(super) fn switch(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "off" | "n" | "f" | "" => Some(false),
        _ => None,
    }
}

pub(super) fn debug(at: At<'_>) -> Verdict {
    let services = concerned(at.view.settings, DEBUG);
    let mut findings = Findings::among(services.clone());
    for service in services {
        let set = Variable::all(service, DEBUG);
        if set.is_empty() {
            let why = "DEBUG is not set; what the settings do then is not known here";
            findings.without(service, "DEBUG", not_known(why));
        }
        for variable in set {
            let problem = match switch(variable.value) {
                Some(false) => continue,
                Some(true) => format!("{} is {}", variable.key, shown(variable.value)),
                None => format!(
                    "{} is neither true nor false, and may be taken for true",
                    variable.key
                ),
            };
            let hint = format!("write {}=False into the env file", variable.key);
            findings.about(&variable, Problem::wrong(problem).hint(hint));
        }
    }
    findings.verdict("off")
}

pub(super) fn cookies(at: At<'_>) -> Verdict {
    let services = concerned(at.view.settings, COOKIES);
    let mut findings = Findings::among(services.clone());
    for service in services {
        for keys in SECURE {
            let set = Variable::all(service, &keys);
            if set.is_empty() {
                let [key, _] = keys;
                let why = format!("{key} is not set; the settings may set it themselves");
                findings.without(service, key, not_known(why));
            }
            for variable in set {
                let problem = match switch(variable.value) {
                    Some(true) => continue,
                    Some(false) => format!(
                        "{} is {}: the cookie is sent over http, too",
                        variable.key,
                        shown(variable.value)
                    ),
                    None => format!("{} is neither true nor false", variable.key),
                };
                let hint = format!("write {}=True into the env file", variable.key);
                findings.about(&variable, Problem::wrong(problem).hint(hint));
            }
        }
        for variable in Variable::all(service, REDIRECTS) {
            let problem = match switch(variable.value) {
                Some(true) => continue,
                Some(false) => format!(
                    "{} is {}: who comes by http stays there, unless a proxy before it sends them on",
                    variable.key,
                    shown(variable.value)
                ),
                None => format!("{} is neither true nor false", variable.key),
            };
            findings.about(&variable, doubtful(problem));
        }
    }
    findings.verdict("over https only")
}
