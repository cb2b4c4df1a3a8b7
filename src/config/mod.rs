//! `deploy.yml` -> [`Config`]: one file per section, unknown keys refused with a "did you mean". What it says is
//! checked against the Compose project by [`validate()`]; it reads nothing but its own file.

mod backup;
mod build;
mod checklist;
mod checks;
mod code;
mod count;
mod django;
mod environment;
mod error;
mod file;
mod health;
mod hooks;
mod maintenance;
mod monitor;
mod name;
mod notice_template;
mod notify;
mod one_or_many;
mod quantity;
mod release;
mod report;
mod scanners;
mod secrets;
mod service;
mod site;
mod smoke;
mod team;
mod tests_of_the_code;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use backup::{
    AgeRecipient, Backup, BackupCopy, BackupKeep, BackupRepository, BackupTool, CopyPlace, DatabaseBackup,
    MediaBackup,
};
pub use build::Build;
pub use checklist::{Checklist, OwnLine};
pub use checks::{Checks, Day, Waiver};
pub use code::Code;
pub use django::Django;
pub use environment::{DeclaredEnvironment, VariableKind};
pub use error::{ConfigError, ConfigErrors};
pub use file::{FILE_NAME, find, load, parse};
pub use health::Health;
pub use hooks::Hook;
pub use maintenance::Maintenance;
pub use monitor::{AccessLog, Monitor, NewErrors, OnBad, Prometheus, Thresholds, is_watch};
pub use name::ProjectName;
pub use notice_template::{NoticeTemplate, Piece, Placeholder};
pub use notify::{
    Channel, Email, Grafana, Hook as NotifyHook, MailTls, Mattermost, Moment, Notify, Pushgateway, Raw,
    Sentry, Textfile, Webhook, WebhookMethod,
};
pub use quantity::{ByteSize, HumanDuration};
pub use release::{Release, TagSource};
pub use report::Report;
pub use scanners::{Bandit, ImageScanner, OsvScanner, PipAudit, Safety, SarifScanner, Scanners, Severity};
pub use secrets::{SecretEntry, SecretSource};
pub use service::{ServiceSettings, Strategy};
pub use site::{Site, SiteDays};
pub use smoke::{
    BeforeSwitch, Capture, CaptureFrom, Expectation, ExpectedHeader, JsonPath, JsonTemplate, Smoke,
    SmokeBody, SmokeCommand, SmokeFile, SmokeFileContent, SmokeMethod, SmokeRepeat, SmokeScenario, SmokeStep,
    SmokeTarget, SmokeVariable, Template, TemplatePart, VariableName,
};
pub use team::Team;
pub use tests_of_the_code::TestsOfTheCode;
pub use validate::validate;

use crate::compose::{Project, Service, ServiceName};
use crate::yaml;

/// The whole of `deploy.yml`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Compose project's name.
    pub project: ProjectName,
    /// The Compose files in merge order, as written; see [`Config::compose_files`].
    #[serde(deserialize_with = "one_or_many::at_least_one_path")]
    pub compose: Vec<PathBuf>,
    /// The Compose files of a staging stack, on which a rehearsal migrates too; none by default. See
    /// [`Config::staging_files`].
    #[serde(default, deserialize_with = "one_or_many::paths")]
    pub staging: Vec<PathBuf>,
    /// Files of variables for `${…}`, as written; see [`Config::env_files`].
    #[serde(default, deserialize_with = "one_or_many::paths")]
    pub env_file: Vec<PathBuf>,
    /// Variables for `${…}` that stand in no file beside this one. They win over those of `env_file`.
    #[serde(default, deserialize_with = "secrets::entries")]
    pub secrets: Vec<SecretEntry>,
    #[serde(default)]
    pub release: Release,
    pub django: Option<Django>,
    /// How single services are replaced; a service that is not here is replaced sensibly.
    #[serde(default)]
    pub services: BTreeMap<ServiceName, ServiceSettings>,
    #[serde(default)]
    pub build: Build,
    #[serde(default)]
    pub backup: Backup,
    #[serde(default)]
    pub checks: Checks,
    pub health: Option<Health>,
    /// Scenarios that are played through the site after a deploy; none where `None`.
    pub smoke: Option<Smoke>,
    #[serde(default)]
    pub maintenance: Maintenance,
    /// How a release is watched after its deploy; not at all by default.
    pub monitor: Option<Monitor>,
    /// What is looked at once a release serves, beside the workflow's lines, or instead of them.
    #[serde(default)]
    pub checklist: Checklist,
    /// Where the reports of runs are written.
    #[serde(default)]
    pub report: Report,
    /// Commands before and after single steps, in the order in which they are run.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Who is told of a deploy.
    #[serde(default, deserialize_with = "notify::entries")]
    pub notify: Vec<Notify>,
    /// Where this was read from.
    #[serde(skip)]
    origin: Origin,
}

