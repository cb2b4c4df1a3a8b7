//! `$VAR`, `${VAR}` and its six forms with a word, nested, and `$$`; over one text or over a tree's values.
//! A variable that does not exist is an error here, where Compose warns and goes on with nothing.

use std::collections::BTreeMap;

use crate::secret::Secret;
use crate::yaml::{Mark, Node, Origin, Style, Value};

use super::scope::Scope;

/// How deep defaults may nest in one another.
const DEEPEST: usize = 20;

/// What a variable is found to be.
#[derive(Clone)]
pub(super) struct Variable {
    pub(super) value: String,
    /// Whether the value may be shown.
    pub(super) public: bool,
}

/// A text with its variables put in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Interpolated {
    pub(super) text: String,
    /// The secret values in it.
    pub(super) secrets: Vec<String>,
}

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterpolationError {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

type Lookup<'a> = dyn Fn(&str) -> Option<Variable> + 'a;

/// Puts the variables into a text.
pub(super) fn interpolate(text: &str, lookup: &Lookup<'_>) -> Result<Interpolated, InterpolationError> {
    let mut result = Interpolated::default();
    expand(text, lookup, &mut result, 0)?;
    Ok(result)
}

/// A text with the variables put in, outside of any Compose file; what is said of an error has no value in it.
///
/// # Errors
/// A variable that does not exist, or what is no variable: what is wrong, and what to do.
pub fn interpolate_text(
    text: &Secret<String>,
    variables: &BTreeMap<String, Secret<String>>,
) -> Result<Secret<String>, (String, Option<String>)> {
    let lookup = |name: &str| {
        variables.get(name).map(|value| Variable {
            value: value.reveal().clone(),
            public: false,
        })
    };
    match interpolate(text.reveal(), &lookup) {
        Ok(interpolated) => Ok(Secret::new(interpolated.text)),
        Err(error) => Err((error.message, error.hint)),
    }
}

fn expand(
    text: &str,
    lookup: &Lookup<'_>,
    result: &mut Interpolated,
    depth: usize,
) -> Result<(), InterpolationError> {
    if depth > DEEPEST {
        return Err(refused(format!("defaults nested more than {DEEPEST} deep"), None));
    }
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(dollar);
        result.text.push_str(before);
        let after = &from_dollar[1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.text.push('$');
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let Some(end) = closing_brace(inner) else {
                return Err(refused("`${` without its `}`".to_owned(), dollar_hint()));
            };
            braced(&inner[..end], lookup, result, depth)?;
            rest = &inner[end + 1..];
        } else {
            let end = name_length(after);
            if end == 0 {
                return Err(refused(
                    "a `$` that begins no variable's name".to_owned(),
                    dollar_hint(),
                ));
            }
            put(&after[..end], lookup, result)?;
            rest = &after[end..];
        }
    }
    result.text.push_str(rest);
    Ok(())
}

/// The inside of `${…}`: a name, then perhaps an operator and its word.
fn braced(
    inner: &str,
    lookup: &Lookup<'_>,
    result: &mut Interpolated,
    depth: usize,
) -> Result<(), InterpolationError> {
    let (name, tail) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(refused(
            "`${…}` without a variable's name".to_owned(),
            dollar_hint(),
        ));
    }
    let (colon, operator) = match tail.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, tail),
    };
    // With the colon, an empty value counts as none.
    let found = lookup(name).filter(|variable| !colon || !variable.value.is_empty());
    let mut characters = operator.chars();
    match characters.next() {
        None if !colon => put(name, lookup, result),
        Some('-') => match found {
            Some(variable) => {
                push(variable, result);
                Ok(())
            }
            None => expand(characters.as_str(), lookup, result, depth + 1),
        },
        Some('?') => match found {
            Some(variable) => {
                push(variable, result);
                Ok(())
            }
            None => Err(required(name, characters.as_str(), lookup)),
        },
        Some('+') => match found {
            Some(_) => expand(characters.as_str(), lookup, result, depth + 1),
            None => Ok(()),
        },
        None | Some(_) => Err(refused(
            format!("`${{{name}…}}` with an unknown operator"),
            dollar_hint(),
        )),
    }
}

