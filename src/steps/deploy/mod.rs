//! `deploy`: brings every service to the release, side by side where they do not depend on each other. A new container
//! stands beside the old one until it is proven; the old one is kept, and where two may stand runs on, until the whole
//! run has succeeded. Rollback uses the same code with a recorded release.

mod before_switch;
mod changes;
pub(crate) mod infrastructure;
mod ready;
mod reload;
mod replace;
mod retired;
mod rolling;
mod rollout;
mod standing;
pub(crate) mod strategy;
pub(crate) mod target;
mod traffic;
mod undo;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tokio::sync::watch;

use self::before_switch::Trial;
use self::changes::Changes;
use self::infrastructure::NetworkIds;
use self::reload::Proxy;
use self::rollout::Rollout;
use self::standing::places;
use self::strategy::{Strategy, strategy};
use self::traffic::Traffic;
use crate::compose::{Service, ServiceName};
use crate::engine::{Container, ContainerState, labels};
use crate::error::Failure;
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Undone, View,
};
use crate::release::ReleasedImage;

pub(crate) use self::ready::{Pinged, is_serving, ping, started_with, test_pings_worker};
pub(crate) use self::replace::drain as drain_of;
pub(crate) use self::retired::{end_all, has_left};
pub(crate) use self::standing::{Standing, containers_of, refuse_another_project, standing};
pub(crate) use self::traffic::closed;
pub(crate) use self::undo::undo as put_previous_back;

use super::images;
use super::smoke::before_switch::{PlayedAlone, Wanted};

/// The step.
#[derive(Default)]
pub struct Deploy {
    /// Kept here, so that what was begun can be ended after an interruption.
    played: PlayedAlone,
    /// Whether what serves may have been touched: there was nothing to try first, or it has passed.
    tried: watch::Sender<bool>,
}

#[async_trait]
impl Step for Deploy {
    fn id(&self) -> StepId {
        StepId::Deploy
    }

    fn require(&self, settings: &Settings) -> Result<(), Failure> {
        before_switch::require(settings)
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let project = &view.settings.project;
        let found = images::find(view).await?;
        if !view.state.build_planned {
            images::require(view).await?;
        }
        let standing = standing(view.inspect, &project.name).await?;
        refuse_another_project(project, &standing)?;
        let mut changes = plan_infrastructure(view).await?;
        for service in project.services_in_dependency_order() {
            let containers = containers_of(&standing, &service.name);
            let change = plan_service(view, service, found.images.get(&service.name), containers);
            let tried = Wanted::of(view.settings)
                .filter(|wanted| *wanted.service == service.name && change.kind == ChangeKind::Replace);
            changes.push(change);
            changes.extend(tried.map(Wanted::plan).unwrap_or_default());
        }
        for orphan in standing::orphans(project, &standing) {
            changes.push(Change {
                kind: ChangeKind::Keep,
                target: orphan,
                detail: "runs, but the Compose files do not name it any more; left alone".to_owned(),
            });
        }
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let settings = context.settings;
        let images = images::require(context.view()).await?;
        let before = standing(context.engine, &settings.project.name).await?;
        refuse_another_project(&settings.project, &before)?;
        let networks = infrastructure::ensure(context.engine, &settings.project, context.run).await?;
        // A configuration that does not pass stops here, before anything is switched.
        test_proxies(context, &reload::proxies(settings, &before)).await?;
        let traffic = Traffic::open(context, &before, application(context, &images)).await?;
        let changes = Changes::new();
        let trial = Trial::of(settings, &self.played, &self.tried);
        let rollout = Rollout {
            context,
            step: StepId::Deploy,
            images: &images,
            networks: &networks,
            standing: &before,
            traffic: &traffic,
            changes: &changes,
            trial: &trial,
        };
        let replaced = rollout
            .apply(&settings.project.services_in_dependency_order())
            .await?;
        // One without a health test was taken at its word while others were still being replaced.
        ready::none_is_broken(context.engine, &standing::made_by(context).await?).await?;
        reload_at_the_end(context).await?;
        for orphan in standing::orphans(&settings.project, &before) {
            context.warn(
                format!("{orphan} runs, but the Compose files do not name it any more; left alone"),
                Some(format!("docker rm -f {}-{orphan}-1", settings.project.name)),
            );
        }
        // This run's own, or that of one that was killed: what visitors reach from here on fits together.
        closed::open(context).await?;
        let fact = Fact::Deployed {
            images,
            well_since: changes.into_well_since(),
        };
        let replaced: Vec<String> = replaced.iter().map(ToString::to_string).collect();
        Ok(if replaced.is_empty() {
            Receipt::unchanged("every service is as it should be", fact)
        } else {
            Receipt::changed(replaced.join(", "), fact)
        })
    }

    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        super::one_off::sweep(context.engine, &context.settings.project.name, context.run, false).await?;
        if context.settings.maintenance {
            // What comes back does not fit the schema until that is back, too.
            let page = super::maintenance::page(&context.settings.config)?;
            closed::close(context, &page, std::time::Duration::ZERO).await?;
        }
        // While the container that was tried is still there.
        self.played.tidy(context).await;
        let before = standing(context.engine, &context.settings.project.name).await?;
        let untouched = before_switch::is_untouched(context, &before, *self.tried.borrow());
        match put_previous_back(context).await? {
            Undone::Reverted { .. } if untouched => Ok(Undone::Reverted {
                message: "removed what the deploy had made; nothing that serves was touched".to_owned(),
                restored_previous: false,
            }),
            undone @ (Undone::Reverted { .. } | Undone::NothingToDo | Undone::LeftInPlace { .. }) => {
                Ok(undone)
            }
        }
    }

    async fn settle(&self, context: Context<'_>) -> Result<(), Failure> {
        finish(context, false).await
    }
}

