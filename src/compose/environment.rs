//! A service's environment: its env files in order, then `environment` over them.

use std::collections::BTreeMap;
use std::io;

use crate::secret::Secret;
use crate::yaml::{Origin, Value};

use super::env_file::{Assignment, located, parse, parse_raw};
use super::error::why_unreadable;
use super::interpolate::Variable;
use super::model::{EnvironmentValue, VariableSource};
use super::reader::{At, Fields};

type Environment = BTreeMap<String, EnvironmentValue>;
type Sources = BTreeMap<String, VariableSource>;

/// Reads `env_file` and `environment`, and where each variable is written.
pub(super) fn environment(fields: &Fields<'_>) -> (Environment, Sources) {
    let mut environment = BTreeMap::new();
    let mut sources = BTreeMap::new();
    if let Some(at) = fields.get("env_file") {
        for at in at.one_or_many() {
            env_file(&at, &mut environment, &mut sources);
        }
    }
    let Some(at) = fields.get("environment") else {
        return (environment, sources);
    };
    for entry in at.key_values() {
        let scope = entry.at.scope;
        let alone = entry.value.is_none().then_some(entry.key.as_str());
        sources.insert(entry.key.clone(), scope.source(entry.at.node.mark, alone));
        let value = match (entry.value, entry.origin) {
            (Some(value), Origin::Written) => EnvironmentValue::Plain(value),
            (Some(value), Origin::Variable) => EnvironmentValue::Secret(Secret::new(value)),
            (None, _) => match scope.variable(&entry.key) {
                Some(Variable { value, public: true }) => EnvironmentValue::Plain(value),
                Some(Variable { value, public: false }) => EnvironmentValue::Secret(Secret::new(value)),
                None => EnvironmentValue::Unset,
            },
        };
        environment.insert(entry.key, value);
    }
    (environment, sources)
}

/// One entry of `env_file`: a path, or `{path, required, format}`.
fn env_file(at: &At<'_>, environment: &mut Environment, sources: &mut Sources) {
    let (path, required, raw) = match &at.node.value {
        Value::Mapping(_) => {
            let Some(fields) = at.fields() else { return };
            let path = fields.get("path").and_then(|at| at.filled_text());
            let required = fields.boolean("required").unwrap_or(true);
            let format = fields.get("format").and_then(|at| {
                let format = at.text()?;
                if format != "raw" {
                    at.refuse_with(
                        format!("unknown format {}", at.node.describe()),
                        "the only format is `raw`",
                    );
                }
                Some(format)
            });
            if path.is_none() {
                at.refuse("missing key `path`");
            }
            fields.finish(&[]);
            (path, required, format.is_some())
        }
        Value::Scalar(_) | Value::Sequence(_) => (at.filled_text(), true, false),
    };
    let Some(path) = path else { return };
    let path = at.scope.absolute(&path);
    let shown = at.scope.shown(&path);
    let text = match (at.scope.request.read_file)(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return,
        Err(error) => {
            at.refuse_with(
                format!(
                    "cannot read the env file {}: {}",
                    shown.display(),
                    why_unreadable(&error)
                ),
                "write the file, or `{path: …, required: false}` if it may be absent",
            );
            return;
        }
    };
    at.scope.remember_env_file(&path);
    let assignments = if raw {
        parse_raw(&text)
    } else {
        let earlier = |name: &str| {
            let value = environment.get(name)?.reveal()?.to_owned();
            Some(Variable { value, public: false })
        };
        parse(&text, &|name| at.scope.variable(name), &earlier)
    };
    match assignments {
        Ok(assignments) => {
            for Assignment { key, value, line } in assignments {
                let value = value.or_else(|| at.scope.variable(&key).map(|found| Secret::new(found.value)));
                if let Some(value) = value {
                    let source = VariableSource {
                        file: shown.clone(),
                        line,
                        in_compose_file: false,
                    };
                    sources.insert(key.clone(), source);
                    environment.insert(key, EnvironmentValue::Secret(value));
                }
            }
        }
        Err(error) => at.scope.report_error(located(&shown, error)),
    }
}
