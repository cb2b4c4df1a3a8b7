//! The Django application that `deploy.yml` names, in containers of its own for one command: which service it is, and
//! what such a container needs before it can run. What is run in it is `migrate`'s and `collectstatic`'s business. And
//! its image as a place where Python is, for scripts of ours that have nothing to do with the application.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::lines::Listener;
use super::one_off::{self, OneOffResult};
use super::{deploy, images};
use crate::compose::{Healthcheck, Limits, RestartPolicy, Service, ServiceName};
use crate::engine::ImageId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Settings, StepId, View};

/// What `deploy.yml` says of Django, with the service it names.
pub(crate) struct Application<'a> {
    pub service: &'a Service,
    pub manage: &'a [String],
}

/// Why a step of the application has nothing to do, or cannot do it.
pub(crate) const NO_APPLICATION: &str = "deploy.yml names no django service";

impl<'a> Application<'a> {
    /// # Errors
    /// Where the project has none.
    pub(crate) fn require(settings: &'a Settings) -> Result<Self, Failure> {
        Self::of(settings).ok_or_else(|| Failure::message(FailureKind::Configuration, NO_APPLICATION))
    }

    /// The Django application of the project, if it has one.
    pub(crate) fn of(settings: &'a Settings) -> Option<Self> {
        let django = settings.config.django.as_ref()?;
        let service = settings.project.services.get(&django.service)?;
        Some(Self {
            service,
            manage: &django.manage,
        })
    }
}

/// What a container of the application needs: made once, however many steps of a run ask for it, and also where they
/// run side by side. On a first deploy it starts the database, and two of them on one volume would be the end of it.
#[derive(Debug, Clone, Default)]
pub struct Preparation(Arc<OnceCell<Prepared>>);

impl Preparation {
    /// Finds the image, and makes sure of networks, volumes, and what the application depends on. The step that asks
    /// first does it; another waits for it, and does it itself only where the first was stopped meanwhile.
    ///
    /// # Errors
    /// Missing images, and dependencies that do not start.
    pub(crate) async fn prepared(
        &self,
        context: Context<'_>,
        step: StepId,
        application: &Application<'_>,
    ) -> Result<&Prepared, Failure> {
        self.0
            .get_or_try_init(|| prepare(context, step, application))
            .await
    }
}

/// The application's image and networks, its dependencies running.
#[derive(Debug)]
pub(crate) struct Prepared {
    image: ImageId,
    networks: deploy::infrastructure::NetworkIds,
}

async fn prepare(
    context: Context<'_>,
    step: StepId,
    application: &Application<'_>,
) -> Result<Prepared, Failure> {
    let images = images::require(context.view()).await?;
    let name = &application.service.name;
    let image = images
        .get(name)
        .map(|image| image.id.clone())
        .ok_or_else(|| Failure::message(FailureKind::Failed, format!("no image is known for {name}")))?;
    let networks =
        deploy::infrastructure::ensure(context.engine, &context.settings.project, context.run).await?;
    deploy::start_dependencies(context, step, name, &images, &networks).await?;
    Ok(Prepared { image, networks })
}

/// Whether a container of the application could be run as things stand.
pub(crate) enum Readiness {
    Ready(Prepared),
    /// What is missing, in words.
    NotYet(String),
}

