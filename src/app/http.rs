//! The app over HTTP, through reqwest: the only file that names it. Asks once; retrying, and judging an answer, is
//! for the steps.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Instant;

use async_trait::async_trait;

use super::edge::{EdgeError, EdgeErrorKind, Page, Presented, Way};
use super::{Answer, App, AppError, Call, CallBody, Method, Request, Response, SentFile, handshake};

const BODY_LIMIT: usize = 64 * 1024;

/// Speaks HTTP/1.1, and HTTPS with the system's certificate authorities. Goes to the address itself, never through
/// a proxy of the environment, and opens a fresh connection for each question: an answer over an old connection
/// says nothing about who would accept a new one.
#[derive(Debug, Clone)]
pub struct HttpApp {
    #[expect(clippy::disallowed_types, reason = "the one adapter to HTTP")]
    client: reqwest::Client,
}

impl HttpApp {
    /// Makes the client; sends nothing.
    ///
    /// # Errors
    /// Where the TLS set-up of this machine is unusable.
    pub fn new() -> Result<Self, AppError> {
        crate::tls::prepare();
        let client = asking().build().map_err(|error| failed("any address", &error))?;
        Ok(Self { client })
    }
}

/// How every question is asked.
fn asking() -> reqwest::ClientBuilder {
    #[expect(clippy::disallowed_types, reason = "the one adapter to HTTP")]
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(concat!("viatique-deploy/", env!("CARGO_PKG_VERSION")))
}

#[async_trait]
impl App for HttpApp {
    async fn get(&self, request: &Request) -> Result<Response, AppError> {
        let started = Instant::now();
        let mut question = self.client.get(&request.url).timeout(request.timeout);
        if let Some(host) = &request.host {
            question = question.header("Host", host);
        }
        for (name, value) in &request.headers {
            question = question.header(name, value);
        }
        let mut answer = question
            .send()
            .await
            .map_err(|error| failed(&request.url, &error))?;
        let body = text(&mut answer)
            .await
            .map_err(|error| failed(&request.url, &error))?;
        Ok(Response {
            status: answer.status().as_u16(),
            body,
            elapsed: started.elapsed(),
        })
    }

