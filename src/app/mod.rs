//! The port to the deployed app over HTTP, and to the site as its visitors reach it. `http.rs` and `courier.rs`,
//! which carries notices, are the only files that name reqwest, `handshake.rs` the one that reads certificates.

pub mod courier;
pub mod deliver;
pub mod edge;
mod handshake;
pub mod http;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use edge::{EdgeError, Page, Presented, Way};

/// One question to the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub url: String,
    /// Sent as `Host` where given: Django answers 400 to a name that is not in `ALLOWED_HOSTS`.
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// What the app answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// At most the first 64 KiB.
    pub body: String,
    pub elapsed: Duration,
}

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// One request of a user. It may hold secrets anywhere, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    pub url: String,
    /// Sent as `Host` where given.
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: CallBody,
    /// For the whole exchange.
    pub timeout: Duration,
    /// How many bytes of the answer's body are kept.
    pub limit: u64,
}

/// What is sent with a request.
#[derive(Clone, PartialEq, Eq)]
pub enum CallBody {
    None,
    /// `application/x-www-form-urlencoded`
    Form(Vec<(String, String)>),
    /// `application/json`, already written.
    Json(String),
    /// `multipart/form-data`
    Multipart {
        fields: Vec<(String, String)>,
        files: Vec<SentFile>,
    },
}

/// A file of a form.
#[derive(Clone, PartialEq, Eq)]
pub struct SentFile {
    /// The form's field.
    pub field: String,
    pub name: String,
    /// Its MIME type.
    pub kind: String,
    pub content: Vec<u8>,
}

/// What came back. It may hold secrets, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// As they came; a name may be there several times.
    pub headers: Vec<(String, String)>,
    /// At most as much as the call allows.
    pub body: Vec<u8>,
    /// Whether the body went on beyond that.
    pub is_cut: bool,
    pub elapsed: Duration,
}

/// The app did not answer: which URL, and why.
#[derive(Debug, thiserror::Error)]
#[error("asking {url}: {message}")]
pub struct AppError {
    pub url: String,
    pub message: String,
}

/// The deployed app, seen from outside.
#[async_trait]
pub trait App: Send + Sync {
    /// Sends a GET. Any status is an answer; redirects are not followed.
    ///
    /// # Errors
    /// Where no complete answer came within the time-out.
    async fn get(&self, request: &Request) -> Result<Response, AppError>;

    /// Sends a request as a user's browser would, on a connection of its own. Any status is an answer; redirects are not
    /// followed, nothing is asked twice.
    ///
    /// # Errors
    /// Where no complete answer came within the time-out, or what is to be sent cannot be.
    async fn call(&self, call: Call) -> Result<Answer, AppError>;

    /// Sends a GET under a public name. Any status is an answer; redirects are not followed.
    ///
    /// # Errors
    /// Where no complete answer came, or a visitor's program would refuse its certificate.
    async fn visit(&self, url: &str, way: &Way) -> Result<Page, EdgeError>;

    /// The certificate that is served under a name, refused or not.
    ///
    /// # Errors
    /// Where none was served.
    async fn certificate(&self, name: &str, port: u16, way: &Way) -> Result<Presented, EdgeError>;

    /// What a name resolves to, as this machine resolves it: each address once, sorted.
    ///
    /// # Errors
    /// Where it does not, or nobody can be asked.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, EdgeError>;
}
