//! Which versions a file of dependencies pins: pip's requirements, the lock files of Poetry, uv and npm. Pure; what it
//! cannot read in a file is not in its answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// By name: the versions, usually one.
pub type Pinned = BTreeMap<String, BTreeSet<String>>;

/// One dependency that is another than before.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DependencyChange {
    pub name: String,
    /// `None` where it is new.
    pub old: Option<String>,
    /// `None` where it is gone.
    pub new: Option<String>,
}

/// Whether a file of this path is one that [`pinned`] reads.
pub fn is_read(path: &str) -> bool {
    reader(path).is_some()
}

/// What a file of this path pins; nothing where it is of no known kind.
pub fn pinned(path: &str, text: &str) -> Pinned {
    reader(path).map_or_else(Pinned::new, |read| read(text))
}

fn reader(path: &str) -> Option<fn(&str) -> Pinned> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_requirements = folder == "requirements" || folder.ends_with("/requirements");
    match name {
        "poetry.lock" | "uv.lock" => Some(packages),
        "package-lock.json" => Some(npm),
        name if name.ends_with(".txt") && (name.starts_with("requirements") || in_requirements) => {
            Some(requirements)
        }
        _ => None,
    }
}

/// What differs, by name.
pub fn changed(old: &Pinned, new: &Pinned) -> Vec<DependencyChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let said = |versions: Option<&BTreeSet<String>>| {
        versions.map(|versions| {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            versions.join(" and ")
        })
    };
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differing
        .map(|name| DependencyChange {
            name: name.clone(),
            old: said(old.get(name)),
            new: said(new.get(name)),
        })
        .collect()
}

/// A line each: `Django[argon2]==5.2 ; python_version > "3.9" --hash=…`.
fn requirements(text: &str) -> Pinned {
    let mut pinned = Pinned::new();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let end =
            line.find(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character)));
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        let rest = match rest.strip_prefix('[') {
            Some(extras) => extras.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let version = rest.split([';', '\\']).next().unwrap_or_default();
        let version = version.split(" --").next().unwrap_or_default().trim();
        let version = version.strip_prefix("==").map_or(version, str::trim);
        let version = if version.is_empty() {
            "any version"
        } else {
            version
        };
        if !name.is_empty() {
            pinned.entry(plain(name)).or_default().insert(version.to_owned());
        }
    }
    pinned
}

/// As PyPI holds names against each other.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// `[[package]]` with its name and version, as Poetry and uv write it.
fn packages(text: &str) -> Pinned {
    let mut pinned = Pinned::new();
    let mut name: Option<String> = None;
    let mut in_package = false;
    for line in text.lines().map(str::trim_end) {
        if line.starts_with('[') {
            in_package = line == "[[package]]";
            name = None;
        } else if in_package && let Some((key, value)) = line.split_once(" = ") {
            let value = value.trim().trim_matches('"');
            match (key, &name) {
                ("name", _) => name = Some(plain(value)),
                ("version", Some(name)) => {
                    pinned.entry(name.clone()).or_default().insert(value.to_owned());
                }
                _ => {}
            }
        }
    }
    pinned
}

/// The `packages` of versions 2 and 3, the `dependencies` of version 1.
fn npm(text: &str) -> Pinned {
    let mut pinned = Pinned::new();
    let Ok(lock) = serde_json::from_str::<Value>(text) else {
        return pinned;
    };
    let mut add = |name: &str, package: &Value| {
        if let Some(version) = package.get("version").and_then(Value::as_str) {
            pinned
                .entry(name.to_owned())
                .or_default()
                .insert(version.to_owned());
        }
    };
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        for (path, package) in packages {
            // The project itself stands there without a folder.
            if let Some((_, name)) = path.rsplit_once("node_modules/") {
                add(name, package);
            }
        }
        return pinned;
    }
    let mut left: Vec<&Value> = lock.get("dependencies").into_iter().collect();
    while let Some(dependencies) = left.pop() {
        for (name, package) in dependencies.as_object().into_iter().flatten() {
            add(name, package);
            left.extend(package.get("dependencies"));
        }
    }
    pinned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, text: &str) -> Vec<String> {
        let pinned = pinned(path, text);
        pinned
            .iter()
            .map(|(name, versions)| {
                format!(
                    "{name} {}",
                    versions.iter().cloned().collect::<Vec<_>>().join("|")
                )
            })
            .collect()
    }

    #[test]
    fn requirements_are_read_with_extras_markers_hashes_and_comments() {
        let text = "# pinned\n-r base.txt\nDjango==5.2.1\npsycopg[binary,pool]==3.2 ; python_version > \"3.9\"\n\
                    zope.interface>=5,<6  # why\ncelery == 5.4 \\\n    --hash=sha256:abc\nredis\n";
        assert_eq!(
            said("backend/requirements-prod.txt", text),
            [
                "celery 5.4",
                "django 5.2.1",
                "psycopg 3.2",
                "redis any version",
                "zope-interface >=5,<6"
            ]
        );
        assert!(is_read("requirements/prod.txt") && !is_read("notes.txt"));
    }

    #[test]
    fn lock_files_of_poetry_and_uv_are_read() {
        let poetry = "[[package]]\nname = \"Django\"\nversion = \"5.2.1\"\n\n[package.dependencies]\nversion = \"no\"\n\n\
                      [[package]]\nname = \"redis\"\nversion = \"5.0\"\n\n[metadata]\nlock-version = \"2.1\"\n";
        assert_eq!(said("poetry.lock", poetry), ["django 5.2.1", "redis 5.0"]);
        let uv = "version = 1\n\n[[package]]\nname = \"django\"\nversion = \"5.2.1\"\nsource = { registry = \"x\" }\n\
                  dependencies = [\n    { name = \"asgiref\" },\n]\n\n[[package]]\nname = \"numpy\"\nversion = \"1\"\n\n\
                  [[package]]\nname = \"numpy\"\nversion = \"2\"\n";
        assert_eq!(said("back/uv.lock", uv), ["django 5.2.1", "numpy 1|2"]);
    }

    #[test]
    fn lock_files_of_npm_are_read_old_and_new() {
        let new = r#"{"packages":{"":{"version":"1"},"node_modules/@a/b":{"version":"2"},
                      "node_modules/c/node_modules/d":{"version":"3"}}}"#;
        assert_eq!(said("package-lock.json", new), ["@a/b 2", "d 3"]);
        let old = r#"{"dependencies":{"a":{"version":"1","dependencies":{"b":{"version":"2"}}}}}"#;
        assert_eq!(said("package-lock.json", old), ["a 1", "b 2"]);
        assert!(said("package-lock.json", "no json").is_empty());
    }

    #[test]
    fn what_changed_comes_and_goes_by_name() {
        let old = pinned("requirements.txt", "a==1\nb==1\nc==1\n");
        let new = pinned("requirements.txt", "a==1\nb==2\nd==1\n");
        let one = |name: &str, old: Option<&str>, new: Option<&str>| DependencyChange {
            name: name.to_owned(),
            old: old.map(ToOwned::to_owned),
            new: new.map(ToOwned::to_owned),
        };
        assert_eq!(
            changed(&old, &new),
            [
                one("b", Some("1"), Some("2")),
                one("c", Some("1"), None),
                one("d", None, Some("1"))
            ]
        );
    }
}