fn put(name: &str, lookup: &Lookup<'_>, result: &mut Interpolated) -> Result<(), InterpolationError> {
    match lookup(name) {
        Some(variable) => {
            push(variable, result);
            Ok(())
        }
        None => Err(refused(
            format!("undefined variable `{name}`"),
            Some(format!(
                "set `{name}` in the env file or the environment, or write a default: `${{{name}:-}}`; a dollar \
                 sign itself is `$$`"
            )),
        )),
    }
}

fn push(variable: Variable, result: &mut Interpolated) {
    result.text.push_str(&variable.value);
    if !variable.public && !variable.value.is_empty() {
        result.secrets.push(variable.value);
    }
}

/// The file's own words are shown as they stand: what they interpolate may be secret.
fn required(name: &str, words: &str, lookup: &Lookup<'_>) -> InterpolationError {
    let state = if lookup(name).is_some() {
        "is empty"
    } else {
        "is not set"
    };
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    refused(
        format!("required variable `{name}` {state}{words}"),
        Some(format!("set `{name}` in the env file or the environment")),
    )
}

/// Where the brace of `${` closes; only `${` opens another.
fn closing_brace(inner: &str) -> Option<usize> {
    let mut open = 1;
    let mut previous = ' ';
    for (index, character) in inner.char_indices() {
        match character {
            '{' if previous == '$' => open += 1,
            '}' => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
        previous = character;
    }
    None
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

const fn refused(message: String, hint: Option<String>) -> InterpolationError {
    InterpolationError { message, hint }
}

fn dollar_hint() -> Option<String> {
    Some("write `$$` for a dollar sign itself".to_owned())
}

/// Interpolates every value below `node`. Keys stay as written, and so does what stands under `x-…`: aliases have
/// carried it to where it is used.
pub(super) fn interpolate_tree(node: &mut Node, path: &str, scope: &Scope<'_>) {
    let mark = node.mark;
    match &mut node.value {
        Value::Scalar(scalar) if scalar.text.contains('$') => match scope.interpolate(&scalar.text) {
            Ok(interpolated) => {
                if is_environment(path)
                    && let Some(name) = only_a_variable(&scalar.text)
                {
                    scope.remember_behind(mark, name);
                }
                scalar.text = interpolated.text;
                scalar.style = Style::Quoted;
                if !interpolated.secrets.is_empty() {
                    scalar.origin = Origin::Variable;
                    if !is_environment(path) {
                        scope.remember_secrets(&scalar.text, interpolated.secrets);
                    }
                }
            }
            Err(error) => report(scope, mark, path, error),
        },
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate_tree(item, &format!("{path}[{index}]"), scope);
            }
        }
        Value::Mapping(mapping) => {
            for (key, entry) in &mut mapping.entries {
                if !key.starts_with("x-") {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    interpolate_tree(&mut entry.value, &path, scope);
                }
            }
        }
    }
}

/// The variable that a value of `environment`, `${NAME}` or `KEY=${NAME}`, is nothing but.
fn only_a_variable(text: &str) -> Option<&str> {
    let value = match text.split_once('=') {
        Some((key, value)) if name_length(key) == key.len() && !key.is_empty() => value,
        Some(_) | None => text,
    };
    let rest = value.strip_prefix('$')?;
    let Some(braced) = rest.strip_prefix('{') else {
        return (!rest.is_empty() && name_length(rest) == rest.len()).then_some(rest);
    };
    let (name, after) = braced.split_at(name_length(braced));
    let closes_once = after.find('}').is_some_and(|end| end + 1 == after.len());
    let is_kept =
        after == "}" || after.starts_with(['-', '?']) || after.starts_with(":-") || after.starts_with(":?");
    (!name.is_empty() && closes_once && is_kept && !after.contains('$')).then_some(name)
}

/// The environment's values have a secret type of their own.
fn is_environment(path: &str) -> bool {
    let mut steps = path.split(['.', '[']);
    steps.next() == Some("services") && steps.nth(1) == Some("environment")
}

fn report(scope: &Scope<'_>, mark: Mark, path: &str, error: InterpolationError) {
    scope.report(mark, path, error.message, error.hint);
}
