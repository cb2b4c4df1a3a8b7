//! `build`: builds what the Compose files build, once per image even where several services share it, and pulls what
//! they do not build and is missing. Each built image also gets a reference that carries the release's tag, so that
//! later builds do not leave it without a name, which `docker image prune` would take for rubbish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;

use super::images;
use crate::compose::{Build as BuildSection, PullPolicy, Service};
use crate::engine::{BuildEvent, BuildRequest, BuildSink, EngineErrorKind};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Task, Undone, Unit, View,
};

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Build;

/// One image to build, and everything it is called.
struct Target<'a> {
    reference: String,
    build: &'a BuildSection,
    tags: Vec<String>,
    services: Vec<String>,
}

/// Services that build the same reference share one build.
fn targets(settings: &Settings) -> Result<Vec<Target<'_>>, Failure> {
    let project = &settings.project;
    let mut targets: Vec<Target<'_>> = Vec::new();
    for (name, service) in &project.services {
        let Some(build) = &service.build else { continue };
        let reference = images::reference(project, service, &settings.tag);
        if let Some(target) = targets.iter_mut().find(|target| target.reference == reference) {
            if target.build != build {
                return Err(Failure::message(
                    FailureKind::Configuration,
                    format!(
                        "services {} and {name} build {reference} in different ways",
                        target.services.join(", ")
                    ),
                )
                .hint("give one of them another image name"));
            }
            target.services.push(name.to_string());
            continue;
        }
        let mut tags = vec![reference.clone()];
        let kept = images::release_reference(project, service, &settings.tag);
        for further in std::iter::once(&kept).chain(&build.tags) {
            if !tags.contains(further) {
                tags.push(further.clone());
            }
        }
        targets.push(Target {
            reference,
            build,
            tags,
            services: vec![name.to_string()],
        });
    }
    Ok(targets)
}

/// The references that are pulled: named by services that do not build them, and no service does.
fn pulled(settings: &Settings) -> BTreeMap<String, &Service> {
    let built = images::built_references(&settings.project, &settings.tag);
    settings
        .project
        .services
        .values()
        .filter(|service| service.build.is_none())
        .map(|service| {
            (
                images::reference(&settings.project, service, &settings.tag),
                service,
            )
        })
        .filter(|(reference, _)| !built.contains(reference))
        .collect()
}

