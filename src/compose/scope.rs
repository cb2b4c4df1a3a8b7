//! What every stage of loading shares: the request, the files' names, the errors found so far.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::secret::Secret;
use crate::yaml::{self, Mark, Node};

use super::error::ComposeError;
use super::interpolate::{Interpolated, InterpolationError, Variable, interpolate};
use super::load::LoadRequest;
use super::model::{InterpolatedSecret, VariableSource};

/// One loading of one project. Errors are gathered, so that a person sees them all at once.
pub(super) struct Scope<'a> {
    pub(super) request: &'a LoadRequest<'a>,
    /// By [`Mark::source`].
    files: RefCell<Vec<PathBuf>>,
    errors: RefCell<Vec<ComposeError>>,
    /// The variable that a value is nothing but, by where the value stands.
    behind: RefCell<BTreeMap<Mark, String>>,
    /// Those that were read, in their order.
    env_files: RefCell<Vec<PathBuf>>,
    /// Each text with the secret values in it.
    secrets: RefCell<BTreeSet<(String, Vec<String>)>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(request: &'a LoadRequest<'a>) -> Self {
        Self {
            request,
            files: RefCell::default(),
            errors: RefCell::default(),
            behind: RefCell::default(),
            env_files: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// The folder that relative paths are meant from.
    pub(super) fn directory(&self) -> &Path {
        &self.request.project_directory
    }

    /// A relative path from the project's folder, `~` from the home; without `.` and `..`, not looking at links.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        absolute_from(self.directory(), path, self.home().as_deref())
    }

    /// The home that `~` stands for: the variable, as Compose takes it.
    pub(super) fn home(&self) -> Option<String> {
        self.request
            .variables
            .get("HOME")
            .map(|home| home.reveal().clone())
    }

    /// Gives a file its number.
    pub(super) fn add_file(&self, path: &Path) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(self.shown(path));
        files.len() - 1
    }

    /// A path as a person would write it: relative to the project's folder where it is inside.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.directory()).unwrap_or(path).to_owned()
    }

    /// `file:line` of a mark, for a second place in one message.
    pub(super) fn place(&self, mark: Mark) -> String {
        let files = self.files.borrow();
        let file = files
            .get(mark.source)
            .map(|file| file.display().to_string())
            .unwrap_or_default();
        format!("{file}:{}", mark.line)
    }

    /// Notes an error at a position.
    pub(super) fn report(&self, mark: Mark, path: &str, message: impl Into<String>, hint: Option<String>) {
        let file = self.files.borrow().get(mark.source).cloned().unwrap_or_default();
        self.errors.borrow_mut().push(ComposeError {
            file,
            line: mark.line,
            column: mark.column,
            path: path.to_owned(),
            message: message.into(),
            hint,
        });
    }

    /// Notes an error about a file as a whole.
    pub(super) fn report_file(&self, path: &Path, message: impl Into<String>, hint: Option<String>) {
        self.errors.borrow_mut().push(ComposeError {
            file: self.shown(path),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            hint,
        });
    }

    /// Notes an error that was made elsewhere.
    pub(super) fn report_error(&self, error: ComposeError) {
        self.errors.borrow_mut().push(error);
    }

    /// Notes an error of the YAML room.
    pub(super) fn report_yaml(&self, error: &yaml::Error) {
        let mark = error.mark.unwrap_or_default();
        self.report(
            mark,
            &error.path,
            error.to_string(),
            error.hint().map(str::to_owned),
        );
    }

    /// Forgets the errors found under a path: a service that its profile leaves out may be wrong.
    pub(super) fn forget_under(&self, path: &str) {
        self.errors.borrow_mut().retain(|error| {
            let below = error.path.strip_prefix(path);
            !below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// Every error once, in the order of files and lines.
    pub(super) fn into_errors(self) -> Vec<ComposeError> {
        let files = self.files.into_inner();
        let mut errors = self.errors.into_inner();
        let order = |error: &ComposeError| {
            let file = files
                .iter()
                .position(|file| *file == error.file)
                .unwrap_or(usize::MAX);
            (file, error.line, error.column)
        };
        errors.sort_by_key(order);
        errors.dedup();
        errors
    }

    /// A variable of the request.
    pub(super) fn variable(&self, name: &str) -> Option<Variable> {
        if name == "COMPOSE_PROJECT_NAME" {
            // Compose sets it itself.
            return Some(Variable {
                value: self.request.project_name.clone(),
                public: true,
            });
        }
        let value = self.request.variables.get(name)?.reveal().clone();
        Some(Variable {
            value,
            public: self.request.public_variables.contains(name),
        })
    }

    /// Puts the request's variables into a text.
    pub(super) fn interpolate(&self, text: &str) -> Result<Interpolated, InterpolationError> {
        interpolate(text, &|name| self.variable(name))
    }

    /// Notes that the value at a mark is what this variable holds, and nothing else.
    pub(super) fn remember_behind(&self, mark: Mark, variable: &str) {
        self.behind.borrow_mut().insert(mark, variable.to_owned());
    }

    /// Where a value of `environment` is written: with the variable that it is nothing but, where that one's place is
    /// known.
    pub(super) fn source(&self, mark: Mark, key_alone: Option<&str>) -> VariableSource {
        let behind = self.behind.borrow();
        let variable = key_alone.or_else(|| behind.get(&mark).map(String::as_str));
        let known = variable.and_then(|name| self.request.variable_places.get(name));
        match known {
            Some(place) => VariableSource {
                file: self.shown(&place.file),
                ..place.clone()
            },
            None => VariableSource {
                file: self.files.borrow().get(mark.source).cloned().unwrap_or_default(),
                line: mark.line,
                in_compose_file: true,
            },
        }
    }

    /// Notes that an env file was read.
    pub(super) fn remember_env_file(&self, path: &Path) {
        let mut files = self.env_files.borrow_mut();
        if !files.iter().any(|file| file == path) {
            files.push(path.to_owned());
        }
    }

    pub(super) fn env_files(&self) -> Vec<PathBuf> {
        self.env_files.borrow().clone()
    }

    /// Notes that a text outside of `environment` holds these secret values.
    pub(super) fn remember_secrets(&self, text: &str, values: Vec<String>) {
        self.secrets.borrow_mut().insert((text.to_owned(), values));
    }

    pub(super) fn secrets(&self) -> Vec<InterpolatedSecret> {
        let wrap = |(text, values): &(String, Vec<String>)| InterpolatedSecret {
            text: Secret::new(text.clone()),
            values: values.iter().cloned().map(Secret::new).collect(),
        };
        self.secrets.borrow().iter().map(wrap).collect()
    }
}

/// See [`Scope::absolute`].
pub(super) fn absolute_from(folder: &Path, path: &str, home: Option<&str>) -> PathBuf {
    let from_home = match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => Some(format!("{home}{rest}")),
        (Some(_) | None, _) => None,
    };
    let joined = match from_home {
        Some(path) => PathBuf::from(path),
        None => folder.join(path),
    };
    let mut clean = PathBuf::new();
    for component in joined.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(component),
        }
    }
    clean
}

