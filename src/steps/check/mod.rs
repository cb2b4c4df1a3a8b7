//! `check`: everything that can be known to be wrong before anything is touched: the engine, images, networks and
//! volumes that must exist, host ports; and what would go wrong in a deploy that works (`lint`). The configuration and the Compose files were checked when
//! they were read. Changes nothing.

mod lint;

use async_trait::async_trait;

use self::lint::{Severity, Told};
use super::application::NO_APPLICATION;
use super::backup::repository;
use super::deploy::{infrastructure, refuse_another_project, standing};
use super::images;
use super::migrate::judgement::{self, Judgement};
use super::migrate::refused;
use crate::compose::HostPort;
use crate::engine::{ContainerFilter, ContainerState, EngineErrorKind, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Fact, Receipt, Step, StepId, StepResult, Undone, View};

/// The step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// What comes next asks the rest.
    First,
    /// By itself: also what the release's migrations mean, where its image is there.
    Alone,
}

#[async_trait]
impl Step for Check {
    fn id(&self) -> StepId {
        StepId::Check
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        for check in Kind::ALL {
            let answer = check.run(view).await?;
            changes.push(Change {
                kind: ChangeKind::Keep,
                target: check.name().to_owned(),
                detail: answer.line,
            });
            changes.extend(answer.warnings.into_iter().map(|told| Change {
                kind: ChangeKind::Warn,
                target: told.rule.id().to_owned(),
                detail: format!("{}; {}", told.message, told.remedy),
            }));
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        for check in Kind::ALL {
            let task = context.task(StepId::Check, check.name(), check.name());
            let answer = check.run(context.view()).await;
            let answer = task.conclude(answer, |answer| (StepResult::Succeeded, answer.line.clone()))?;
            for told in answer.warnings {
                context.warn(told.message, Some(told.remedy));
            }
        }
        let saved = check_repository(context).await?;
        let judged = match self {
            Self::First => 0,
            Self::Alone => check_migrations(context).await?,
        };
        Ok(Receipt::unchanged(
            format!("{} checks passed", Kind::ALL.len() + saved + judged),
            Fact::Nothing,
        ))
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::NothingToDo)
    }
}

/// What a check that stops nothing has to say.
struct Answer {
    line: String,
    warnings: Vec<Told>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Engine,
    Images,
    Networks,
    Volumes,
    Ports,
    Sources,
    Lint,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Engine,
        Self::Sources,
        Self::Images,
        Self::Networks,
        Self::Volumes,
        Self::Ports,
        Self::Lint,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Images => "images",
            Self::Networks => "networks",
            Self::Volumes => "volumes",
            Self::Ports => "ports",
            Self::Sources => "build contexts",
            Self::Lint => "lint",
        }
    }

    async fn run(self, view: View<'_>) -> Result<Answer, Failure> {
        let line = match self {
            Self::Engine => {
                let identity = view.inspect.identity().await?;
                let project = &view.settings.project;
                let standing = standing(view.inspect, &project.name).await?;
                refuse_another_project(project, &standing)?;
                format!("Docker Engine {} at {}", identity.version, identity.address)
            }
            Self::Images => check_images(view).await?,
            Self::Networks => {
                let found = infrastructure::find_networks(view.inspect, &view.settings.project).await?;
                format!(
                    "{} of {} exist",
                    found.len(),
                    view.settings.project.networks.len()
                )
            }
            Self::Volumes => {
                infrastructure::check_external_volumes(view.inspect, &view.settings.project).await?;
                "every external one exists".to_owned()
            }
            Self::Ports => check_ports(view).await?,
            Self::Sources => check_sources(view).await?,
            Self::Lint => return check_lint(view).await,
        };
        Ok(Answer {
            line,
            warnings: Vec::new(),
        })
    }
}

/// Nothing here makes another backup where another tool does: an old one stops a deploy. How many checks that was.
async fn check_repository(context: Context<'_>) -> Result<usize, Failure> {
    let Some(repository) = &context.settings.config.backup.repository else {
        return Ok(0);
    };
    let task = context.task(StepId::Check, "backup", "backup");
    let fresh = repository::fresh(context, repository).await;
    let fresh = task.conclude(fresh, |line| match line {
        Some(line) => (StepResult::Succeeded, line.clone()),
        None => (StepResult::NotRun, "not verified: nothing runs yet".to_owned()),
    })?;
    Ok(usize::from(fresh.is_some()))
}

