//! Names of variables that came or went: since the running release, and against the sample file. Values are not
//! compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::{Findings, Variable, application, is_set, not_known};
use crate::compose::{self, Service};
use crate::pipeline::Settings;
use crate::release::Release;

pub(super) async fn look(at: At<'_>) -> Verdict {
    let settings = at.view.settings;
    let mut findings = Findings::among(settings.project.services.values().collect());
    let mut compared = Vec::new();
    if let Some(release) = &settings.current
        && let Some(before) = recorded(release)
    {
        compared.push(format!("release {}", release.tag));
        against_release(settings, release, &before, &mut findings);
    }
    let mut others = Vec::new();
    if let Some(sample) = settings.config.environment_sample() {
        let shown = shown(settings, &sample);
        match against_sample(settings, &sample, &shown, &mut findings).await {
            Ok(missing) => others = missing,
            Err(why) => others.push(not_known(format!("{shown}: {why}"))),
        }
        compared.push(shown);
    }
    if compared.is_empty() {
        return Verdict::NotYet("the record of the running release names no variables".to_owned());
    }
    match findings.verdict(format!("as {}", compared.join(" and "))) {
        Verdict::Found(problems) => Verdict::Found(problems.into_iter().chain(others).collect()),
        Verdict::Passed(line) => Verdict::of(others, line),
        Verdict::NotYet(why) => Verdict::NotYet(why),
    }
}

/// The names of each service's variables, as the release's record has them.
fn recorded(release: &Release) -> Option<BTreeMap<&str, BTreeSet<&str>>> {
    let services = release.project.get("services")?.as_object()?;
    let keys = |service: &'_ serde_json::Value| -> Option<Vec<String>> {
        let environment = service.get("environment")?.as_object()?;
        Some(environment.keys().cloned().collect())
    };
    let known = services.values().any(|service| keys(service).is_some());
    known.then(|| {
        services
            .iter()
            .map(|(name, service)| {
                let environment = service.get("environment").and_then(serde_json::Value::as_object);
                let set = environment
                    .into_iter()
                    .flatten()
                    .filter(|(_, value)| !value.is_null());
                (name.as_str(), set.map(|(key, _)| key.as_str()).collect())
            })
            .collect()
    })
}

fn against_release(
    settings: &Settings,
    release: &Release,
    before: &BTreeMap<&str, BTreeSet<&str>>,
    findings: &mut Findings<'_>,
) {
    for service in settings.project.services.values() {
        let Some(before) = before.get(service.name.as_str()) else {
            continue;
        };
        for key in before.iter().filter(|key| !is_set(service, key)) {
            let problem = Problem::wrong(format!("{key} is gone, which release {} has", release.tag))
                .hint(format!("put {key} back, unless the new release does without it"));
            findings.without(service, key, problem);
        }
        for key in service.environment.keys() {
            if let Some(variable) = Variable::of(service, key)
                && !before.contains(key.as_str())
            {
                let problem = Problem::wrong(format!("{key} is new since release {}", release.tag))
                    .hint("nothing, if it is meant");
                findings.about(&variable, problem);
            }
        }
    }
}

/// What the sample has and nobody sets; what is set in files and the sample does not have goes to the findings.
async fn against_sample(
    settings: &Settings,
    sample: &Path,
    shown: &str,
    findings: &mut Findings<'_>,
) -> Result<Vec<Problem>, String> {
    let wanted = read_keys(sample).await?;
    let mut set: BTreeSet<String> = BTreeSet::new();
    for service in settings.project.services.values() {
        set.extend(
            service
                .environment
                .keys()
                .filter(|key| is_set(service, key))
                .cloned(),
        );
    }
    // Variables that only `${…}` takes stand in no service.
    for file in settings.config.env_files() {
        set.extend(read_keys(&file).await?.into_keys());
    }
    let missing = wanted.iter().filter(|(key, _)| !set.contains(*key));
    let missing = missing.map(|(key, line)| {
        Problem::wrong(format!("{key} stands in the sample and is not set"))
            .key(key)
            .at(format!("{shown}:{line}"))
            .hint(format!(
                "write {key} into the env file, or take it out of the sample"
            ))
    });
    let services: Vec<&Service> =
        application(settings).unwrap_or_else(|| settings.project.services.values().collect());
    for service in services {
        for key in service.environment.keys() {
            let in_file = service
                .environment_source
                .get(key)
                .is_some_and(|source| !source.in_compose_file);
            if let Some(variable) = Variable::of(service, key)
                && in_file
                && !wanted.contains_key(key)
            {
                let problem = Problem::wrong(format!("{key} does not stand in {shown}"))
                    .hint(format!("add {key} to the sample, without its value"));
                findings.about(&variable, problem);
            }
        }
    }
    Ok(missing.collect())
}

async fn read_keys(file: &Path) -> Result<BTreeMap<String, usize>, String> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    compose::keys_of_env_file(&text).map_err(|line| format!("line {line} is not `KEY=value`"))
}

fn shown(settings: &Settings, file: &Path) -> String {
    let inside = file.strip_prefix(settings.config.directory());
    inside.unwrap_or(file).display().to_string()
}