#[async_trait]
impl Step for Build {
    fn id(&self) -> StepId {
        StepId::Build
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        for target in targets(view.settings)? {
            changes.push(Change {
                kind: ChangeKind::Run,
                target: format!("image {}", target.reference),
                detail: format!(
                    "built from {}, for {}",
                    target.build.context.display(),
                    target.services.join(", ")
                ),
            });
        }
        for (reference, service) in pulled(view.settings) {
            let present = view.inspect.image(&reference).await?.is_some();
            let (kind, detail) = if present && service.pull_policy != Some(PullPolicy::Always) {
                (ChangeKind::Keep, "on the engine")
            } else {
                (ChangeKind::Create, "pulled from its registry")
            };
            changes.push(Change {
                kind,
                target: format!("image {reference}"),
                detail: detail.to_owned(),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let mut changed = BTreeSet::new();
        for target in targets(context.settings)? {
            if build(context, &target).await? {
                changed.insert(target.reference);
            }
        }
        for (reference, service) in pulled(context.settings) {
            let present = context.engine.image(&reference).await?.is_some();
            if !present || service.pull_policy == Some(PullPolicy::Always) {
                pull(context, &reference).await?;
                changed.insert(reference);
            }
        }
        let images = images::require(context.view()).await?;
        let fact = Fact::Images(images);
        Ok(if changed.is_empty() {
            Receipt::unchanged("every image was there already", fact)
        } else {
            Receipt::changed(changed.into_iter().collect::<Vec<_>>().join(", "), fact)
        })
    }

    async fn undo(&self, _context: Context<'_>) -> Result<Undone, Failure> {
        Ok(Undone::LeftInPlace {
            why: "images serve nobody until they are deployed".to_owned(),
        })
    }
}

/// Builds one image; says whether it is another than before.
async fn build(context: Context<'_>, target: &Target<'_>) -> Result<bool, Failure> {
    let before = context
        .engine
        .image(&target.reference)
        .await?
        .map(|image| image.id);
    let task = context.task(
        StepId::Build,
        target.reference.clone(),
        format!("building {}", target.reference),
    );
    let request = BuildRequest {
        title: target.reference.clone(),
        build: target.build.clone(),
        tags: target.tags.clone(),
        // Nothing that differs from run to run: equal sources must give an equal image.
        labels: target.build.labels.clone(),
    };
    let progress = Progress::new(&task);
    let built = context.engine.build(&request, &progress).await;
    let result = built.map_err(|error| {
        let kind = error.kind;
        let failure = Failure::from(error).context(format!("building {}", target.reference));
        match kind {
            EngineErrorKind::BuildFailed => {
                failure.hint("production is untouched; mend the Dockerfile or its sources")
            }
            EngineErrorKind::Unreachable
            | EngineErrorKind::NotFound
            | EngineErrorKind::NameTaken
            | EngineErrorKind::Conflict
            | EngineErrorKind::Invalid
            | EngineErrorKind::StartFailed
            | EngineErrorKind::Unauthorized
            | EngineErrorKind::TimedOut
            | EngineErrorKind::ConnectionLost
            | EngineErrorKind::Sink
            | EngineErrorKind::Other => failure,
        }
    });
    let result = result.map(|id| {
        let same = before.as_ref() == Some(&id);
        (same, id)
    });
    let (same, _) = task.conclude(result, |(same, id)| {
        if *same {
            (StepResult::Unchanged, format!("image {id}, unchanged"))
        } else {
            (StepResult::Succeeded, format!("image {id}"))
        }
    })?;
    Ok(!same)
}

async fn pull(context: Context<'_>, reference: &str) -> Result<(), Failure> {
    let task = context.task(StepId::Build, reference, format!("pulling {reference}"));
    let progress = Progress::new(&task);
    let pulled = context.engine.pull(reference, &progress).await;
    let result = pulled.map_err(|error| Failure::from(error).context(format!("pulling {reference}")));
    task.conclude(result, |id| (StepResult::Succeeded, format!("image {id}")))
        .map(|_| ())
}

/// Turns a build's events into a task's: the step under way, how many are done, and what they write.
struct Progress<'a> {
    task: &'a Task,
    state: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    steps: BTreeSet<String>,
    finished: BTreeSet<String>,
    layers: BTreeMap<String, (u64, Option<u64>)>,
}

impl<'a> Progress<'a> {
    fn new(task: &'a Task) -> Self {
        Self {
            task,
            state: Mutex::default(),
        }
    }
}

impl BuildSink for Progress<'_> {
    fn event(&self, event: BuildEvent) {
        let mut seen = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            BuildEvent::Context { bytes, .. } => self.task.amount(bytes, None, Unit::Bytes),
            BuildEvent::StepStarted { id, title } => {
                seen.steps.insert(id);
                self.task.progress(title);
            }
            BuildEvent::StepFinished { id, .. } => {
                seen.steps.insert(id.clone());
                seen.finished.insert(id);
                self.task.amount(
                    seen.finished.len() as u64,
                    Some(seen.steps.len() as u64),
                    Unit::Steps,
                );
            }
            BuildEvent::Output { line, .. } => self.task.output(line),
            BuildEvent::Pull { layer, done, total } => {
                seen.layers.insert(layer, (done, total));
                let done = seen.layers.values().map(|(done, _)| done).sum();
                let total = seen.layers.values().map(|(_, total)| *total).sum::<Option<u64>>();
                self.task.amount(done, total, Unit::Bytes);
            }
        }
    }
}
