//! Who calls a service, and leading those calls from one container to another without losing any.
//!
//! A new replica is in the engine's DNS from its start, an old one until its end, so names alone send requests where
//! none may go. What decides is the caller's own network namespace: from there new connections to an address are
//! diverted to another by the kernel ([`crate::stack::sidecar`]), at once and for every kind of client; connections
//! under way are left alone. So:
//!
//! 1. Until it is ready a new replica is spared ([`Traffic::divert`]): who finds it in DNS reaches an old one.
//! 2. [`Traffic::prove`]: it answers from where its callers stand, before it is given anything.
//! 3. At the switch (`divert` the other way round) everything new goes to the new replica, nothing to the old one,
//!    whose requests in flight finish ([`Traffic::idle`]).
//! 4. The old one runs on until the whole run has succeeded, so that it can take over at once and its address goes to
//!    nobody else. Then it is stopped, DNS knows the new one only, the proxies read their configuration again, and when
//!    their old workers have gone the diversions are forgotten ([`close`]).
//!
//! Where connections cannot be diverted (no Django image, no Python in it, a kernel without nftables) the old way is
//! left: the proxies are reloaded between the steps, and a warning says that single requests may be lost.

mod callers;
pub(crate) mod closed;
mod proof;
mod sidecars;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::RwLock;
use tokio::time::Instant;

use self::callers::{Beside, Caller};
use self::sidecars::{Called, Sidecars, Unavailable};
use super::reload;
use super::standing::Standing;
use crate::compose::ServiceName;
use crate::engine::{Container, ContainerId, ContainerState, NetworkId};
use crate::error::Failure;
use crate::pipeline::Context;
use crate::release::ReleasedImage;
use crate::stack::nginx::Upstream;
use crate::stack::sidecar::{Answer, Diversion, Order};

/// The calls of a project's services among each other, during one deploy or one way back.
pub(crate) struct Traffic<'a> {
    context: Context<'a>,
    sidecars: Option<Sidecars<'a>>,
    /// In the order in which they were found or started.
    callers: Mutex<Vec<Arc<Caller>>>,
    /// Said once.
    warned: Mutex<bool>,
    /// In order: what was diverted to what.
    led: Mutex<Vec<Led>>,
    /// Held for writing while addresses are free again that proxies still know: nothing may start then, and get one.
    addresses: RwLock<()>,
}

/// The containers of a service that are given nothing any more, and those that are given their calls.
#[derive(Clone)]
struct Led {
    service: ServiceName,
    from: Vec<Container>,
    to: Vec<Container>,
}

