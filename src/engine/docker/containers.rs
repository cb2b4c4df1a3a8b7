//! The life of a container: create, start, stop, remove, wait; list, inspect, logs. What runs inside it is in
//! `processes`, its files in `files`.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, InspectNetworkOptions, KillContainerOptions,
    ListContainersOptions, LogsOptions, RemoveContainerOptions, RenameContainerOptions,
    StartContainerOptions, StopContainerOptions, TopOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::DockerEngine;
use super::container_view;
use super::create_body::{create_body, endpoint_settings, whole_seconds};
use super::failure::{absent_as_done, absent_as_none, status};
use super::names::checked_name;
use crate::engine::{
    Container, ContainerFilter, ContainerId, ContainerSpec, EngineError, EngineErrorKind, Exit, NetworkId,
    OutputStream, Result,
};

/// Creating may copy an image's folder into a fresh volume, starting may wait for a device: several short budgets.
pub(super) const SLOW_CALL: u32 = 5;
/// How many containers of a list are asked about side by side.
const AT_A_TIME: usize = 16;
/// The engine's own, where nothing else is said.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

impl DockerEngine {
    pub(super) async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let labels = label_filter(filter);
        let shown = shown(&labels);
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..ListContainersOptions::default()
        };
        let mut listed = self
            .short(
                "listing containers with",
                &shown,
                self.client.list_containers(Some(options)),
            )
            .await?;
        listed.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        // The list knows neither health nor restarts. One that has vanished since is skipped.
        let ids = listed.into_iter().filter_map(|summary| summary.id);
        let mut containers: Vec<Container> = stream::iter(ids)
            .map(async |id| self.find_container(&id).await)
            .buffered(AT_A_TIME)
            .try_filter_map(|found| ready(Ok(found)))
            .try_collect()
            .await?;
        containers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(containers)
    }

    pub(super) async fn find_container(&self, id_or_name: &str) -> Result<Option<Container>> {
        Ok(absent_as_none(self.inspect(id_or_name).await)?.map(container_view::container))
    }

    /// The engine runs `ps` on its host: the container needs no tools.
    pub(super) async fn processes_of(&self, id: &ContainerId) -> Result<Vec<(u32, String)>> {
        let name = checked_name("listing the processes of container", &id.0)?;
        let options = TopOptions {
            ps_args: "-eo pid,args".to_owned(),
        };
        let call = self.client.top_processes(name, Some(options));
        let answer = match self.short("listing the processes of container", name, call).await {
            Ok(answer) => answer,
            // 409: it does not run, so it has none.
            Err(error) if error.kind == EngineErrorKind::Conflict => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let rows = answer.processes.unwrap_or_default().into_iter();
        Ok(rows
            .filter_map(|row| match row.as_slice() {
                [id, title] => id.parse().ok().map(|id| (id, title.clone())),
                _ => None,
            })
            .collect())
    }

    pub(super) async fn inspect(&self, id_or_name: &str) -> Result<ContainerInspectResponse> {
        let name = checked_name("inspecting container", id_or_name)?;
        self.short(
            "inspecting container",
            name,
            self.client
                .inspect_container(name, None::<InspectContainerOptions>),
        )
        .await
    }

    pub(super) async fn last_log_lines(&self, id: &ContainerId, tail: u32) -> Result<Vec<String>> {
        let name = checked_name("reading the log of container", &id.0)?;
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: tail.to_string(),
            ..LogsOptions::default()
        };
        let mut frames = Box::pin(self.client.logs(name, Some(options)));
        let reading = async {
            let mut lines = LineCollector::new(tail);
            while let Some(frame) = frames.next().await {
                lines.take(&frame?);
            }
            Ok(lines.finish())
        };
        self.short("reading the log of container", id.short(), reading)
            .await
    }

    pub(super) async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let name = checked_name("creating container", &spec.name)?;
        let api = self.api_version().await?;
        let body = create_body(spec, api)?;
        for endpoint in &spec.networks {
            self.make_sure_of_network(name, &endpoint.network).await?;
        }
        let further = spec
            .networks
            .iter()
            .skip(1)
            .map(|endpoint| Ok((endpoint, endpoint_settings(endpoint, api)?)))
            .collect::<Result<Vec<_>>>()?;
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: spec.service.platform.clone().unwrap_or_default(),
        };
        let id = self.create_with(name, options, body).await?;
        for (endpoint, settings) in further {
            let request = NetworkConnectRequest {
                container: id.0.clone(),
                endpoint_config: Some(settings),
            };
            let network = checked_name("connecting to network", &endpoint.network.0)?;
            let connected = self
                .short(
                    "connecting to its network container",
                    name,
                    self.client.connect_network(network, request),
                )
                .await;
            if let Err(error) = connected {
                // Half connected is not created. Should this fail too, the labels find what is left.
                if let Err(second) = self.remove(&id).await {
                    tracing::warn!(container = name, %second, "left behind half connected");
                }
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Older engines take a network that does not exist, both at create and at connect, and fail at start.
    async fn make_sure_of_network(&self, container: &str, network: &NetworkId) -> Result<()> {
        let operation = "looking up the network of container";
        let id = checked_name(operation, &network.0)?;
        let call = self.client.inspect_network(id, None::<InspectNetworkOptions>);
        self.short(operation, container, call).await.map(|_| ())
    }

    pub(super) async fn create_with(
        &self,
        name: &str,
        options: CreateContainerOptions,
        body: bollard::models::ContainerCreateBody,
    ) -> Result<ContainerId> {
        let budget = self.budgets.short * SLOW_CALL;
        let client = self.patient_client(budget);
        let created = self
            .within(
                budget,
                "creating container",
                name,
                client.create_container(Some(options), body),
            )
            .await;
        match created {
            Ok(answer) => Ok(ContainerId(answer.id)),
            // The API documents 409 at create as a name in use, and nothing else.
            Err(error) if error.kind == EngineErrorKind::Conflict => Err(EngineError {
                kind: EngineErrorKind::NameTaken,
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn start_created(&self, id: &ContainerId) -> Result<()> {
        let name = checked_name("starting container", &id.0)?;
        let budget = self.budgets.short * SLOW_CALL;
        let client = self.patient_client(budget);
        let call = async {
            match client.start_container(name, None::<StartContainerOptions>).await {
                // The engine looked at it and could not start it.
                Err(error) if status(&error).is_some() => Ok(Err(error)),
                Err(error) => Err(error),
                Ok(()) => Ok(Ok(())),
            }
        };
        let Err(error) = self
            .within(budget, "starting container", id.short(), call)
            .await?
        else {
            return Ok(());
        };
        let mut error = self.failed("starting container", id.short(), &error);
        // A missing command is 404 on some engines, as is a missing container.
        let exists = absent_as_none(self.inspect(name).await)?.is_some();
        error.kind = if exists {
            EngineErrorKind::StartFailed
        } else {
            EngineErrorKind::NotFound
        };
        Err(error)
    }

    pub(super) async fn stop_within(&self, id: &ContainerId, grace: Option<Duration>) -> Result<()> {
        let name = checked_name("stopping container", &id.0)?;
        let expected = match grace {
            Some(grace) => grace,
            None => self
                .inspect(name)
                .await?
                .config
                .and_then(|config| config.stop_timeout)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(DEFAULT_GRACE, Duration::from_secs),
        };
        let budget = expected.saturating_add(self.budgets.beyond_grace);
        let options = StopContainerOptions {
            t: grace.map(|grace| i32::try_from(whole_seconds(grace)).unwrap_or(i32::MAX)),
            ..StopContainerOptions::default()
        };
        let client = self.patient_client(budget);
        self.within(
            budget,
            "stopping container",
            id.short(),
            client.stop_container(name, Some(options)),
        )
        .await
    }

    pub(super) async fn signal(&self, id: &ContainerId, signal: &str) -> Result<()> {
        let operation = "sending a signal to container";
        let name = checked_name(operation, &id.0)?;
        let options = KillContainerOptions {
            signal: signal.to_owned(),
        };
        let call = self.client.kill_container(name, Some(options));
        match self.short(operation, id.short(), call).await {
            // 409: it does not run.
            Err(error) if error.kind == EngineErrorKind::Conflict => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) async fn remove(&self, id: &ContainerId) -> Result<()> {
        let name = checked_name("removing container", &id.0)?;
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            ..RemoveContainerOptions::default()
        };
        let removed = self
            .short(
                "removing container",
                id.short(),
                self.client.remove_container(name, Some(options)),
            )
            .await;
        match absent_as_done(removed) {
            // Somebody else is removing it: done when it is gone.
            Err(error) if error.kind == EngineErrorKind::Conflict => {
                self.wait_until_removed(name, error).await
            }
            outcome => outcome,
        }
    }

    async fn wait_until_removed(&self, name: &str, conflict: EngineError) -> Result<()> {
        let options = WaitContainerOptions {
            condition: "removed".to_owned(),
        };
        let mut answers = self.client.wait_container(name, Some(options));
        let waited = tokio::time::timeout(self.budgets.short, answers.next()).await;
        drop(waited);
        match self.find_container(name).await? {
            None => Ok(()),
            Some(_) => Err(conflict),
        }
    }

    pub(super) async fn rename_to(&self, id: &ContainerId, name: &str) -> Result<()> {
        let from = checked_name("renaming container", &id.0)?;
        let options = RenameContainerOptions {
            name: checked_name("renaming container to", name)?.to_owned(),
        };
        let renamed = self
            .short(
                "renaming container to",
                name,
                self.client.rename_container(from, options),
            )
            .await;
        match renamed {
            Err(error) if error.kind == EngineErrorKind::Conflict => Err(EngineError {
                kind: EngineErrorKind::NameTaken,
                ..error
            }),
            outcome => outcome,
        }
    }

    pub(super) async fn wait_for_exit(&self, id: &ContainerId) -> Result<Exit> {
        let name = checked_name("waiting for container", &id.0)?;
        let options = WaitContainerOptions {
            condition: "not-running".to_owned(),
        };
        let client = self.patient_client(self.budgets.long);
        self.until_it_listens().await;
        let mut answers = client.wait_container(name, Some(options));
        let waited = match answers.next().await {
            Some(Ok(answer)) => Some(answer.status_code),
            // bollard's word for an exit code other than 0.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
            Some(Err(error)) => return Err(self.failed("waiting for container", id.short(), &error)),
            None => None,
        };
        drop(answers);
        let Some(seen) = absent_as_none(self.inspect(name).await)? else {
            // Removed meanwhile: the code is known, the reason is not.
            return waited.map_or_else(
                || Err(lost(id)),
                |code| {
                    Ok(Exit {
                        code,
                        out_of_memory: false,
                    })
                },
            );
        };
        let state = seen.state.unwrap_or_default();
        let exit = container_view::exit(&state);
        match waited {
            Some(code) => Ok(Exit { code, ..exit }),
            // The answer ended without a word; the state speaks only where the process has ended.
            None if state.running == Some(false) => Ok(exit),
            None => Err(lost(id)),
        }
    }
}

/// Labels as the engine's filters want them.
pub(super) fn label_filter(filter: &ContainerFilter) -> Vec<String> {
    let labels = filter.labels.iter();
    labels
        .map(|(label, value)| match value {
            Some(value) => format!("{label}={value}"),
            None => label.clone(),
        })
        .collect()
}

/// Labels as errors name them.
pub(super) fn shown(labels: &[String]) -> String {
    if labels.is_empty() {
        "all".to_owned()
    } else {
        labels.join(", ")
    }
}

fn lost(id: &ContainerId) -> EngineError {
    EngineError::new(
        "waiting for container",
        id.short(),
        EngineErrorKind::ConnectionLost,
        "the engine ended its answer before the container ended",
    )
}

/// Joins what belongs to one line (the engine cuts long ones) and keeps the last lines.
struct LineCollector {
    keep: usize,
    lines: VecDeque<String>,
    open: [Vec<u8>; 2],
}

impl LineCollector {
    fn new(tail: u32) -> Self {
        Self {
            keep: usize::try_from(tail).unwrap_or(usize::MAX),
            lines: VecDeque::new(),
            open: [Vec::new(), Vec::new()],
        }
    }

    fn take(&mut self, frame: &LogOutput) {
        let stream = match frame {
            // A terminal's output is one stream.
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                OutputStream::Stdout
            }
            LogOutput::StdErr { .. } => OutputStream::Stderr,
        };
        let [stdout, stderr] = &mut self.open;
        let open = match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        };
        open.extend_from_slice(frame.as_ref());
        while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            self.lines.push_back(text_of_line(&line));
        }
        while self.lines.len() > self.keep {
            self.lines.pop_front();
        }
    }

    fn finish(mut self) -> Vec<String> {
        for rest in &self.open {
            if !rest.is_empty() {
                self.lines.push_back(text_of_line(rest));
            }
        }
        while self.lines.len() > self.keep {
            self.lines.pop_front();
        }
        self.lines.into()
    }
}

fn text_of_line(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}
