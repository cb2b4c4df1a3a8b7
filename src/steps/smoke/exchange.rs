//! One request of a scenario as a browser would make it: with the cookies that are meant for it, Django's CSRF token, and
//! redirects followed as far as the step allows.

use std::path::Path;
use std::time::Duration;

use cookie_store::CookieStore;
use url::Url;

use super::values::{Mask, Missing, Values};
use crate::app::{App, Call, CallBody, Method, SentFile};
use crate::config::{Smoke, SmokeBody, SmokeFileContent, SmokeMethod, SmokeStep, SmokeTarget};

/// Django's names; both can be changed in its settings, and hardly ever are.
const CSRF_COOKIE: &str = "csrftoken";
const CSRF_HEADER: &str = "X-CSRFToken";

/// A shorter value of a cookie is no secret, and would cover half of what is shown.
const SHORTEST_SECRET: usize = 8;

/// Where requests go, and what is the same for all of them.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub app: &'a dyn App,
    pub smoke: &'a Smoke,
    pub target: &'a SmokeTarget,
    /// The folder of `deploy.yml`.
    pub folder: &'a Path,
}

/// What came back, redirects behind it.
pub(super) struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Of all requests that it took.
    pub elapsed: Duration,
    /// The address as the site sees it.
    pub url: Url,
}

