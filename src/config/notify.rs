//! `notify`: who is told of a deploy, when, and where they are reached. What is secret in it is a variable, and becomes its
//! value only in `notify::target`; what is sent is `notify`'s business.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use serde::de::{Deserialize, Deserializer, Error};

use super::notice_template::NoticeTemplate;
use super::quantity::HumanDuration;
use super::{Config, ConfigError};
use crate::secret::Secret;
use crate::yaml::{HINT_FOLLOWS, Node, Value};

/// How long one notice may take where nothing is said.
const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(10));

/// No deploy waits longer for who is told of it.
const LONGEST: HumanDuration = HumanDuration(Duration::from_secs(120));

/// When somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    Start,
    Success,
    Failure,
    RolledBack,
    Degraded,
}

impl Moment {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::RolledBack => "rolled_back",
            Self::Degraded => "degraded",
        }
    }
}

/// One entry of `notify`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct Notify {
    /// What it is called: as written, else its kind, with a number from the second of a kind on.
    pub name: String,
    /// Never empty.
    pub on: BTreeSet<Moment>,
    /// For all tries of one notice together: 10s by default.
    pub timeout: HumanDuration,
    pub channel: Channel,
    is_named: bool,
}

/// Where somebody is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    Slack(Hook),
    Mattermost(Mattermost),
    Discord(Hook),
    Teams(Hook),
    Email(Email),
    Webhook(Webhook),
    Sentry(Sentry),
    Grafana(Grafana),
    Healthchecks(Hook),
    Pushgateway(Pushgateway),
    Textfile(Textfile),
}

impl Channel {
    /// Whether a person reads it, rather than a program that draws or counts.
    pub const fn reaches_people(&self) -> bool {
        match self {
            Self::Slack(_)
            | Self::Mattermost(_)
            | Self::Discord(_)
            | Self::Teams(_)
            | Self::Email(_)
            | Self::Webhook(_) => true,
            Self::Sentry(_)
            | Self::Grafana(_)
            | Self::Healthchecks(_)
            | Self::Pushgateway(_)
            | Self::Textfile(_) => false,
        }
    }
}

/// A value with variables in it that are not put in yet. It may be a secret by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(Secret<String>);

impl Raw {
    /// As it is written.
    pub const fn written(&self) -> &Secret<String> {
        &self.0
    }

    /// One that is no secret.
    pub(super) fn public(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(D::Error::custom("it cannot be empty"));
        }
        Ok(Self(Secret::new(text)))
    }
}

/// A value that is a secret: deploy.yml is no place for it.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
    let raw = Raw::deserialize(deserializer)?;
    if !raw.0.reveal().replace("$$", "").contains('$') {
        return Err(D::Error::custom(format_args!(
            "it is a secret, and deploy.yml is no place for one{HINT_FOLLOWS}write \"${{NAME}}\", and set NAME in the \
             environment, in a file of env_file, or under `secrets`"
        )));
    }
    Ok(raw)
}

fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Raw>, D::Error> {
    secret(deserializer).map(Some)
}

/// An address that is all there is to know, and a secret: whoever has it can post.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    #[serde(deserialize_with = "secret")]
    pub url: Raw,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mattermost {
    #[serde(deserialize_with = "secret")]
    pub url: Raw,
    /// Another channel than the webhook's own.
    pub channel: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The mail server.
    pub host: String,
    /// By default 465 with `tls: implicit`, 587 with `starttls`, 25 with `none`.
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: MailTls,
    /// Who logs in; nobody does by default. With `password`.
    pub user: Option<Raw>,
    #[serde(default, deserialize_with = "optional_secret")]
    pub password: Option<Raw>,
    #[serde(deserialize_with = "mailbox")]
    pub from: Mailbox,
    #[serde(deserialize_with = "mailboxes")]
    pub to: Vec<Mailbox>,
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// After it was opened; a server that cannot is refused.
    #[default]
    Starttls,
    /// From its first byte.
    Implicit,
    /// Not at all: a server on this machine.
    None,
}

impl MailTls {
    /// Where such a server listens.
    pub const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: Raw,
    #[serde(default)]
    pub method: WebhookMethod,
    /// Further headers, each a secret.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, Raw>,
    /// By default a JSON document with everything in it.
    pub body: Option<NoticeTemplate>,
    /// Of `body`: decides how values are escaped. `application/json` by default.
    pub content_type: Option<String>,
}

