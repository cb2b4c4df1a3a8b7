//! What the site answers under its public names: over http, over https, and for a page that does not exist.

use futures_util::future::join_all;
use url::Url;

use super::{Edge, Seen};
use crate::app::edge::{EdgeError, EdgeErrorKind, Page};
use crate::error::Failure;
use crate::steps::check::registry::Asking;
use crate::steps::check::verdict::{Level, Problem, Verdict};

/// Half a year, below which HSTS is taken for a trial.
const HSTS_DAYS: u64 = 180;
const DAY: u64 = 24 * 60 * 60;

/// How often a page that does not exist may send elsewhere on the site: to a language, to a slash at the end.
const HOPS: usize = 3;

/// What stands in debug pages and nowhere else, and whose they are.
const DEBUG_PAGES: [(&str, &str); 6] = [
    ("<code>DEBUG = True</code>", "Django"),
    ("Using the URLconf defined in", "Django"),
    ("You have DEBUG=True in your settings", "Django"),
    ("Werkzeug Debugger", "Werkzeug"),
    ("debugger.js", "Werkzeug"),
    ("Traceback (most recent call last)", "Python"),
];

pub(super) async fn redirect(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let edge = match Edge::of(asking) {
        Ok(edge) => edge,
        Err(verdict) => return Ok(verdict),
    };
    let asked = edge.site.all_names().into_iter().map(|name| async {
        let way = edge.way(edge.site.http_connect);
        let mut url = format!("http://{name}{}", edge.site.url.path());
        if let Some(query) = edge.site.url.query() {
            url = format!("{url}?{query}");
        }
        let seen = match asking.context.app.visit(&url, &way).await {
            Ok(page) => redirected(&edge, &url, &name, &page),
            Err(error) if error.kind == EdgeErrorKind::Refused => nobody(&edge, &name, error).await?,
            Err(error) => Seen::Unknown(error),
        };
        Ok::<_, Failure>((name, seen))
    });
    let seen: Result<Vec<_>, Failure> = join_all(asked).await.into_iter().collect();
    edge.verdict(seen?).await
}

/// Before a first deploy nobody is expected to.
async fn nobody(edge: &Edge<'_>, name: &str, error: EdgeError) -> Result<Seen, Failure> {
    if edge.nothing_serves().await? {
        return Ok(Seen::Unknown(error));
    }
    Ok(Seen::Wrong(
        Problem::wrong(format!(
            "nobody answers {name} on http; a visitor who types the name may find nothing"
        ))
        .level(Level::Warns),
    ))
}

fn redirected(edge: &Edge<'_>, url: &str, name: &str, page: &Page) -> Seen {
    let status = page.status;
    let wrong = |what: String| Seen::Wrong(Problem::wrong(what).at(url));
    if !(300..400).contains(&status) {
        return wrong(match status {
            200..=299 => format!("answers {status} over http: whoever comes that way stays in the clear"),
            _ => format!("answers {status} over http, instead of sending to https"),
        });
    }
    let target = page
        .header("location")
        .and_then(|location| resolved(url, location));
    let Some(target) = target else {
        return wrong(format!("answers {status} over http, and sends nowhere"));
    };
    if !is_of_the_site(edge, &target) {
        return wrong(format!(
            "sends to {} over http, which is not https://{name}/",
            shown(&target)
        ));
    }
    match status {
        301 | 308 => Seen::Well(format!("{name} sends to {} ({status})", shown(&target))),
        _ => Seen::Wrong(
            Problem::wrong(format!(
                "sends to https with {status}, which no browser remembers: 301 or 308 is meant"
            ))
            .at(url)
            .level(Level::Warns),
        ),
    }
}

fn resolved(from: &str, location: &str) -> Option<Url> {
    Url::parse(from).ok()?.join(location).ok()
}

/// Without what may be secret in it.
fn shown(url: &Url) -> String {
    format!(
        "{}://{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port().map_or_else(String::new, |port| format!(":{port}"))
    )
}

fn is_of_the_site(edge: &Edge<'_>, target: &Url) -> bool {
    let host = target.host_str();
    target.scheme() == "https"
        && target.port_or_known_default() == Some(edge.site.port())
        && host.is_some_and(|host| edge.site.all_names().iter().any(|name| name == host))
}

