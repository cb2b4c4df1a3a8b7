//! `build`: builds what the Compose files build, once per image even where several services share it, and pulls what
//! they do not build and is missing; several at once. Each built image also gets a reference that carries the release's
//! tag, so that later builds do not leave it without a name, which `docker image prune` would take for rubbish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::images;
use crate::compose::{Build as BuildSection, PullPolicy, Service};
use crate::engine::{BuildEvent, BuildRequest, BuildSink, EngineErrorKind, ImageId};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Task, Undone, Unit, View,
};

/// The step, with what the command line adds to `deploy.yml` and the Compose files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Build {
    /// Every step of every image anew.
    pub no_cache: bool,
    /// The registry is asked for newer base images.
    pub pull: bool,
}

impl Build {
    /// A build section as it is built this time.
    fn section(self, settings: &Settings, written: &BuildSection) -> BuildSection {
        let configured = settings.config.build;
        BuildSection {
            no_cache: written.no_cache || configured.no_cache || self.no_cache,
            pull: written.pull || configured.pull || self.pull,
            ..written.clone()
        }
    }
}

/// One image to build, and everything it is called.
struct Target<'a> {
    /// What services call it.
    references: Vec<String>,
    build: &'a BuildSection,
    /// The references, and further ones.
    tags: Vec<String>,
    services: Vec<String>,
}

impl Target<'_> {
    /// What it is called in messages.
    fn title(&self) -> &str {
        self.references.first().map_or("", String::as_str)
    }

    fn call_it(&mut self, reference: String, further: impl IntoIterator<Item = String>) {
        if !self.references.contains(&reference) {
            self.references.push(reference.clone());
        }
        for tag in std::iter::once(reference).chain(further) {
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
    }
}

/// Services that are built from the same in the same way share one build, by however many names.
fn targets(settings: &Settings) -> Result<Vec<Target<'_>>, Failure> {
    let project = &settings.project;
    let mut targets: Vec<Target<'_>> = Vec::new();
    for (name, service) in &project.services {
        let Some(build) = &service.build else { continue };
        let reference = images::reference(project, service, &settings.tag);
        let other = targets
            .iter()
            .find(|target| target.references.contains(&reference) && !is_same(target.build, build));
        if let Some(other) = other {
            return Err(Failure::message(
                FailureKind::Configuration,
                format!(
                    "services {} and {name} build {reference} in different ways",
                    other.services.join(", ")
                ),
            )
            .hint("give one of them another image name"));
        }
        let kept = images::release_reference(project, service, &settings.tag);
        let further = std::iter::once(kept).chain(build.tags.iter().cloned());
        match targets.iter_mut().find(|target| is_same(target.build, build)) {
            Some(target) => {
                target.call_it(reference, further);
                target.services.push(name.to_string());
            }
            None => {
                let mut target = Target {
                    references: Vec::new(),
                    build,
                    tags: Vec::new(),
                    services: vec![name.to_string()],
                };
                target.call_it(reference, further);
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

/// Whether they give the same image: what it is called then is no part of it.
fn is_same(one: &BuildSection, other: &BuildSection) -> bool {
    let nameless = |build: &BuildSection| BuildSection {
        tags: Vec::new(),
        ..build.clone()
    };
    one == other || nameless(one) == nameless(other)
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
                target: format!("image {}", target.references.join(", ")),
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
        let mut works = Vec::new();
        for target in targets(context.settings)? {
            works.push(Work::Build(target).done(*self, context).boxed());
        }
        for (reference, service) in pulled(context.settings) {
            works.push(Work::Pull(reference, service).done(*self, context).boxed());
        }
        let at_once = usize::try_from(context.settings.config.build.parallel).unwrap_or(usize::MAX);
        // The first that fails ends the others: they are dropped, which stops them on the engine too.
        let changed: Vec<Vec<String>> = stream::iter(works)
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        let changed: BTreeSet<String> = changed.into_iter().flatten().collect();
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

/// One image to come by.
enum Work<'a> {
    Build(Target<'a>),
    /// By its reference; and one of the services that name it.
    Pull(String, &'a Service),
}

impl Work<'_> {
    /// Does it; the references that stand for another image than before.
    async fn done(self, step: Build, context: Context<'_>) -> Result<Vec<String>, Failure> {
        match self {
            Self::Build(target) => build(step, context, &target).await,
            Self::Pull(reference, service) => {
                let present = context.engine.image(&reference).await?.is_some();
                if present && service.pull_policy != Some(PullPolicy::Always) {
                    return Ok(Vec::new());
                }
                pull(context, StepId::Build, &reference).await?;
                Ok(vec![reference])
            }
        }
    }
}

/// Builds one image; the references that stood for another one before.
async fn build(step: Build, context: Context<'_>, target: &Target<'_>) -> Result<Vec<String>, Failure> {
    let mut before = Vec::new();
    for reference in &target.references {
        let image = context.engine.image(reference).await?;
        before.push((reference, image.map(|image| image.id)));
    }
    let title = target.title();
    let task = context.task(StepId::Build, title, format!("building {title}"));
    let request = BuildRequest {
        title: title.to_owned(),
        build: step.section(context.settings, target.build),
        tags: target.tags.clone(),
        // Nothing that differs from run to run: equal sources must give an equal image.
        labels: target.build.labels.clone(),
    };
    let progress = Progress::new(&task);
    let built = context.engine.build(&request, &progress).await;
    let result = built.map_err(|error| {
        let kind = error.kind;
        let failure = Failure::from(error).context(format!("building {title}"));
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
        let moved = before.iter().filter(|(_, image)| image.as_ref() != Some(&id));
        let moved: Vec<String> = moved.map(|(reference, _)| (*reference).clone()).collect();
        (moved, id)
    });
    let said = |(moved, id): &(Vec<String>, ImageId)| {
        if moved.is_empty() {
            (StepResult::Unchanged, format!("image {id}, unchanged"))
        } else {
            (StepResult::Succeeded, format!("image {id}"))
        }
    };
    task.conclude(result, said).map(|(moved, _)| moved)
}

/// Pulls one image, as a task of this step.
///
/// # Errors
/// The engine's, and its registry's.
pub(super) async fn pull(context: Context<'_>, step: StepId, reference: &str) -> Result<(), Failure> {
    let task = context.task(step, reference, format!("pulling {reference}"));
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