impl Prepared {
    /// What is there already: nothing is made or started.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn found(view: View<'_>, application: &Application<'_>) -> Result<Readiness, Failure> {
        let settings = view.settings;
        let name = &application.service.name;
        let found = images::find(view).await?;
        let Some(image) = found.images.get(name) else {
            return Ok(Readiness::NotYet(format!(
                "there is no image of {name} yet: viatique-deploy build --tag {}",
                settings.tag
            )));
        };
        let networks = deploy::infrastructure::find_networks(view.inspect, &settings.project).await?;
        let missing = deploy::missing_dependencies(view, name).await?;
        let is_there = |key: &String| networks.contains_key(key);
        if !missing.is_empty() || !application.service.networks.keys().all(is_there) {
            return Ok(Readiness::NotYet(
                "nothing runs yet that could be asked".to_owned(),
            ));
        }
        Ok(Readiness::Ready(Self {
            image: image.id.clone(),
            networks,
        }))
    }

    /// The image alone, for a command of its own that reaches nothing: before anything runs. `None` where it is not built.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn image_alone(
        view: View<'_>,
        application: &Application<'_>,
    ) -> Result<Option<Self>, Failure> {
        let found = images::find(view).await?;
        let image = found.images.get(&application.service.name);
        Ok(image.map(|image| Self {
            image: image.id.clone(),
            networks: deploy::infrastructure::NetworkIds::new(),
        }))
    }

    /// The application's image.
    pub(crate) const fn image(&self) -> &ImageId {
        &self.image
    }

    /// Runs a command of the application to its end, in a container of its own.
    ///
    /// # Errors
    /// The engine's; a command that fails is a result, not an error.
    pub(crate) async fn run(
        &self,
        context: Context<'_>,
        application: &Application<'_>,
        command: one_off::Command<'_>,
        listener: &mut dyn Listener,
    ) -> Result<OneOffResult, Failure> {
        let service = application.service;
        one_off::run_heard(context, service, &self.image, &self.networks, command, listener).await
    }
}

/// What [`Preparation::prepared`] would start.
pub(crate) async fn plan_dependencies(view: View<'_>, service: &ServiceName) -> Result<Vec<Change>, Failure> {
    let missing = deploy::missing_dependencies(view, service).await?;
    Ok(missing
        .into_iter()
        .map(|name| Change {
            kind: ChangeKind::Create,
            target: name.to_string(),
            detail: format!("does not run, and {service} needs it"),
        })
        .collect())
}

/// How a command that is not in the image ends.
pub(crate) const NOT_THERE: [i64; 2] = [126, 127];

/// The Python of the application's image, for a script of ours.
pub(crate) struct Interpreter<'a> {
    application: &'a Service,
    pub python: String,
}

impl<'a> Interpreter<'a> {
    /// Of the service that `deploy.yml` names, if it names one.
    pub(crate) fn of(settings: &'a Settings) -> Option<Self> {
        let Application { service, manage } = Application::of(settings)?;
        let named = manage.first().filter(|word| word.contains("python"));
        Some(Self {
            application: service,
            python: named.cloned().unwrap_or_else(|| "python3".to_owned()),
        })
    }

    /// The service it is of.
    pub(crate) const fn application(&self) -> &ServiceName {
        &self.application.name
    }

    /// The application's service without anything that is its own: no mounts, no environment, no networks. Of what
    /// root may do it may do this, and have so many bytes of memory.
    pub(crate) fn service(&self, command: Vec<String>, capabilities: &[&str], memory: u64) -> Service {
        Service {
            build: None,
            command: Some(command),
            entrypoint: Some(Vec::new()),
            environment: std::collections::BTreeMap::new(),
            environment_source: std::collections::BTreeMap::new(),
            user: Some("0".to_owned()),
            working_dir: Some("/".to_owned()),
            hostname: None,
            domainname: None,
            labels: std::collections::BTreeMap::new(),
            container_name: None,
            restart: Some(RestartPolicy::No),
            healthcheck: Some(Healthcheck::Disabled),
            depends_on: std::collections::BTreeMap::new(),
            ports: Vec::new(),
            expose: Vec::new(),
            mounts: Vec::new(),
            networks: indexmap::IndexMap::new(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_opt: Vec::new(),
            init: None,
            tty: false,
            stdin_open: false,
            read_only: false,
            privileged: false,
            cap_add: capabilities.iter().map(|one| (*one).to_owned()).collect(),
            cap_drop: vec!["ALL".to_owned()],
            group_add: Vec::new(),
            sysctls: std::collections::BTreeMap::new(),
            devices: Vec::new(),
            shm_size: None,
            ulimits: std::collections::BTreeMap::new(),
            limits: Limits {
                memory: Some(memory),
                ..Limits::default()
            },
            replicas: 1,
            pid: None,
            ipc: None,
            cgroup_parent: None,
            ..self.application.clone()
        }
    }
}