impl Answered {
    /// What every header of this name says.
    pub(super) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let meant = self
            .headers
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        meant.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
pub(super) enum Unasked {
    /// A value that is needed was never captured: nothing was sent.
    Missing(Missing),
    Because(String),
}

impl From<Missing> for Unasked {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

/// Asks, and follows redirects.
///
/// # Errors
/// No complete answer, one that is too long, or one that leads away from the site.
pub(super) async fn ask(
    site: Site<'_>,
    step: &SmokeStep,
    values: &Values,
    cookies: &mut CookieStore,
    mask: &mut Mask,
) -> Result<Answered, Unasked> {
    let because = |why: String| Unasked::Because(why);
    let path = values.fill(&step.path)?;
    if !path.starts_with('/') {
        return Err(because(format!(
            "`{path}` is no path of the site: it begins with `/`"
        )));
    }
    let mut url = Url::parse(&format!("{}{path}", site.target.base))
        .map_err(|error| because(format!("`{path}` is no path of the site: {error}")))?;
    if !step.query.is_empty() {
        url.query_pairs_mut().extend_pairs(values.fill_all(&step.query)?);
    }
    let given = headers(site, step, values)?;
    let mut method = method_of(step.method);
    let mut body = body(site, step, values).await?;
    let mut elapsed = Duration::ZERO;
    let mut left = step.follow;
    loop {
        let seen = seen(site.target, &given, &url).map_err(because)?;
        let call = Call {
            method,
            url: url.to_string(),
            host: site.target.host.clone(),
            headers: with_cookies(&given, step, method, &seen, cookies),
            body: body.clone(),
            timeout: site.smoke.request_timeout.0,
            limit: site.smoke.max_response.0,
        };
        let answer = site
            .app
            .call(call)
            .await
            .map_err(|error| because(error.message))?;
        elapsed += answer.elapsed;
        for (name, value) in &answer.headers {
            if name.eq_ignore_ascii_case("set-cookie")
                && let Err(error) = cookies.parse(value, &seen)
            {
                tracing::debug!(%error, "a cookie is not kept");
            }
        }
        for cookie in cookies
            .iter_any()
            .filter(|cookie| cookie.value().len() >= SHORTEST_SECRET)
        {
            mask.hide(cookie.value());
        }
        if answer.is_cut {
            return Err(because(format!(
                "its body is longer than {} bytes, which is `smoke.max_response`",
                site.smoke.max_response.0
            )));
        }
        let answered = Answered {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            elapsed,
            url: seen,
        };
        let location = answered.header("location").next();
        let Some(location) = location.filter(|_| left > 0 && is_redirect(answered.status)) else {
            return Ok(answered);
        };
        left -= 1;
        url = followed(&url, &answered.url, location).map_err(because)?;
        // As browsers do: only 307 and 308 ask the same again.
        if !matches!(answered.status, 307 | 308) {
            method = Method::Get;
            body = CallBody::None;
        }
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

const fn method_of(method: SmokeMethod) -> Method {
    match method {
        SmokeMethod::Get => Method::Get,
        SmokeMethod::Post => Method::Post,
        SmokeMethod::Put => Method::Put,
        SmokeMethod::Patch => Method::Patch,
        SmokeMethod::Delete => Method::Delete,
    }
}

/// Those of every request, and over them the step's own.
fn headers(site: Site<'_>, step: &SmokeStep, values: &Values) -> Result<Vec<(String, String)>, Missing> {
    let is_own = |name: &str| step.headers.keys().any(|own| own.eq_ignore_ascii_case(name));
    let common = site.target.headers.iter().filter(|(name, _)| !is_own(name));
    values.fill_all(common.chain(&step.headers))
}

fn with_cookies(
    given: &[(String, String)],
    step: &SmokeStep,
    method: Method,
    seen: &Url,
    cookies: &CookieStore,
) -> Vec<(String, String)> {
    let has = |name: &str| given.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut headers = given.to_vec();
    let sent: Vec<String> = cookies
        .get_request_values(seen)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !sent.is_empty() && !has("Cookie") {
        headers.push(("Cookie".to_owned(), sent.join("; ")));
    }
    if method != Method::Get && step.csrf {
        let token = cookies
            .get_request_values(seen)
            .find(|(name, _)| *name == CSRF_COOKIE);
        if let Some((_, token)) = token {
            if !has(CSRF_HEADER) {
                headers.push((CSRF_HEADER.to_owned(), token.to_owned()));
            }
            // Over https Django wants to know where the form stood.
            if !has("Referer") {
                let mut page = seen.clone();
                page.set_query(None);
                headers.push(("Referer".to_owned(), page.to_string()));
            }
        }
    }
    headers
}

/// The address as the site sees it: by the name that it is given, and https where a header says that a proxy ended it.
fn seen(target: &SmokeTarget, headers: &[(String, String)], url: &Url) -> Result<Url, String> {
    let is_https = headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("X-Forwarded-Proto") && value == "https");
    let scheme = if is_https { "https" } else { url.scheme() };
    let authority = target.host.as_deref().unwrap_or(url.authority());
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    Url::parse(&format!("{scheme}://{authority}{}{query}", url.path()))
        .map_err(|error| format!("`{authority}` is no name of a site: {error}"))
}

/// Where a redirect leads, asked at the same place.
fn followed(asked: &Url, seen: &Url, location: &str) -> Result<Url, String> {
    let led = seen
        .join(location)
        .map_err(|error| format!("it redirects to `{location}`, which is no address: {error}"))?;
    if led.host_str() != seen.host_str() && led.host_str() != asked.host_str() {
        return Err(format!("it redirects to another site: {location}"));
    }
    let mut next = asked.clone();
    next.set_path(led.path());
    next.set_query(led.query());
    Ok(next)
}

async fn body(site: Site<'_>, step: &SmokeStep, values: &Values) -> Result<CallBody, Unasked> {
    Ok(match &step.body {
        SmokeBody::None => CallBody::None,
        SmokeBody::Form(fields) => CallBody::Form(values.fill_all(fields)?),
        SmokeBody::Json(json) => CallBody::Json(values.fill_json(json)?.to_string()),
        SmokeBody::Multipart { fields, files } => {
            let fields = values.fill_all(fields)?;
            let mut sent = Vec::new();
            for (field, file) in files {
                let content = match &file.content {
                    SmokeFileContent::Text(text) => values.fill(text)?.into_bytes(),
                    SmokeFileContent::File(path) => {
                        read(site.folder, path).await.map_err(Unasked::Because)?
                    }
                };
                sent.push(SentFile {
                    field: field.clone(),
                    name: file.name.clone(),
                    kind: file.kind.clone(),
                    content,
                });
            }
            CallBody::Multipart { fields, files: sent }
        }
    })
}

/// A file beside `deploy.yml`.
///
/// # Errors
/// It cannot be read, with the reason.
pub(super) async fn read(folder: &Path, file: &Path) -> Result<Vec<u8>, String> {
    let read = tokio::fs::read(folder.join(file)).await;
    read.map_err(|error| format!("reading {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use cookie_store::CookieStore;
    use url::Url;

    use super::followed;

    fn sent(cookies: &CookieStore, url: &str) -> Vec<String> {
        let url = Url::parse(url).unwrap();
        let mut sent: Vec<String> = cookies
            .get_request_values(&url)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        sent.sort();
        sent
    }

    /// What the library is relied on for.
    #[test]
    fn cookies_go_where_they_are_meant_to_and_go_when_they_expire() {
        let mut cookies = CookieStore::default();
        let page = Url::parse("https://viatique.example.com/api/login/").unwrap();
        let mut set = |cookie: &str| {
            let _ = cookies.parse(cookie, &page);
        };
        set(
            "sessionid=abc; expires=Thu, 01 Jan 2099 00:00:00 GMT; HttpOnly; Max-Age=1209600; Path=/; Secure",
        );
        set("csrftoken=def; Path=/; SameSite=Lax");
        set("only=here; Path=/admin/");
        assert_eq!(
            sent(&cookies, "https://viatique.example.com/api/"),
            ["csrftoken=def", "sessionid=abc"]
        );
        assert_eq!(sent(&cookies, "http://viatique.example.com/"), ["csrftoken=def"]);
        assert_eq!(sent(&cookies, "https://viatique.example.com/admin/x").len(), 3);
        assert!(sent(&cookies, "https://example.com/").is_empty());
        // As Django deletes one.
        let mut set = |cookie: &str| {
            let _ = cookies.parse(cookie, &page);
        };
        set("sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/");
        assert_eq!(
            sent(&cookies, "https://viatique.example.com/api/"),
            ["csrftoken=def"]
        );
    }

    #[test]
    fn a_redirect_stays_on_the_site() {
        let asked = Url::parse("http://127.0.0.1:8080/admin/?next=1").unwrap();
        let seen = Url::parse("https://viatique.example.com/admin/?next=1").unwrap();
        let follow = |location: &str| followed(&asked, &seen, location).map(|url| url.to_string());
        for (location, led) in [
            ("/login/?a=b", "http://127.0.0.1:8080/login/?a=b"),
            ("login/", "http://127.0.0.1:8080/admin/login/"),
            ("https://viatique.example.com/x", "http://127.0.0.1:8080/x"),
            ("http://127.0.0.1/x", "http://127.0.0.1:8080/x"),
        ] {
            assert_eq!(follow(location).as_deref(), Ok(led), "{location}");
        }
        assert!(follow("https://elsewhere.example.com/").is_err());
        assert!(follow("//elsewhere.example.com/").is_err());
    }
}