    async fn call(&self, call: Call) -> Result<Answer, AppError> {
        let started = Instant::now();
        let failed = |error: &reqwest::Error| failed(&call.url, error);
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut question = self.client.request(method, &call.url).timeout(call.timeout);
        if let Some(host) = &call.host {
            question = question.header("Host", host);
        }
        for (name, value) in &call.headers {
            question = question.header(name, value);
        }
        question = match call.body {
            CallBody::None => question,
            CallBody::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields);
                question
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .body(form.finish())
            }
            CallBody::Json(json) => question.header("Content-Type", "application/json").body(json),
            CallBody::Multipart { fields, files } => {
                question.multipart(form(fields, files).map_err(|error| failed(&error))?)
            }
        };
        let mut answer = question.send().await.map_err(|error| failed(&error))?;
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let (body, is_cut) = body(&mut answer, limit).await.map_err(|error| failed(&error))?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: headers(&answer),
            body,
            is_cut,
            elapsed: started.elapsed(),
        })
    }

    async fn visit(&self, url: &str, way: &Way) -> Result<Page, EdgeError> {
        let here = |message: String| EdgeError {
            kind: EdgeErrorKind::Here,
            target: url.to_owned(),
            message,
        };
        let mut url_asked = reqwest::Url::parse(url).map_err(|error| here(error.to_string()))?;
        let mut client = asking().tls_backend_preconfigured(handshake::config(way).map_err(here)?);
        let mut host = None;
        if let Some(address) = way.connect {
            // A port in the address would be asked instead of that of `connect`.
            if let (Some(name), Some(port)) = (url_asked.host_str(), url_asked.port()) {
                host = Some(format!("{name}:{port}"));
            }
            if url_asked.set_port(None).is_err() {
                return Err(here("there is no host in it".to_owned()));
            }
            client = client.resolve_to_addrs(url_asked.host_str().unwrap_or_default(), &[address]);
        }
        let client = client.build().map_err(|error| here(error.to_string()))?;
        let mut question = client.get(url_asked).timeout(way.timeout);
        if let Some(host) = host {
            question = question.header("Host", host);
        }
        let mut answer = question.send().await.map_err(|error| unanswered(url, &error))?;
        let body = text(&mut answer).await.map_err(|error| unanswered(url, &error))?;
        Ok(Page {
            status: answer.status().as_u16(),
            headers: headers(&answer),
            body,
        })
    }

    async fn certificate(&self, name: &str, port: u16, way: &Way) -> Result<Presented, EdgeError> {
        handshake::presented(name, port, way).await
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, EdgeError> {
        let found = tokio::net::lookup_host((name, 0)).await;
        let found = found.map_err(|error| EdgeError {
            kind: EdgeErrorKind::Unreachable,
            target: name.to_owned(),
            message: error.to_string(),
        })?;
        let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

fn form(
    fields: Vec<(String, String)>,
    files: Vec<SentFile>,
) -> Result<reqwest::multipart::Form, reqwest::Error> {
    let form = fields
        .into_iter()
        .fold(reqwest::multipart::Form::new(), |form, (name, value)| {
            form.text(name, value)
        });
    files.into_iter().try_fold(form, |form, file| {
        let part = reqwest::multipart::Part::bytes(file.content).file_name(file.name);
        Ok(form.part(file.field, part.mime_str(&file.kind)?))
    })
}

fn headers(answer: &reqwest::Response) -> Vec<(String, String)> {
    let headers = answer.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    headers.collect()
}

/// As much of it as is kept, and whether there was more.
async fn body(answer: &mut reqwest::Response, limit: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        let room = limit - body.len();
        if piece.len() > room {
            body.extend_from_slice(piece.get(..room).unwrap_or_default());
            return Ok((body, true));
        }
        body.extend_from_slice(&piece);
    }
    Ok((body, false))
}

async fn text(answer: &mut reqwest::Response) -> Result<String, reqwest::Error> {
    let (body, _) = body(answer, BODY_LIMIT).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// How far a visit went: the reason is further down the chain, as a value of whoever gave it.
fn unanswered(url: &str, error: &reqwest::Error) -> EdgeError {
    let mut kind = EdgeErrorKind::Unreachable;
    let mut cause = error.source();
    while let Some(link) = cause {
        if is_tls(link) {
            kind = EdgeErrorKind::Tls;
            break;
        }
        if let Some(io) = link.downcast_ref::<std::io::Error>() {
            kind = handshake::unconnected(io.kind());
        }
        cause = link.source();
    }
    if error.is_timeout() {
        kind = EdgeErrorKind::Silent;
    }
    EdgeError {
        kind,
        target: url.to_owned(),
        message: failed(url, error).message,
    }
}

/// Whether it is rustls' word, also where others have wrapped it: an error of the operating system's kind passes over what
/// it holds when it is asked for its source.
fn is_tls(link: &(dyn std::error::Error + 'static)) -> bool {
    let held = link
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    link.is::<rustls::Error>() || held.is_some_and(|held| is_tls(held))
}

/// One line: reqwest's own text is only the outermost link, the reason is further down the chain.
fn failed(url: &str, error: &reqwest::Error) -> AppError {
    let mut links = Vec::new();
    if error.is_timeout() {
        links.push("no complete answer in time".to_owned());
    }
    let mut cause = error.source();
    while let Some(link) = cause {
        let text = link.to_string();
        if links.last() != Some(&text) {
            links.push(text);
        }
        cause = link.source();
    }
    if links.is_empty() {
        links.push(error.to_string());
    }
    AppError {
        url: url.to_owned(),
        message: links.join(": "),
    }
}
