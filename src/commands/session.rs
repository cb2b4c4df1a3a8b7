//! What every command begins with: find and read the configuration and the Compose files, reach the engine, read the
//! releases. Everything wrong with them is said here, before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::sync::OnceCell;

use super::configuration;
use super::notices::{self, Notices};
use super::rebuilt::rebuilt;
use super::reported::ReportPlace;
use super::secrets::{self, Variables};
use crate::app::courier::Courier;
use crate::cli::GlobalOptions;
use crate::compose::{self, LoadRequest, Project, Source};
use crate::config::{self, Config, TagSource};
use crate::engine::docker::{DockerEngine, EngineEnvironment};
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::ledger::{self, Ledger, LedgerError, Memory, Releases};
use crate::notify::{Mask, target};
use crate::pipeline::Settings;
use crate::release::{RecordedFile, Release, Tag};
use crate::secret::Secret;

/// The variable that Compose files use for the release's tag.
pub(super) const TAG_VARIABLE: &str = "RELEASE_TAG";

/// What the project's name is followed by for its staging stack.
const STAGING: &str = "-staging";

/// The configuration and the engine.
pub(super) struct Session {
    pub config: Config,
    pub engine: DockerEngine,
    /// Where somebody wants the report of the run.
    pub report: Option<PathBuf>,
    /// What was found instead of a ledger that was lost.
    rebuilt: OnceLock<Releases>,
    /// What `secrets` names, read once, and only by what reads the Compose files.
    secrets: OnceCell<Variables>,
}

impl Session {
    /// Reads `deploy.yml` and connects; the engine is not asked anything yet.
    ///
    /// # Errors
    /// Whatever is wrong with `deploy.yml` or the engine's address.
    pub(super) fn open(global: &GlobalOptions) -> Result<Self, Failure> {
        Self::with_engine(global, &EngineEnvironment::of_process())
    }

    /// For what is read from files alone: a wrong address of the engine does not matter.
    ///
    /// # Errors
    /// Whatever is wrong with `deploy.yml`.
    pub(super) fn without_engine(global: &GlobalOptions) -> Result<Self, Failure> {
        Self::with_engine(global, &EngineEnvironment::default())
    }

    fn with_engine(global: &GlobalOptions, environment: &EngineEnvironment) -> Result<Self, Failure> {
        let here = std::env::current_dir().context("finding the current directory")?;
        let path = config::find(global.config.as_deref(), &here).map_err(config_error)?;
        let config = config::load(&path).map_err(config_error)?;
        let engine = DockerEngine::connect(environment)?;
        Ok(Self {
            config,
            engine,
            report: None,
            rebuilt: OnceLock::new(),
            secrets: OnceCell::new(),
        })
    }

    /// The releases, where the ledger was lost and [`Session::memory`] has found it so; none where it was not.
    pub(super) fn rebuilt(&self) -> Releases {
        self.rebuilt.get().cloned().unwrap_or_default()
    }

    /// The project's name.
    pub(super) fn project(&self) -> &str {
        self.config.project.as_str()
    }

    /// The releases so far. A ledger whose container was pruned is opened again, unless nothing may be changed.
    ///
    /// # Errors
    /// An engine that cannot be reached, and a ledger that cannot be read.
    pub(super) async fn releases(&self, global: &GlobalOptions) -> Result<Releases, Failure> {
        Ok(self.memory(global).await?.releases)
    }

    /// The releases so far, and the run that nobody has finished yet.
    ///
    /// # Errors
    /// As [`Session::releases`].
    pub(super) async fn memory(&self, global: &GlobalOptions) -> Result<Memory, Failure> {
        let project = self.project();
        if ledger::is_closed(&self.engine, project)
            .await
            .map_err(ledger_error)?
        {
            if global.dry_run {
                return Err(Failure::message(
                    FailureKind::Failed,
                    format!(
                        "the ledger of {project} is closed: its container {} is gone",
                        ledger::object_name(project)
                    ),
                )
                .hint("viatique-deploy status opens it again; a dry run changes nothing"));
            }
            Ledger::open(&self.engine, project).await.map_err(ledger_error)?;
        }
        let mut memory = ledger::read(&self.engine, project).await.map_err(ledger_error)?;
        let settings_of = |tag: Tag| self.settings(tag, None).boxed();
        let rebuilt = rebuilt(&self.engine, project, &memory, &settings_of).await?;
        if rebuilt.current().is_some() {
            memory.releases = self.rebuilt.get_or_init(|| rebuilt).clone();
        }
        Ok(memory)
    }

