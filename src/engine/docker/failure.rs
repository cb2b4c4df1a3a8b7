//! bollard's errors as the port's: the kind comes from the status code and the error's type, never from its text.
//! Which kind a status means for one particular call is decided by that call.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;

use super::DockerEngine;
use super::environment::Endpoint;
use crate::engine::{EngineError, EngineErrorKind, Result};

/// The status with which the engine answered, where it answered.
pub(super) fn status(error: &Error) -> Option<u16> {
    if let Error::DockerResponseServerError { status_code, .. } = error {
        Some(*status_code)
    } else {
        None
    }
}

fn kind(error: &Error) -> EngineErrorKind {
    if let Some(status) = status(error) {
        return match status {
            400 => EngineErrorKind::Invalid,
            401 => EngineErrorKind::Unauthorized,
            404 => EngineErrorKind::NotFound,
            409 => EngineErrorKind::Conflict,
            _ => EngineErrorKind::Other,
        };
    }
    if let Error::HyperLegacyError { err } = error {
        return if err.is_connect() {
            EngineErrorKind::Unreachable
        } else {
            EngineErrorKind::ConnectionLost
        };
    }
    if matches!(error, Error::RequestTimeoutError) {
        return EngineErrorKind::TimedOut;
    }
    if matches!(error, Error::SocketNotFoundError(_)) {
        return EngineErrorKind::Unreachable;
    }
    if matches!(error, Error::HyperResponseError { .. } | Error::IOError { .. }) {
        return EngineErrorKind::ConnectionLost;
    }
    EngineErrorKind::Other
}

/// The engine's words where it spoke; otherwise the error and what is below it, in one line.
fn message(error: &Error) -> String {
    if let Error::DockerResponseServerError { message, status_code } = error {
        let message = message.trim();
        return if message.is_empty() {
            format!("the engine answered with status {status_code}")
        } else {
            message.to_owned()
        };
    }
    if let Error::DockerStreamError { error } = error {
        return error.trim().to_owned();
    }
    let mut links = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(link) = cause {
        let text = link.to_string();
        if links.iter().all(|shown| !shown.contains(&text)) {
            links.push(text);
        }
        cause = link.source();
    }
    links.join(": ")
}

/// What failed at the engine of that address.
pub(super) fn failed(
    endpoint: &Endpoint,
    operation: &'static str,
    target: &str,
    error: &Error,
) -> EngineError {
    let kind = kind(error);
    let message = if kind == EngineErrorKind::Unreachable {
        format!("no engine answers at {}: {}", endpoint.shown(), message(error))
    } else {
        message(error)
    };
    EngineError::new(operation, target, kind, message)
}

impl DockerEngine {
    pub(super) fn failed(&self, operation: &'static str, target: &str, error: &Error) -> EngineError {
        let failure = failed(&self.endpoint, operation, target, error);
        if matches!(
            failure.kind,
            EngineErrorKind::Unreachable | EngineErrorKind::ConnectionLost
        ) {
            self.listening.gone();
        } else {
            self.listening.answered();
        }
        failure
    }

    /// A call that answers at once. The budget covers the whole answer, its body included.
    pub(super) async fn short<T>(
        &self,
        operation: &'static str,
        target: &str,
        call: impl Future<Output = std::result::Result<T, Error>> + Send,
    ) -> Result<T> {
        self.within(self.budgets.short, operation, target, call).await
    }

    pub(super) async fn within<T>(
        &self,
        budget: Duration,
        operation: &'static str,
        target: &str,
        call: impl Future<Output = std::result::Result<T, Error>> + Send,
    ) -> Result<T> {
        self.until_it_listens().await;
        match tokio::time::timeout(budget, call).await {
            Ok(Ok(answer)) => {
                self.listening.answered();
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.failed(operation, target, &error)),
            Err(_) => Err(EngineError::new(
                operation,
                target,
                EngineErrorKind::TimedOut,
                format!(
                    "no complete answer from {} within {} s; the engine may still do it",
                    self.endpoint.shown(),
                    budget.as_secs_f64()
                ),
            )),
        }
    }

    /// The same client, with time for answers that begin late.
    pub(super) fn patient_client(&self, budget: Duration) -> super::Client {
        self.client.clone().with_timeout(budget + Duration::from_secs(1))
    }
}

/// `None` where the object does not exist.
pub(super) fn absent_as_none<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == EngineErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Success where the object does not exist.
pub(super) fn absent_as_done(answer: Result<()>) -> Result<()> {
    absent_as_none(answer).map(|_| ())
}