/// How a webhook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub enum WebhookMethod {
    #[default]
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentry {
    /// `https://sentry.io` by default.
    #[serde(default = "sentry_io")]
    pub url: Raw,
    pub organization: String,
    #[serde(deserialize_with = "at_least_one")]
    pub projects: Vec<String>,
    /// `production` by default.
    #[serde(default = "production")]
    pub environment: String,
    #[serde(deserialize_with = "secret")]
    pub token: Raw,
    /// As the application tells Sentry its release: `{{release}}` by default.
    pub version: Option<NoticeTemplate>,
    /// As Sentry knows the repository: the commit is told with it. By default none is.
    pub repository: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grafana {
    pub url: Raw,
    #[serde(deserialize_with = "secret")]
    pub token: Raw,
    /// The dashboard's UID; by default the annotation belongs to none.
    pub dashboard: Option<String>,
    /// Beside `deploy`, the project and how it ended.
    #[serde(default)]
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pushgateway {
    pub url: Raw,
    /// `viatique_deploy` by default.
    #[serde(default = "job", deserialize_with = "job_name")]
    pub job: String,
    /// Who logs in; nobody does by default. With `password`.
    pub user: Option<Raw>,
    #[serde(default, deserialize_with = "optional_secret")]
    pub password: Option<Raw>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Textfile {
    /// What the node exporter reads with `--collector.textfile.directory`; from the folder of deploy.yml.
    pub directory: PathBuf,
}

fn sentry_io() -> Raw {
    Raw::public("https://sentry.io")
}

fn production() -> String {
    "production".to_owned()
}

fn job() -> String {
    "viatique_deploy".to_owned()
}

fn job_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let job = String::deserialize(deserializer)?;
    if job.is_empty() || job.contains('/') {
        return Err(D::Error::custom("a job has a name without `/`"));
    }
    Ok(job)
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.is_empty() {
        return Err(D::Error::custom("at least one is needed"));
    }
    Ok(names)
}

fn address<E: Error>(text: &str) -> Result<Mailbox, E> {
    text.parse().map_err(|_| {
        E::custom(format_args!(
            "`{text}` is no mail address, such as ops@example.com or Ops <ops@example.com>"
        ))
    })
}

fn mailbox<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mailbox, D::Error> {
    address(&String::deserialize(deserializer)?)
}

fn mailboxes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Mailbox>, D::Error> {
    at_least_one(deserializer)?
        .iter()
        .map(|text| address(text))
        .collect()
}

impl Channel {
    /// As `deploy.yml` calls its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Mattermost(_) => "mattermost",
            Self::Discord(_) => "discord",
            Self::Teams(_) => "teams",
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
            Self::Sentry(_) => "sentry",
            Self::Grafana(_) => "grafana",
            Self::Healthchecks(_) => "healthchecks",
            Self::Pushgateway(_) => "pushgateway",
            Self::Textfile(_) => "textfile",
        }
    }

    /// When it is told where nothing is said: people everything but that a machine is at work; machines what they can hold.
    fn moments(&self) -> BTreeSet<Moment> {
        use Moment::{Degraded, Failure, RolledBack, Start, Success};
        match self {
            Self::Slack(_)
            | Self::Mattermost(_)
            | Self::Discord(_)
            | Self::Teams(_)
            | Self::Webhook(_)
            | Self::Healthchecks(_) => BTreeSet::from([Start, Success, Failure, RolledBack, Degraded]),
            Self::Email(_) => BTreeSet::from([Failure, RolledBack, Degraded]),
            Self::Sentry(_) => BTreeSet::from([Success]),
            Self::Grafana(_) | Self::Pushgateway(_) | Self::Textfile(_) => {
                BTreeSet::from([Success, Failure, RolledBack, Degraded])
            }
        }
    }

    /// Whether it can be told that a run begins, or only how one ended.
    const fn takes_start(&self) -> bool {
        match self {
            Self::Slack(_)
            | Self::Mattermost(_)
            | Self::Discord(_)
            | Self::Teams(_)
            | Self::Email(_)
            | Self::Webhook(_)
            | Self::Healthchecks(_) => true,
            Self::Sentry(_) | Self::Grafana(_) | Self::Pushgateway(_) | Self::Textfile(_) => false,
        }
    }

    fn check(&self) -> Result<(), String> {
        let (user, password) = match self {
            Self::Email(Email { user, password, .. })
            | Self::Pushgateway(Pushgateway { user, password, .. }) => (user, password),
            Self::Slack(_)
            | Self::Mattermost(_)
            | Self::Discord(_)
            | Self::Teams(_)
            | Self::Webhook(_)
            | Self::Sentry(_)
            | Self::Grafana(_)
            | Self::Healthchecks(_)
            | Self::Textfile(_) => return Ok(()),
        };
        if user.is_some() == password.is_some() {
            return Ok(());
        }
        Err(format!(
            "`{}` needs both `user` and `password`, or neither",
            self.kind()
        ))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    on: Option<Vec<Moment>>,
    timeout: Option<HumanDuration>,
    slack: Option<Hook>,
    mattermost: Option<Mattermost>,
    discord: Option<Hook>,
    teams: Option<Hook>,
    email: Option<Email>,
    webhook: Option<Webhook>,
    sentry: Option<Sentry>,
    grafana: Option<Grafana>,
    healthchecks: Option<Hook>,
    pushgateway: Option<Pushgateway>,
    textfile: Option<Textfile>,
}

impl TryFrom<Written> for Notify {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut channels = [
            written.slack.map(Channel::Slack),
            written.mattermost.map(Channel::Mattermost),
            written.discord.map(Channel::Discord),
            written.teams.map(Channel::Teams),
            written.email.map(Channel::Email),
            written.webhook.map(Channel::Webhook),
            written.sentry.map(Channel::Sentry),
            written.grafana.map(Channel::Grafana),
            written.healthchecks.map(Channel::Healthchecks),
            written.pushgateway.map(Channel::Pushgateway),
            written.textfile.map(Channel::Textfile),
        ]
        .into_iter()
        .flatten();
        let (Some(channel), None) = (channels.next(), channels.next()) else {
            return Err(format!(
                "an entry names one place where somebody is told, and one only{HINT_FOLLOWS}write one of `slack`, \
                 `mattermost`, `discord`, `teams`, `email`, `webhook`, `sentry`, `grafana`, `healthchecks`, `pushgateway` \
                 and `textfile`"
            ));
        };
        channel.check()?;
        let on: BTreeSet<Moment> = match written.on {
            None => channel.moments(),
            Some(on) => on.into_iter().collect(),
        };
        if on.is_empty() {
            return Err("`on` is empty, so that nobody would ever be told".to_owned());
        }
        if on.contains(&Moment::Start) && !channel.takes_start() {
            return Err(format!(
                "`{}` is told how a deploy ended, and not that one begins{HINT_FOLLOWS}leave `start` out of `on`",
                channel.kind()
            ));
        }
        let timeout = written.timeout.unwrap_or(TIMEOUT);
        if timeout.0.is_zero() || timeout > LONGEST {
            return Err("`timeout` is between 1ms and 2m: the end of a deploy waits for it".to_owned());
        }
        if let Some(name) = &written.name
            && (name.trim().is_empty() || name.chars().any(char::is_control))
        {
            return Err("`name` is one line of text".to_owned());
        }
        Ok(Self {
            is_named: written.name.is_some(),
            name: written.name.unwrap_or_else(|| channel.kind().to_owned()),
            on,
            timeout,
            channel,
        })
    }
}