/// What the running release would fail on stops a deploy; of the rest it is told what it means. How many checks that was.
async fn check_migrations(context: Context<'_>) -> Result<usize, Failure> {
    let task = context.task(StepId::Check, "migrations", "migrations");
    let judged = judgement::judge(context).await;
    let judged = task.conclude(judged, |judged| match judged {
        None => (StepResult::NotRun, NO_APPLICATION.to_owned()),
        Some(Judgement::NotYet(why)) => (StepResult::NotRun, format!("not verified: {why}")),
        Some(Judgement::Known(state)) => (
            StepResult::Succeeded,
            format!("{} applied, {} pending", state.applied.len(), state.pending.len()),
        ),
    })?;
    let Some(judged) = judged else { return Ok(0) };
    let Judgement::Known(state) = &judged else {
        return Ok(0);
    };
    if state.breaks() {
        return Err(refused(state));
    }
    for line in judgement::lines(&judged) {
        if line.kind == ChangeKind::Warn {
            context.warn(format!("{}: {}", line.target, line.detail), None);
        }
    }
    Ok(1)
}

/// What is certain to lose something stops here; what may be meant is told.
async fn check_lint(view: View<'_>) -> Result<Answer, Failure> {
    let told = lint::lint(view).await?;
    if let Some(failure) = lint::refusal(&told) {
        return Err(failure);
    }
    Ok(Answer {
        line: lint::summary(&told),
        warnings: told
            .into_iter()
            .filter(|one| one.severity == Severity::Warning)
            .collect(),
    })
}

/// Where the Compose files build from must exist.
async fn check_sources(view: View<'_>) -> Result<String, Failure> {
    let mut count = 0;
    for (name, service) in &view.settings.project.services {
        let Some(build) = &service.build else { continue };
        let dockerfile = build.dockerfile.iter().map(|path| ("Dockerfile", path));
        for (what, path) in std::iter::once(("build context", &build.context)).chain(dockerfile) {
            if !tokio::fs::try_exists(path).await.unwrap_or(false) {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "services.{name}.build: the {what} {} does not exist",
                        path.display()
                    ),
                ));
            }
        }
        count += 1;
    }
    Ok(format!("{count} services are built, their sources exist"))
}

/// An image that is not built must be here, or in its registry.
async fn check_images(view: View<'_>) -> Result<String, Failure> {
    let project = &view.settings.project;
    let built = images::built_references(project, &view.settings.tag);
    let found = images::find(view).await?;
    let mut pulled = 0;
    for (service, reference) in &found.missing {
        if built.contains(reference) {
            continue;
        }
        match view.inspect.image_in_registry(reference).await {
            Ok(true) => pulled += 1,
            Ok(false) => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    "neither on the engine nor in its registry",
                ));
            }
            Err(error) if error.kind == EngineErrorKind::Unauthorized => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    "its registry refuses the credentials at hand",
                )
                .hint("docker login, as the user that runs this tool"));
            }
            Err(error) => {
                return Err(no_such_image(
                    service.as_str(),
                    reference,
                    &format!(
                        "not on the engine, and its registry cannot be asked: {}",
                        error.message
                    ),
                ));
            }
        }
    }
    Ok(format!(
        "{} on the engine, {} to build, {pulled} to pull",
        found.images.len(),
        built.len()
    ))
}

fn no_such_image(service: &str, reference: &str, why: &str) -> Failure {
    Failure::message(
        FailureKind::Configuration,
        format!("services.{service}: no such image {reference}: {why}"),
    )
}

/// A host port that another project's container has would fail only after the old container had gone.
async fn check_ports(view: View<'_>) -> Result<String, Failure> {
    let project = &view.settings.project;
    let mut wanted = Vec::new();
    for (name, service) in &project.services {
        for port in &service.ports {
            if let HostPort::Fixed(number) = port.published {
                wanted.push((name, number, port.host_ip.clone()));
            }
        }
    }
    if wanted.is_empty() {
        return Ok("none published".to_owned());
    }
    for container in view.inspect.containers(&ContainerFilter::default()).await? {
        let ours = container.label(labels::COMPOSE_PROJECT) == Some(project.name.as_str());
        if ours || container.state != ContainerState::Running {
            continue;
        }
        for (service, number, address) in &wanted {
            let clash = container.host_ports.iter().find(|(theirs, port)| {
                port == number
                    && (is_any(theirs)
                        || address
                            .as_deref()
                            .is_none_or(|ours| is_any(ours) || ours == theirs))
            });
            if clash.is_some() {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "services.{service}.ports: host port {number} is taken by container {}",
                        container.name
                    ),
                )
                .hint(format!(
                    "publish another port, or stop it: docker stop {}",
                    container.name
                )));
            }
        }
    }
    Ok(format!(
        "{} published, none taken by another container",
        wanted.len()
    ))
}

fn is_any(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::")
}
