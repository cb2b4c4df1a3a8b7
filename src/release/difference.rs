//! What differs between two releases, as they are recorded: images, configuration, environment, migrations. Pure. A
//! value of the environment is never in it, only that it is another one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Release;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// A service, or a network or volume of the project, as in `network front`.
    pub of: String,
    /// `image`, `environment DATABASE_URL`, `healthcheck.interval`.
    pub what: String,
    pub change: Change,
}

/// In which way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Change {
    Added,
    Removed,
    /// To another value, which is not told.
    Changed,
    /// From one value to another.
    From {
        from: String,
        to: String,
    },
}

/// Longer values are not told: they would hide the rest.
const LONGEST_VALUE: usize = 60;

/// What another release would change, service by service.
pub fn differences(from: &Release, to: &Release) -> Vec<Difference> {
    let mut found = Vec::new();
    let images: BTreeSet<_> = from.images.keys().chain(to.images.keys()).collect();
    for service in images {
        let (old, new) = (from.images.get(service), to.images.get(service));
        let change = match (old, new) {
            (Some(old), Some(new)) if old.id == new.id => continue,
            (Some(old), Some(new)) => Change::From {
                from: format!("{} ({})", old.reference, old.id.short()),
                to: format!("{} ({})", new.reference, new.id.short()),
            },
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        };
        found.push(Difference {
            of: service.to_string(),
            what: "image".to_owned(),
            change,
        });
    }
    found.extend(between(&from.project, &to.project));
    found
}

/// What differs between two projects as they are recorded.
pub fn between(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    // How a release was made is not known where its record was rebuilt.
    let both_known = from.is_object() && to.is_object();
    let sections = [("services", ""), ("networks", "network "), ("volumes", "volume ")];
    for (section, word) in sections.into_iter().filter(|_| both_known) {
        let (old, new) = (&from[section], &to[section]);
        for name in keys(old, new) {
            let of = format!("{word}{name}");
            match (old.get(&name), new.get(&name)) {
                (Some(old), Some(new)) => compare(&of, "", old, new, &mut found),
                // A service that comes or goes is told by its image already.
                (None, Some(_)) | (Some(_), None) if section == "services" => {}
                (None, _) => found.push(difference(&of, "", Change::Added)),
                (_, None) => found.push(difference(&of, "", Change::Removed)),
            }
        }
    }
    found
}

fn difference(of: &str, what: &str, change: Change) -> Difference {
    Difference {
        of: of.to_owned(),
        what: what.to_owned(),
        change,
    }
}

fn keys(one: &Value, other: &Value) -> BTreeSet<String> {
    let objects = [one, other].into_iter().filter_map(Value::as_object);
    objects.flat_map(|object| object.keys().cloned()).collect()
}

fn compare(of: &str, path: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    let is_environment = path == "environment" || path.starts_with("environment ");
    if old.is_object() && new.is_object() && !path.starts_with("environment ") {
        for key in keys(old, new) {
            // Of the image itself, which is told by its id.
            if path.is_empty() && matches!(key.as_str(), "image" | "build") {
                continue;
            }
            let below = match path {
                "" => key.clone(),
                "environment" => format!("environment {key}"),
                path => format!("{path}.{key}"),
            };
            match (old.get(&key), new.get(&key)) {
                (Some(old), Some(new)) => compare(of, &below, old, new, found),
                (None | Some(Value::Null), _) => found.push(difference(of, &below, Change::Added)),
                (_, None) => found.push(difference(of, &below, Change::Removed)),
            }
        }
        return;
    }
    let told = |value: &Value| match value {
        Value::Null => Some("none".to_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::String(text) if text.len() <= LONGEST_VALUE => Some(text.clone()),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let change = match (told(old), told(new)) {
        (Some(from), Some(to)) if !is_environment => Change::From { from, to },
        (Some(_) | None, _) => Change::Changed,
    };
    found.push(difference(of, path, change));
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, what, change } = self;
        let what = if what.is_empty() {
            String::new()
        } else {
            format!("{what} ")
        };
        match change {
            Change::Added => write!(f, "{of}: {what}added"),
            Change::Removed => write!(f, "{of}: {what}removed"),
            Change::Changed => write!(f, "{of}: {what}changed"),
            Change::From { from, to } => write!(f, "{of}: {what}{from} → {to}"),
        }
    }
}
