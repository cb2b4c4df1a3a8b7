//! A site that is closed: whoever comes through a proxy gets a page that says so, answered 503 with a time to come again.
//! A rule of the kernel in the proxy's network namespace leads its connections to that page, whatever it is that they
//! would have gone to, so that old and new containers may come and go behind it; connections under way finish.
//!
//! After a crash the page goes on being served: what stands behind it is not known then. The next run that finishes, and
//! every way back, opens the site again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::callers;
use super::sidecars::{Called, Sidecars, Unavailable};
use crate::compose::ServiceName;
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;
use crate::stack::sidecar::{Order, Page};
use crate::steps::deploy::{reload, standing};
use crate::steps::images;

/// Closes every proxy, and waits until none of them has a connection of before, or `limit` is over. Says whose services
/// nobody reaches any more.
///
/// # Errors
/// Where there is no proxy, where one cannot be closed, and the engine's; what was closed before may then still be.
pub(crate) async fn close(
    context: Context<'_>,
    page: &Page,
    limit: Duration,
) -> Result<BTreeSet<ServiceName>, Failure> {
    let standing = standing(context.engine, &context.settings.project.name).await?;
    let sidecars = sidecars(context).await?;
    let callers = callers::find(context, &standing).await?;
    let mut closed = BTreeSet::new();
    for caller in &callers {
        let Some(proxy) = &caller.proxy else { continue };
        let upstreams = || caller.calls.values().flatten();
        if let Some(other) = upstreams().find(|upstream| !upstream.http) {
            return Err(cannot(format!(
                "{} speaks another protocol than HTTP to port {}, and a page could not answer there",
                proxy.service, other.port
            )));
        }
        let ports: Vec<u16> = upstreams().map(|upstream| upstream.port).collect();
        if ports.is_empty() {
            continue;
        }
        let beside = done(sidecars.page_beside(&caller.container).await?)?;
        done(
            sidecars
                .tell(&beside, &Order::Close { ports: &ports, page })
                .await?,
        )?;
        // Its workers may keep connections open that they use again.
        proxy.reload(context.engine).await?;
        proxy.wait_for_old_workers(context.engine, limit).await?;
        closed.extend(caller.calls.keys().cloned());
    }
    if closed.is_empty() {
        return Err(cannot(
            "no proxy runs of which it is known whom it leads to".to_owned(),
        ));
    }
    Ok(closed)
}

/// Opens what is closed, by whichever run; whether anything was.
///
/// # Errors
/// The engine's, and a rule that cannot be taken back.
pub(crate) async fn open(context: Context<'_>) -> Result<bool, Failure> {
    let pages = Sidecars::pages(context).await?;
    if pages.is_empty() {
        return Ok(false);
    }
    let standing = standing(context.engine, &context.settings.project.name).await?;
    let sidecars = sidecars(context).await?;
    // Asked of each proxy's own place: a page that has ended leaves its rule.
    for proxy in reload::proxies(context.settings, &standing) {
        let beside = done(sidecars.beside(&proxy.container).await?)?;
        done(sidecars.tell(&beside, &Order::Open).await?)?;
    }
    for page in pages {
        context.engine.remove_container(&page.id).await?;
    }
    Ok(true)
}

/// From the image that serves: it has been proven to run.
async fn sidecars(context: Context<'_>) -> Result<Sidecars<'_>, Failure> {
    let django = context.settings.config.django.as_ref();
    let image = match django {
        Some(django) => images::serving(context.view(), &django.service).await?,
        None => None,
    };
    Sidecars::of(context, image.as_ref()).ok_or_else(|| {
        cannot("deploy.yml names no django service, whose image would serve the page".to_owned())
    })
}

fn done<T>(called: Called<T>) -> Result<T, Failure> {
    match called {
        Called::Done(value) => Ok(value),
        Called::Unavailable(Unavailable(why)) => Err(cannot(why)),
    }
}

fn cannot(why: String) -> Failure {
    Failure::message(FailureKind::Failed, format!("the site cannot be closed: {why}"))
        .hint("without a page, and with requests that fail meanwhile: --allow-breaking")
}