    /// The tag of a release to make: as typed, else as `deploy.yml` says.
    ///
    /// # Errors
    /// Where git is asked and cannot say.
    pub(super) async fn new_tag(&self, global: &GlobalOptions) -> Result<Tag, Failure> {
        if let Some(tag) = &global.tag {
            return Tag::new(tag.clone()).map_err(configuration);
        }
        match &self.config.release.tag {
            TagSource::Literal(tag) => Tag::new(tag.clone()).map_err(configuration),
            TagSource::Git => git_tag(self.config.directory()).await,
        }
    }

    /// The tag of what serves: as typed, else the current release's, else as for a new one.
    ///
    /// # Errors
    /// As [`Session::new_tag`].
    pub(super) async fn serving_tag(
        &self,
        global: &GlobalOptions,
        releases: &Releases,
    ) -> Result<Tag, Failure> {
        match (releases.current(), &global.tag) {
            (Some(current), None) => Ok(current.tag.clone()),
            (Some(_) | None, _) => self.new_tag(global).await,
        }
    }

    /// Settings for the project as its files stand now.
    ///
    /// # Errors
    /// Everything wrong with the Compose files, the variables, and `deploy.yml` held against them.
    pub(super) async fn settings(&self, tag: Tag, current: Option<Release>) -> Result<Settings, Failure> {
        self.read_secrets().await?;
        self.settings_again(tag, current)
    }

    /// The same, where the secrets have been read already.
    ///
    /// # Errors
    /// As [`Session::settings`].
    pub(super) fn settings_again(&self, tag: Tag, current: Option<Release>) -> Result<Settings, Failure> {
        let sources = compose::read_sources(&self.config.compose_files()).map_err(compose_error)?;
        let settings = self.settings_from(sources, tag.clone(), current, BTreeMap::new())?;
        Ok(Settings {
            staging: self.staging(tag)?.map(Box::new),
            ..settings
        })
    }

    /// Settings for the staging stack, if `deploy.yml` names one: a Compose project of its own.
    fn staging(&self, tag: Tag) -> Result<Option<Settings>, Failure> {
        let files = self.config.staging_files();
        if files.is_empty() {
            return Ok(None);
        }
        let sources = compose::read_sources(&files).map_err(compose_error)?;
        let name = format!("{}{STAGING}", self.project());
        let project = self.load_project(name, self.directory()?, sources, &tag)?;
        if let Some(django) = &self.config.django
            && !project.services.contains_key(&django.service)
        {
            return Err(configuration(anyhow::anyhow!(
                "the Compose files of staging have no service {}, which django.service names",
                django.service
            )));
        }
        Ok(Some(Settings {
            config: self.config.clone(),
            project,
            sources: Vec::new(),
            tag,
            backup_directory: self.backup_directory()?,
            staging: None,
            images: BTreeMap::new(),
            current: None,
            replace: BTreeSet::new(),
            allow_incompatible: true,
            maintenance: false,
            restores: None,
            reverses: None,
            smoke_variables: BTreeMap::new(),
            skip_smoke: false,
            assume_manual: false,
        }))
    }

    /// Settings for a recorded release: its Compose files, its images, today's variables.
    ///
    /// # Errors
    /// As [`Session::settings`].
    pub(super) async fn recorded_settings(
        &self,
        release: &Release,
        current: Option<Release>,
    ) -> Result<Settings, Failure> {
        self.read_secrets().await?;
        self.recorded_settings_again(release, current)
    }

