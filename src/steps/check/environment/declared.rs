//! What `checks.environment` in `deploy.yml` declares: variables that must be there, of a type, and such that must not.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::placeholders::weakness;
use super::switches::switch;
use super::{Findings, Variable, application, hosts, is_set, not_known};
use crate::compose::{Service, parse_duration};
use crate::config::VariableKind;
use crate::pipeline::Settings;

/// What is shorter can be tried out.
const LEAST_SECRET: usize = 16;

pub(super) fn look(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let declared = &settings.config.checks.environment;
    if let Some(name) = &declared.service
        && !settings.project.services.contains_key(name)
    {
        return Verdict::found(Problem::wrong(format!(
            "checks.environment.service in deploy.yml: the Compose files have no service `{name}`"
        )));
    }
    let scope = scope(settings);
    let of = |key: &str| -> Vec<&Service> {
        match &scope {
            Some(services) => services.clone(),
            None => settings
                .project
                .services
                .values()
                .filter(|one| is_set(one, key))
                .collect(),
        }
    };
    let mut findings = Findings::among(scope.clone().unwrap_or_default());
    let mut missing_everywhere = Vec::new();
    for (key, kind) in &declared.required {
        let services = of(key);
        if services.is_empty() {
            missing_everywhere.push(missing(key, kind).key(key));
        }
        for service in services {
            match Variable::of(service, key) {
                None if is_set(service, &format!("{key}_FILE")) => {
                    let why = format!("{key}_FILE names a file in the container, which is not read here");
                    findings.without(service, key, not_known(why));
                }
                None => findings.without(service, key, missing(key, kind)),
                Some(variable) => {
                    if let Some(why) = misfit(kind, variable.value) {
                        findings.about(&variable, Problem::wrong(format!("{key} {why}")));
                    }
                }
            }
        }
    }
    for key in &declared.forbidden {
        for service in of(key) {
            if let Some(variable) = Variable::of(service, key) {
                let problem = Problem::wrong(format!("{key} must not be set")).hint(format!(
                    "take {key} out of there, or out of checks.environment.forbidden"
                ));
                findings.about(&variable, problem);
            }
        }
    }
    let count = declared.required.len() + declared.forbidden.len();
    match findings.verdict(format!("as {count} declarations say")) {
        Verdict::Found(mut problems) => {
            problems.extend(missing_everywhere);
            Verdict::Found(problems)
        }
        Verdict::Passed(line) => Verdict::of(missing_everywhere, line),
        Verdict::NotYet(why) => Verdict::NotYet(why),
    }
}

/// `None`: every service that has the variable.
fn scope(settings: &Settings) -> Option<Vec<&Service>> {
    match &settings.config.checks.environment.service {
        Some(name) => Some(settings.project.services.get(name).into_iter().collect()),
        None => application(settings),
    }
}

fn missing(key: &str, kind: &VariableKind) -> Problem {
    Problem::wrong(format!("{key} is missing")).hint(format!(
        "write {key} into the env file: {kind} (checks.environment.required)"
    ))
}

/// Why a value is not of this type; without the value.
fn misfit(kind: &VariableKind, value: &str) -> Option<String> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Some("is empty".to_owned());
    }
    let fits = match kind {
        VariableKind::Text => true,
        VariableKind::Integer => trimmed.parse::<i64>().is_ok(),
        VariableKind::Boolean => switch(trimmed).is_some(),
        VariableKind::Url => url::Url::parse(trimmed).is_ok_and(|url| url.has_host()),
        VariableKind::Email => is_email(trimmed),
        VariableKind::Host => hosts::is_ip(trimmed) || hosts::is_host(trimmed),
        VariableKind::Duration => trimmed.parse::<u64>().is_ok() || parse_duration(trimmed).is_ok(),
        VariableKind::Secret => {
            let length = value.chars().count();
            if length < LEAST_SECRET {
                return Some(format!(
                    "has {length} characters, and needs {LEAST_SECRET} or more"
                ));
            }
            if let Some(weakness) = weakness(value) {
                return Some(format!("is {}", weakness.in_words()));
            }
            true
        }
        VariableKind::OneOf(values) => values.iter().any(|one| one == value),
    };
    (!fits).then(|| format!("is not {kind}"))
}

/// `name@host`, or `Name <name@host>` as Django's settings take it.
fn is_email(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    address.rsplit_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && !name.contains(|one: char| one.is_whitespace() || one == '@')
            && hosts::is_host(host)
    })
}
