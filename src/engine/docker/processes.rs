//! Processes in containers: one-offs and exec, their output read to its end and their exit code made sure of.
//! Where the two could disagree (a stream that breaks, a container killed under a command), the call fails rather
//! than report a success.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use bollard::query_parameters::AttachContainerOptions;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::{absent_as_none, status};
use super::names::checked_name;
use super::{DockerEngine, container_view, create_body};
use crate::engine::{
    ContainerId, EngineError, EngineErrorKind, ExecSpec, Exit, OneOffSpec, OutputSink, OutputStream, Result,
};

/// Measured: beyond this the throughput no longer grows.
const CHUNK: usize = 64 * 1024;
/// How a killed process reads: 128 + SIGKILL.
const KILLED: i64 = 137;
/// Shells' codes for a command that cannot be run, and one that is not there.
const CANNOT_RUN: [i64; 2] = [126, 127];

type Frames = Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, Error>> + Send>>;
type Pipe = Pin<Box<dyn AsyncWrite + Send>>;

impl DockerEngine {
    /// In this order, and without the engine's own removal: attaching after the start loses the first lines,
    /// `logs` beside `stream` repeats them, and a container that removes itself takes its exit code along.
    pub(super) async fn one_off(&self, spec: &OneOffSpec, output: &mut dyn OutputSink) -> Result<Exit> {
        let container = create_body::one_off(spec);
        let id = self.create(&container).await?;
        let outcome = self.run_to_its_end(&id, output).await;
        if let Err(error) = self.remove(&id).await {
            // What the process did is not undone by this; its labels find the container later.
            tracing::warn!(container = container.name, %error, "a one-off's container is left behind");
        }
        outcome
    }

