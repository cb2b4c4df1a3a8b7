//! The app over HTTP, through reqwest: the only file that names it. Asks once; retrying, and judging an answer, is
//! for the steps.

use std::error::Error as _;
use std::time::Instant;

use async_trait::async_trait;

use super::{App, AppError, Request, Response};

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
        #[expect(clippy::disallowed_types, reason = "the one adapter to HTTP")]
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("viatique-deploy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed("any address", &error))?;
        Ok(Self { client })
    }
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
        let mut body = Vec::new();
        while let Some(piece) = answer
            .chunk()
            .await
            .map_err(|error| failed(&request.url, &error))?
        {
            let room = BODY_LIMIT - body.len();
            body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            if body.len() == BODY_LIMIT {
                break;
            }
        }
        Ok(Response {
            status: answer.status().as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
            elapsed: started.elapsed(),
        })
    }
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
