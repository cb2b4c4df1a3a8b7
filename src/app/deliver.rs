//! The port through which notices leave this machine, or reach a file on it. Tries once; when to try again, and what an
//! answer means, is `notify`'s business.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use url::Url;

use crate::config::MailTls;
use crate::secret::Secret;

/// A verb of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

/// A request that tells somebody something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpMessage {
    pub verb: Verb,
    pub url: Secret<Url>,
    pub headers: Vec<(String, Secret<String>)>,
    pub content_type: String,
    pub body: String,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub status: u16,
    /// At most the first 2 KiB.
    pub body: String,
    /// How long it asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

/// A letter, and the server that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailMessage {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// Who logs in, and with which password.
    pub login: Option<(Secret<String>, Secret<String>)>,
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
    pub subject: String,
    pub text: String,
}

/// A file that is put in place in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMessage {
    pub directory: PathBuf,
    pub name: String,
    pub text: String,
    /// It is taken away again at once: a trial.
    pub is_trial: bool,
}

/// Nobody got it: why, and whether it may be otherwise in a moment. No secret of the message is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Undelivered {
    pub why: String,
    pub may_pass: bool,
}

/// Carries notices.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Sends a request. Any status is an answer; redirects are not followed.
    ///
    /// # Errors
    /// Where no complete answer came.
    async fn request(&self, message: &HttpMessage) -> Result<Answer, Undelivered>;

    /// Hands a letter to its server.
    ///
    /// # Errors
    /// Where the server has not taken it.
    async fn mail(&self, message: &MailMessage) -> Result<(), Undelivered>;

    /// Writes a file.
    ///
    /// # Errors
    /// Where it does not stand there whole.
    async fn file(&self, message: &FileMessage) -> Result<(), Undelivered>;
}
