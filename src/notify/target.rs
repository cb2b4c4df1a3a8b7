//! Who is told, with the variables put in: where they are reached, and what is sent there for a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use url::Url;

use super::notice::{Notice, What};
use super::{
    Mask, discord, email, grafana, healthchecks, mattermost, prometheus, sentry, slack, teams, webhook,
};
use crate::app::deliver::{FileMessage, HttpMessage, MailMessage, Verb};
use crate::compose::interpolate_text;
use crate::config::{
    Channel, Config, ConfigError, Email, Grafana, Mattermost, Moment, Raw, Sentry, Webhook, WebhookMethod,
};
use crate::secret::Secret;

const JSON: &str = "application/json";

/// A piece of an address that is shorter is no secret by itself.
const SECRET_SEGMENT: usize = 12;

/// Somebody who is told.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub on: BTreeSet<Moment>,
    /// For all tries of one notice.
    pub timeout: Duration,
    reach: Reach,
}

/// How they are reached.
#[derive(Debug, Clone)]
enum Reach {
    Slack(Secret<Url>),
    Mattermost(Secret<Url>, Mattermost),
    Discord(Secret<Url>),
    Teams(Secret<Url>),
    Email(Box<MailTarget>),
    Webhook {
        url: Secret<Url>,
        headers: Vec<(String, Secret<String>)>,
        settings: Box<Webhook>,
    },
    Sentry {
        url: Secret<Url>,
        token: Secret<String>,
        settings: Box<Sentry>,
    },
    Grafana {
        url: Secret<Url>,
        token: Secret<String>,
        settings: Box<Grafana>,
    },
    Healthchecks(Secret<Url>),
    Pushgateway {
        /// With who logs in, if anybody does.
        url: Secret<Url>,
        job: String,
    },
    Textfile(PathBuf),
}

/// A mail server, and who logs in.
#[derive(Debug, Clone)]
pub(super) struct MailTarget {
    pub(super) settings: Email,
    pub(super) login: Option<(Secret<String>, Secret<String>)>,
}

/// One thing to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    Http(HttpMessage),
    /// An answer of 200 whose text may say otherwise.
    Ping(HttpMessage),
    Mail(Box<MailMessage>),
    File(FileMessage),
}

impl Target {
    /// Whether they have asked to be told of this.
    pub fn wants(&self, what: What) -> bool {
        what.moments().iter().any(|moment| self.on.contains(moment))
    }

    /// Where that is, as far as it is no secret: scheme and host.
    pub fn place(&self) -> String {
        match &self.reach {
            Reach::Slack(url)
            | Reach::Mattermost(url, _)
            | Reach::Discord(url)
            | Reach::Teams(url)
            | Reach::Webhook { url, .. }
            | Reach::Sentry { url, .. }
            | Reach::Grafana { url, .. }
            | Reach::Healthchecks(url)
            | Reach::Pushgateway { url, .. } => url.reveal().origin().ascii_serialization(),
            Reach::Email(mail) => {
                let to: Vec<String> = mail
                    .settings
                    .to
                    .iter()
                    .map(|mailbox| mailbox.email.to_string())
                    .collect();
                format!("{} via {}", to.join(", "), mail.settings.host)
            }
            Reach::Textfile(directory) => directory.display().to_string(),
        }
    }

    /// What must not be told of it.
    pub fn mask(&self) -> Mask {
        let mut secrets = Vec::new();
        let mut address = |url: &Secret<Url>| {
            let url = url.reveal();
            let mut keep = |text: &str| secrets.push(Secret::new(text.to_owned()));
            if url.path().len() > 1 {
                keep(url.as_str());
                keep(url.path());
            }
            for segment in url.path_segments().into_iter().flatten() {
                if segment.len() >= SECRET_SEGMENT {
                    keep(segment);
                }
            }
            url.query().into_iter().for_each(&mut keep);
            url.password().into_iter().for_each(&mut keep);
        };
        match &self.reach {
            Reach::Slack(url)
            | Reach::Mattermost(url, _)
            | Reach::Discord(url)
            | Reach::Teams(url)
            | Reach::Healthchecks(url)
            | Reach::Pushgateway { url, .. } => address(url),
            Reach::Webhook { url, headers, .. } => {
                address(url);
                secrets.extend(headers.iter().map(|(_, value)| value.clone()));
            }
            Reach::Sentry { url, token, .. } | Reach::Grafana { url, token, .. } => {
                address(url);
                secrets.push(token.clone());
            }
            Reach::Email(mail) => {
                if let Some((user, password)) = &mail.login {
                    secrets.push(password.clone());
                    // As a login says them, and a server may say them again.
                    let (user, password) = (user.reveal(), password.reveal());
                    for said in [format!("\0{user}\0{password}"), password.clone()] {
                        secrets.push(Secret::new(BASE64_STANDARD.encode(said)));
                    }
                }
            }
            Reach::Textfile(_) => {}
        }
        Mask::of(&secrets)
    }

