//! Builds with BuildKit through the engine's build call: the context streamed, the progress told, the result named.
//! What is sent is decided in `engine/build_context`. Dropping the call ends the build on the engine.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::DockerEngine;
use super::build_progress::BuildProgress;
use super::client::EXTRA_HOST_SEPARATOR;
use super::names::checked_reference;
use crate::engine::build_context::{BuildContext, ContextError, Counted};
use crate::engine::{BuildEvent, BuildRequest, BuildSink, EngineError, EngineErrorKind, ImageId, Result};

const OPERATION: &str = "building image";
/// What the context travels in, and how many of them may wait.
const PIECE: usize = 64 * 1024;
const PIECES_WAITING: usize = 16;
/// How often the sending of the context is reported.
const REPORT_EVERY: Duration = Duration::from_millis(100);

impl DockerEngine {
    pub(super) async fn build_image(
        &self,
        request: &BuildRequest,
        progress: &dyn BuildSink,
    ) -> Result<ImageId> {
        let title = request.title.as_str();
        let tags = references(request)?;
        let build = request.build.clone();
        let context = tokio::task::spawn_blocking(move || BuildContext::collect(&build))
            .await
            .map_err(|error| refused(title, error.to_string()))?
            .map_err(|error| refused(title, error.to_string()))?;
        let options = options(request, context.dockerfile(), &tags)?;
        let mut inputs = vec![context.dockerfile_text().to_owned()];
        inputs.extend(request.build.args.values().flatten().cloned());
        inputs.extend(request.build.cache_from.iter().cloned());
        let credentials = self.credentials.for_build(&inputs).await?;

        self.until_it_listens().await;
        let (pieces, received) = mpsc::channel(PIECES_WAITING);
        let sent = Arc::new(Sent::default());
        let counted = Arc::clone(&sent);
        let sending = tokio::task::spawn_blocking(move || send(&context, pieces, &counted));
        let body = stream::unfold(received, |mut received| async {
            received.recv().await.map(|piece| (piece, received))
        });
        let client = self.patient_client(self.budgets.long);
        let mut answers =
            Box::pin(client.build_image(options, Some(credentials), Some(bollard::body_try_stream(body))));
        let mut told = BuildProgress::new(progress);
        let mut image = None;
        let mut failure = None;
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                _ = ticks.tick() => {
                    sent.report(progress);
                    continue;
                }
            };
            match answer {
                None => break,
                Some(Ok(BuildInfo {
                    aux: Some(BuildInfoAux::BuildKit(status)),
                    ..
                })) => told.take(&status),
                Some(Ok(BuildInfo {
                    aux: Some(BuildInfoAux::Default(id)),
                    ..
                })) => image = id.id.or(image),
                Some(Ok(BuildInfo { aux: None, .. })) => {}
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        // Lets the sender end, should it still be sending.
        drop(answers);
        sent.report(progress);
        let outcome = sending
            .await
            .unwrap_or_else(|error| Err(ContextError::other(error.to_string())));
        // A file that cannot be read is the cause of whatever the engine says about the context.
        match (outcome, failure) {
            (Err(error), _) => Err(refused(title, error.to_string())),
            (Ok(()), Some(error)) => {
                let failed = self.failed(OPERATION, title, &error);
                // The engine tells the image once it is whole. That the rest was not heard is nothing against it; and
                // bollard 0.21 takes a last line break that comes by itself for a line that was cut off.
                if failed.kind == EngineErrorKind::ConnectionLost
                    && let Some(id) = image
                    && let Some(built) = self.find_image(&id).await?
                {
                    self.tag_all(&built.id, &tags).await?;
                    return Ok(built.id);
                }
                Err(told.explain(failed, &error))
            }
            (Ok(()), None) => self.name_result(title, image, &tags).await,
        }
    }

    async fn name_result(&self, title: &str, image: Option<String>, tags: &[String]) -> Result<ImageId> {
        let (first, further) = tags
            .split_first()
            .ok_or_else(|| refused(title, "no reference is given for the result".to_owned()))?;
        let built = match image {
            Some(id) => ImageId(id),
            None => {
                self.find_image(first)
                    .await?
                    .ok_or_else(|| {
                        EngineError::new(
                            OPERATION,
                            title,
                            EngineErrorKind::BuildFailed,
                            "the builder ended without an image",
                        )
                    })?
                    .id
            }
        };
        self.tag_all(&built, further).await?;
        Ok(built)
    }

