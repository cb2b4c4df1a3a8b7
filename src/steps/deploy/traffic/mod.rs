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
mod proof;
mod sidecars;

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::callers::Caller;
use self::sidecars::{Called, Sidecars, Unavailable};
use super::standing::Standing;
use crate::compose::ServiceName;
use crate::engine::{Container, ContainerId, NetworkId};
use crate::error::Failure;
use crate::pipeline::Context;
use crate::release::ReleasedImage;
use crate::stack::sidecar::{Answer, Diversion, Order};

/// Between two looks at a proxy's old workers, which may live as long as the longest download.
const POLL: Duration = Duration::from_millis(250);

/// The calls of a project's services among each other, during one deploy or one way back.
pub(crate) struct Traffic<'a> {
    context: Context<'a>,
    sidecars: Option<Sidecars<'a>>,
    callers: Vec<Caller>,
    /// Said once.
    warned: Mutex<bool>,
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
            callers: callers::find(context, standing).await?,
            warned: Mutex::new(false),
        })
    }

    /// Whether anybody is known to call this service.
    pub(crate) fn is_called(&self, service: &ServiceName) -> bool {
        self.callers_of(service).next().is_some()
    }

    fn callers_of<'s>(&'s self, service: &'s ServiceName) -> impl Iterator<Item = &'s Caller> {
        self.callers
            .iter()
            .filter(move |caller| caller.service != *service && caller.calls.contains_key(service))
    }

    /// Gets ready to steer the calls of this service; `false` where that cannot be done, or nobody calls it.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn prepare(&self, service: &ServiceName) -> Result<bool, Failure> {
        let ready = try_join_all(self.callers_of(service).map(|caller| self.sidecar_of(caller))).await?;
        Ok(!ready.is_empty() && ready.iter().all(Option::is_some))
    }

    /// A caller's sidecar, started where it is missing. `None`, and a warning, where that cannot be.
    async fn sidecar_of<'s>(&'s self, caller: &'s Caller) -> Result<Option<&'s ContainerId>, Failure> {
        let start = || async { self.start_sidecar(caller).await };
        Ok(caller.sidecar.get_or_try_init(start).await?.as_ref())
    }

    async fn start_sidecar(&self, caller: &Caller) -> Result<Option<ContainerId>, Failure> {
        let Some(sidecars) = &self.sidecars else {
            self.warn(&Unavailable(
                "deploy.yml names no django service, whose image would be used for that".to_owned(),
            ));
            return Ok(None);
        };
        let id = match sidecars.beside(&caller.container).await? {
            Called::Done(id) => id,
            Called::Unavailable(why) => {
                self.warn(&why);
                return Ok(None);
            }
        };
        let Some(adopted) = self.done(sidecars.tell(&id, &Order::Adopt).await?) else {
            return Ok(None);
        };
        if adopted.stale() {
            // A killed run diverted from addresses that the proxy's configuration may still name.
            if let Some(proxy) = &caller.proxy {
                proxy.reload(self.context.engine).await?;
            }
            let nothing = Order::Divert { key: "*", pairs: &[] };
            if self.done(sidecars.tell(&id, &nothing).await?).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(id))
    }

    /// Has a caller's sidecar carry out an order; `None` where it has none.
    async fn order(&self, caller: &Caller, order: &Order<'_>) -> Result<Option<Answer>, Failure> {
        let (Some(sidecars), Some(sidecar)) = (&self.sidecars, self.sidecar_of(caller).await?) else {
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
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *warned, true) {
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
        try_join_all(self.callers_of(service).map(|caller| async move {
            let pairs = pairs(&caller.container, from, to);
            let order = Order::Divert {
                key: service.as_str(),
                pairs: &pairs,
            };
            self.order(caller, &order).await.map(|_| ())
        }))
        .await?;
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
        self.context.engine.remove_container(&sidecar).await?;
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
        let reloads = self.callers_of(service).filter_map(|caller| {
            let proxy = caller.proxy.as_ref()?;
            Some(caller.reloads.reload(self.context.engine, proxy))
        });
        try_join_all(reloads).await.map(|_| ())
    }
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
    let proxies = super::reload::proxies(context.settings, standing);
    let found = &found;
    let renewed = try_join_all(proxies.iter().map(|proxy| async move {
        proxy.reload(context.engine).await?;
        let began = Instant::now();
        while !found.is_empty() && proxy.leaving(context.engine).await? > 0 && began.elapsed() < limit {
            tokio::time::sleep(POLL).await;
        }
        Ok::<(), Failure>(())
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
