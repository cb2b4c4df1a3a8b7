//! Scenarios before the switch: the first new container of the Django service is tried with them while its calls are led to
//! the old ones. Until it has passed, nothing that serves is touched: other services wait before they replace anything, and
//! what does its work unasked, as a worker, is not even started. So a release that fails here was met by nobody.
//!
//! How scenarios are played is the business of `steps::smoke`.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::changes::{Changes, given_up};
use super::replace::Replacement;
use super::standing::{Places, Standing, is_alive};
use super::strategy::{Strategy, strategy};
use super::target::was_retired;
use super::traffic::Traffic;
use super::{dependencies, reload};
use crate::compose::{Healthcheck, Service, ServiceName};
use crate::engine::Container;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Settings};
use crate::stack::nginx::Upstream;
use crate::steps::smoke::before_switch::{Door, PlayedAlone, Wanted};

/// The trial of one deploy; every service knows it.
pub(crate) struct Trial<'a> {
    asked_for: Option<AskedFor<'a>>,
}

struct AskedFor<'a> {
    wanted: Wanted<'a>,
    played: &'a PlayedAlone,
    /// Whether it has passed, or there is nothing to try. Outlives the deploy: what its way back wants to know.
    passed: &'a watch::Sender<bool>,
    /// What the service cannot do without: it comes before it.
    needs: BTreeSet<ServiceName>,
}

impl<'a> Trial<'a> {
    /// Nothing is tried, and nobody waits.
    pub(crate) const fn none() -> Self {
        Self { asked_for: None }
    }

    /// What `deploy.yml` asks for.
    pub(crate) fn of(
        settings: &'a Settings,
        played: &'a PlayedAlone,
        passed: &'a watch::Sender<bool>,
    ) -> Self {
        let asked_for = Wanted::of(settings).map(|wanted| AskedFor {
            wanted,
            played,
            passed,
            needs: dependencies(&settings.project, wanted.service),
        });
        Self { asked_for }
    }

    /// Whether a container of this service is still to be tried.
    pub(crate) fn concerns(&self, service: &ServiceName) -> bool {
        let asked = self.asked_for.as_ref();
        asked.is_some_and(|asked| asked.wanted.service == service && !*asked.passed.borrow())
    }

    /// It has passed, or there is nothing to try: from here on what serves may be touched.
    pub(crate) fn pass(&self) {
        if let Some(asked) = &self.asked_for {
            asked.passed.send_replace(true);
        }
    }

    /// Returns once containers of this service that serve may be touched.
    ///
    /// # Errors
    /// The deploy has been given up meanwhile.
    pub(crate) async fn awaited(&self, service: &ServiceName, changes: &Changes) -> Result<(), Failure> {
        let Some(asked) = &self.asked_for else {
            return Ok(());
        };
        if asked.wanted.service == service || asked.needs.contains(service) {
            return Ok(());
        }
        let mut passed = asked.passed.subscribe();
        tokio::select! {
            biased;
            () = changes.abandoned() => Err(given_up()),
            // The sender outlives this: it cannot be gone.
            _passed = passed.wait_for(|passed| *passed) => Ok(()),
        }
    }
}

/// Whether there is a moment in which a new container runs and nobody is led to it.
///
/// # Errors
/// The service is replaced otherwise.
pub(super) fn require(settings: &Settings) -> Result<(), Failure> {
    let Some(wanted) = Wanted::of(settings) else {
        return Ok(());
    };
    wanted.require(settings)?;
    let Some(service) = settings.project.services.get(wanted.service) else {
        return Ok(());
    };
    let why = match strategy(settings, service) {
        Strategy::Rolling => return Ok(()),
        Strategy::Recreate(reason) => format!("it is replaced with a gap, because {}", reason.explain()),
        Strategy::Singleton => "two of it must never run".to_owned(),
        Strategy::Reload => "it is reloaded, and not replaced".to_owned(),
        Strategy::Untouched(reason) => format!("a deploy leaves it alone, because {}", reason.explain()),
        Strategy::OneShot => "it runs to its end".to_owned(),
    };
    Err(Failure::message(
        FailureKind::Configuration,
        format!(
            "`smoke.before_switch`: no new container of {} runs before visitors reach it: {why}",
            service.name
        ),
    )
    .hint("leave `smoke.before_switch` out: the scenarios are played after the deploy, too"))
}

