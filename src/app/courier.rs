//! Notices over HTTP, through reqwest; over SMTP, through lettre; into files. Unlike the questions to the app they go
//! through the proxy that the environment names, unless to this machine itself.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use url::{Host, Url};

use super::deliver::{Answer, Deliver, FileMessage, HttpMessage, MailMessage, Undelivered, Verb};
use crate::config::MailTls;

const BODY_LIMIT: usize = 2048;

/// The adapter.
#[derive(Debug, Clone)]
pub struct Courier {
    #[expect(clippy::disallowed_types, reason = "the adapter to HTTP for notices")]
    client: reqwest::Client,
    /// To this machine itself, where a proxy would look for itself.
    #[expect(clippy::disallowed_types, reason = "the adapter to HTTP for notices")]
    direct: reqwest::Client,
}

impl Courier {
    /// Makes the client; sends nothing.
    ///
    /// # Errors
    /// Where the TLS set-up of this machine is unusable.
    pub fn new() -> Result<Self, Undelivered> {
        crate::tls::prepare();
        Ok(Self {
            client: telling().build().map_err(unsent)?,
            direct: telling().no_proxy().build().map_err(unsent)?,
        })
    }
}

fn telling() -> reqwest::ClientBuilder {
    #[expect(clippy::disallowed_types, reason = "the adapter to HTTP for notices")]
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("viatique-deploy/", env!("CARGO_PKG_VERSION")))
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[async_trait]
impl Deliver for Courier {
    async fn request(&self, message: &HttpMessage) -> Result<Answer, Undelivered> {
        let url = message.url.reveal().clone();
        let client = if is_here(&url) { &self.direct } else { &self.client };
        let mut request = match message.verb {
            Verb::Get => client.get(url),
            Verb::Post => client.post(url),
            Verb::Put => client.put(url),
            Verb::Delete => client.delete(url),
        };
        for (name, value) in &message.headers {
            request = request.header(name, value.reveal());
        }
        if matches!(message.verb, Verb::Post | Verb::Put) {
            request = request
                .header("Content-Type", &message.content_type)
                .body(message.body.clone());
        }
        let mut answer = request.send().await.map_err(unsent)?;
        let retry_after = answer.headers().get("Retry-After");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
        let retry_after = retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let mut body = Vec::new();
        while body.len() < BODY_LIMIT
            && let Some(piece) = answer.chunk().await.map_err(unsent)?
        {
            body.extend_from_slice(&piece);
        }
        body.truncate(BODY_LIMIT);
        Ok(Answer {
            status: answer.status().as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
            retry_after,
        })
    }

    async fn mail(&self, message: &MailMessage) -> Result<(), Undelivered> {
        let cannot = |why: String| Undelivered { why, may_pass: false };
        let mut letter = Message::builder()
            .from(message.from.clone())
            .subject(message.subject.clone())
            .header(ContentType::TEXT_PLAIN);
        for to in &message.to {
            letter = letter.to(to.clone());
        }
        let letter = letter
            .body(message.text.clone())
            .map_err(|error| cannot(format!("writing the letter: {error}")))?;
        let host = message.host.as_str();
        let parameters =
            || TlsParameters::new(host.to_owned()).map_err(|error| cannot(format!("preparing TLS: {error}")));
        let tls = match message.tls {
            MailTls::Starttls => Tls::Required(parameters()?),
            MailTls::Implicit => Tls::Wrapper(parameters()?),
            MailTls::None => Tls::None,
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(message.port)
            .tls(tls);
        if let Some((user, password)) = &message.login {
            server = server.credentials(Credentials::new(user.reveal().clone(), password.reveal().clone()));
        }
        let sent = server.build().send(letter).await;
        sent.map(|_| ()).map_err(|error| Undelivered {
            why: chain(&error),
            // Refused for good, or this machine cannot even ask; everything else may be otherwise in a moment.
            may_pass: !(error.is_permanent() || error.is_client() || error.is_tls()),
        })
    }

    async fn file(&self, message: &FileMessage) -> Result<(), Undelivered> {
        let target = message.directory.join(&message.name);
        // Another end: whoever reads the directory leaves it alone.
        let beside = message
            .directory
            .join(format!(".{}.{}.tmp", message.name, std::process::id()));
        let put = async {
            tokio::fs::write(&beside, &message.text).await?;
            if message.is_trial {
                return tokio::fs::remove_file(&beside).await;
            }
            tokio::fs::rename(&beside, &target).await
        };
        let put = put.await;
        if put.is_err() {
            let _ = tokio::fs::remove_file(&beside).await;
        }
        put.map_err(|error| Undelivered {
            why: format!("writing {}: {error}", shown(&target)),
            may_pass: false,
        })
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// Without the address, which is a secret where it is a webhook's.
fn unsent(error: reqwest::Error) -> Undelivered {
    let error = error.without_url();
    Undelivered {
        why: if error.is_timeout() {
            "no complete answer in time".to_owned()
        } else {
            error.source().map_or_else(|| error.to_string(), chain)
        },
        may_pass: !error.is_builder(),
    }
}

/// Each link of it that says something more.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(link) = cause {
        let text = link.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = link.source();
    }
    said
}