impl<'a> Traffic<'a> {
    /// Finds out who calls whom. Asks each proxy for its configuration, changes nothing.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn open(
        context: Context<'a>,
        standing: &Standing,
        application: Option<&ReleasedImage>,
    ) -> Result<Self, Failure> {
        let image = application.map(|image| &image.id);
        Ok(Self {
            context,
            sidecars: Sidecars::of(context, image),
            callers: Mutex::new(
                callers::find(context, standing)
                    .await?
                    .into_iter()
                    .map(Arc::new)
                    .collect(),
            ),
            warned: Mutex::new(false),
            led: Mutex::default(),
            addresses: RwLock::new(()),
        })
    }

    /// Whether anybody is known to call this service.
    pub(crate) fn is_called(&self, service: &ServiceName) -> bool {
        !self.callers_of(service).is_empty()
    }

    /// Whether a service is known to call another one.
    pub(crate) fn calls(&self, caller: &ServiceName, service: &ServiceName) -> bool {
        let callers = self.callers_of(service);
        callers.iter().any(|found| found.service == *caller)
    }

    /// The ports of a service that its proxies send requests to, as far as they say.
    pub(crate) fn upstreams(&self, service: &ServiceName) -> BTreeSet<Upstream> {
        let callers = self.callers_of(service);
        let named = callers.iter().filter_map(|caller| caller.calls.get(service));
        named.flatten().copied().collect()
    }

    fn callers_of(&self, service: &ServiceName) -> Vec<Arc<Caller>> {
        let callers = locked(&self.callers);
        let of_it = callers.iter().filter(|caller| caller.does_call(service));
        of_it.cloned().collect()
    }

    /// Gets ready to steer the calls of this service; `false` where that cannot be done, or nobody calls it.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn prepare(&self, service: &ServiceName) -> Result<bool, Failure> {
        let callers = self.callers_of(service);
        let ready = try_join_all(callers.iter().map(|caller| self.beside(caller))).await?;
        let steered = |beside: &&Beside| match beside {
            Beside::Sidecar(_) | Beside::Nobody => true,
            Beside::Unsteered => false,
        };
        Ok(!ready.is_empty() && ready.iter().all(steered))
    }

    /// What stands beside a caller: its sidecar, started where it is missing.
    async fn beside<'s>(&self, caller: &'s Caller) -> Result<&'s Beside, Failure> {
        let start = || async {
            match self.start_sidecar(caller).await {
                Ok(Called::Done(id)) => Ok(Beside::Sidecar(id)),
                Ok(Called::Unavailable(_)) | Err(_) if self.has_ended(caller).await? => Ok(Beside::Nobody),
                Ok(Called::Unavailable(why)) => {
                    self.warn(&why);
                    Ok(Beside::Unsteered)
                }
                Err(failure) => Err(failure),
            }
        };
        caller.beside.get_or_try_init(start).await
    }

    /// Whether the caller has given its place to another container, or has crashed: it calls nobody any more.
    async fn has_ended(&self, caller: &Caller) -> Result<bool, Failure> {
        let now = self.context.engine.container(&caller.container.id.0).await?;
        Ok(!is_running(now.as_ref()))
    }

    async fn start_sidecar(&self, caller: &Caller) -> Result<Called<ContainerId>, Failure> {
        let Some(sidecars) = &self.sidecars else {
            return Ok(Called::Unavailable(Unavailable(
                "deploy.yml names no django service, whose image would be used for that".to_owned(),
            )));
        };
        let id = match sidecars.beside(&caller.container).await? {
            Called::Done(id) => id,
            unavailable @ Called::Unavailable(_) => return Ok(unavailable),
        };
        let adopted = match sidecars.tell(&id, &Order::Adopt).await? {
            Called::Done(adopted) => adopted,
            Called::Unavailable(why) => return Ok(Called::Unavailable(why)),
        };
        if adopted.stale() {
            // A killed run diverted from addresses that the proxy's configuration may still name.
            if let Some(proxy) = &caller.proxy {
                proxy.reload(self.context.engine).await?;
            }
            let nothing = Order::Divert { key: "*", pairs: &[] };
            if let Called::Unavailable(why) = sidecars.tell(&id, &nothing).await? {
                return Ok(Called::Unavailable(why));
            }
        }
        Ok(Called::Done(id))
    }

    /// Has a caller's sidecar carry out an order; `None` where it has none.
    async fn order(&self, caller: &Caller, order: &Order<'_>) -> Result<Option<Answer>, Failure> {
        let (Some(sidecars), Beside::Sidecar(sidecar)) = (&self.sidecars, self.beside(caller).await?) else {
            return Ok(None);
        };
        Ok(self.done(sidecars.tell(sidecar, order).await?))
    }

    fn done(&self, called: Called<Answer>) -> Option<Answer> {
        match called {
            Called::Done(answer) => Some(answer),
            Called::Unavailable(why) => {
                self.warn(&why);
                None
            }
        }
    }

    fn warn(&self, Unavailable(why): &Unavailable) {
        if !std::mem::replace(&mut *locked(&self.warned), true) {
            self.context.warn(
                format!(
                    "connections cannot be led from old containers to new ones ({why}); the proxies are reloaded \
                     instead, and single requests may be lost"
                ),
                Some("name a django service whose image has python3, on an engine whose kernel has nftables".to_owned()),
            );
        }
    }

    /// New connections of all callers to any of `from` go to one of `to`, and with them what was led to `from` before:
    /// a proxy may still know addresses of several releases. With nothing to divert from, everything goes where it is
    /// sent.
    ///
    /// # Errors
    /// The engine's. What was diverted before may then still be.
    pub(crate) async fn divert(
        &self,
        service: &ServiceName,
        from: &[Container],
        to: &[Container],
    ) -> Result<(), Failure> {
        let led = Led {
            service: service.clone(),
            from: from.to_vec(),
            to: to.to_vec(),
        };
        locked(&self.led).push(led);
        let callers = self.callers_of(service);
        let followed = try_join_all(callers.iter().map(|caller| self.follow(caller)));
        followed.await.map(|_| ())
    }

    /// Leads a caller's connections as all that was diverted so far says, in that order: one that started later finds
    /// the old containers, which run on, by their names too.
    async fn follow(&self, caller: &Caller) -> Result<(), Failure> {
        let mut followed = caller.followed.lock().await;
        loop {
            let next = locked(&self.led).get(*followed).cloned();
            let Some(led) = next else { return Ok(()) };
            if caller.does_call(&led.service) {
                let pairs = pairs(&caller.container, &led.from, &led.to);
                let order = Order::Divert {
                    key: led.service.as_str(),
                    pairs: &pairs,
                };
                self.order(caller, &order).await?;
            }
            *followed += 1;
        }
    }

    /// Starts a container of this service, at a time at which it gets no address under which a proxy knows another
    /// one. If it calls others, its connections are led as everybody's are. Says since when it runs.
    ///
    /// # Errors
    /// As [`crate::engine::Engine::start`], and the engine's.
    pub(crate) async fn start(&self, service: &ServiceName, id: &ContainerId) -> Result<Instant, Failure> {
        let engine = self.context.engine;
        let since = {
            let _no_address_changes_hands = self.addresses.read().await;
            engine.start(id).await?;
            Instant::now()
        };
        if callers::calls_rolled_services(self.context.settings, service)
            && let Some(container) = engine.container(&id.0).await?
        {
            match self.join(service, &container).await {
                // Whoever waits for it says why.
                Err(_) if !is_running(engine.container(&id.0).await?.as_ref()) => {}
                joined => joined?,
            }
        }
        Ok(since)
    }

    async fn join(&self, service: &ServiceName, container: &Container) -> Result<(), Failure> {
        let Some(caller) = callers::of(self.context, service, container).await? else {
            return Ok(());
        };
        let caller = Arc::new(caller);
        locked(&self.callers).push(Arc::clone(&caller));
        self.follow(&caller).await
    }

    /// Ends containers of this service whose calls others have taken over, while the run goes on. The engine may give
    /// their addresses to the next container that starts: so none does until the proxies have looked up again, and
    /// nothing is diverted from there any more.
    ///
    /// # Errors
    /// What `end` fails with, the engine's, and a proxy that does not come up with new workers.
    pub(crate) async fn vacate(
        &self,
        service: &ServiceName,
        gone: &[Container],
        limit: Duration,
        end: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        if !self.is_called(service) {
            return end.await;
        }
        let _nothing_starts = self.addresses.write().await;
        end.await?;
        self.reload_for(service).await?;
        let engine = self.context.engine;
        let callers = self.callers_of(service);
        let proxies = callers.iter().filter_map(|caller| caller.proxy.as_ref());
        try_join_all(proxies.map(|proxy| proxy.wait_for_old_workers(engine, limit))).await?;
        // From themselves to themselves: from nowhere to anywhere.
        for one in gone.iter().map(std::slice::from_ref) {
            self.divert(service, one, one).await?;
        }
        Ok(())
    }

    /// Waits until nobody is connected to what listens in this container; who is still there after `limit`.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn idle(&self, container: &Container, limit: Duration) -> Result<Vec<String>, Failure> {
        let Some(sidecars) = &self.sidecars else {
            return Ok(Vec::new());
        };
        let Called::Done(sidecar) = sidecars.beside(container).await? else {
            return Ok(Vec::new());
        };
        let order = Order::Idle { limit };
        let told = tokio::time::timeout(limit + Sidecars::ANSWER_LIMIT, sidecars.tell(&sidecar, &order));
        let answer = match told.await {
            Ok(answer) => self.done(answer?),
            Err(_) => None,
        };
        // One that calls others has need of it until the end.
        if !locked(&self.callers)
            .iter()
            .any(|caller| caller.container.id == container.id)
        {
            self.context.engine.remove_container(&sidecar).await?;
        }
        Ok(answer.map(Answer::into_left).unwrap_or_default())
    }

    /// Starts the sidecar that [`Traffic::idle`] will want, so that it need not be waited for then.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn stand_by(&self, container: &Container) -> Result<(), Failure> {
        if let Some(sidecars) = &self.sidecars {
            match sidecars.beside(container).await? {
                Called::Done(_) => {}
                Called::Unavailable(why) => self.warn(&why),
            }
        }
        Ok(())
    }

    /// Has the proxies that hold addresses of this service read their configuration again.
    ///
    /// # Errors
    /// The engine's, and a proxy that does not come up with new workers.
    pub(crate) async fn reload_for(&self, service: &ServiceName) -> Result<(), Failure> {
        let callers = self.callers_of(service);
        let reloads = callers.iter().map(|caller| async move {
            let Some(proxy) = &caller.proxy else { return Ok(()) };
            match caller.reloads.reload(self.context.engine, proxy).await {
                Err(_) if self.has_ended(caller).await? => Ok(()),
                reloaded => reloaded,
            }
        });
        try_join_all(reloads).await.map(|_| ())
    }
}

