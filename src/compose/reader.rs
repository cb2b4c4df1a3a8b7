//! Reading typed values from the merged tree. A reader that finds something wrong notes it in the [`Scope`] and
//! gives `None`, so that one load finds every error.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use crate::yaml::{Entry, Mapping, Mark, Node, Origin, Resolved, Value, nearest, resolve};

use super::quantity::{QuantityError, parse_bytes, parse_duration, scaled};
use super::scope::Scope;

/// A value, where it stands, and how a person would call it.
#[derive(Clone)]
pub(super) struct At<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) node: &'a Node,
    pub(super) path: String,
}

/// One entry of what may be a mapping or a list of `key=value`.
pub(super) struct KeyValue<'a> {
    pub(super) key: String,
    /// `None`: the key stands alone.
    pub(super) value: Option<String>,
    pub(super) origin: Origin,
    pub(super) at: At<'a>,
}

impl<'a> At<'a> {
    pub(super) fn refuse(&self, message: impl Into<String>) {
        self.report(message.into(), None);
    }

    pub(super) fn refuse_with(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report(message.into(), Some(hint.into()));
    }

    fn report(&self, message: String, hint: Option<String>) {
        let message = without_secret(message, self.node);
        self.scope.report(self.node.mark, &self.path, message, hint);
    }

    pub(super) fn expected(&self, what: &str) {
        self.refuse(format!("expected {what}, found {}", self.node.describe()));
    }

    fn quantity_error(&self, error: QuantityError, what: &str) {
        if self.origin() == Origin::Variable {
            self.expected(what);
        } else {
            self.scope
                .report(self.node.mark, &self.path, error.message, error.hint);
        }
    }

    pub(super) fn origin(&self) -> Origin {
        match &self.node.value {
            Value::Scalar(scalar) => scalar.origin,
            Value::Sequence(_) | Value::Mapping(_) => Origin::Written,
        }
    }

