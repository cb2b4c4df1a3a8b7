//! Several files, or a service and what it extends, into one tree, by Compose's rules for each key. Works on the
//! tree, before types; lists whose items are told apart by a key (ports, volumes) are only put together here, and
//! the reader lets the later item win.

use indexmap::IndexMap;

use crate::yaml::{Entry, Mapping, Mark, Node, Origin, Scalar, Style, Value};

use super::scope::Scope;

/// `over` on top of `base`, both whole files.
pub(super) fn merge_files(base: Node, over: Node, scope: &Scope<'_>) -> Node {
    merge(base, over, &mut Vec::new(), scope)
}

/// `over` on top of `base`, both services.
pub(super) fn merge_service(base: Node, over: Node, name: &str, scope: &Scope<'_>) -> Node {
    merge(
        base,
        over,
        &mut vec!["services".to_owned(), name.to_owned()],
        scope,
    )
}

fn merge(base: Node, over: Node, path: &mut Vec<String>, scope: &Scope<'_>) -> Node {
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    match steps.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => return over,
        ["services", _, "environment" | "labels" | "sysctls"]
        | ["services", _, "build", "args" | "labels"]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes", _, "labels"] => {
            return replace_entries(key_values(base), key_values(over));
        }
        [
            "services",
            _,
            "dns" | "dns_search" | "dns_opt" | "env_file" | "tmpfs",
        ] => {
            return append(list(base), list(over));
        }
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => {
            return append(host_list(base), host_list(over));
        }
        ["services", _, "build"] => return recurse(context(base), context(over), path, scope),
        ["services", _, "depends_on"] => {
            return recurse(
                names(base, |mark| condition("service_started", mark)),
                names(over, |mark| condition("service_started", mark)),
                path,
                scope,
            );
        }
        ["services", _, "networks"] => {
            return recurse(names(base, Node::null), names(over, Node::null), path, scope);
        }
        ["services", _, "logging"] if drivers_differ(&base, &over) => return over,
        ["services", _, "ulimits", _] if base.as_mapping().is_none() || over.as_mapping().is_none() => {
            return over;
        }
        _ => {}
    }
    recurse(base, over, path, scope)
}

/// The common rule: mappings by key, lists one after the other, anything else replaced; nothing replaces nothing.
fn recurse(base: Node, over: Node, path: &mut Vec<String>, scope: &Scope<'_>) -> Node {
    if over.is_null() {
        return base;
    }
    if base.is_null() {
        return over;
    }
    let (base_mark, over_mark) = (base.mark, over.mark);
    let words = (base.describe(), over.describe());
    match (base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => Node {
            value: Value::Mapping(merge_mappings(base, over, path, scope)),
            mark: over_mark,
        },
        (Value::Sequence(mut items), Value::Sequence(more)) => {
            items.extend(more);
            Node {
                value: Value::Sequence(items),
                mark: over_mark,
            }
        }
        (Value::Scalar(_), over @ Value::Scalar(_)) => Node {
            value: over,
            mark: over_mark,
        },
        (_, over) => {
            let message = format!(
                "cannot be merged: {} here, {} in {}",
                kind(&words.1, &over),
                words.0,
                scope.place(base_mark)
            );
            scope.report(over_mark, &path.join("."), message, None);
            Node {
                value: over,
                mark: over_mark,
            }
        }
    }
}

fn kind<'a>(described: &'a str, value: &Value) -> &'a str {
    match value {
        Value::Scalar(_) => "a single value",
        Value::Sequence(_) | Value::Mapping(_) => described,
    }
}

fn merge_mappings(base: Mapping, over: Mapping, path: &mut Vec<String>, scope: &Scope<'_>) -> Mapping {
    let mut merged = base;
    for (key, entry) in over.entries {
        match merged.entries.shift_remove_full(&key) {
            Some((index, _, earlier)) if !key.starts_with("x-") => {
                path.push(key.clone());
                let key_mark = if entry.value.is_null() {
                    earlier.key_mark
                } else {
                    entry.key_mark
                };
                let value = merge(earlier.value, entry.value, path, scope);
                path.pop();
                merged.entries.shift_insert(index, key, Entry { key_mark, value });
            }
            Some((index, _, _)) => {
                merged.entries.shift_insert(index, key, entry);
            }
            None => {
                merged.entries.insert(key, entry);
            }
        }
    }
    merged
}

/// Entries of the later mapping replace whole entries of the earlier one, nulls included.
fn replace_entries(base: Node, over: Node) -> Node {
    let mark = over.mark;
    match (base.value, over.value) {
        (Value::Mapping(mut base), Value::Mapping(over)) => {
            base.entries.extend(over.entries);
            Node {
                value: Value::Mapping(base),
                mark,
            }
        }
        (base @ Value::Mapping(_), Value::Scalar(scalar)) if scalar.is_null() => Node { value: base, mark },
        // What does not fit is refused by the reader.
        (_, over) => Node { value: over, mark },
    }
}

