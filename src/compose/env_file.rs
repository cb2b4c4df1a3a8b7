//! The syntax of env files, as Compose reads them: `KEY=value`, `export`, comments, three kinds of quoting, and
//! variables in all but single quotes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

use super::error::{ComposeError, ComposeErrors, why_unreadable};
use super::interpolate::{InterpolationError, Variable, interpolate};
use super::model::VariableSource;

/// One `KEY=value`; `None`: the key stands alone and takes its value from outside.
#[derive(PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: Option<Secret<String>>,
    /// Of the key, from 1.
    pub(super) line: usize,
}

/// What is wrong with an env file, and on which line. The line's text is not in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvFileError {
    pub(crate) line: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Reads the assignments. A variable in a value is looked for `outside` first, then in the lines above, then in what
/// `earlier` files set.
pub(super) fn parse(
    text: &str,
    outside: &dyn Fn(&str) -> Option<Variable>,
    earlier: &dyn Fn(&str) -> Option<Variable>,
) -> Result<Vec<Assignment>, EnvFileError> {
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    loop {
        let trimmed = rest.trim_start();
        line += newlines(&rest[..rest.len() - trimmed.len()]);
        rest = trimmed;
        if rest.is_empty() {
            return Ok(assignments);
        }
        if rest.starts_with('#') {
            rest = after_line(rest);
            line += 1;
            continue;
        }
        let (key, value_text) = key(rest, line)?;
        let Some(value_text) = value_text else {
            assignments.push(Assignment {
                key,
                value: None,
                line,
            });
            rest = after_line(rest);
            line += 1;
            continue;
        };
        let raw = raw_value(value_text, line)?;
        let value = if raw.interpolated {
            let above = |name: &str| {
                let assignment = assignments
                    .iter()
                    .rev()
                    .find(|assignment| assignment.key == name)?;
                let value = assignment.value.as_ref()?.reveal().clone();
                Some(Variable { value, public: false })
            };
            let lookup = |name: &str| outside(name).or_else(|| above(name)).or_else(|| earlier(name));
            interpolate(&raw.text, &lookup)
                .map_err(|error| in_file(error, &key, line))?
                .text
        } else {
            raw.text
        };
        let used = &value_text[..value_text.len() - raw.rest.len()];
        assignments.push(Assignment {
            key,
            value: Some(Secret::new(value)),
            line,
        });
        line += newlines(used);
        rest = raw.rest;
    }
}

/// `format: raw`: everything after `=` as it stands, but for the blanks around.
pub(super) fn parse_raw(text: &str) -> Result<Vec<Assignment>, EnvFileError> {
    let mut assignments = Vec::new();
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                assignments.push(Assignment {
                    key: key.to_owned(),
                    value: Some(Secret::new(value.to_owned())),
                    line: index + 1,
                });
            }
            None if !line.contains(char::is_whitespace) => {
                assignments.push(Assignment {
                    key: line.to_owned(),
                    value: None,
                    line: index + 1,
                });
            }
            Some(_) | None => return Err(bad_key(index + 1)),
        }
    }
    Ok(assignments)
}

/// The variables for `${…}`: the files in order, a later one over an earlier one, and `process` over all, as Compose
/// does.
///
/// # Errors
/// A file that is missing, unreadable, or not in the syntax of env files; a variable in it that does not exist.
pub fn read_variables(
    files: &[PathBuf],
    process: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, Secret<String>>, ComposeErrors> {
    let process = process
        .into_iter()
        .map(|(key, value)| (key, Secret::new(value)))
        .collect();
    Ok(read_variables_below(files, &BTreeMap::new(), process)?.values)
}

/// Variables for `${…}`.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    pub values: BTreeMap<String, Secret<String>>,
    /// Where those are written that have their value from a file.
    pub places: BTreeMap<String, VariableSource>,
}

/// As [`read_variables`], with `secrets` over the files and below `process`, and with where each is written. The files
/// see the secrets.
///
/// # Errors
/// As [`read_variables`].
pub fn read_variables_below(
    files: &[PathBuf],
    secrets: &BTreeMap<String, Secret<String>>,
    process: BTreeMap<String, Secret<String>>,
) -> Result<Variables, ComposeErrors> {
    let mut variables: BTreeMap<String, Secret<String>> = BTreeMap::new();
    let mut places = BTreeMap::new();
    let mut errors = Vec::new();
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                errors.push(unreadable(file, &error));
                continue;
            }
        };
        let outside = |name: &str| process.get(name).or_else(|| secrets.get(name)).map(secret);
        let earlier = |name: &str| variables.get(name).map(secret);
        match parse(&text, &outside, &earlier) {
            Ok(assignments) => {
                for assignment in assignments {
                    if let Some(value) = assignment.value {
                        let place = VariableSource {
                            file: file.clone(),
                            line: assignment.line,
                            in_compose_file: false,
                        };
                        places.insert(assignment.key.clone(), place);
                        variables.insert(assignment.key, value);
                    }
                }
            }
            Err(error) => errors.push(located(file, error)),
        }
    }
    if !errors.is_empty() {
        return Err(ComposeErrors(errors));
    }
    variables.extend(secrets.iter().map(|(key, value)| (key.clone(), value.clone())));
    places.retain(|name, _| !secrets.contains_key(name) && !process.contains_key(name));
    variables.extend(process);
    Ok(Variables {
        values: variables,
        places,
    })
}

