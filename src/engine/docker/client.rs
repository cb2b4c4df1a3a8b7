//! The bollard client, made for an endpoint and with bollard's known faults repaired on the way out. Knows nothing
//! of the port's calls.

use std::time::Duration;

use super::environment::{Endpoint, Transport, refused};
use crate::engine::Result;

#[expect(clippy::disallowed_types, reason = "the one adapter to the Docker API")]
pub(super) type Client = bollard::Docker;

/// How long an answer may take. A time-out here says nothing about what the engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBudgets {
    /// Calls that only look something up or change a record.
    pub short: Duration,
    /// Builds, pulls, archives, and everything that lasts as long as a process in a container: until the first byte
    /// of the answer, not for the whole of it.
    pub long: Duration,
    /// Added to a container's grace period when it is stopped.
    pub beyond_grace: Duration,
    /// Before any call: how long an engine that has answered before may be away. A daemon that has many containers to
    /// stop and to start again takes its time.
    pub restart: Duration,
}

impl Default for TimeBudgets {
    fn default() -> Self {
        Self {
            short: Duration::from_secs(60),
            long: Duration::from_secs(2 * 60 * 60),
            beyond_grace: Duration::from_secs(30),
            restart: Duration::from_secs(2 * 60),
        }
    }
}

/// Makes the client; sends nothing.
pub(super) fn client(endpoint: &Endpoint, budgets: &TimeBudgets) -> Result<Client> {
    // Seconds are all that bollard knows; calls are bounded more finely by their callers.
    let seconds = budgets.short.as_secs() + 1;
    let version = bollard::API_DEFAULT_VERSION;
    let made = match &endpoint.transport {
        Transport::Unix { path } => Client::connect_with_unix(path, seconds, version),
        Transport::Plain { authority } => {
            Client::connect_with_http(&format!("http://{authority}"), seconds, version)
        }
        Transport::Tls { authority, files } => {
            for file in [&files.authority, &files.certificate, &files.key] {
                std::fs::File::open(file)
                    .map_err(|error| refused(&endpoint.shown(), &format!("{}: {error}", file.display())))?;
            }
            crate::tls::prepare();
            Client::connect_with_ssl(
                &format!("https://{authority}"),
                &files.key,
                &files.certificate,
                &files.authority,
                seconds,
                version,
            )
        }
    };
    made.map(|client| client.with_request_modifier(repaired))
        .map_err(|error| refused(&endpoint.shown(), &format!("no engine answers there: {error}")))
}

/// Separates several `extrahosts` in bollard's single field; it cannot occur in a host or an address.
pub(super) const EXTRA_HOST_SEPARATOR: &str = "\n";

/// Two faults of bollard 0.21, repaired on each request:
/// credentials go out in the standard base64 alphabet, and the engine, which wants the URL-safe one, then asks the
/// registry without credentials and without an error;
/// `extrahosts` is one text, while the engine wants the parameter repeated.
fn repaired(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers_mut().get_mut(name)
            && let Ok(text) = value.to_str()
            && let Ok(safe) = text.replace('+', "-").replace('/', "_").parse()
        {
            *value = safe;
        }
    }
    let address = request.uri().to_string();
    if request.uri().path() == "/build"
        && let Some((path, query)) = address.split_once('?')
        && query.contains("extrahosts=")
    {
        let query = query
            .split('&')
            .map(|pair| match pair.strip_prefix("extrahosts=") {
                Some(hosts) => hosts
                    .split("%0A")
                    .map(|host| format!("extrahosts={host}"))
                    .collect::<Vec<_>>()
                    .join("&"),
                None => pair.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("&");
        if let Ok(repeated) = format!("{path}?{query}").parse() {
            *request.uri_mut() = repeated;
        }
    }
    request
}
