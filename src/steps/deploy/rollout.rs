//! All services of a release, each in its own manner: those that do not depend on each other side by side, one that
//! depends on others after them. The first failure stops the others at their next safe place, never in the middle of
//! a call: the way back sees everything that was done.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::changes::{Changes, given_up};
use super::infrastructure::NetworkIds;
use super::replace::Replacement;
use super::standing::{Places, Standing, containers_of, places};
use super::strategy::{Strategy, strategy};
use super::target::{Fingerprint, fingerprint};
use super::traffic::Traffic;
use crate::compose::{Service, ServiceName};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, StepId, StepResult};
use crate::release::ReleasedImage;

/// What every service of a deploy is brought to its target with.
#[derive(Clone, Copy)]
pub(crate) struct Rollout<'a> {
    pub context: Context<'a>,
    pub step: StepId,
    pub images: &'a BTreeMap<ServiceName, ReleasedImage>,
    pub networks: &'a NetworkIds,
    /// What stood before.
    pub standing: &'a Standing,
    pub traffic: &'a Traffic<'a>,
    pub changes: &'a Changes,
}

/// How far the services are; what depends on others waits for it.
type Progress = watch::Sender<BTreeSet<ServiceName>>;

impl Rollout<'_> {
    /// Brings all these services to their targets, and says which were changed, in their order.
    ///
    /// # Errors
    /// The first that failed, once all others have come to a stop.
    pub(crate) async fn apply(&self, services: &[&Service]) -> Result<Vec<ServiceName>, Failure> {
        let project = &self.context.settings.project.name;
        let work = self.side_by_side(services);
        tokio::select! {
            biased;
            done = work => done,
            never = self.changes.listen(self.context.engine, project) => match never {},
        }
    }

    async fn side_by_side(&self, services: &[&Service]) -> Result<Vec<ServiceName>, Failure> {
        let finished: Progress = watch::Sender::default();
        let results = join_all(
            services
                .iter()
                .map(|service| self.in_turn(service, services, &finished)),
        )
        .await;
        let mut changed = Vec::new();
        let mut first: Option<Failure> = None;
        for (service, result) in services.iter().zip(results) {
            match result {
                Ok(StepResult::Succeeded) => changed.push(service.name.clone()),
                Ok(
                    StepResult::Unchanged | StepResult::Failed | StepResult::NotRun | StepResult::Interrupted,
                ) => {}
                // Those that were given up say so themselves; what they were given up for is the reason.
                Err(failure) if first.as_ref().is_none_or(is_given_up) => first = Some(failure),
                Err(_) => {}
            }
        }
        match first {
            Some(failure) => Err(failure),
            None => Ok(changed),
        }
    }

    async fn in_turn(
        &self,
        service: &Service,
        services: &[&Service],
        finished: &Progress,
    ) -> Result<StepResult, Failure> {
        let awaited = |done: &BTreeSet<ServiceName>| {
            let mut needed = service
                .depends_on
                .keys()
                .filter(|name| services.iter().any(|other| other.name == **name));
            needed.all(|name| done.contains(name))
        };
        let mut receiver = finished.subscribe();
        tokio::select! {
            biased;
            () = self.changes.abandoned() => return Err(given_up()),
            ready = receiver.wait_for(awaited) => {
                ready.map_err(|error| Failure::new(FailureKind::Failed, error))?;
            }
        }
        self.changes.go_on()?;
        let result = self.bring_to_target(service).await;
        match &result {
            Ok(_) => {
                finished.send_modify(|done| {
                    done.insert(service.name.clone());
                });
            }
            Err(_) => self.changes.abandon(),
        }
        result
    }

    /// Brings one service to its target.
    ///
    /// # Errors
    /// See [`Replacement::apply`].
    async fn bring_to_target(&self, service: &Service) -> Result<StepResult, Failure> {
        let context = self.context;
        let project = &context.settings.project;
        let image = self.images.get(&service.name).ok_or_else(|| {
            Failure::message(
                FailureKind::Failed,
                format!("no image is known for {}", service.name),
            )
        })?;
        let strategy = strategy(context.settings, service);
        let containers = containers_of(self.standing, &service.name);
        let fingerprint = fingerprint(project, service, &image.id);
        let places = places(service, strategy, Some(&fingerprint), Some(&image.id), containers);
        let task = context.task(
            self.step,
            service.name.as_str(),
            format!("{} ({})", service.name, image.id),
        );
        warn_where_held(context, service, strategy, &fingerprint, &places);
        warn_where_taken_over(context, service, strategy, &places);
        let replacement = Replacement {
            context,
            service,
            strategy,
            image: &image.id,
            networks: self.networks,
            traffic: self.traffic,
            changes: self.changes,
            task: &task,
        };
        let result = replacement.apply(&places).await;
        match result {
            Err(failure) if is_given_up(&failure) => {
                task.finish(
                    StepResult::Interrupted,
                    "left as it stands: another service has failed",
                );
                Err(failure)
            }
            Err(failure) => {
                // The others stop before this is said, and not after.
                self.changes.abandon();
                let failure = failure.context(format!("deploying {}", service.name));
                task.conclude(Err(failure), |()| (StepResult::Failed, String::new()))
                    .map(|()| StepResult::Failed)
            }
            Ok(done) => task.conclude(Ok(done), Clone::clone).map(|(result, _)| result),
        }
    }
}

fn is_given_up(failure: &Failure) -> bool {
    failure.kind == FailureKind::Interrupted
}

fn warn_where_held(
    context: Context<'_>,
    service: &Service,
    strategy: Strategy,
    target: &Fingerprint,
    places: &Places,
) {
    let Strategy::Untouched(reason) = strategy else {
        return;
    };
    let differs = places
        .slots
        .iter()
        .filter_map(|slot| slot.kept.as_ref())
        .any(|kept| {
            kept.label(crate::engine::labels::SPEC)
                .is_some_and(|spec| spec != target.0)
        });
    if differs {
        context.warn(
            format!(
                "{} differs from what runs, and is left alone: {}",
                service.name,
                reason.explain()
            ),
            Some(format!(
                "to replace it, with a gap: viatique-deploy run --replace {}",
                service.name
            )),
        );
    }
}

/// What was not compared is not called unchanged.
fn warn_where_taken_over(context: Context<'_>, service: &Service, strategy: Strategy, places: &Places) {
    let from_compose = |container: &crate::engine::Container| {
        strategy == Strategy::Reload && container.label(crate::engine::labels::SPEC).is_none()
    };
    if places
        .slots
        .iter()
        .filter_map(|slot| slot.kept.as_ref())
        .any(from_compose)
    {
        context.warn(
            format!(
                "{} was started by Compose, from the same image and with the same host ports, and goes on serving; \
                 what else of it the Compose files have changed since then is not applied",
                service.name
            ),
            Some(format!(
                "to replace it, with a gap: viatique-deploy run --replace {}",
                service.name
            )),
        );
    }
}
