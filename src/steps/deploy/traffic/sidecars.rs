//! Sidecars: containers that share the network namespace of another one during a deploy, made from the application's
//! image because that has Python. One for each container that is looked at or whose connections are diverted, found
//! again by its name.
//!
//! After a crash: a sidecar may run on, and diversions may stand in a caller's namespace. The next run removes the
//! sidecar, has the proxy read its configuration again, and forgets the diversions.

use std::time::Duration;

use crate::compose::{NetworkMode, Service};
use crate::engine::{
    Captured, Container, ContainerFilter, ContainerId, ContainerState, EngineErrorKind, ExecSpec, ImageId,
    labels,
};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;
use crate::stack::python;
use crate::stack::sidecar::{Answer, Order, command, page_command};
use crate::steps::application::{Interpreter, NOT_THERE};
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::target::{Purpose, container_spec};

/// Bytes: many times what the script takes.
const MEMORY: u64 = 64 * 1024 * 1024;
/// Makes sidecars.
pub(super) struct Sidecars<'a> {
    context: Context<'a>,
    service: Service,
    /// `None` where the application's image is not known: then none can be made, only dismissed.
    image: Option<ImageId>,
    python: String,
}

/// Why connections cannot be steered on this engine or with this image; in words, for a warning.
#[derive(Debug)]
pub(super) struct Unavailable(pub String);

/// What a call of a sidecar came to.
pub(super) enum Called<T> {
    Done(T),
    Unavailable(Unavailable),
}

impl<'a> Sidecars<'a> {
    /// From the image of the Django service, where `deploy.yml` names one.
    pub(super) fn of(context: Context<'a>, image: Option<&ImageId>) -> Option<Self> {
        let interpreter = Interpreter::of(context.settings)?;
        Some(Self {
            context,
            // All that is needed to change the namespace's own rules; nothing else.
            service: interpreter.service(python::waiting(&interpreter.python), &["NET_ADMIN"], MEMORY),
            image: image.cloned(),
            python: interpreter.python,
        })
    }

    /// The sidecar of this container: the one that stands, or a new one.
    pub(super) async fn beside(&self, container: &Container) -> Result<Called<ContainerId>, Failure> {
        self.beside_as(labels::Role::Sidecar, self.service.clone(), container)
            .await
    }

    /// What serves the maintenance page beside this container: the one that stands, or a new one.
    pub(super) async fn page_beside(&self, container: &Container) -> Result<Called<ContainerId>, Failure> {
        let service = Service {
            command: Some(page_command(&self.python)),
            ..self.service.clone()
        };
        self.beside_as(labels::Role::Maintenance, service, container)
            .await
    }

    async fn beside_as(
        &self,
        role: labels::Role,
        mut service: Service,
        container: &Container,
    ) -> Result<Called<ContainerId>, Failure> {
        let Context {
            engine,
            settings,
            run,
            ..
        } = self.context;
        let name = format!(
            "{}-{}-{}-{}",
            settings.project.name,
            role.as_str(),
            container.id.short(),
            run.suffix()
        );
        service.network_mode = Some(NetworkMode::Container(container.id.0.clone()));
        let purpose = Purpose {
            role,
            number: 1,
            name: &name,
            tag: &settings.tag,
            run,
        };
        let Some(image) = &self.image else {
            return Ok(Called::Unavailable(Unavailable(
                "the application's image is not on the engine".to_owned(),
            )));
        };
        let networks = NetworkIds::new();
        let spec = container_spec(&settings.project, &service, image, &networks, None, purpose)?;
        let id = match engine.create_container(&spec).await {
            Ok(id) => id,
            // Made a moment ago, by this run: whatever its state, starting a running one is a success.
            Err(error) if error.kind == EngineErrorKind::NameTaken => match engine.container(&name).await? {
                Some(standing) => standing.id,
                None => return Err(error.into()),
            },
            Err(error) => return Err(Failure::from(error).context(about(container))),
        };
        match engine.start(&id).await {
            Ok(()) => Ok(Called::Done(id)),
            Err(error) if error.kind == EngineErrorKind::StartFailed => {
                engine.remove_container(&id).await?;
                Ok(Called::Unavailable(Unavailable(format!(
                    "a sidecar does not start: {}",
                    error.message
                ))))
            }
            Err(error) => Err(Failure::from(error).context(about(container))),
        }
    }

    /// Has a sidecar carry out an order.
    pub(super) async fn tell(
        &self,
        sidecar: &ContainerId,
        order: &Order<'_>,
    ) -> Result<Called<Answer>, Failure> {
        let spec = ExecSpec {
            command: command(&self.python, order)?,
            ..ExecSpec::default()
        };
        let mut output = Captured::default();
        let exit = self
            .context
            .engine
            .exec(sidecar, &spec, None, &mut output)
            .await?;
        if NOT_THERE.contains(&exit.code) {
            return Ok(Called::Unavailable(Unavailable(format!(
                "there is no {} in the application's image",
                self.python
            ))));
        }
        if !exit.success() {
            let lines = output.stderr_text().lines().map(ToOwned::to_owned).collect();
            return Err(Failure::message(
                FailureKind::Failed,
                format!("a sidecar's script failed (exit code {})", exit.code),
            )
            .evidence("what it wrote", lines));
        }
        let answer = Answer::parse(&output.stdout_text())?;
        match answer.refused {
            Some(why) => Ok(Called::Unavailable(Unavailable(format!(
                "the kernel refuses to divert connections: {why}"
            )))),
            None => Ok(Called::Done(answer)),
        }
    }

    /// What serves the maintenance page, whichever run has begun it.
    pub(super) async fn pages(context: Context<'_>) -> Result<Vec<Container>, Failure> {
        let project = &context.settings.project.name;
        let filter = ContainerFilter::labelled(labels::PROJECT, project)
            .and(labels::ROLE, labels::Role::Maintenance.as_str());
        Ok(context.engine.containers(&filter).await?)
    }

    /// The sidecars of this run, with the containers they stand beside.
    pub(super) async fn standing(context: Context<'_>) -> Result<Vec<Container>, Failure> {
        let project = &context.settings.project.name;
        let filter = ContainerFilter::labelled(labels::PROJECT, project)
            .and(labels::ROLE, labels::Role::Sidecar.as_str())
            .and(labels::RUN, &context.run.0);
        Ok(context.engine.containers(&filter).await?)
    }

    /// Forgets the diversions that this sidecar made, and removes it. One that has ended has nothing to forget: the
    /// namespace ended with the container it stood beside.
    pub(super) async fn dismiss(&self, sidecar: &Container) -> Result<(), Failure> {
        let forgotten = if sidecar.state == ContainerState::Running {
            let order = Order::Divert { key: "*", pairs: &[] };
            self.tell(&sidecar.id, &order).await.map(|_| ())
        } else {
            Ok(())
        };
        // Removed all the same: the next run finds diversions without a sidecar, and forgets them.
        self.context.engine.remove_container(&sidecar.id).await?;
        forgotten
    }

    /// The longest an order may take beyond its own waiting.
    pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(15);
}

fn about(container: &Container) -> String {
    format!("starting a sidecar beside {}", container.name)
}