/// The entries: each has a name of its own.
pub(super) fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Notify>, D::Error> {
    let mut entries = Vec::<Notify>::deserialize(deserializer)?;
    let mut names: BTreeSet<String> = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.is_named) {
        if !names.insert(entry.name.clone()) {
            return Err(D::Error::custom(format_args!(
                "two entries are called `{}`",
                entry.name
            )));
        }
    }
    for entry in entries.iter_mut().filter(|entry| !entry.is_named) {
        let mut number = 1;
        while !names.insert(entry.name.clone()) {
            number += 1;
            entry.name = format!("{}-{number}", entry.channel.kind());
        }
    }
    Ok(entries)
}

impl Config {
    /// Something wrong with a key of an entry of `notify`, once its variables are in it.
    pub fn wrong_notify(&self, index: usize, key: &str, message: &str, hint: Option<String>) -> ConfigError {
        let kind = self.notify.get(index).map_or("", |entry| entry.channel.kind());
        let entry = |root: &Node| match &root.as_mapping()?.get("notify")?.value {
            Value::Sequence(entries) => {
                let entry = entries.get(index)?;
                let within = entry
                    .as_mapping()
                    .and_then(|entry| entry.get(kind)?.as_mapping()?.get(key));
                Some(within.map_or(entry.mark, |node| node.mark))
            }
            Value::Scalar(_) | Value::Mapping(_) => None,
        };
        let mark = self.origin.document.as_ref().and_then(entry).unwrap_or_default();
        let path = format!("notify[{index}].{kind}.{key}");
        let message = format!("`{path}`: {message}");
        ConfigError::at(self.path(), mark, path, message, hint)
    }
}