    async fn tag_all(&self, image: &ImageId, references: &[String]) -> Result<()> {
        for reference in references {
            self.tag_image(image, reference).await?;
        }
        Ok(())
    }
}

/// Every reference of the request, once, in order.
fn references(request: &BuildRequest) -> Result<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in request.tags.iter().chain(&request.build.tags) {
        checked_reference("tagging image as", tag)?;
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    if tags.is_empty() {
        return Err(refused(
            &request.title,
            "no reference is given for the result".to_owned(),
        ));
    }
    Ok(tags)
}

fn options(request: &BuildRequest, dockerfile: &str, tags: &[String]) -> Result<BuildImageOptions> {
    let build = &request.build;
    let platform = match build.platforms.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => {
            return Err(refused(
                &request.title,
                format!(
                    "an engine keeps images of one platform; these are asked for: {}",
                    several.join(", ")
                ),
            ));
        }
    };
    let shmsize = build
        .shm_size
        .map(|size| {
            i32::try_from(size)
                .map_err(|_| refused(&request.title, format!("shm_size of {size} is too large")))
        })
        .transpose()?;
    let hosts: Vec<String> = build
        .extra_hosts
        .iter()
        .map(|extra| format!("{}:{}", extra.host, extra.address))
        .collect();
    Ok(BuildImageOptions {
        dockerfile: dockerfile.to_owned(),
        t: tags.first().cloned(),
        extrahosts: (!hosts.is_empty()).then(|| hosts.join(EXTRA_HOST_SEPARATOR)),
        nocache: build.no_cache,
        cachefrom: (!build.cache_from.is_empty()).then(|| build.cache_from.clone()),
        // Off unless asked for: it goes to a registry even for a base that exists only here.
        pull: build.pull.then(|| "1".to_owned()),
        buildargs: Some(
            build
                .args
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect(),
        ),
        shmsize,
        labels: Some(request.labels.clone().into_iter().collect()),
        networkmode: build.network.clone(),
        platform,
        target: build.target.clone().unwrap_or_default(),
        version: BuilderVersion::BuilderBuildKit,
        session: Some(unique_session()),
        ..BuildImageOptions::default()
    })
}

/// Two builds with the same session would take each other's credentials.
fn unique_session() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", part(), part())
}

#[derive(Default)]
struct Sent {
    counted: Counted,
    reported: AtomicU64,
}

impl Sent {
    fn report(&self, progress: &dyn BuildSink) {
        let (files, bytes) = self.counted.so_far();
        if self.reported.swap(bytes, Ordering::Relaxed) != bytes {
            progress.event(BuildEvent::Context { files, bytes });
        }
    }
}

/// Runs on a thread of its own. An engine that stops listening is not the context's fault.
fn send(
    context: &BuildContext,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    sent: &Sent,
) -> std::result::Result<(), ContextError> {
    let mut writer = PieceWriter {
        pieces,
        piece: Vec::with_capacity(PIECE),
        refused: false,
    };
    let outcome = context.write_archive(&mut writer, &sent.counted).and_then(|()| {
        writer
            .flush()
            .map_err(|error| ContextError::other(error.to_string()))
    });
    match outcome {
        Err(_) if writer.refused => Ok(()),
        Err(error) => {
            // Breaks the request: half a context must not look like a whole one.
            let broken = io::Error::other(error.to_string());
            if writer.pieces.blocking_send(Err(broken)).is_err() {
                tracing::debug!("the engine had stopped listening");
            }
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

struct PieceWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    refused: bool,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(Bytes::from(full))).map_err(|_| {
            self.refused = true;
            io::Error::from(io::ErrorKind::BrokenPipe)
        })
    }
}

fn refused(title: &str, why: String) -> EngineError {
    EngineError::new(OPERATION, title, EngineErrorKind::Invalid, why)
}
