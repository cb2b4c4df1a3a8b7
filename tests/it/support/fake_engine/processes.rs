//! Commands on a simulated engine, in one-offs and execs: what they do is a script of the test.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncReadExt};
use viatique_deploy::engine::{
    ContainerEventKind, ContainerId, ContainerSpec, ContainerState, EngineError, EngineErrorKind, ExecSpec,
    Exit, OneOffSpec, OutputSink, Result,
};

use super::FakeEngine;
use super::behaviour::{CommandKind, FakeCommand, FakeOutput};

impl FakeEngine {
    pub(super) async fn one_off(&self, spec: &OneOffSpec, output: &mut dyn OutputSink) -> Result<Exit> {
        let operation = "running a one-off";
        let call = self.enter("run_one_off", &spec.container.name).await?;
        let container = &spec.container;
        let id = match self.world().add_container(
            &container.name,
            &container.image,
            &container.labels,
            Some(container.clone()),
        ) {
            Ok(id) => id,
            Err(error) => return Err(error),
        };
        let mut environment = environment_of(container);
        environment.extend(spec.environment.clone());
        let command = FakeCommand {
            kind: CommandKind::OneOff,
            service: container.service.name.as_str().to_owned(),
            container: container.name.clone(),
            image: container.image.clone(),
            words: spec.command.clone(),
            environment,
            privileged: false,
            input: Vec::new(),
            mounted: BTreeMap::new(),
        };
        self.world().container(operation, &id.0)?.state = ContainerState::Running;
        let told = self.perform(command);
        {
            let mut world = self.world();
            if told.missing {
                world.container(operation, &id.0)?.state = ContainerState::Created;
            } else if let Some(position) = world.position(&id.0) {
                world.tell(position, ContainerEventKind::Started);
            }
        }
        let outcome = if told.missing {
            Err(EngineError::new(
                operation,
                &container.name,
                EngineErrorKind::StartFailed,
                "no such command",
            ))
        } else {
            write_out(operation, &told, output).await
        };
        // One that never returns has not come to its removal either.
        if !call.hangs_after() {
            self.forget(&id);
        }
        call.leave(outcome).await
    }

    pub(super) async fn run_in(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        output: &mut dyn OutputSink,
    ) -> Result<Exit> {
        let operation = "running a command in container";
        let unreadable = |error: std::io::Error| {
            EngineError::new(operation, &id.0, EngineErrorKind::Sink, error.to_string())
        };
        let call = self.enter("exec", &id.0).await?;
        let mut given = Vec::new();
        let mut input = input;
        if let Some(input) = &mut input {
            while input.read_buf(&mut given).await.map_err(unreadable)? > 0 && !ends_a_script(&given) {}
        }
        let command = {
            let mut world = self.world();
            let container = world.container(operation, &id.0)?;
            if container.state != ContainerState::Running {
                return Err(EngineError::new(
                    operation,
                    &id.0,
                    EngineErrorKind::Conflict,
                    "not running",
                ));
            }
            let mut environment = container.spec.as_ref().map(environment_of).unwrap_or_default();
            environment.extend(spec.environment.clone());
            let volumes = container.volumes.clone();
            let (service, name, image) = (
                container.service(),
                container.name.clone(),
                container.image.clone(),
            );
            let mut mounted = BTreeMap::new();
            for (target, volume) in &volumes {
                let files = world.volumes.get(volume).map(|volume| &volume.files);
                for (path, content) in files.into_iter().flatten() {
                    mounted.insert(format!("{target}/{path}"), content.clone());
                }
            }
            FakeCommand {
                kind: CommandKind::Exec,
                service,
                container: name,
                image,
                words: spec.command.clone(),
                environment,
                privileged: spec.privileged,
                input: given,
                mounted,
            }
        };
        let mut told = self.perform(command);
        if told.missing {
            told = FakeOutput::stdout("no such command\n").exits(127);
        }
        let outcome = write_out(operation, &told, output).await;
        // A session stays until there is nothing more to read.
        if let Some(input) = &mut input {
            while input.read_buf(&mut Vec::new()).await.map_err(unreadable)? > 0 {}
        }
        call.leave(outcome).await
    }

    fn perform(&self, command: FakeCommand) -> FakeOutput {
        let script = self.script.lock().unwrap().clone();
        let told = script(&command);
        self.calls.lock().unwrap().commands.push(command);
        told
    }
}

fn environment_of(spec: &ContainerSpec) -> BTreeMap<String, String> {
    spec.service
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.reveal()?.to_owned())))
        .collect()
}

/// As a session of `psql` has, which does what it has read before it reads on.
fn ends_a_script(given: &[u8]) -> bool {
    given.ends_with(b"\\echo viatique-deploy:end\n")
}

async fn write_out(operation: &'static str, told: &FakeOutput, output: &mut dyn OutputSink) -> Result<Exit> {
    tokio::time::sleep(told.takes).await;
    for (stream, bytes) in &told.pieces {
        output.write(*stream, bytes).await.map_err(|error| {
            EngineError::new(operation, "output", EngineErrorKind::Sink, error.to_string())
        })?;
    }
    Ok(Exit {
        code: told.code,
        out_of_memory: told.out_of_memory,
    })
}