/// The file behind a [`Config`], for positions in later errors.
#[derive(Debug, Clone, PartialEq, Default)]
struct Origin {
    path: PathBuf,
    document: Option<yaml::Node>,
}

impl Config {
    /// The path of `deploy.yml` itself.
    pub fn path(&self) -> &Path {
        &self.origin.path
    }

    /// The folder of `deploy.yml`: relative paths in it are meant from here, and it is the Compose project's folder.
    pub fn directory(&self) -> &Path {
        match self.origin.path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        }
    }

    fn beside_deploy_yml(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let here = self.directory();
        paths.iter().map(|path| here.join(path)).collect()
    }

    /// The Compose files, from the folder of `deploy.yml`.
    pub fn compose_files(&self) -> Vec<PathBuf> {
        self.beside_deploy_yml(&self.compose)
    }

    /// The Compose files of the staging stack, from the folder of `deploy.yml`.
    pub fn staging_files(&self) -> Vec<PathBuf> {
        self.beside_deploy_yml(&self.staging)
    }

    /// The files of variables, from the folder of `deploy.yml`.
    pub fn env_files(&self) -> Vec<PathBuf> {
        self.beside_deploy_yml(&self.env_file)
    }

    /// The file with the maintenance page, from the folder of `deploy.yml`.
    pub fn maintenance_page(&self) -> Option<PathBuf> {
        let page = self.maintenance.page.as_ref()?;
        Some(self.directory().join(page))
    }

    /// Where backups are written, from the folder of `deploy.yml`.
    pub fn backup_directory(&self) -> PathBuf {
        self.directory().join(&self.backup.directory)
    }

    /// Where the reports of runs are written, from the folder of `deploy.yml`.
    pub fn report_directory(&self) -> PathBuf {
        self.directory().join(&self.report.directory)
    }

    /// The file with a key that decrypts backups.
    pub fn backup_identity(&self) -> Option<PathBuf> {
        let identity = self.backup.identity.as_ref()?;
        Some(self.directory().join(identity))
    }

    /// The file with a sample of the environment, from the folder of `deploy.yml`.
    pub fn environment_sample(&self) -> Option<PathBuf> {
        let sample = self.checks.environment.sample.as_ref()?;
        Some(self.directory().join(sample))
    }

    /// The public name: what `checks.site` says, else that of an https address in `health.url`. Its file of authorities is
    /// meant from the folder of `deploy.yml`.
    pub fn site(&self) -> Option<Site> {
        match &self.checks.site {
            Some(site) => {
                let mut site = site.clone();
                site.ca_file = site.ca_file.map(|file| self.directory().join(file));
                Some(site)
            }
            None => Site::at(&self.health.as_ref()?.url),
        }
    }

    /// How long what was deployed may take to become well.
    pub fn health_timeout(&self) -> Duration {
        let written = self.health.as_ref().map(|health| health.timeout);
        written.unwrap_or(health::TIMEOUT).0
    }

    /// The settings for a service: those written, else every default.
    pub fn service(&self, name: &ServiceName) -> ServiceSettings {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// The service whose access log tells of the requests: the one that `monitor.access_log` names, else the first that
    /// nginx runs in and that publishes a port.
    pub fn logs_requests<'a>(&self, project: &'a Project) -> Option<&'a Service> {
        let named = self
            .monitor
            .as_ref()
            .and_then(|monitor| monitor.access_log.service.as_ref());
        match named {
            Some(name) => project.services.get(name),
            None => {
                let mut services = project.services.values();
                services.find(|service| service::looks_like_nginx(service) && !service.ports.is_empty())
            }
        }
    }

    /// How a service tests its configuration (if it can) and how it reads it again: the commands written, else
    /// nginx's own where its name or image says nginx. `None` if it cannot be reloaded.
    pub fn reload_commands(&self, service: &Service) -> Option<(Option<Vec<String>>, Vec<String>)> {
        let settings = self.service(&service.name);
        service::reload_commands(&settings, service)
    }
}