    /// The same, where the secrets have been read already.
    ///
    /// # Errors
    /// As [`Session::settings`].
    pub(super) fn recorded_settings_again(
        &self,
        release: &Release,
        current: Option<Release>,
    ) -> Result<Settings, Failure> {
        let directory = self.directory()?;
        let sources = release
            .compose
            .iter()
            .map(|file| Source {
                path: directory.join(&file.path),
                text: file.text.clone(),
            })
            .collect();
        self.settings_from(sources, release.tag.clone(), current, release.images.clone())
            .map_err(|failure| {
                failure.context(format!(
                    "reading the Compose files that release {} was made from",
                    release.tag
                ))
            })
    }

    fn settings_from(
        &self,
        sources: Vec<Source>,
        tag: Tag,
        current: Option<Release>,
        images: BTreeMap<compose::ServiceName, crate::release::ReleasedImage>,
    ) -> Result<Settings, Failure> {
        let directory = self.directory()?;
        let recorded = sources
            .iter()
            .map(|source| RecordedFile {
                path: relative(&source.path, &directory),
                text: source.text.clone(),
            })
            .collect();
        let name = self.project().to_owned();
        let project = self.load_project(name, directory, sources, &tag)?;
        let problems = config::validate(&self.config, &project);
        if !problems.is_empty() {
            return Err(config_errors(problems));
        }
        let backup_directory = self.backup_directory()?;
        Ok(Settings {
            config: self.config.clone(),
            project,
            sources: recorded,
            tag,
            backup_directory,
            staging: None,
            images,
            current,
            replace: BTreeSet::new(),
            allow_incompatible: false,
            maintenance: false,
            restores: None,
            reverses: None,
            smoke_variables: self.smoke_variables()?,
            skip_smoke: false,
            assume_manual: false,
        })
    }

    /// Those that `smoke` asks for.
    fn smoke_variables(&self) -> Result<Variables, Failure> {
        let Some(smoke) = &self.config.smoke else {
            return Ok(Variables::new());
        };
        let wanted: BTreeSet<&str> = smoke.environment().map(|(_, name)| name).collect();
        let mut variables = self.variables()?.values;
        variables.retain(|name, _| wanted.contains(name.as_str()));
        Ok(variables)
    }

    /// Reads what `secrets` names, once.
    async fn read_secrets(&self) -> Result<(), Failure> {
        let reading = || async { secrets::read(&self.config, &of_process()).await };
        self.secrets.get_or_try_init(reading).await.map(|_| ())
    }

    /// Who is told of a deploy. What is masked beside the secrets of `deploy.yml` is the project's.
    ///
    /// # Errors
    /// Whatever is wrong with them once the variables are in them.
    pub(super) fn notices(&self, project: Option<&Project>) -> Result<Notices, Failure> {
        let read = self.variables()?;
        let targets = target::resolve(&self.config, &read.values).map_err(config_errors)?;
        let secrets = self.secrets.get().into_iter().flat_map(BTreeMap::values);
        let mask = match project {
            Some(project) => notices::mask(project, secrets, &read.values),
            None => Mask::of(secrets),
        };
        let port = Courier::new().map_err(|error| Failure::from(anyhow::Error::new(error)))?;
        Ok(Notices::new(targets, Arc::new(port), mask))
    }

    /// Who is told of a deploy, where nothing is deployed.
    ///
    /// # Errors
    /// As [`Session::notices`], and a secret that cannot be read.
    pub(super) async fn notices_alone(&self) -> Result<Notices, Failure> {
        self.read_secrets().await?;
        self.notices(None)
    }

    /// What `${…}` may name: the files of `env_file`, under the secrets, under this process's environment.
    fn variables(&self) -> Result<compose::Variables, Failure> {
        let Some(secrets) = self.secrets.get() else {
            // Without them, `${…:-default}` would take its default in silence.
            return Err(Failure::message(
                FailureKind::Failed,
                "the Compose files cannot be read before the secrets",
            ));
        };
        compose::read_variables_below(&self.config.env_files(), secrets, of_process()).map_err(compose_error)
    }