/// Whether this run made the container.
pub(crate) fn is_of_this_run(context: Context<'_>, container: &Container) -> bool {
    container.label(labels::RUN) == Some(context.run.0.as_str())
}

/// The image that sidecars are made from.
fn application<'a>(
    context: Context<'_>,
    images: &'a BTreeMap<ServiceName, ReleasedImage>,
) -> Option<&'a ReleasedImage> {
    let django = context.settings.config.django.as_ref()?;
    images.get(&django.service)
}

/// Ends what a deploy or a way back left: the old containers, then the addresses that proxies still know, then the
/// diversions from these. The release serves: whatever of this cannot be done is said, and the rest is done all the
/// same.
pub(crate) async fn finish(context: Context<'_>, addresses_changed: bool) -> Result<(), Failure> {
    let standing = standing(context.engine, &context.settings.project.name).await?;
    let ended = retired::see_out(context, &standing).await;
    let changed = addresses_changed || !matches!(ended, Ok(0));
    let closed = traffic::close(context, &standing, longest_drain(context), changed).await;
    ended.map(|_| ()).and(closed)
}

fn longest_drain(context: Context<'_>) -> std::time::Duration {
    let services = context.settings.project.services.values();
    services
        .filter(|service| {
            let settings = context.settings;
            strategy(settings, service) == Strategy::Rolling
        })
        .map(|service| replace::drain(context, service))
        .max()
        .unwrap_or_default()
}

