//! The Django application that `deploy.yml` names, in containers of its own for one command: which service it is, and
//! what such a container needs before it can run. What is run in it is `migrate`'s and `collectstatic`'s business.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::lines::Listener;
use super::one_off::{self, OneOffResult};
use super::{deploy, images};
use crate::compose::{Service, ServiceName};
use crate::engine::ImageId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Settings, StepId, View};

/// What `deploy.yml` says of Django, with the service it names.
pub(crate) struct Application<'a> {
    pub service: &'a Service,
    pub manage: &'a [String],
}

impl<'a> Application<'a> {
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

impl Prepared {
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
