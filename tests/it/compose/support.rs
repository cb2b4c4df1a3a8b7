//! Loading a project from texts, without a disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use viatique_deploy::compose::{self, ComposeErrors, LoadRequest, Project, Source};
use viatique_deploy::secret::Secret;

/// A project in `/project`, made of texts.
#[derive(Default)]
pub(crate) struct Texts {
    sources: Vec<Source>,
    files: BTreeMap<PathBuf, String>,
    variables: BTreeMap<String, Secret<String>>,
    public: Vec<String>,
    profiles: Vec<String>,
}

impl Texts {
    /// One Compose file, `compose.yml`.
    pub(crate) fn compose(text: &str) -> Self {
        Self::default().and(text, "compose.yml")
    }

    /// A further Compose file.
    pub(crate) fn and(mut self, text: &str, path: &str) -> Self {
        self.sources.push(Source {
            path: PathBuf::from("/project").join(path),
            text: text.to_owned(),
        });
        self
    }

    /// A file that the Compose files may name.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files
            .insert(PathBuf::from("/project").join(path), text.to_owned());
        self
    }

    /// A secret variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables
            .insert(name.to_owned(), Secret::new(value.to_owned()));
        self
    }

    /// A variable whose value may be shown.
    pub(crate) fn public(mut self, name: &str, value: &str) -> Self {
        self.public.push(name.to_owned());
        self.variable(name, value)
    }

    pub(crate) fn profile(mut self, name: &str) -> Self {
        self.profiles.push(name.to_owned());
        self
    }

    pub(crate) fn load(&self) -> Result<Project, ComposeErrors> {
        let read_file = |path: &Path| {
            self.files
                .get(path)
                .cloned()
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        compose::load(&LoadRequest {
            project_name: "project".to_owned(),
            project_directory: PathBuf::from("/project"),
            sources: self.sources.clone(),
            variables: self.variables.clone(),
            variable_places: BTreeMap::new(),
            public_variables: self.public.iter().cloned().collect(),
            profiles: self.profiles.clone(),
            read_file: &read_file,
        })
    }

    /// The project, which must load.
    pub(crate) fn project(&self) -> Project {
        self.load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Everything a person is shown when the project is refused.
    pub(crate) fn refusal(&self) -> String {
        match self.load() {
            Ok(project) => panic!("was not refused: {project:#?}"),
            Err(errors) => errors.to_string(),
        }
    }
}