    /// What is sent, in order.
    pub fn parcels(&self, notice: &Notice) -> Vec<Parcel> {
        let post = |url: &Secret<Url>, body: serde_json::Value| {
            vec![Parcel::Http(request(
                Verb::Post,
                url.clone(),
                JSON,
                body.to_string(),
            ))]
        };
        match &self.reach {
            Reach::Slack(url) => post(url, slack::body(notice)),
            Reach::Mattermost(url, settings) => post(url, mattermost::body(notice, settings)),
            Reach::Discord(url) => post(url, discord::body(notice)),
            Reach::Teams(url) => post(url, teams::body(notice)),
            Reach::Email(mail) => vec![Parcel::Mail(Box::new(email::letter(notice, mail)))],
            Reach::Webhook {
                url,
                headers,
                settings,
            } => {
                let verb = match settings.method {
                    WebhookMethod::Post => Verb::Post,
                    WebhookMethod::Put => Verb::Put,
                };
                let (kind, body) = webhook::body(notice, settings);
                let mut message = request(verb, url.clone(), &kind, body);
                message.headers.extend(headers.iter().cloned());
                vec![Parcel::Http(message)]
            }
            Reach::Sentry { url, token, settings } => of_sentry(notice, url, token, settings),
            Reach::Grafana { url, token, settings } => {
                let url = below(url, &["api", "annotations"]);
                let body = grafana::body(notice, settings).to_string();
                vec![Parcel::Http(bearing(token, request(Verb::Post, url, JSON, body)))]
            }
            Reach::Healthchecks(url) => {
                let url =
                    healthchecks::ending(notice).map_or_else(|| url.clone(), |word| below(url, &[word]));
                let kind = "text/plain; charset=utf-8";
                vec![Parcel::Ping(request(Verb::Post, url, kind, notice.text()))]
            }
            Reach::Pushgateway { url, job } => of_pushgateway(notice, url, job),
            Reach::Textfile(directory) => vec![Parcel::File(FileMessage {
                directory: directory.clone(),
                name: format!("viatique_deploy_{}.prom", notice.project),
                text: prometheus::metrics(notice),
                is_trial: notice.is_test,
            })],
        }
    }
}

fn of_sentry(notice: &Notice, url: &Secret<Url>, token: &Secret<String>, settings: &Sentry) -> Vec<Parcel> {
    let to = |verb, words: Vec<String>, body: String| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Parcel::Http(bearing(token, request(verb, below(url, &words), JSON, body)))
    };
    if notice.is_test {
        return vec![to(Verb::Get, sentry::releases(settings), String::new())];
    }
    vec![
        to(
            Verb::Post,
            sentry::releases(settings),
            sentry::release(notice, settings).to_string(),
        ),
        to(
            Verb::Post,
            sentry::deploys(notice, settings),
            sentry::deploy(notice, settings).to_string(),
        ),
    ]
}

/// A test pushes to a job of its own, and takes it away again: what is known of the last run stays.
fn of_pushgateway(notice: &Notice, url: &Secret<Url>, job: &str) -> Vec<Parcel> {
    let job = if notice.is_test {
        format!("{job}_test")
    } else {
        job.to_owned()
    };
    let url = below(url, &["metrics", "job", &job, "project", &notice.project]);
    let to = |verb, body| Parcel::Http(request(verb, url.clone(), prometheus::CONTENT_TYPE, body));
    let mut parcels = vec![to(Verb::Put, prometheus::metrics(notice))];
    if notice.is_test {
        parcels.push(to(Verb::Delete, String::new()));
    }
    parcels
}

fn request(verb: Verb, url: Secret<Url>, content_type: &str, body: String) -> HttpMessage {
    HttpMessage {
        verb,
        url,
        headers: Vec::new(),
        content_type: content_type.to_owned(),
        body,
    }
}

fn bearing(token: &Secret<String>, mut message: HttpMessage) -> HttpMessage {
    let value = Secret::new(format!("Bearer {}", token.reveal()));
    message.headers.push(("Authorization".to_owned(), value));
    message
}

/// The address that goes on with these words.
fn below(url: &Secret<Url>, words: &[&str]) -> Secret<Url> {
    let mut url = url.reveal().clone();
    // One with a host, as every address here is, can go on.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(words);
    }
    Secret::new(url)
}

/// The targets of `deploy.yml`, with these variables put in.
///
/// # Errors
/// Every variable that does not exist, and every address that is none once its variables are in it.
pub fn resolve(
    config: &Config,
    variables: &BTreeMap<String, Secret<String>>,
) -> Result<Vec<Target>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut targets = Vec::new();
    for (index, entry) in config.notify.iter().enumerate() {
        let mut values = Values {
            config,
            index,
            variables,
            errors: &mut errors,
        };
        if let Some(reach) = values.reach(&entry.channel) {
            targets.push(Target {
                name: entry.name.clone(),
                on: entry.on.clone(),
                timeout: entry.timeout.0,
                reach,
            });
        }
    }
    if errors.is_empty() {
        Ok(targets)
    } else {
        Err(errors)
    }
}

