//! `extends`: a service built on another, of the same file or of another one. Worked out for each file before the
//! files are merged, as Compose does.

use std::path::Path;

use crate::yaml::{self, Entry, Mapping, Mark, Node, Origin, Value};

use super::error::why_unreadable;
use super::interpolate::interpolate_tree;
use super::merge::merge_service;
use super::scope::{Scope, absolute_from};

/// Works out every `extends` of one file. `folder`: what paths in `extends.file` are relative to.
pub(super) fn apply(root: &mut Node, folder: &Path, file: &Path, scope: &Scope<'_>) {
    let Some(services) = services_of(root) else { return };
    let originals = services.clone();
    for (name, entry) in &mut services.entries {
        let mut way = Vec::new();
        if let Some(extended) = extended(name, &originals, folder, file, &mut way, scope) {
            entry.value = extended;
        }
    }
}

fn services_of(root: &mut Node) -> Option<&mut Mapping> {
    match &mut root.value {
        Value::Mapping(mapping) => match &mut mapping.entries.get_mut("services")?.value.value {
            Value::Mapping(services) => Some(services),
            Value::Scalar(_) | Value::Sequence(_) => None,
        },
        Value::Scalar(_) | Value::Sequence(_) => None,
    }
}

/// What `extends` names.
struct Reference {
    service: String,
    file: Option<String>,
    mark: Mark,
    /// Whether the service's name may be secret.
    secret: bool,
}

/// The service with what it extends merged under it; `None` where something is wrong, which has been reported.
fn extended(
    name: &str,
    services: &Mapping,
    folder: &Path,
    file: &Path,
    way: &mut Vec<String>,
    scope: &Scope<'_>,
) -> Option<Node> {
    let entry = services.entries.get(name)?;
    let Value::Mapping(mapping) = &entry.value.value else {
        return Some(entry.value.clone());
    };
    let Some(extends) = mapping.get("extends") else {
        return Some(entry.value.clone());
    };
    let path = format!("services.{name}.extends");
    let reference = reference(extends, &path, scope)?;
    let step = format!("{} in {}", name, scope.shown(file).display());
    if way.contains(&step) {
        way.push(step);
        let message = format!("services extend each other in a circle: {}", way.join(" -> "));
        scope.report(reference.mark, &path, message, None);
        return None;
    }
    way.push(step);
    let base = match &reference.file {
        None => {
            if !services.entries.contains_key(&reference.service) {
                unknown(&reference, services, &path, file, scope);
                return None;
            }
            extended(&reference.service, services, folder, file, way, scope)?
        }
        Some(other) => from_file(other, &reference, &path, folder, way, scope)?,
    };
    let mut own = entry.value.clone();
    if let Value::Mapping(mapping) = &mut own.value {
        mapping.entries.shift_remove("extends");
    }
    Some(merge_service(base, own, name, scope))
}

fn from_file(
    other: &str,
    reference: &Reference,
    path: &str,
    folder: &Path,
    way: &mut Vec<String>,
    scope: &Scope<'_>,
) -> Option<Node> {
    let file = absolute_from(folder, other, None);
    let text = match (scope.request.read_file)(&file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!(
                "cannot read {}: {}",
                scope.shown(&file).display(),
                why_unreadable(&error)
            );
            scope.report(reference.mark, path, message, None);
            return None;
        }
    };
    let number = scope.add_file(&file);
    let mut root = match yaml::parse(&text, number) {
        Ok(root) => root,
        Err(error) => {
            scope.report_yaml(&error);
            return None;
        }
    };
    interpolate_service(&mut root, &reference.service, scope);
    let Some(services) = services_of(&mut root) else {
        let message = format!("{} has no `services`", scope.shown(&file).display());
        scope.report(reference.mark, path, message, None);
        return None;
    };
    if !services.entries.contains_key(&reference.service) {
        unknown(reference, services, path, &file, scope);
        return None;
    }
    let file_folder = file.parent().unwrap_or(folder).to_owned();
    let services = services.clone();
    let mut base = extended(&reference.service, &services, &file_folder, &file, way, scope)?;
    make_paths_absolute(&mut base, &file_folder);
    Some(base)
}