/// Whether a release takes the place of another one that serves: where nothing serves yet, or this release does already,
/// there is nobody to be kept from it.
pub(super) fn is_due(places: &Places) -> bool {
    let serves = |container: &&Container| is_alive(container) && !was_retired(&container.name);
    let slots = || places.slots.iter();
    let others_serve = slots()
        .flat_map(|slot| &slot.replaced)
        .chain(&places.surplus)
        .any(|container| serves(&container));
    let this_one_serves =
        slots().any(|slot| slot.kept.is_some() && !slot.replaced.iter().any(|old| serves(&old)));
    others_serve && !this_one_serves
}

/// A replica that a run which stopped half-way had made, and not led anybody to; with those that serve in its place.
pub(super) fn arrived(places: &Places) -> Option<(&Container, Vec<Container>)> {
    places.slots.iter().find_map(|slot| {
        let kept = slot.kept.as_ref()?;
        let serving = slot.replaced.iter().filter(|old| is_alive(old));
        let serving: Vec<Container> = serving.cloned().collect();
        (!serving.is_empty()).then_some((kept, serving))
    })
}

impl Replacement<'_> {
    /// Whether nobody can reach new containers of this service until they are switched to: its callers are steered, or
    /// none runs, and one that comes will be.
    ///
    /// # Errors
    /// That cannot be made sure of.
    pub(super) fn require_seclusion(&self, steered: bool) -> Result<(), Failure> {
        let name = &self.service.name;
        let why = if steered {
            return Ok(());
        } else if self.traffic.is_called(name) {
            "its callers cannot be steered: the warning above says why"
        } else if reload::has_proxies(self.context.settings) {
            return Ok(());
        } else {
            "nobody is known to call it"
        };
        Err(Failure::message(
            FailureKind::Failed,
            format!(
                "`smoke.before_switch`: a new container of {name} cannot be kept from visitors while it is tried: {why}"
            ),
        )
        .hint(format!(
            "name who calls it in services.{name}.callers, or leave the scenarios to the end: smoke.before_switch: false"
        )))
    }

    /// Plays the scenarios against this container, to which nobody is led.
    ///
    /// # Errors
    /// The first one that failed, with the evidence.
    pub(super) async fn try_out(&self, container: &Container) -> Result<(), Failure> {
        let Some(asked) = &self.trial.asked_for else {
            return Ok(());
        };
        self.task
            .progress("playing scenarios with it before it is taken into service");
        let given = asked.wanted.before_switch.port;
        let door = Door {
            container: container.id.clone(),
            name: container.name.clone(),
            port: port(given, self.traffic, self.service)?,
        };
        asked.played.play(self.context, asked.wanted, &door).await?;
        self.trial.pass();
        Ok(())
    }
}

/// On which port it speaks HTTP: as `deploy.yml` says, where its proxies send requests to, or as the Compose file tells.
fn port(given: Option<u16>, traffic: &Traffic<'_>, service: &Service) -> Result<u16, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    let upstreams = traffic.upstreams(&service.name);
    let spoken = upstreams.iter().find(|upstream| upstream.http);
    if let Some(Upstream { port, .. }) = spoken {
        return Ok(*port);
    }
    let told = if upstreams.is_empty() {
        exposed(service).or_else(|| tested(service))
    } else {
        // Something else is spoken there.
        None
    };
    told.ok_or_else(|| {
        Failure::message(
            FailureKind::Failed,
            format!(
                "`smoke.before_switch`: nothing says on which port {} speaks HTTP in its container",
                service.name
            ),
        )
        .hint("write it: smoke: { before_switch: { scenarios: [...], port: 8000 } }")
    })
}

fn exposed(service: &Service) -> Option<u16> {
    match service.expose.as_slice() {
        [one] => one.strip_suffix("/tcp").unwrap_or(one).parse().ok(),
        _ => None,
    }
}

/// The port that its health test asks.
fn tested(service: &Service) -> Option<u16> {
    let Some(Healthcheck::Test {
        test: Some(words), ..
    }) = &service.healthcheck
    else {
        return None;
    };
    ["127.0.0.1:", "localhost:", "0.0.0.0:"].iter().find_map(|host| {
        let (_, rest) = words.iter().find_map(|word| word.split_once(host))?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

/// Whether this run, of which these containers stand, has come no further than to trying, and touched nothing that serves.
pub(super) fn is_untouched(context: Context<'_>, standing: &Standing, passed: bool) -> bool {
    let left = |container: &Container| super::has_left(context, container);
    Wanted::of(context.settings).is_some() && !passed && !standing.values().flatten().any(left)
}
