//! The container that sees the media volume: made from the application's image, because that has Python, for a script of
//! ours and nothing else. To save the volume it may only read it; to restore it, it may write.

use std::io;

use async_trait::async_trait;

use super::media::Volume;
use crate::compose::{Mount, MountKind, NetworkMode};
use crate::engine::{Captured, ContainerId, EngineErrorKind, ExecSpec, OutputSink, OutputStream, labels};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Context;
use crate::stack::media::{self, Listed, Listing};
use crate::stack::python;
use crate::steps::application::{Interpreter, NOT_THERE};
use crate::steps::deploy::infrastructure::NetworkIds;
use crate::steps::deploy::target::{Purpose, container_spec};
use crate::steps::images;

/// Where the volume is in the container.
pub(super) const FOLDER: &str = "/media";
/// Bytes: some megabytes for Python, the rest for a folder of very many files.
const MEMORY: u64 = 256 * 1024 * 1024;

/// What the container may do with the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read what others own; nothing else.
    Reads,
    /// And write, in the names of others.
    Writes,
}

/// A container that sees the volume.
pub(super) struct MediaContainer<'a> {
    pub context: Context<'a>,
    pub volume: &'a Volume,
    pub container: ContainerId,
    pub python: String,
}

impl<'a> MediaContainer<'a> {
    /// From the image that the application runs; `None` where there is none, or it does not start.
    pub(super) async fn open(
        context: Context<'a>,
        volume: &'a Volume,
        access: Access,
    ) -> Result<Option<Self>, Failure> {
        let Context {
            engine,
            settings,
            run,
            ..
        } = context;
        let Some(interpreter) = Interpreter::of(settings) else {
            return Ok(None);
        };
        let Some(image) = images::serving(context.view(), interpreter.application()).await? else {
            return Ok(None);
        };
        let command = python::waiting(&interpreter.python);
        let may: &[&str] = match access {
            Access::Reads => &["DAC_READ_SEARCH"],
            Access::Writes => &["DAC_OVERRIDE", "CHOWN", "FOWNER"],
        };
        let mut service = interpreter.service(command, may, MEMORY);
        service.network_mode = Some(NetworkMode::None);
        service.mounts = vec![Mount {
            target: FOLDER.to_owned(),
            read_only: access == Access::Reads,
            kind: MountKind::Volume {
                key: volume.key.clone(),
                nocopy: true,
                subpath: None,
            },
        }];
        let name = container_name(context);
        let purpose = Purpose {
            role: labels::Role::Backup,
            number: 1,
            name: &name,
            tag: &settings.tag,
            run,
        };
        let spec = container_spec(
            &settings.project,
            &service,
            &image,
            &NetworkIds::new(),
            None,
            purpose,
        )?;
        let what = format!("opening volume {}", volume.name);
        let container = engine.create_container(&spec).await;
        let container = container.map_err(|error| Failure::from(error).context(what.clone()))?;
        match engine.start(&container).await {
            Ok(()) => Ok(Some(Self {
                context,
                volume,
                container,
                python: interpreter.python,
            })),
            Err(error) if error.kind == EngineErrorKind::StartFailed => {
                engine.remove_container(&container).await?;
                Ok(None)
            }
            Err(error) => Err(Failure::from(error).context(what)),
        }
    }

    /// What is in the volume; `None` where there is no such Python in the image.
    pub(super) async fn list(&self) -> Result<Option<Vec<Listed>>, Failure> {
        let what = format!("listing volume {}", self.volume.name);
        let command = ExecSpec {
            command: media::list(&self.python, FOLDER),
            ..ExecSpec::default()
        };
        let mut sink = ListingSink::default();
        let exit = self
            .context
            .engine
            .exec(&self.container, &command, None, &mut sink)
            .await;
        let exit = exit.map_err(|error| Failure::from(error).context(what.clone()))?;
        if NOT_THERE.contains(&exit.code) {
            return Ok(None);
        }
        if !exit.success() {
            return Err(failed(&what, exit.code, &sink.complaints));
        }
        let listed = match sink.problem {
            None => sink.listing.finish(),
            Some(error) => Err(error),
        };
        listed
            .map(Some)
            .map_err(|error| Failure::from(error).context(what))
    }
}

pub(super) fn container_name(context: Context<'_>) -> String {
    let project = &context.settings.project.name;
    format!("viatique-deploy-backup-{project}-{}", context.run.suffix())
}

pub(super) fn failed(what: &str, code: i64, output: &Captured) -> Failure {
    let lines = output.stderr_text().lines().map(ToOwned::to_owned).collect();
    Failure::message(FailureKind::Failed, format!("{what} (exit code {code})"))
        .evidence("what the script wrote", lines)
}

#[derive(Default)]
struct ListingSink {
    listing: Listing,
    /// What is not understood; the engine's own word that there is no such program is none of ours.
    problem: Option<anyhow::Error>,
    complaints: Captured,
}

#[async_trait]
impl OutputSink for ListingSink {
    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => {
                if self.problem.is_none() {
                    self.problem = self.listing.push(bytes).err();
                }
                Ok(())
            }
            OutputStream::Stderr => self.complaints.write(stream, bytes).await,
        }
    }
}