pub(super) async fn hsts(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let edge = match Edge::of(asking) {
        Ok(edge) => edge,
        Err(verdict) => return Ok(verdict),
    };
    let asked = edge.site.all_names().into_iter().map(|name| async {
        let url = edge.url(&name);
        let seen = match asking
            .context
            .app
            .visit(url.as_str(), &edge.way(edge.site.connect))
            .await
        {
            Ok(page) => told(&url, &name, page.header("strict-transport-security")),
            Err(error) => Seen::Unknown(error),
        };
        (name, seen)
    });
    let seen = join_all(asked).await;
    edge.verdict(seen).await
}

fn told(url: &Url, name: &str, header: Option<&str>) -> Seen {
    let wrong = |what: String| Seen::Wrong(Problem::wrong(what).at(url.as_str()));
    let Some(header) = header else {
        return wrong(
            "does not tell browsers to come over https only (Strict-Transport-Security)".to_owned(),
        );
    };
    match max_age(header) {
        None => wrong("Strict-Transport-Security has no max-age, so that it says nothing".to_owned()),
        Some(0) => wrong("Strict-Transport-Security has a max-age of 0, which takes it back".to_owned()),
        Some(seconds) if seconds < HSTS_DAYS * DAY => wrong(format!(
            "Strict-Transport-Security has a max-age of {seconds} s, less than {HSTS_DAYS} days"
        )),
        Some(seconds) => Seen::Well(format!("{name}: {} days", seconds / DAY)),
    }
}

fn max_age(header: &str) -> Option<u64> {
    header.split(';').find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        is_it.then(|| value.trim().trim_matches('"').parse().ok())?
    })
}

pub(super) async fn debug_page(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let edge = match Edge::of(asking) {
        Ok(edge) => edge,
        Err(verdict) => return Ok(verdict),
    };
    let asked = edge.site.all_names().into_iter().map(|name| async {
        let seen = not_there(&edge, &name).await.unwrap_or_else(Seen::Unknown);
        (name, seen)
    });
    let seen = join_all(asked).await;
    edge.verdict(seen).await
}

/// Asks for a page that nobody has: its name is this run's.
async fn not_there(edge: &Edge<'_>, name: &str) -> Result<Seen, EdgeError> {
    let context = edge.asking.context;
    let mut url = edge.url(name);
    let folder = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{folder}/viatique-deploy-{}-is-not-there/", context.run));
    url.set_query(None);
    let way = edge.way(edge.site.connect);
    let mut page = context.app.visit(url.as_str(), &way).await?;
    for _ in 0..HOPS {
        let location = page
            .header("location")
            .filter(|_| (300..400).contains(&page.status));
        let target = location.and_then(|location| resolved(url.as_str(), location));
        // Elsewhere is not ours to ask: who sends there has answered by itself.
        let Some(target) = target.filter(|target| is_of_the_site(edge, target)) else {
            break;
        };
        url = target;
        page = context.app.visit(url.as_str(), &way).await?;
    }
    Ok(judged(name, &url, &page))
}

fn judged(name: &str, url: &Url, page: &Page) -> Seen {
    let status = page.status;
    let place = shown(url);
    if let Some((_, whose)) = DEBUG_PAGES.iter().find(|(mark, _)| page.body.contains(mark)) {
        return Seen::Wrong(
            Problem::wrong(format!(
                "a page that does not exist is answered with {whose}'s debug page ({status})"
            ))
            .at(place),
        );
    }
    match status {
        // A proxy, for an application that did not answer.
        502..=504 => Seen::Unknown(EdgeError {
            kind: EdgeErrorKind::Unreachable,
            target: place,
            message: format!("answers {status}: the application did not answer itself"),
        }),
        500..=599 => Seen::Wrong(
            Problem::wrong(format!("a page that does not exist is answered with {status}"))
                .at(place)
                .hint("look into the application's log; if this deploy is what mends it: run --skip-check debug-page"),
        ),
        _ => Seen::Well(format!("{name} answers {status}, without a debug page")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_max_age_is_read_however_it_is_written() {
        for (header, seconds) in [
            ("max-age=31536000", Some(31_536_000)),
            ("includeSubDomains; Max-Age = \"60\"; preload", Some(60)),
            ("includeSubDomains", None),
            ("max-age=soon", None),
        ] {
            assert_eq!(max_age(header), seconds, "{header}");
        }
    }
}
