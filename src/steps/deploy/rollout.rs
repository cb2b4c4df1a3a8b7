//! All services of a release, each in its own manner: those that do not depend on each other side by side, one that
//! depends on others after them. The first failure stops the others at their next safe place, never in the middle of
//! a call: the way back sees everything that was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::before_switch::Trial;
use super::changes::Changes;
use super::dependencies;
use super::infrastructure::NetworkIds;
use super::ready::STEADY;
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
    pub trial: &'a Trial<'a>,
}

/// How far the services are; what depends on others waits for it.
type Progress = watch::Sender<BTreeSet<ServiceName>>;
type Failures = Mutex<Vec<Failure>>;

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
        // In the order of time: the first is the reason, the others were under way when it came.
        let failures: Failures = Mutex::default();
        let turns = services
            .iter()
            .map(|service| self.in_turn(service, services, &finished, &failures));
        let results = join_all(turns).await;
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = in_one(failures) {
            return Err(failure);
        }
        let changed = services
            .iter()
            .zip(results)
            .filter(|(_, result)| *result == StepResult::Succeeded);
        Ok(changed.map(|(service, _)| service.name.clone()).collect())
    }

    /// What came of a service; a failure is put to the others.
    async fn in_turn(
        &self,
        service: &Service,
        services: &[&Service],
        finished: &Progress,
        failures: &Failures,
    ) -> StepResult {
        // Once: what is asked at every step of every other service is the names alone.
        let others = services.iter().filter(|other| self.waits_for(service, other));
        let needed: Vec<&ServiceName> = others.map(|other| &other.name).collect();
        let awaited = |done: &BTreeSet<ServiceName>| needed.iter().all(|name| done.contains(*name));
        let mut receiver = finished.subscribe();
        tokio::select! {
            biased;
            () = self.changes.abandoned() => return StepResult::NotRun,
            // The sender outlives every turn.
            _ready = receiver.wait_for(awaited) => {}
        }
        match self.bring_to_target(service).await {
            Ok(result) => {
                // Nothing was due, or it has passed.
                if self.trial.concerns(&service.name) {
                    self.trial.pass();
                }
                finished.send_modify(|done| {
                    done.insert(service.name.clone());
                });
                result
            }
            Err(failure) if is_given_up(&failure) => StepResult::Interrupted,
            Err(failure) => {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(failure);
                StepResult::Failed
            }
        }
    }

    /// What a service depends on comes before it. A proxy comes after what it leads to, so that there is one to steer
    /// while that is replaced.
    fn waits_for(&self, service: &Service, other: &Service) -> bool {
        let context = self.context;
        service.depends_on.contains_key(&other.name)
            || self.traffic.calls(&service.name, &other.name)
                && strategy(context.settings, service) == Strategy::Reload
                && !dependencies(&context.settings.project, &other.name).contains(&service.name)
    }

    /// How long a container of this service without a health test must run before it is ready: what nobody depends on
    /// and nobody calls holds nothing up, and is watched by `health`.
    fn steady(&self, service: &Service) -> Duration {
        let mut services = self.context.settings.project.services.values();
        let needed = services.any(|other| other.depends_on.contains_key(&service.name));
        if needed || self.traffic.is_called(&service.name) {
            STEADY
        } else {
            Duration::ZERO
        }
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
            trial: self.trial,
            task: &task,
            steady: self.steady(service),
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

/// The first failure, with what failed beside it.
fn in_one(failures: Vec<Failure>) -> Option<Failure> {
    failures.into_iter().reduce(|first, further| {
        let mut failure = first.evidence("failed too", vec![format!("{:#}", further.error)]);
        failure.evidence.extend(further.evidence);
        failure
    })
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
