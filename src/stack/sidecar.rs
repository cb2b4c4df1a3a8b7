//! The script that runs in a sidecar, a container that shares another one's network namespace: how it is called, and
//! how its answers are read. It needs Python alone, which a Django image has. What is asked when is decided by
//! `steps::deploy::traffic`.
//!
//! A diversion is a rule of the kernel in the namespace of a container that *calls* a service: new TCP connections to
//! one address go to another, those under way are not touched. It takes effect at once, for nginx with a static
//! `upstream` or with `resolver` and for any other client alike, and needs nothing in the caller's own image.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

const SCRIPT: &str = include_str!("sidecar.py");
const MARK: &str = "viatique-deploy:";

/// New connections to the first address go to the second.
pub type Diversion = (Ipv4Addr, Ipv4Addr);

/// One thing a sidecar is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order<'a> {
    /// Adds to the diversions of this key: what was led to an address that is now diverted follows, and an address
    /// that is led to is diverted no more, nor one that is led to itself. No pairs forget all of the key; the key `*` forgets every key.
    Divert { key: &'a str, pairs: &'a [Diversion] },
    /// Whether diversions stand that this sidecar did not make: those of a run that was killed. If not, whether this
    /// kernel can divert at all.
    Adopt,
    /// An HTTP request, or without a path a connection only.
    Ask(&'a Question),
    /// How many connections have been diverted for this key since its diversions were last set.
    Count { key: &'a str },
    /// Waits until nobody from outside is connected to what listens in this namespace.
    Idle { limit: Duration },
    /// New connections to these ports get the maintenance page instead, wherever they go. To be told to a container that
    /// serves it ([`page_command`]).
    Close { ports: &'a [u16], page: &'a Page },
    /// They go where they are sent again.
    Open,
}

/// What visitors see while a site is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTML.
    pub text: String,
    /// When they may come again, as their programs are told.
    pub retry_after: Duration,
}

/// Serves the maintenance page until its container ends.
pub fn page_command(python: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &["serve", "{}"])
}

/// An HTTP request from a sidecar's place in the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    pub address: Ipv4Addr,
    pub port: u16,
    /// Only a connection is made where `None`.
    pub path: Option<String>,
    pub host: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// TLS, whatever the certificate: it is not what is asked about.
    pub tls: bool,
    /// Seconds.
    pub timeout: u64,
}

/// How a [`Question`] was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `None` where only a connection was made.
    Answered { status: Option<u16>, body: String },
    /// Refused, cut off or too late, in the system's words.
    Failed(String),
}

/// The command that carries an order out.
///
/// # Errors
/// None in practice: what is asked can always be written as JSON.
pub fn command(python: &str, order: &Order<'_>) -> anyhow::Result<Vec<String>> {
    let (verb, arguments) = match order {
        Order::Divert { key, pairs } => ("divert", serde_json::json!({ "key": key, "pairs": pairs })),
        Order::Adopt => ("adopt", serde_json::json!({})),
        Order::Ask(question) => ("ask", serde_json::to_value(question)?),
        Order::Count { key } => ("count", serde_json::json!({ "key": key })),
        Order::Close { ports, page } => (
            "close",
            serde_json::json!({
                "ports": ports,
                "page": page.text,
                "retry_after": page.retry_after.as_secs(),
            }),
        ),
        Order::Open => ("open", serde_json::json!({})),
        Order::Idle { limit } => ("idle", serde_json::json!({ "limit": limit.as_secs_f64() })),
    };
    Ok(super::python::script(
        python,
        SCRIPT,
        &[verb, &arguments.to_string()],
    ))
}

/// What a sidecar answered, before it is known what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Set where the kernel refused, in its words: no right to change the network, no such feature.
    pub refused: Option<String>,
    stale: bool,
    failed: Option<String>,
    status: Option<u16>,
    body: String,
    connections: u64,
    left: Vec<String>,
}

impl Answer {
    /// Reads what [`command`] printed.
    ///
    /// # Errors
    /// Where the mark is missing, or what follows it is not what the script prints.
    pub fn parse(stdout: &str) -> anyhow::Result<Self> {
        let line = stdout
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(MARK))
            .context("the sidecar's answer is missing from its output")?;
        serde_json::from_str(line).context("reading the sidecar's answer")
    }

    /// To [`Order::Adopt`].
    pub const fn stale(&self) -> bool {
        self.stale
    }

    /// To [`Order::Ask`].
    pub fn into_reply(self) -> Reply {
        match self.failed.or(self.refused) {
            Some(why) => Reply::Failed(why),
            None => Reply::Answered {
                status: self.status,
                body: self.body,
            },
        }
    }

    /// To [`Order::Count`].
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// To [`Order::Idle`]: who is still connected, as `address:port`; empty where nobody is.
    pub fn into_left(self) -> Vec<String> {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_command_with_its_arguments_as_json() {
        let pairs = [(Ipv4Addr::new(172, 18, 0, 3), Ipv4Addr::new(172, 18, 0, 4))];
        let order = Order::Divert {
            key: "backend",
            pairs: &pairs,
        };
        let command = command("python3", &order).unwrap();
        assert_eq!(command[..2], ["python3", "-IS"]);
        assert_eq!(
            command[4..],
            [
                "divert",
                r#"{"key":"backend","pairs":[["172.18.0.3","172.18.0.4"]]}"#
            ]
        );
    }

    #[test]
    fn answers_are_found_behind_their_mark() {
        let reply = |text: &str| Answer::parse(text).unwrap().into_reply();
        assert_eq!(
            reply("noise\nviatique-deploy:{\"status\": 200, \"body\": \"ok\"}\n"),
            Reply::Answered {
                status: Some(200),
                body: "ok".into()
            }
        );
        assert_eq!(
            reply("viatique-deploy:{\"failed\": \"Connection refused\"}"),
            Reply::Failed("Connection refused".into())
        );
        let left = Answer::parse("viatique-deploy:{\"left\": [\"172.18.0.9:4000\"]}").unwrap();
        assert_eq!(left.into_left(), ["172.18.0.9:4000"]);
        assert!(Answer::parse("Traceback (most recent call last):").is_err());
    }
}
