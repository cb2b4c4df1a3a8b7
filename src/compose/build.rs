//! `build`: a folder, or a mapping.

use std::collections::BTreeMap;

use crate::yaml::Value;

use super::model::Build;
use super::networks::extra_hosts;
use super::reader::{At, Fields};

/// Reads `build`.
pub(super) fn build(at: &At<'_>) -> Option<Build> {
    match &at.node.value {
        Value::Mapping(_) => at.fields().and_then(long),
        Value::Scalar(_) | Value::Sequence(_) => {
            let context = at.scope.absolute(&local(at)?);
            Some(Build {
                dockerfile: Some(context.join("Dockerfile")),
                context,
                dockerfile_inline: None,
                args: BTreeMap::new(),
                target: None,
                labels: BTreeMap::new(),
                cache_from: Vec::new(),
                network: None,
                extra_hosts: Vec::new(),
                shm_size: None,
                no_cache: false,
                pull: false,
                tags: Vec::new(),
                platforms: Vec::new(),
            })
        }
    }
}

fn long(fields: Fields<'_>) -> Option<Build> {
    let context = match fields.get("context") {
        Some(at) => at.scope.absolute(&local(&at)?),
        None => fields.at.scope.absolute("."),
    };
    let inline = fields.get("dockerfile_inline").and_then(|at| at.filled_text());
    let written = fields.get("dockerfile");
    if let (Some(at), Some(_)) = (&written, &inline) {
        at.refuse("cannot stand beside `dockerfile_inline`");
    }
    let dockerfile = match (&inline, written.and_then(|at| at.filled_text())) {
        (Some(_), _) => None,
        (None, Some(path)) => Some(super::scope::absolute_from(&context, &path, None)),
        (None, None) => Some(context.join("Dockerfile")),
    };
    let build = Build {
        context,
        dockerfile,
        dockerfile_inline: inline,
        args: fields.get("args").map(|at| args(&at)).unwrap_or_default(),
        target: fields.text("target"),
        labels: fields.text_map("labels"),
        cache_from: fields.texts_once("cache_from"),
        network: fields.text("network"),
        extra_hosts: fields
            .get("extra_hosts")
            .map(|at| extra_hosts(&at))
            .unwrap_or_default(),
        shm_size: fields.bytes("shm_size"),
        no_cache: fields.flag("no_cache"),
        pull: fields.flag("pull"),
        tags: fields.texts_once("tags"),
        platforms: fields.texts_once("platforms"),
    };
    fields.finish(&[
        ("additional_contexts", ""),
        ("cache_to", ""),
        ("entitlements", ""),
        ("isolation", ""),
        ("privileged", ""),
        ("provenance", ""),
        ("sbom", ""),
        ("secrets", ""),
        ("ssh", ""),
        ("ulimits", ""),
    ]);
    Some(build)
}

/// An argument that stands alone takes the variable of its name.
fn args(at: &At<'_>) -> BTreeMap<String, Option<String>> {
    at.key_values()
        .into_iter()
        .map(|entry| {
            let value = entry.value.or_else(|| {
                let variable = at.scope.variable(&entry.key)?;
                if !variable.public && !variable.value.is_empty() {
                    at.scope
                        .remember_secrets(&variable.value, vec![variable.value.clone()]);
                }
                Some(variable.value)
            });
            (entry.key, value)
        })
        .collect()
}

/// A context on this machine; Compose would also fetch one from the network.
fn local(at: &At<'_>) -> Option<String> {
    let text = at.filled_text()?;
    let remote = text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/");
    if remote {
        at.refuse_with(
            "a build context on the network is not supported",
            "check it out and name its folder",
        );
        return None;
    }
    Some(text)
}
