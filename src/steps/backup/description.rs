//! Has a database describe itself: beside a dump, of the same moment, or by itself. The session runs in the database's
//! own container; it ends when what it reads ends.

use std::io;
use std::pin::pin;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;

use crate::engine::{Captured, ContainerId, Engine, OutputSink, OutputStream};
use crate::error::{Failure, FailureKind};
use crate::stack::postgres::DatabaseAccess;
use crate::stack::postgres::description::{Describing, Description, script, session};

/// What the database is now.
pub(super) async fn describe(
    engine: &dyn Engine,
    container: &ContainerId,
    access: &DatabaseAccess,
    application: &str,
) -> Result<Description, Failure> {
    let nothing_more = tokio::io::empty();
    describe_until(engine, container, access, application, nothing_more, None).await
}

/// What the database is, and what the work comes to that is told by which snapshot it is of the same moment. Where this
/// fails, or is dropped, a session may be left that nobody listens to, under the name of `application`.
pub(super) async fn describe_while<T>(
    engine: &dyn Engine,
    container: &ContainerId,
    access: &DatabaseAccess,
    application: &str,
    work: impl AsyncFnOnce(String) -> Result<T, Failure>,
) -> Result<(Description, T), Failure> {
    let (told, snapshot) = oneshot::channel();
    let (hold, held) = tokio::io::duplex(1);
    let describing = pin!(describe_until(
        engine,
        container,
        access,
        application,
        held,
        Some(told)
    ));
    let working = pin!(async {
        let done = match snapshot.await {
            Ok(snapshot) => work(snapshot).await.map(Some),
            // The session has ended, and says why.
            Err(_) => Ok(None),
        };
        drop(hold);
        done
    });
    let (described, done) = match select(working, describing).await {
        Either::Left((done, describing)) => {
            let done = done?;
            (describing.await?, done)
        }
        Either::Right((described, working)) => (described?, working.await?),
    };
    let done = done.ok_or_else(|| {
        Failure::message(
            FailureKind::Failed,
            "the database described itself without a snapshot",
        )
    })?;
    Ok((described, done))
}

async fn describe_until(
    engine: &dyn Engine,
    container: &ContainerId,
    access: &DatabaseAccess,
    application: &str,
    until: impl AsyncRead + Send + Unpin,
    told: Option<oneshot::Sender<String>>,
) -> Result<Description, Failure> {
    let what = format!("counting what is in database {}", access.name);
    let script = script();
    let mut input = script.as_bytes().chain(until);
    let mut sink = DescriptionSink {
        describing: Describing::default(),
        told,
        problem: None,
        complaints: Captured::default(),
    };
    let command = session(access, application);
    let exit = engine
        .exec(container, &command, Some(&mut input), &mut sink)
        .await;
    let exit = exit.map_err(|error| Failure::from(error).context(what.clone()))?;
    if !exit.success() {
        let lines = sink.complaints.stderr_text();
        return Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: psql ended with exit code {}", exit.code),
        )
        .evidence("what psql wrote", lines.lines().map(ToOwned::to_owned).collect()));
    }
    let described = match sink.problem {
        None => sink.describing.finish(),
        Some(problem) => Err(problem),
    };
    described.map_err(|error| Failure::from(error).context(what))
}

struct DescriptionSink {
    describing: Describing,
    told: Option<oneshot::Sender<String>>,
    /// What is not understood. Kept until psql has ended, which may know better what is wrong.
    problem: Option<anyhow::Error>,
    complaints: Captured,
}

#[async_trait]
impl OutputSink for DescriptionSink {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout if self.problem.is_none() => match self.describing.push(bytes) {
                Ok(Some(snapshot)) => {
                    if let Some(told) = self.told.take() {
                        // Who asked may be gone: then this session is about to be.
                        let _ = told.send(snapshot);
                    }
                }
                Ok(None) => {}
                Err(problem) => {
                    self.problem = Some(problem);
                    // Nobody waits any more for what will not come.
                    self.told = None;
                }
            },
            OutputStream::Stdout => {}
            OutputStream::Stderr => self.complaints.write(stream, bytes).await?,
        }
        Ok(())
    }
}