/// The names in an env file, and the line of each; what the values are made of is not looked at.
///
/// # Errors
/// The line that is not in the syntax of env files.
pub fn keys_of_env_file(text: &str) -> Result<BTreeMap<String, usize>, usize> {
    let anything = |_: &str| {
        Some(Variable {
            value: "x".to_owned(),
            public: false,
        })
    };
    let assignments = parse(text, &anything, &anything).map_err(|error| error.line)?;
    Ok(assignments.into_iter().map(|one| (one.key, one.line)).collect())
}

/// The variables of a text in the syntax of env files; one in a value is looked for in `process`, in the lines above, and
/// in `earlier`.
pub(crate) fn variables_in(
    text: &str,
    process: &BTreeMap<String, Secret<String>>,
    earlier: &BTreeMap<String, Secret<String>>,
) -> Result<Vec<(String, Secret<String>)>, EnvFileError> {
    let assignments = parse(text, &|name| process.get(name).map(secret), &|name| {
        earlier.get(name).map(secret)
    })?;
    let with_value = |assignment: Assignment| Some((assignment.key, assignment.value?));
    Ok(assignments.into_iter().filter_map(with_value).collect())
}

fn secret(value: &Secret<String>) -> Variable {
    Variable {
        value: value.reveal().clone(),
        public: false,
    }
}

pub(super) fn located(file: &Path, error: EnvFileError) -> ComposeError {
    ComposeError {
        file: file.to_owned(),
        line: error.line,
        column: 1,
        path: String::new(),
        message: error.message,
        hint: error.hint,
    }
}

fn unreadable(file: &Path, error: &io::Error) -> ComposeError {
    ComposeError {
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: String::new(),
        message: format!("cannot read the env file: {}", why_unreadable(error)),
        hint: (error.kind() == io::ErrorKind::NotFound)
            .then(|| "`env_file` in deploy.yml names the files, relative to its own folder".to_owned()),
    }
}

/// The key, and the text from the value on; `None` where the key stands alone on its line.
fn key(text: &str, line: usize) -> Result<(String, Option<&str>), EnvFileError> {
    let without_export = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        Some(_) | None => text,
    };
    let end = without_export
        .find(['=', ':', '\n', '#'])
        .unwrap_or(without_export.len());
    let key = without_export[..end].trim_end();
    let known = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    if key.is_empty() || !key.chars().all(known) {
        return Err(bad_key(line));
    }
    let value = without_export[end..]
        .strip_prefix(['=', ':'])
        .map(|rest| rest.trim_start_matches([' ', '\t', '\r']));
    Ok((key.to_owned(), value))
}

struct RawValue<'t> {
    text: String,
    interpolated: bool,
    /// What follows in the file.
    rest: &'t str,
}

fn raw_value(text: &str, line: usize) -> Result<RawValue<'_>, EnvFileError> {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        Some(_) | None => {
            let end = text.find('\n').unwrap_or(text.len());
            let (value, rest) = text.split_at(end);
            let value = without_comment(value).trim_end();
            return Ok(RawValue {
                text: value.to_owned(),
                interpolated: true,
                rest,
            });
        }
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        if character == quote {
            let rest = &text[index + 1..];
            let line_ends = rest.find('\n').unwrap_or(rest.len());
            let tail = rest[..line_ends].trim();
            if !tail.is_empty() && !tail.starts_with('#') {
                return Err(EnvFileError {
                    line,
                    message: "text after the closing quote".to_owned(),
                    hint: Some("put the whole value in quotes".to_owned()),
                });
            }
            return Ok(RawValue {
                text: value,
                interpolated: quote == '"',
                rest: &rest[line_ends..],
            });
        }
        if character == '\\' {
            let Some((_, escaped)) = characters.next() else {
                break;
            };
            unescape(quote, escaped, &mut value);
        } else {
            value.push(character);
        }
    }
    Err(EnvFileError {
        line,
        message: "a quote that does not close".to_owned(),
        hint: None,
    })
}

/// In double quotes `\n` and its like are characters and `\$` keeps a dollar sign from the interpolation; in
/// single quotes only `\'` is special.
fn unescape(quote: char, escaped: char, value: &mut String) {
    match (quote, escaped) {
        ('\'', '\'') => value.push('\''),
        ('"', 'n') => value.push('\n'),
        ('"', 'r') => value.push('\r'),
        ('"', 't') => value.push('\t'),
        ('"', '"' | '\\') => value.push(escaped),
        ('"', '$') => value.push_str("$$"),
        (_, other) => {
            value.push('\\');
            value.push(other);
        }
    }
}

/// A `#` begins a comment after a blank, or at once.
fn without_comment(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let blank_before = |(index, _): &(usize, &str)| value[..*index].ends_with([' ', '\t']);
    match value.match_indices('#').find(blank_before) {
        Some((index, _)) => &value[..index],
        None => value,
    }
}

fn in_file(error: InterpolationError, key: &str, line: usize) -> EnvFileError {
    EnvFileError {
        line,
        message: format!("{key}: {}", error.message),
        hint: Some("put the value in single quotes if its `$` is meant as it stands".to_owned()),
    }
}

fn bad_key(line: usize) -> EnvFileError {
    EnvFileError {
        line,
        message: "expected `KEY=value`".to_owned(),
        hint: None,
    }
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end + 1..])
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}
