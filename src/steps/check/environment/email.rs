//! Mail: complete where it was begun. Whether the server takes the password is asked by another check, if at all.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::switches::switch;
use super::{Findings, Variable, application, doubtful, is_set, not_known, shown};
use crate::compose::Service;
use crate::pipeline::Settings;

const PREFIX: &str = "EMAIL_";

fn begun(service: &Service) -> bool {
    service
        .environment
        .keys()
        .any(|key| key.starts_with(PREFIX) && is_set(service, key))
}

pub(super) fn is_begun(settings: &Settings) -> bool {
    services(settings).iter().any(|service| begun(service))
}

fn services(settings: &Settings) -> Vec<&Service> {
    application(settings).unwrap_or_else(|| settings.project.services.values().collect())
}

pub(super) fn look(at: At<'_>) -> Verdict {
    let services: Vec<&Service> = services(at.view.settings)
        .into_iter()
        .filter(|one| begun(one))
        .collect();
    let mut findings = Findings::among(services.clone());
    for service in services {
        one(service, &mut findings);
    }
    findings.verdict("complete")
}

fn one(service: &Service, findings: &mut Findings<'_>) {
    let filled = |key: &str| Variable::of(service, key).filter(|variable| !variable.value.trim().is_empty());
    if let Some(backend) = filled("EMAIL_BACKEND")
        && !backend.value.contains("smtp")
    {
        let kept = ["console", "dummy", "locmem", "filebased"];
        if kept.iter().any(|name| backend.value.contains(name)) {
            findings.about(&backend, doubtful("EMAIL_BACKEND sends no mail"));
        }
        return;
    }
    // A switch alone begins nothing.
    if filled("EMAIL_HOST").is_none() {
        let begun = ["EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_PORT"]
            .iter()
            .find_map(|key| filled(key));
        if let Some(begun) = begun {
            let message = format!("EMAIL_HOST is missing, though {} is set", begun.key);
            findings.without(service, "EMAIL_HOST", Problem::wrong(message));
        } else if let Some(empty) = Variable::of(service, "EMAIL_HOST") {
            findings.about(
                &empty,
                doubtful("EMAIL_HOST is empty: Django asks this very container"),
            );
        }
    }
    if filled("EMAIL_HOST_USER").is_some() && filled("EMAIL_HOST_PASSWORD").is_none() {
        let problem = if is_set(service, "EMAIL_HOST_PASSWORD_FILE") {
            not_known("EMAIL_HOST_PASSWORD_FILE names a file in the container, which is not read here")
        } else {
            Problem::wrong("EMAIL_HOST_PASSWORD is missing, though EMAIL_HOST_USER is set")
        };
        findings.without(service, "EMAIL_HOST_PASSWORD", problem);
    }
    if let Some(port) = filled("EMAIL_PORT")
        && !port.value.trim().parse::<u16>().is_ok_and(|port| port > 0)
    {
        let message = format!("EMAIL_PORT is {}, which is no port", shown(port.value));
        findings.about(&port, Problem::wrong(message));
    }
    let mut on = Vec::new();
    for key in ["EMAIL_USE_TLS", "EMAIL_USE_SSL"] {
        let Some(variable) = Variable::of(service, key) else {
            continue;
        };
        match switch(variable.value) {
            Some(true) => on.push(variable),
            Some(false) => {}
            None => {
                let message = format!("{key} is neither true nor false");
                findings.about(&variable, Problem::wrong(message));
            }
        }
    }
    if let [_, ssl] = on.as_slice() {
        let message = "EMAIL_USE_TLS and EMAIL_USE_SSL are both on: Django refuses to send";
        findings.about(
            ssl,
            Problem::wrong(message).hint("leave one of them on: TLS on port 587, SSL on port 465"),
        );
    }
}
