//! Whether every `${name}` of the section stands for something where it is used, and every scenario that is needed is there:
//! told where it stands in the file, before anything else is done.

use std::collections::{BTreeMap, BTreeSet};

use super::template::Template;
use crate::yaml::{Error, ErrorKind, Mark, Node, Value, nearest};

type Names = BTreeSet<String>;

/// The first name in the section that stands for nothing.
///
/// # Errors
/// It, with its place.
pub(in crate::config) fn first_unknown(smoke: &Node) -> Result<(), Error> {
    let at = At::root(smoke);
    let mut known = keys(at.get("variables").as_ref());
    if let Some(headers) = at.get("headers") {
        headers.all_known(&known)?;
    }
    // What comes after must be able to run where nothing before it did.
    for command in at.items("after") {
        command.uses(&["environment"], &known)?;
    }
    for command in at.items("before") {
        command.uses(&["environment"], &known)?;
        known.extend(keys(command.get("capture").as_ref()));
    }
    let mut captured_by: BTreeMap<String, Names> = BTreeMap::new();
    for scenario in at.items("scenarios") {
        let Some((name, place)) = scenario.get("name").and_then(|name| name.text()) else {
            continue;
        };
        if captured_by.contains_key(&name) {
            return Err(place.refuse(format!("there is another scenario `{name}` above"), None));
        }
        let mut captured = Names::new();
        for needed in scenario.items("needs") {
            let Some((needed, place)) = needed.text() else {
                continue;
            };
            let Some(theirs) = captured_by.get(&needed) else {
                let above = captured_by.keys().map(String::as_str);
                let meant = nearest(&needed, above)
                    .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
                return Err(place.refuse(format!("no scenario above is called `{needed}`{meant}"), None));
            };
            captured.extend(theirs.iter().cloned());
        }
        let own = keys(scenario.get("variables").as_ref());
        let mut here: Names = known.iter().chain(&own).chain(&captured).cloned().collect();
        for part in ["steps", "cleanup"] {
            for step in scenario.items(part) {
                step.uses(IN_A_STEP, &here)?;
                let names = keys(step.get("capture").as_ref());
                captured.extend(names.iter().cloned());
                here.extend(names);
            }
        }
        captured_by.insert(name, captured);
    }
    let before_switch = at.get("before_switch");
    let named = before_switch.iter().flat_map(|chosen| {
        let mut named = chosen.list();
        named.extend(chosen.items("scenarios"));
        named
    });
    for chosen in named {
        if let Some((name, place)) = chosen.text()
            && !captured_by.contains_key(&name)
        {
            let known = captured_by.keys().map(String::as_str);
            let meant =
                nearest(&name, known).map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            return Err(place.refuse(format!("no scenario is called `{name}`{meant}"), None));
        }
    }
    Ok(())
}

/// Where a step has texts with names in them.
const IN_A_STEP: &[&str] = &[
    "get", "post", "put", "patch", "delete", "headers", "query", "form", "json", "files", "expect",
];

/// A node, and the way to it.
struct At<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> At<'a> {
    fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: "smoke".to_owned(),
        }
    }

    fn get(&self, key: &str) -> Option<Self> {
        let node = self.node.as_mapping()?.get(key)?;
        let path = format!("{}.{key}", self.path);
        Some(Self { node, path })
    }

    fn items(&self, key: &str) -> Vec<Self> {
        self.get(key).map_or_else(Vec::new, |at| at.list())
    }

    /// Its own items; none where it is no list.
    fn list(&self) -> Vec<Self> {
        let Self { node, path } = self;
        match &node.value {
            Value::Sequence(items) => {
                let items = items.iter().enumerate();
                let item = |(index, node): (usize, &'a Node)| Self {
                    node,
                    path: format!("{path}[{index}]"),
                };
                items.map(item).collect()
            }
            Value::Scalar(_) | Value::Mapping(_) => Vec::new(),
        }
    }

    fn text(self) -> Option<(String, Self)> {
        match &self.node.value {
            Value::Scalar(scalar) => Some((scalar.text.clone(), self)),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    fn uses(&self, keys: &[&str], known: &Names) -> Result<(), Error> {
        let mut used: Vec<Self> = keys.iter().filter_map(|key| self.get(key)).collect();
        // What stands first in the file is told first.
        used.sort_by_key(|at| at.node.mark);
        used.iter().try_for_each(|at| at.all_known(known))
    }

    /// Every text in it.
    fn all_known(&self, known: &Names) -> Result<(), Error> {
        match &self.node.value {
            Value::Scalar(scalar) => {
                // A file's name may look like one that is broken; what is a template has been read already.
                let Ok(template) = Template::parse(&scalar.text) else {
                    return Ok(());
                };
                let unknown = template.names().find(|name| !known.contains(*name));
                unknown.map_or(Ok(()), |name| Err(self.unknown(name, known)))
            }
            Value::Sequence(items) => items.iter().enumerate().try_for_each(|(index, node)| {
                let path = format!("{}[{index}]", self.path);
                Self { node, path }.all_known(known)
            }),
            Value::Mapping(mapping) => mapping.entries.iter().try_for_each(|(key, entry)| {
                let path = format!("{}.{key}", self.path);
                let node = &entry.value;
                Self { node, path }.all_known(known)
            }),
        }
    }

    fn unknown(&self, name: &str, known: &Names) -> Error {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let meant = nearest(name, known.iter().copied())
            .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
        let hint = if known.is_empty() {
            "write it under `variables`, or `capture` it in a step above".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        self.refuse(
            format!("`${{{name}}}` stands for nothing here{meant}"),
            Some(hint),
        )
    }

    fn refuse(&self, message: String, hint: Option<String>) -> Error {
        let mark: Mark = self.node.mark;
        Error {
            kind: ErrorKind::Invalid { message, hint },
            mark: Some(mark),
            path: self.path.clone(),
        }
    }
}

fn keys(at: Option<&At<'_>>) -> Names {
    let mapping = at.and_then(|at| at.node.as_mapping());
    mapping.map_or_else(Names::new, |mapping| mapping.entries.keys().cloned().collect())
}