fn is_running(container: Option<&Container>) -> bool {
    container.is_some_and(|container| container.state == ContainerState::Running)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what [`Traffic`] began, once DNS knows only those that stay: the proxies look addresses up again; when their
/// old workers, which know others, have gone, the diversions are forgotten and the sidecars removed.
///
/// Where there are none, the proxies are reloaded if addresses have changed.
///
/// # Errors
/// The engine's; what is left is removed by the next run.
pub(crate) async fn close(
    context: Context<'_>,
    standing: &Standing,
    limit: Duration,
    addresses_changed: bool,
) -> Result<(), Failure> {
    let found = Sidecars::standing(context).await?;
    if found.is_empty() && !addresses_changed {
        return Ok(());
    }
    let proxies = reload::proxies(context.settings, standing);
    let found = &found;
    let renewed = try_join_all(proxies.iter().map(|proxy| async move {
        proxy.reload(context.engine).await?;
        if found.is_empty() {
            return Ok(());
        }
        proxy.wait_for_old_workers(context.engine, limit).await
    }))
    .await;
    let Some(sidecars) = Sidecars::of(context, None) else {
        return renewed.map(|_| ());
    };
    let dismissed = join_all(found.iter().map(|sidecar| sidecars.dismiss(sidecar))).await;
    renewed.and(dismissed.into_iter().collect())
}

/// On each network that the caller is on, the addresses of `from`, each with one of `to`.
fn pairs(caller: &Container, from: &[Container], to: &[Container]) -> Vec<Diversion> {
    let mut pairs = Vec::new();
    for network in &caller.networks {
        let targets: Vec<Ipv4Addr> = to
            .iter()
            .filter_map(|container| address(container, &network.id))
            .collect();
        let origins = from
            .iter()
            .filter_map(|container| address(container, &network.id));
        pairs.extend(origins.zip(targets.iter().copied().cycle()));
    }
    pairs
}

fn address(container: &Container, network: &NetworkId) -> Option<Ipv4Addr> {
    let endpoint = container
        .networks
        .iter()
        .find(|endpoint| endpoint.id == *network)?;
    endpoint.ip_address.as_deref()?.parse().ok()
}