/// Only what is taken from the other file is looked at, and what that one extends in its own file.
fn interpolate_service(root: &mut Node, service: &str, scope: &Scope<'_>) {
    let Some(services) = services_of(root) else { return };
    let mut next = Some(service.to_owned());
    let mut seen = Vec::new();
    while let Some(name) = next.take() {
        if seen.contains(&name) {
            return;
        }
        let Some(entry) = services.entries.get_mut(&name) else {
            return;
        };
        interpolate_tree(&mut entry.value, &format!("services.{name}"), scope);
        next = match entry
            .value
            .as_mapping()
            .and_then(|mapping| mapping.get("extends"))
            .map(|node| &node.value)
        {
            Some(Value::Scalar(scalar)) => Some(scalar.text.clone()),
            Some(Value::Mapping(mapping)) if mapping.get("file").is_none() => {
                text_of(mapping.get("service")).map(str::to_owned)
            }
            Some(Value::Mapping(_) | Value::Sequence(_)) | None => None,
        };
        seen.push(name);
    }
}

fn reference(extends: &Node, path: &str, scope: &Scope<'_>) -> Option<Reference> {
    match &extends.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(Reference {
            service: scalar.text.clone(),
            file: None,
            mark: extends.mark,
            secret: scalar.origin == Origin::Variable,
        }),
        Value::Mapping(mapping) => {
            for (key, Entry { key_mark, .. }) in &mapping.entries {
                if key != "service" && key != "file" {
                    scope.report(*key_mark, &format!("{path}.{key}"), "unknown key", None);
                }
            }
            match text_of(mapping.get("service")) {
                Some(service) => Some(Reference {
                    service: service.to_owned(),
                    file: text_of(mapping.get("file")).map(str::to_owned),
                    mark: extends.mark,
                    secret: mapping.get("service").is_some_and(is_variable),
                }),
                None => {
                    scope.report(extends.mark, path, "missing key `service`", None);
                    None
                }
            }
        }
        Value::Scalar(_) | Value::Sequence(_) => {
            let message = format!(
                "expected a service's name or a mapping, found {}",
                extends.describe()
            );
            scope.report(extends.mark, path, message, None);
            None
        }
    }
}

const fn is_variable(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => matches!(scalar.origin, Origin::Variable),
        Value::Sequence(_) | Value::Mapping(_) => false,
    }
}

fn text_of(node: Option<&Node>) -> Option<&str> {
    match &node?.value {
        Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

fn unknown(reference: &Reference, services: &Mapping, path: &str, file: &Path, scope: &Scope<'_>) {
    let file = scope.shown(file);
    let name = if reference.secret {
        "…"
    } else {
        &reference.service
    };
    let known = services.entries.keys().map(String::as_str);
    let suggestion = super::project::suggestion(name, known);
    let message = format!("no service `{name}` in {}{suggestion}", file.display());
    scope.report(reference.mark, path, message, None);
}

/// Paths of a service from another file are meant from that file's folder.
fn make_paths_absolute(service: &mut Node, folder: &Path) {
    let Value::Mapping(service) = &mut service.value else {
        return;
    };
    if let Some(entry) = service.entries.get_mut("build") {
        match &mut entry.value.value {
            Value::Scalar(_) => absolute_text(&mut entry.value, folder),
            Value::Mapping(build) => {
                if let Some(context) = build.entries.get_mut("context") {
                    absolute_text(&mut context.value, folder);
                }
            }
            Value::Sequence(_) => {}
        }
    }
    if let Some(entry) = service.entries.get_mut("env_file") {
        match &mut entry.value.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| absolute_env_file(item, folder)),
            Value::Scalar(_) | Value::Mapping(_) => absolute_env_file(&mut entry.value, folder),
        }
    }
    if let Some(entry) = service.entries.get_mut("volumes")
        && let Value::Sequence(items) = &mut entry.value.value
    {
        for item in items {
            match &mut item.value {
                Value::Scalar(scalar) if scalar.text.starts_with('.') => {
                    if let Some((source, rest)) = scalar.text.split_once(':') {
                        let source = absolute_from(folder, source, None);
                        scalar.text = format!("{}:{rest}", source.display());
                    }
                }
                Value::Mapping(mount) if text_of(mount.get("type")) == Some("bind") => {
                    if let Some(source) = mount.entries.get_mut("source") {
                        absolute_text(&mut source.value, folder);
                    }
                }
                Value::Scalar(_) | Value::Mapping(_) | Value::Sequence(_) => {}
            }
        }
    }
}

fn absolute_env_file(node: &mut Node, folder: &Path) {
    match &mut node.value {
        Value::Mapping(mapping) => {
            if let Some(path) = mapping.entries.get_mut("path") {
                absolute_text(&mut path.value, folder);
            }
        }
        Value::Scalar(_) | Value::Sequence(_) => absolute_text(node, folder),
    }
}

fn absolute_text(node: &mut Node, folder: &Path) {
    if let Value::Scalar(scalar) = &mut node.value
        && !scalar.text.starts_with(['/', '~'])
        && !scalar.text.contains("://")
    {
        scalar.text = absolute_from(folder, &scalar.text, None).display().to_string();
    }
}