    async fn run_to_its_end(&self, id: &ContainerId, output: &mut dyn OutputSink) -> Result<Exit> {
        let name = checked_name("attaching to container", &id.0)?;
        let options = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            logs: false,
            ..AttachContainerOptions::default()
        };
        let mut attached = self
            .short(
                "attaching to container",
                id.short(),
                self.client.attach_container(name, Some(options)),
            )
            .await?;
        self.start_created(id).await?;
        self.read_frames(
            "reading the output of container",
            id,
            &mut attached.output,
            output,
        )
        .await?;
        self.wait_for_exit(id).await
    }

    pub(super) async fn run_in(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<Exit> {
        let name = checked_name("running a command in container", &id.0)?;
        let configuration = ExecConfig {
            attach_stdin: Some(input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            env: Some(
                spec.environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            cmd: Some(spec.command.clone()),
            user: spec.user.clone(),
            privileged: Some(spec.privileged),
            ..ExecConfig::default()
        };
        let operation = "running a command in container";
        let exec = self
            .short(
                operation,
                id.short(),
                self.client.create_exec(name, configuration),
            )
            .await?
            .id;
        let options = StartExecOptions {
            detach: false,
            tty: false,
            output_capacity: Some(CHUNK),
        };
        let start = async {
            match self.client.start_exec(&exec, Some(options)).await {
                // The engine looked at it and could not start it.
                Err(error) if status(&error).is_some() => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(started) => Ok(Ok(started)),
            }
        };
        match self.short(operation, id.short(), start).await? {
            Ok(StartExecResults::Attached {
                output: mut frames,
                input: pipe,
            }) => {
                self.exchange(id, &mut frames, pipe, input, output).await?;
                self.exit_of(id, &exec).await
            }
            Ok(StartExecResults::Detached) => Err(lost(operation, id, "the engine detached the command")),
            Err(error) => self.not_started(id, &exec, &error, output).await,
        }
    }

    /// Older engines start a missing command and let it write why it is missing; newer ones refuse to start it.
    async fn not_started(
        &self,
        id: &ContainerId,
        exec: &str,
        error: &Error,
        output: &mut dyn OutputSink,
    ) -> Result<Exit> {
        let operation = "running a command in container";
        let failed = self.failed(operation, id.short(), error);
        let seen = absent_as_none(self.inspect_exec(id, exec).await)?;
        match seen.and_then(|seen| seen.exit_code) {
            Some(code) if CANNOT_RUN.contains(&code) => {
                output
                    .write(OutputStream::Stderr, format!("{}\n", failed.message).as_bytes())
                    .await
                    .map_err(|error| sink_failed(operation, id, &error))?;
                Ok(Exit {
                    code,
                    out_of_memory: false,
                })
            }
            Some(_) | None => Err(failed),
        }
    }

    async fn exchange(
        &self,
        id: &ContainerId,
        frames: &mut Frames,
        mut pipe: Pipe,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<()> {
        let operation = "running a command in container";
        let mut reading: Pin<Box<dyn Future<Output = Result<()>> + Send>> =
            Box::pin(self.read_frames(operation, id, frames, output));
        if let Some(input) = input {
            let mut feeding = Box::pin(feed(input, &mut pipe));
            tokio::select! {
                // The command ended without wanting the rest.
                read = &mut reading => return read,
                fed = &mut feeding => fed.map_err(|error| {
                    EngineError::new(
                        operation,
                        id.short(),
                        EngineErrorKind::Sink,
                        format!("its input cannot be read: {error}"),
                    )
                })?,
            }
        }
        reading.await
    }

    async fn read_frames(
        &self,
        operation: &'static str,
        id: &ContainerId,
        frames: &mut Frames,
        output: &mut dyn OutputSink,
    ) -> Result<()> {
        while let Some(frame) = frames.next().await {
            let (stream, bytes) = match frame.map_err(|error| self.failed(operation, id.short(), &error))? {
                LogOutput::StdOut { message } => (OutputStream::Stdout, message),
                LogOutput::StdErr { message } => (OutputStream::Stderr, message),
                // Without a terminal the engine sends nothing outside of frames: this is the rest of a broken one.
                LogOutput::Console { .. } | LogOutput::StdIn { .. } => {
                    return Err(lost(
                        operation,
                        id,
                        "the output broke off in the middle of a frame",
                    ));
                }
            };
            output
                .write(stream, &bytes)
                .await
                .map_err(|error| sink_failed(operation, id, &error))?;
        }
        Ok(())
    }

    /// The output's end is not the command's: one that closes its streams goes on. Asked again until it has ended.
    async fn exit_of(&self, id: &ContainerId, exec: &str) -> Result<Exit> {
        let mut pause = Duration::from_millis(20);
        loop {
            let seen = self.inspect_exec(id, exec).await?;
            if seen.running == Some(true) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                continue;
            }
            let operation = "running a command in container";
            let code = seen
                .exit_code
                .ok_or_else(|| lost(operation, id, "the engine does not know how the command ended"))?;
            let container = if code == 0 || code == KILLED {
                absent_as_none(self.inspect(&id.0).await)?
            } else {
                None
            };
            let state = container.and_then(|seen| seen.state);
            if code == 0 && state.as_ref().and_then(|state| state.running) != Some(true) {
                // The engine then knows no better than 0 for some commands that were killed along.
                return Err(lost(operation, id, "the container ended under the command"));
            }
            return Ok(Exit {
                code,
                out_of_memory: state.is_some_and(|state| container_view::exit(&state).out_of_memory),
            });
        }
    }

    async fn inspect_exec(&self, id: &ContainerId, exec: &str) -> Result<ExecInspectResponse> {
        self.short(
            "asking how a command ended in container",
            id.short(),
            self.client.inspect_exec(exec),
        )
        .await
    }
}

/// Errs only where the input itself cannot be read. A command that stops reading may do so; then nothing more is sent.
async fn feed(input: &mut (dyn AsyncRead + Send + Unpin), pipe: &mut Pipe) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = input.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            break;
        };
        if pipe.write_all(piece).await.is_err() {
            return Ok(());
        }
    }
    // Half-closes: the command sees the end of its input and can still answer.
    if let Err(error) = pipe.shutdown().await {
        tracing::debug!(%error, "the command had closed its input");
    }
    Ok(())
}

fn lost(operation: &'static str, id: &ContainerId, why: &str) -> EngineError {
    EngineError::new(operation, id.short(), EngineErrorKind::ConnectionLost, why)
}

pub(super) fn sink_failed(operation: &'static str, id: &ContainerId, error: &std::io::Error) -> EngineError {
    EngineError::new(
        operation,
        id.short(),
        EngineErrorKind::Sink,
        format!("what it wrote cannot be taken: {error}"),
    )
}