    pub(super) fn child(&self, key: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            scope: self.scope,
            node,
            path,
        }
    }

    fn item(&self, index: usize, node: &'a Node) -> Self {
        Self {
            scope: self.scope,
            node,
            path: format!("{}[{index}]", self.path),
        }
    }

    /// The keys of a mapping.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        match self.node.as_mapping() {
            Some(mapping) => Some(Fields {
                at: self.clone(),
                mapping,
                asked: RefCell::default(),
            }),
            None => {
                self.expected("a mapping");
                None
            }
        }
    }

    /// The entries of a mapping whose keys are names, extensions left out.
    pub(super) fn named(&self) -> Vec<(&'a str, Mark, At<'a>)> {
        match &self.node.value {
            Value::Mapping(mapping) => mapping
                .entries
                .iter()
                .filter(|(key, _)| !key.starts_with("x-"))
                .map(|(key, entry)| (key.as_str(), entry.key_mark, self.child(key, &entry.value)))
                .collect(),
            Value::Scalar(scalar) if scalar.is_null() => Vec::new(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.expected("a mapping");
                Vec::new()
            }
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<At<'a>> {
        match &self.node.value {
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| self.item(index, node))
                .collect(),
            Value::Scalar(_) | Value::Mapping(_) => {
                self.expected("a list");
                Vec::new()
            }
        }
    }

    /// The items of a list, or the value itself as the only one.
    pub(super) fn one_or_many(&self) -> Vec<At<'a>> {
        match &self.node.value {
            Value::Sequence(_) => self.items(),
            Value::Scalar(_) | Value::Mapping(_) => vec![self.clone()],
        }
    }

    /// Text. A plain number is text where Compose would write it the same way; `1.10` it would write `1.1`.
    pub(super) fn text(&self) -> Option<String> {
        let Value::Scalar(scalar) = &self.node.value else {
            self.expected("text");
            return None;
        };
        let canonical = match resolve(scalar) {
            Resolved::Text(text) => return Some(text.to_owned()),
            Resolved::Null => {
                self.expected("text");
                return None;
            }
            Resolved::Bool(value) => value.to_string(),
            Resolved::Integer(value) => value.to_string(),
            Resolved::Float(value) => value.to_string(),
        };
        if canonical == scalar.text {
            Some(canonical)
        } else {
            self.refuse_with(
                format!("`{}` without quotes is read as `{canonical}`", scalar.text),
                format!("write `\"{}\"`", scalar.text),
            );
            None
        }
    }

    /// Text that is not empty; an empty one counts as absent, as in Compose.
    pub(super) fn filled_text(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(At::text).collect()
    }

    /// A list of texts, or one text; each once.
    pub(super) fn one_or_many_texts(&self) -> Vec<String> {
        once(self.one_or_many().iter().filter_map(At::text))
    }

    /// A list of texts, each once.
    pub(super) fn texts_once(&self) -> Vec<String> {
        once(self.texts())
    }

    /// A mapping, or a list of `key=value`; a later entry overrides an earlier one with its key.
    pub(super) fn key_values(&self) -> Vec<KeyValue<'a>> {
        match &self.node.value {
            Value::Mapping(mapping) => mapping
                .entries
                .iter()
                .filter_map(|(key, entry)| {
                    let at = self.child(key, &entry.value);
                    let value = if entry.value.is_null() {
                        None
                    } else {
                        Some(at.text()?)
                    };
                    Some(KeyValue {
                        key: key.clone(),
                        value,
                        origin: at.origin(),
                        at,
                    })
                })
                .collect(),
            Value::Sequence(_) => self
                .items()
                .into_iter()
                .filter_map(|at| {
                    let text = at.text()?;
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    };
                    if key.is_empty() {
                        at.refuse("expected `key=value`, found no key");
                        return None;
                    }
                    Some(KeyValue {
                        key,
                        value,
                        origin: at.origin(),
                        at,
                    })
                })
                .collect(),
            Value::Scalar(scalar) if scalar.is_null() => Vec::new(),
            Value::Scalar(_) => {
                self.expected("a mapping or a list of `key=value`");
                Vec::new()
            }
        }
    }

    /// As [`At::key_values`], where a key that stands alone has the empty text.
    pub(super) fn text_map(&self) -> std::collections::BTreeMap<String, String> {
        self.key_values()
            .into_iter()
            .map(|entry| (entry.key, entry.value.unwrap_or_default()))
            .collect()
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        if let Value::Scalar(scalar) = &self.node.value {
            match scalar.text.as_str() {
                "true" | "True" | "TRUE" => return Some(true),
                "false" | "False" | "FALSE" => return Some(false),
                _ => {}
            }
        }
        self.expected("`true` or `false`");
        None
    }

    /// A whole number, in quotes or not (an interpolated one is in quotes).
    pub(super) fn integer<T: TryFrom<i128> + Display>(&self, what: &str) -> Option<T> {
        if let Value::Scalar(scalar) = &self.node.value {
            let digits = scalar.text.trim_start_matches(['-', '+']);
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
            {
                self.refuse_with(
                    format!("`{}` may be read as an octal number or not", scalar.text),
                    "write `0o…` for an octal number, or leave the zero out",
                );
                return None;
            }
            let number = match resolve(scalar) {
                Resolved::Integer(number) => Some(number),
                Resolved::Text(text) => text.trim().parse().ok(),
                Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
            };
            if let Some(number) = number.and_then(|number| T::try_from(number).ok()) {
                return Some(number);
            }
        }
        self.expected(what);
        None
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => parse_duration(&scalar.text)
                .map_err(|error| self.quantity_error(error, "a duration such as `10s`"))
                .ok(),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => {
                self.expected("a duration such as `10s`");
                None
            }
        }
    }

    /// A number of bytes.
    pub(super) fn bytes(&self) -> Option<u64> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => parse_bytes(&scalar.text)
                .map_err(|error| self.quantity_error(error, "a size such as `512m`"))
                .ok(),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => {
                self.expected("a size such as `512m`");
                None
            }
        }
    }

    /// A number of processors, in thousand-millionths.
    pub(super) fn nano_cpus(&self) -> Option<u64> {
        if let Value::Scalar(scalar) = &self.node.value
            && let Some(nano) =
                scaled(scalar.text.trim(), 1_000_000_000).and_then(|nano| u64::try_from(nano).ok())
        {
            return Some(nano);
        }
        self.expected("a number of processors such as `0.5`");
        None
    }
}