/// The deepest node that stands on the way of `steps`, and where its key or itself stands: for errors found after
/// the tree was read.
pub(super) fn deepest_on_the_way<'n>(root: &'n Node, steps: &[&str]) -> (&'n Node, Mark) {
    let mut node = root;
    let mut mark = root.mark;
    for step in steps {
        match &node.value {
            yaml::Value::Mapping(mapping) => match mapping.entries.get(*step) {
                Some(entry) => {
                    node = &entry.value;
                    mark = entry.key_mark;
                }
                None => break,
            },
            yaml::Value::Sequence(items) => match items.iter().find(|item| names(item, step)) {
                Some(item) => {
                    node = item;
                    mark = item.mark;
                }
                None => break,
            },
            yaml::Value::Scalar(_) => break,
        }
    }
    (node, mark)
}

/// Whether an item of a list is about a name: `name`, `name:…`, `name=…`, or a mapping with it as a value.
fn names(item: &Node, name: &str) -> bool {
    match &item.value {
        yaml::Value::Scalar(scalar) => scalar.text.split([':', '=']).next() == Some(name),
        yaml::Value::Mapping(mapping) => mapping.entries.values().any(|entry| match &entry.value.value {
            yaml::Value::Scalar(scalar) => scalar.text == name,
            yaml::Value::Sequence(_) | yaml::Value::Mapping(_) => false,
        }),
        yaml::Value::Sequence(_) => false,
    }
}