/// Starts what a service depends on where it does not run at all, and leaves alone what runs: a migration needs a
/// database, not a new one.
///
/// # Errors
/// See [`Rollout::apply`].
pub(crate) async fn start_dependencies(
    context: Context<'_>,
    step: StepId,
    service: &ServiceName,
    images: &BTreeMap<ServiceName, ReleasedImage>,
    networks: &NetworkIds,
) -> Result<(), Failure> {
    let project = &context.settings.project;
    let needed = dependencies(project, service);
    let before = standing(context.engine, &project.name).await?;
    let missing: Vec<&Service> = project
        .services_in_dependency_order()
        .into_iter()
        .filter(|service| needed.contains(&service.name) && !runs(&before, &service.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let traffic = Traffic::open(context, &before, application(context, images)).await?;
    let rollout = Rollout {
        context,
        step,
        images,
        networks,
        standing: &before,
        traffic: &traffic,
        changes: &Changes::new(),
        trial: &Trial::none(),
    };
    rollout.apply(&missing).await.map(|_| ())
}

/// The services that `start_dependencies` would start.
pub(crate) async fn missing_dependencies(
    view: View<'_>,
    service: &ServiceName,
) -> Result<Vec<ServiceName>, Failure> {
    let project = &view.settings.project;
    let standing = standing(view.inspect, &project.name).await?;
    let needed = dependencies(project, service);
    Ok(needed.into_iter().filter(|name| !runs(&standing, name)).collect())
}

fn runs(standing: &Standing, name: &ServiceName) -> bool {
    containers_of(standing, name).iter().any(|container| {
        // A one-shot that this release or an earlier one ran serves its purpose too.
        let ran = container.state.has_succeeded() && container.label(crate::engine::labels::SPEC).is_some();
        container.state == ContainerState::Running || ran
    })
}

/// Everything a service depends on, directly or not.
fn dependencies(project: &crate::compose::Project, service: &ServiceName) -> BTreeSet<ServiceName> {
    let mut needed = BTreeSet::new();
    let mut next = vec![service.clone()];
    while let Some(name) = next.pop() {
        for dependency in project
            .services
            .get(&name)
            .into_iter()
            .flat_map(|service| service.depends_on.keys())
        {
            if needed.insert(dependency.clone()) {
                next.push(dependency.clone());
            }
        }
    }
    needed
}

async fn test_proxies(context: Context<'_>, proxies: &[Proxy]) -> Result<(), Failure> {
    for proxy in proxies {
        let task = context.task(
            StepId::Deploy,
            format!("{} test", proxy.service),
            format!("testing {}", proxy.service),
        );
        let tested = proxy.test(context.engine).await;
        task.conclude(tested, |()| {
            (StepResult::Succeeded, "configuration accepted".to_owned())
        })?;
    }
    Ok(())
}

/// The configuration may have changed on disk though no container did.
async fn reload_at_the_end(context: Context<'_>) -> Result<(), Failure> {
    if !reload::has_proxies(context.settings) {
        return Ok(());
    }
    let standing = standing(context.engine, &context.settings.project.name).await?;
    for proxy in reload::proxies(context.settings, &standing) {
        let task = context.task(
            StepId::Deploy,
            format!("{} reload", proxy.service),
            format!("reloading {}", proxy.service),
        );
        let reloaded = match proxy.test(context.engine).await {
            Ok(()) => proxy.reload(context.engine).await,
            Err(failure) => Err(failure),
        };
        task.conclude(reloaded, |()| {
            (StepResult::Succeeded, "configuration read again".to_owned())
        })?;
    }
    Ok(())
}

async fn plan_infrastructure(view: View<'_>) -> Result<Vec<Change>, Failure> {
    let project = &view.settings.project;
    let mut changes = Vec::new();
    let networks = infrastructure::find_networks(view.inspect, project).await?;
    for (key, network) in &project.networks {
        if !networks.contains_key(key) {
            let target = format!("network {}", network.name);
            changes.push(Change {
                kind: ChangeKind::Create,
                target,
                detail: "does not exist yet".to_owned(),
            });
        }
    }
    infrastructure::check_external_volumes(view.inspect, project).await?;
    for volume in project.volumes.values() {
        if !volume.external && view.inspect.volume(&volume.name).await?.is_none() {
            let target = format!("volume {}", volume.name);
            changes.push(Change {
                kind: ChangeKind::Create,
                target,
                detail: "does not exist yet".to_owned(),
            });
        }
    }
    Ok(changes)
}

fn plan_service(
    view: View<'_>,
    service: &Service,
    image: Option<&ReleasedImage>,
    containers: &[crate::engine::Container],
) -> Change {
    let project = &view.settings.project;
    let strategy = strategy(view.settings, service);
    let fingerprint = image.map(|image| target::fingerprint(project, service, &image.id));
    let places = places(
        service,
        strategy,
        fingerprint.as_ref(),
        image.map(|image| &image.id),
        containers,
    );
    let target = service.name.to_string();
    let image = image.map_or_else(
        || "an image that is built first".to_owned(),
        |image| format!("image {}", image.id),
    );
    let running = containers
        .iter()
        .any(|container| container.state == ContainerState::Running);
    let unknown = fingerprint.is_none();
    let change = |kind, detail: String| Change {
        kind,
        target: target.clone(),
        detail,
    };
    if containers.is_empty() {
        return match strategy {
            Strategy::OneShot => change(ChangeKind::Run, format!("runs to its end, from {image}")),
            Strategy::Rolling
            | Strategy::Recreate(_)
            | Strategy::Singleton
            | Strategy::Reload
            | Strategy::Untouched(_) => change(ChangeKind::Create, format!("does not run yet; from {image}")),
        };
    }
    if places.are_settled() && !unknown {
        return match strategy {
            Strategy::Reload => change(
                ChangeKind::Reload,
                "unchanged; reads its configuration again".to_owned(),
            ),
            Strategy::Untouched(reason) => {
                change(ChangeKind::Keep, format!("left alone: {}", reason.explain()))
            }
            Strategy::Rolling | Strategy::Recreate(_) | Strategy::Singleton | Strategy::OneShot => {
                let sure = if view.state.build_planned && service.build.is_some() {
                    "unchanged, if the build gives the same image"
                } else {
                    "unchanged"
                };
                change(ChangeKind::Keep, sure.to_owned())
            }
        };
    }
    match strategy {
        Strategy::Untouched(reason) if running => {
            change(ChangeKind::Keep, format!("left alone: {}", reason.explain()))
        }
        Strategy::Untouched(_) => change(ChangeKind::Create, format!("does not run; from {image}")),
        Strategy::Rolling => change(
            ChangeKind::Replace,
            format!("the new one beside the old until it is healthy; from {image}"),
        ),
        Strategy::Recreate(reason) => change(
            ChangeKind::ReplaceWithGap,
            format!("stops first, a short gap: {}; from {image}", reason.explain()),
        ),
        Strategy::Singleton => change(
            ChangeKind::ReplaceWithGap,
            format!("stops first, a short gap: two of it must never run; from {image}"),
        ),
        Strategy::Reload if unknown => change(
            ChangeKind::Reload,
            format!("reads its configuration again; replaced with a gap if {image} differs"),
        ),
        Strategy::Reload => change(
            ChangeKind::ReplaceWithGap,
            format!("its image or mounts changed: stops first, a short gap; from {image}"),
        ),
        Strategy::OneShot => change(ChangeKind::Run, format!("runs to its end, from {image}")),
    }
}