fn append(base: Node, over: Node) -> Node {
    let mark = over.mark;
    match (base.value, over.value) {
        (Value::Sequence(mut items), Value::Sequence(more)) => {
            items.extend(more);
            Node {
                value: Value::Sequence(items),
                mark,
            }
        }
        (base @ Value::Sequence(_), Value::Scalar(scalar)) if scalar.is_null() => Node { value: base, mark },
        (_, over) => Node { value: over, mark },
    }
}

/// `[a=1, b]` as `{a: "1", b: null}`.
fn key_values(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Sequence(items) => {
            let mut entries = IndexMap::new();
            for item in items {
                let item_mark = item.mark;
                if let Value::Scalar(Scalar { text, origin, .. }) = item.value {
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => {
                            let value = Node::scalar(value, Style::Quoted, origin, item_mark);
                            (key.to_owned(), value)
                        }
                        None => (text, Node::null(item_mark)),
                    };
                    entries.insert(
                        key,
                        Entry {
                            key_mark: item_mark,
                            value,
                        },
                    );
                }
            }
            Node {
                value: Value::Mapping(Mapping { entries }),
                mark,
            }
        }
        value @ (Value::Scalar(_) | Value::Mapping(_)) => Node { value, mark },
    }
}

/// One value as a list of one.
fn list(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Scalar(ref scalar) if !scalar.is_null() => Node {
            value: Value::Sequence(vec![node]),
            mark,
        },
        Value::Mapping(_) => Node {
            value: Value::Sequence(vec![node]),
            mark,
        },
        Value::Scalar(_) | Value::Sequence(_) => node,
    }
}

/// `{host: address}` as `[host=address]`.
fn host_list(node: Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Mapping(mapping) => {
            let mut items = Vec::new();
            for (host, entry) in mapping.entries {
                let addresses = match entry.value.value {
                    Value::Sequence(addresses) => addresses,
                    value @ (Value::Scalar(_) | Value::Mapping(_)) => vec![Node {
                        value,
                        mark: entry.value.mark,
                    }],
                };
                for address in addresses {
                    let mark = address.mark;
                    items.push(match address.value {
                        Value::Scalar(Scalar { text, origin, .. }) => {
                            Node::scalar(format!("{host}={text}"), Style::Quoted, origin, mark)
                        }
                        value @ (Value::Sequence(_) | Value::Mapping(_)) => Node { value, mark },
                    });
                }
            }
            Node {
                value: Value::Sequence(items),
                mark,
            }
        }
        value @ (Value::Scalar(_) | Value::Sequence(_)) => Node { value, mark },
    }
}

/// `build: folder` as `build: {context: folder}`.
fn context(node: Node) -> Node {
    let mark = node.mark;
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => mapping_of("context", node, mark),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => node,
    }
}

/// `[db, redis]` as `{db: …, redis: …}`.
fn names(node: Node, value: impl Fn(Mark) -> Node) -> Node {
    let mark = node.mark;
    match node.value {
        Value::Sequence(items) => {
            let mut entries = IndexMap::new();
            for item in items {
                let key_mark = item.mark;
                if let Value::Scalar(scalar) = item.value {
                    entries.insert(
                        scalar.text,
                        Entry {
                            key_mark,
                            value: value(key_mark),
                        },
                    );
                }
            }
            Node {
                value: Value::Mapping(Mapping { entries }),
                mark,
            }
        }
        value @ (Value::Scalar(_) | Value::Mapping(_)) => Node { value, mark },
    }
}

fn condition(word: &str, mark: Mark) -> Node {
    mapping_of(
        "condition",
        Node::scalar(word, Style::Quoted, Origin::Written, mark),
        mark,
    )
}

fn mapping_of(key: &str, value: Node, mark: Mark) -> Node {
    let entries = IndexMap::from([(
        key.to_owned(),
        Entry {
            key_mark: mark,
            value,
        },
    )]);
    Node {
        value: Value::Mapping(Mapping { entries }),
        mark,
    }
}

fn drivers_differ(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| match node
        .as_mapping()
        .and_then(|mapping| mapping.get("driver"))
        .map(|n| &n.value)
    {
        Some(Value::Scalar(scalar)) => Some(scalar.text.clone()),
        Some(Value::Sequence(_) | Value::Mapping(_)) | None => None,
    };
    matches!((driver(base), driver(over)), (Some(base), Some(over)) if base != over)
}