    fn load_project(
        &self,
        project_name: String,
        directory: PathBuf,
        sources: Vec<Source>,
        tag: &Tag,
    ) -> Result<Project, Failure> {
        let read = self.variables()?;
        let mut variables = read.values;
        variables.insert(TAG_VARIABLE.to_owned(), Secret::new(tag.to_string()));
        compose::load(&LoadRequest {
            project_name,
            project_directory: directory,
            sources,
            variables,
            variable_places: read.places,
            public_variables: BTreeSet::from([TAG_VARIABLE.to_owned()]),
            profiles: Vec::new(),
            read_file: &|path| std::fs::read_to_string(path),
        })
        .map_err(compose_error)
    }

    /// Where backups are written: absolute.
    ///
    /// # Errors
    /// A current directory that is gone.
    pub(super) fn backup_directory(&self) -> Result<PathBuf, Failure> {
        let directory = self.config.backup_directory();
        Ok(std::path::absolute(directory).context("finding the backup directory")?)
    }

    /// Where the report of a run is written: as typed, else as `deploy.yml` says.
    pub(super) fn report_place(&self) -> Option<ReportPlace> {
        match &self.report {
            Some(typed) => Some(ReportPlace::typed(typed)),
            None if self.config.report.automatic => Some(ReportPlace::Folder(self.config.report_directory())),
            None => None,
        }
    }

    fn directory(&self) -> Result<PathBuf, Failure> {
        let directory = self.config.directory();
        std::path::absolute(directory)
            .with_context(|| format!("finding {}", directory.display()))
            .map_err(Failure::from)
    }
}

fn relative(path: &Path, directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .strip_prefix(directory)
        .map(Path::to_owned)
        .unwrap_or(absolute)
}

/// This process's environment.
fn of_process() -> Variables {
    std::env::vars()
        .map(|(key, value)| (key, Secret::new(value)))
        .collect()
}

/// A failure to read or write the ledger.
pub(super) fn ledger_error(error: LedgerError) -> Failure {
    let hint = error.hint();
    let mut failure = match error {
        LedgerError::Engine(error) => Failure::from(error),
        LedgerError::NotWritten { .. } | LedgerError::Newer { .. } | LedgerError::Damaged { .. } => {
            Failure::new(FailureKind::Failed, error)
        }
    };
    failure.hints.extend(hint);
    failure
}

fn config_error(error: config::ConfigError) -> Failure {
    config_errors(vec![error])
}

pub(super) fn config_errors(errors: Vec<config::ConfigError>) -> Failure {
    let hints = errors.iter().filter_map(|error| error.hint.clone()).collect();
    several(errors.iter().map(ToString::to_string).collect(), hints)
}

fn compose_error(errors: compose::ComposeErrors) -> Failure {
    let hints = errors.0.iter().filter_map(|error| error.hint.clone()).collect();
    several(errors.0.iter().map(ToString::to_string).collect(), hints)
}

/// One error as itself; several under one heading, each on its line.
fn several(mut messages: Vec<String>, mut hints: Vec<String>) -> Failure {
    hints.dedup();
    let first = if messages.len() == 1 {
        messages.remove(0)
    } else {
        format!("{} things are wrong", messages.len())
    };
    let mut failure =
        Failure::message(FailureKind::Configuration, first).evidence("in the configuration", messages);
    failure.hints = hints;
    failure
}

/// What `git describe` says of the folder's checkout.
async fn git_tag(directory: &Path) -> Result<Tag, Failure> {
    const HINT: &str = "name the release yourself: --tag <TAG>, or release.tag in deploy.yml";
    let asked = Git::at(directory)
        .ask(&["describe", "--tags", "--always", "--dirty"], &[])
        .await
        .context("asking git for the release's tag");
    let answer = asked.map_err(|error| configuration(error).hint(HINT))?;
    if answer.code != Some(0) {
        return Err(Failure::message(
            FailureKind::Configuration,
            format!(
                "git cannot name the release that {} is at: {}",
                directory.display(),
                answer.complaint
            ),
        )
        .hint(HINT));
    }
    Tag::new(answer.text.trim()).map_err(|error| configuration(error).hint(HINT))
}
