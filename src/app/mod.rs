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