/// A message about a node: what it quotes of the node's text is left out if that may be secret.
pub(super) fn without_secret(message: String, node: &Node) -> String {
    let text = match &node.value {
        Value::Scalar(scalar) if scalar.origin == Origin::Variable => scalar.text.as_str(),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => return message,
    };
    let quoted = |(index, part): (usize, &str)| {
        let is_quoted = index % 2 == 1;
        let shows = is_quoted && !part.is_empty() && (text.contains(part) || part.contains(text));
        if shows { "…".to_owned() } else { part.to_owned() }
    };
    message
        .split('`')
        .enumerate()
        .map(quoted)
        .collect::<Vec<_>>()
        .join("`")
}

/// Each text once, where it first stood.
pub(super) fn once(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    texts
        .into_iter()
        .collect::<indexmap::IndexSet<_>>()
        .into_iter()
        .collect()
}

/// The keys of one mapping. What is never asked for is refused by [`Fields::finish`].
pub(super) struct Fields<'a> {
    pub(super) at: At<'a>,
    mapping: &'a Mapping,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// A value, unless it is absent or null.
    pub(super) fn get(&self, key: &'static str) -> Option<At<'a>> {
        self.asked.borrow_mut().push(key);
        let node = self.mapping.get(key)?;
        (!node.is_null()).then(|| self.at.child(key, node))
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.filled_text()
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    pub(super) fn flag(&self, key: &'static str) -> bool {
        self.boolean(key).unwrap_or_default()
    }

    pub(super) fn texts_once(&self, key: &'static str) -> Vec<String> {
        self.get(key).map(|at| at.texts_once()).unwrap_or_default()
    }

    pub(super) fn one_or_many_texts(&self, key: &'static str) -> Vec<String> {
        self.get(key).map(|at| at.one_or_many_texts()).unwrap_or_default()
    }

    pub(super) fn text_map(&self, key: &'static str) -> std::collections::BTreeMap<String, String> {
        self.get(key).map(|at| at.text_map()).unwrap_or_default()
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.duration()
    }

    pub(super) fn bytes(&self, key: &'static str) -> Option<u64> {
        self.get(key)?.bytes()
    }

    /// Takes a key that is known and has no effect on a container.
    pub(super) fn ignore(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    /// Refuses what was not asked for: `unsupported` keys with their own hint, others as unknown.
    pub(super) fn finish(self, unsupported: &[(&'static str, &'static str)]) {
        let asked = self.asked.borrow();
        for (key, Entry { key_mark, .. }) in &self.mapping.entries {
            if key.starts_with("x-") || asked.contains(&key.as_str()) {
                continue;
            }
            let path = if self.at.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.at.path)
            };
            if let Some((_, hint)) = unsupported.iter().find(|(name, _)| name == key) {
                let hint = (!hint.is_empty()).then(|| (*hint).to_owned());
                self.at
                    .scope
                    .report(*key_mark, &path, "not supported by viatique-deploy", hint);
                continue;
            }
            let known = asked
                .iter()
                .chain(unsupported.iter().map(|(name, _)| name))
                .copied();
            let message = match nearest(key, known) {
                Some(word) => format!("unknown key; did you mean `{word}`?"),
                None => "unknown key".to_owned(),
            };
            self.at.scope.report(*key_mark, &path, message, None);
        }
    }
}