/// The values of one entry; what is wrong with them is collected.
struct Values<'a> {
    config: &'a Config,
    index: usize,
    variables: &'a BTreeMap<String, Secret<String>>,
    errors: &'a mut Vec<ConfigError>,
}

impl Values<'_> {
    fn reach(&mut self, channel: &Channel) -> Option<Reach> {
        Some(match channel {
            Channel::Slack(hook) => Reach::Slack(self.url(&hook.url)?),
            Channel::Mattermost(settings) => Reach::Mattermost(self.url(&settings.url)?, settings.clone()),
            Channel::Discord(hook) => Reach::Discord(self.url(&hook.url)?),
            Channel::Teams(hook) => Reach::Teams(self.url(&hook.url)?),
            Channel::Healthchecks(hook) => Reach::Healthchecks(self.url(&hook.url)?),
            Channel::Email(settings) => {
                let login = self.login(settings.user.as_ref(), settings.password.as_ref())?;
                Reach::Email(Box::new(MailTarget {
                    settings: settings.clone(),
                    login,
                }))
            }
            Channel::Webhook(settings) => {
                let url = self.url(&settings.url);
                let mut headers = Vec::new();
                for (name, raw) in &settings.headers {
                    headers.push((name.clone(), self.header(name, raw)?));
                }
                Reach::Webhook {
                    url: url?,
                    headers,
                    settings: Box::new(settings.clone()),
                }
            }
            Channel::Sentry(settings) => {
                let (url, token) = (self.url(&settings.url), self.header("token", &settings.token));
                Reach::Sentry {
                    url: url?,
                    token: token?,
                    settings: Box::new(settings.clone()),
                }
            }
            Channel::Grafana(settings) => {
                let (url, token) = (self.url(&settings.url), self.header("token", &settings.token));
                Reach::Grafana {
                    url: url?,
                    token: token?,
                    settings: Box::new(settings.clone()),
                }
            }
            Channel::Pushgateway(settings) => {
                let url = self.url(&settings.url);
                let login = self.login(settings.user.as_ref(), settings.password.as_ref());
                let mut url = url?.reveal().clone();
                if let Some((user, password)) = login? {
                    // One with a host can have both.
                    let _ = url.set_username(user.reveal());
                    let _ = url.set_password(Some(password.reveal()));
                }
                Reach::Pushgateway {
                    url: Secret::new(url),
                    job: settings.job.clone(),
                }
            }
            Channel::Textfile(settings) => Reach::Textfile(self.config.directory().join(&settings.directory)),
        })
    }

    fn refuse(&mut self, key: &str, message: &str, hint: Option<String>) {
        let error = self.config.wrong_notify(self.index, key, message, hint);
        self.errors.push(error);
    }

    fn value(&mut self, key: &str, raw: &Raw) -> Option<Secret<String>> {
        match interpolate_text(raw.written(), self.variables) {
            Ok(value) if value.reveal().trim().is_empty() => {
                self.refuse(key, "it is empty once its variables are put in", None);
                None
            }
            Ok(value) => Some(Secret::new(value.reveal().trim().to_owned())),
            Err((message, hint)) => {
                self.refuse(key, &message, hint);
                None
            }
        }
    }

    fn url(&mut self, raw: &Raw) -> Option<Secret<Url>> {
        let value = self.value("url", raw)?;
        let url = Url::parse(value.reveal()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            // What it is instead may hold a secret.
            self.refuse(
                "url",
                "it is no `http://` or `https://` address, which is not shown, once its variables are put in",
                None,
            );
        }
        url.map(Secret::new)
    }

    /// A value of a header of HTTP.
    fn header(&mut self, key: &str, raw: &Raw) -> Option<Secret<String>> {
        let value = self.value(key, raw)?;
        if value
            .reveal()
            .chars()
            .any(|one| !one.is_ascii() || one.is_ascii_control())
        {
            self.refuse(
                key,
                "it has a line break, or a character that no HTTP header can have",
                None,
            );
            return None;
        }
        Some(value)
    }

    /// `None` where something is wrong; nobody, where nobody logs in.
    #[expect(clippy::option_option, reason = "a wrong login and none are two things")]
    fn login(
        &mut self,
        user: Option<&Raw>,
        password: Option<&Raw>,
    ) -> Option<Option<(Secret<String>, Secret<String>)>> {
        let (Some(user), Some(password)) = (user, password) else {
            return Some(None);
        };
        let user = self.value("user", user);
        let password = self.value("password", password);
        Some(Some((user?, password?)))
    }
}
