//! The way from texts to a [`Project`]; each stage is in its own file. Reads files only through what the caller
//! hands over, and from disk only in [`read_sources`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::secret::Secret;
use crate::yaml::{self, Node};

use super::error::{ComposeError, ComposeErrors, why_unreadable};
use super::interpolate::interpolate_tree;
use super::merge::merge_files;
use super::model::{Project, VariableSource};
use super::scope::Scope;
use super::{check, extends, project};

/// One Compose file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Absolute, or relative to the project's folder.
    pub path: PathBuf,
    pub text: String,
}

/// How a referenced file (`env_file`, `extends`) is read; the path is absolute.
pub type ReadFile<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

/// Everything a project is made of.
pub struct LoadRequest<'a> {
    /// The project's name, which wins; a Compose file that says another is refused.
    pub project_name: String,
    /// Absolute folder that relative paths are resolved against.
    pub project_directory: PathBuf,
    /// In merge order: a later file overrides an earlier one.
    pub sources: Vec<Source>,
    /// What `${…}` may name. See [`read_variables`](super::read_variables).
    pub variables: BTreeMap<String, Secret<String>>,
    /// Where those that stand in files are written.
    pub variable_places: BTreeMap<String, VariableSource>,
    /// Variables whose values may be shown and recorded, such as the release's tag. Every other one is secret.
    pub public_variables: BTreeSet<String>,
    /// Services with `profiles` are left out unless one of theirs is here (`*` stands for all).
    pub profiles: Vec<String>,
    /// Reads the files that the Compose files name.
    pub read_file: &'a ReadFile<'a>,
}

/// Reads the Compose files from disk.
///
/// # Errors
/// One error for each file that is missing, unreadable or not UTF-8.
pub fn read_sources(paths: &[PathBuf]) -> Result<Vec<Source>, ComposeErrors> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match std::fs::read_to_string(path) {
            Ok(text) => sources.push(Source {
                path: path.clone(),
                text,
            }),
            Err(error) => errors.push(ComposeError {
                file: path.clone(),
                line: 0,
                column: 0,
                path: String::new(),
                message: format!("cannot read the Compose file: {}", why_unreadable(&error)),
                hint: (error.kind() == io::ErrorKind::NotFound).then(|| {
                    "`compose` in deploy.yml names the files, relative to its own folder".to_owned()
                }),
            }),
        }
    }
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(ComposeErrors(errors))
    }
}

/// Loads the project: parse, interpolate, extend, merge, resolve, check.
///
/// # Errors
/// Everything found wrong, each with file, line, column and path. No value of a variable is in it.
pub fn load(request: &LoadRequest<'_>) -> Result<Project, ComposeErrors> {
    let scope = Scope::new(request);
    let mut merged: Option<Node> = None;
    for source in &request.sources {
        let path = request.project_directory.join(&source.path);
        let Some(tree) = tree(source, &path, &scope) else {
            continue;
        };
        merged = Some(match merged {
            None => tree,
            Some(base) => merge_files(base, tree, &scope),
        });
    }
    let project = match &merged {
        None if !scope.has_errors() => {
            scope.report_file(Path::new("deploy.yml"), "no Compose file", None);
            None
        }
        None => None,
        Some(root) => {
            let project = project::resolve(root, &scope);
            // What was not resolved would look like a wrong reference.
            if let Some(project) = &project
                && !scope.has_errors()
            {
                check::check(project, root, &scope);
            }
            project
        }
    };
    let errors = scope.into_errors();
    match project {
        Some(project) if errors.is_empty() => Ok(project),
        Some(_) | None => Err(ComposeErrors(errors)),
    }
}

/// One file, interpolated and with its `extends` worked out.
fn tree(source: &Source, path: &Path, scope: &Scope<'_>) -> Option<Node> {
    let number = scope.add_file(path);
    let mut root = match yaml::parse(&source.text, number) {
        Ok(root) => root,
        Err(error) => {
            scope.report_yaml(&error);
            return None;
        }
    };
    if root.as_mapping().is_none() {
        scope.report(
            root.mark,
            "",
            format!("expected a mapping with `services`, found {}", root.describe()),
            None,
        );
        return None;
    }
    interpolate_tree(&mut root, "", scope);
    let folder = path.parent().unwrap_or_else(|| scope.directory()).to_owned();
    extends::apply(&mut root, &folder, path, scope);
    Some(root)
}

/// Whether Compose takes this text as a project's name: `[a-z0-9][a-z0-9_-]*`.
pub fn is_project_name(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    text.bytes().all(allowed) && !text.starts_with(['_', '-']) && !text.is_empty()
}
