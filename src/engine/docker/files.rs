//! Files in containers, running or not, through the engine's archive calls; and the marker container, which keeps a
//! name and opens a volume without ever running.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;

use super::DockerEngine;
use super::failure::absent_as_none;
use super::names::checked_name;
use super::processes::sink_failed;
use crate::engine::{ContainerId, EngineError, EngineErrorKind, OutputSink, OutputStream, Result};

/// An image of nothing, from which marker containers are made. On the engine only, never in a registry.
const MARKER_IMAGE: (&str, &str) = ("viatique-deploy-empty", "1");
/// Where a marker's volume is mounted.
const MARKER_FOLDER: &str = "/data";
/// Beyond this, files are not what [`crate::engine::Inspect::read_files`] is for.
const READ_LIMIT: usize = 64 * 1024 * 1024;
/// An archive ends with two blocks of zeros.
const ARCHIVE_END: [u8; 1024] = [0; 1024];
/// What a file is called until it is complete. Not shown by `read_files`.
const INCOMING: &str = ".incoming.";

impl DockerEngine {
    pub(super) async fn make_marker(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        volume: Option<&str>,
    ) -> Result<ContainerId> {
        let name = checked_name("creating container", name)?;
        if let Some(volume) = volume {
            checked_name("mounting volume", volume)?;
        }
        let options = || CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        let body = || ContainerCreateBody {
            image: Some(format!("{}:{}", MARKER_IMAGE.0, MARKER_IMAGE.1)),
            // Never run; but the image has none, and the engine wants one.
            cmd: Some(vec!["never-started".to_owned()]),
            labels: Some(labels.clone().into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                mounts: volume.map(|volume| {
                    vec![Mount {
                        target: Some(MARKER_FOLDER.to_owned()),
                        source: Some(volume.to_owned()),
                        typ: Some(MountType::VOLUME),
                        ..Mount::default()
                    }]
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        match self.create_with(name, options(), body()).await {
            // Nothing but the image can be missing. It may be pruned at any time, so it is made whenever it is not
            // there; several at once make the same one.
            Err(error) if error.kind == EngineErrorKind::NotFound => {
                self.make_marker_image().await?;
                self.create_with(name, options(), body()).await
            }
            outcome => outcome,
        }
    }

    async fn make_marker_image(&self) -> Result<()> {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(MARKER_IMAGE.0.to_owned()),
            tag: Some(MARKER_IMAGE.1.to_owned()),
            ..CreateImageOptions::default()
        };
        let nothing = bollard::body_full(Bytes::from_static(&ARCHIVE_END));
        let mut answers = Box::pin(self.client.create_image(Some(options), Some(nothing), None));
        let importing = async {
            while let Some(answer) = answers.next().await {
                match answer {
                    // The end was not heard: whether the image is there is told by what is made of it next.
                    Err(Error::IOError { .. }) => break,
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
            Ok(())
        };
        self.short("making image", MARKER_IMAGE.0, importing).await
    }

    pub(super) async fn files_below(
        &self,
        id: &ContainerId,
        folder: &str,
    ) -> Result<Option<Vec<(String, Vec<u8>)>>> {
        let operation = "reading files of container";
        let name = checked_name(operation, &id.0)?;
        let budget = self.budgets.short * super::containers::SLOW_CALL;
        let client = self.patient_client(budget);
        let options = DownloadFromContainerOptions {
            path: folder.to_owned(),
        };
        let mut pieces = Box::pin(client.download_from_container(name, Some(options)));
        let reading = async {
            let mut archive = Vec::new();
            while let Some(piece) = pieces.next().await {
                archive.extend_from_slice(&piece?);
                if archive.len() > READ_LIMIT {
                    break;
                }
            }
            Ok(archive)
        };
        let read = self.within(budget, operation, id.short(), reading).await;
        let Some(archive) = absent_as_none(read)? else {
            // The same status for a folder and for a container that is not there.
            self.inspect(name).await?;
            return Ok(None);
        };
        if archive.len() > READ_LIMIT {
            return Err(EngineError::new(
                operation,
                id.short(),
                EngineErrorKind::Invalid,
                format!("{folder} holds more than {} MiB", READ_LIMIT >> 20),
            ));
        }
        if !archive.ends_with(&ARCHIVE_END) {
            return Err(broken_off(operation, id));
        }
        files_in_archive(&archive).map(Some).map_err(|why| {
            EngineError::new(
                operation,
                id.short(),
                EngineErrorKind::Invalid,
                format!("{folder}: {why}"),
            )
        })
    }

    /// A file gets its name only once its content has arrived: the archive holds the content under another name,
    /// then a link to it, then an emptied first name. A connection that breaks leaves the old file or none, never
    /// half of one. An empty `.incoming.` file stays beside it.
    pub(super) async fn put_files(
        &self,
        id: &ContainerId,
        folder: &str,
        files: &[(String, Vec<u8>)],
    ) -> Result<()> {
        let operation = "writing files into container";
        let name = checked_name(operation, &id.0)?;
        let archive = archive_of(files)
            .map_err(|why| EngineError::new(operation, id.short(), EngineErrorKind::Invalid, why))?;
        let options = UploadToContainerOptions {
            path: folder.to_owned(),
            ..UploadToContainerOptions::default()
        };
        let budget = self.budgets.short * super::containers::SLOW_CALL;
        let client = self.patient_client(budget);
        let call = client.upload_to_container(name, Some(options), bollard::body_full(Bytes::from(archive)));
        self.within(budget, operation, id.short(), call).await
    }

    pub(super) async fn stream_archive(
        &self,
        id: &ContainerId,
        folder: &str,
        output: &mut dyn OutputSink,
    ) -> Result<()> {
        let operation = "archiving a folder of container";
        let name = checked_name(operation, &id.0)?;
        let options = DownloadFromContainerOptions {
            path: folder.to_owned(),
        };
        let client = self.patient_client(self.budgets.long);
        self.until_it_listens().await;
        let mut pieces = Box::pin(client.download_from_container(name, Some(options)));
        let mut tail = Vec::with_capacity(2 * ARCHIVE_END.len());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.failed(operation, id.short(), &error))?;
            output
                .write(OutputStream::Stdout, &piece)
                .await
                .map_err(|error| sink_failed(operation, id, &error))?;
            let keep = piece.len().saturating_sub(ARCHIVE_END.len());
            tail.extend_from_slice(piece.get(keep..).unwrap_or_default());
            let surplus = tail.len().saturating_sub(ARCHIVE_END.len());
            tail.drain(..surplus);
        }
        // The engine has no other way to say that it could not go on.
        if tail == ARCHIVE_END {
            Ok(())
        } else {
            Err(broken_off(operation, id))
        }
    }
}

fn broken_off(operation: &'static str, id: &ContainerId) -> EngineError {
    EngineError::new(
        operation,
        id.short(),
        EngineErrorKind::ConnectionLost,
        "the archive broke off before its end",
    )
}

/// Regular files, by their path below the archive's first folder; links to an earlier file have its content.
fn files_in_archive(archive: &[u8]) -> std::result::Result<Vec<(String, Vec<u8>)>, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut entries = tar::Archive::new(archive);
    for entry in entries.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let kind = entry.header().entry_type();
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        let Some(below) = below_first_folder(&path)? else {
            if kind.is_file() {
                return Err("is a file, not a folder".to_owned());
            }
            continue;
        };
        if kind.is_file() {
            let mut content = Vec::new();
            entry
                .read_to_end(&mut content)
                .map_err(|error| error.to_string())?;
            files.insert(below, content);
        } else if kind.is_hard_link() {
            let target = entry.link_name().map_err(|error| error.to_string())?;
            let target = target
                .map(|target| below_first_folder(&target))
                .transpose()?
                .flatten();
            let content = target.and_then(|target| files.get(&target)).cloned();
            files.insert(below, content.ok_or("holds a link to something outside of it")?);
        }
    }
    files.retain(|path, _| !file_name(path).starts_with(INCOMING));
    Ok(files.into_iter().collect())
}

fn below_first_folder(path: &Path) -> std::result::Result<Option<String>, String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => {
                parts.push(
                    part.to_str()
                        .ok_or_else(|| format!("{} is not UTF-8", path.display()))?,
                );
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(format!("the engine sent the path {}", path.display()));
            }
        }
    }
    let below = parts.get(1..).unwrap_or_default();
    Ok((!below.is_empty()).then(|| below.join("/")))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn archive_of(files: &[(String, Vec<u8>)]) -> std::result::Result<Vec<u8>, String> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append_file(&mut archive, path, content).map_err(|why| format!("{path}: {why}"))?;
    }
    archive.into_inner().map_err(|error| error.to_string())
}

fn append_file(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    content: &[u8],
) -> std::result::Result<(), String> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts
        .iter()
        .any(|part| part.is_empty() || matches!(*part, "." | ".."))
    {
        return Err("not a path below the folder".to_owned());
    }
    let (folder, name) = path
        .rsplit_once('/')
        .map_or(("", path), |(folder, name)| (folder, name));
    let incoming = if folder.is_empty() {
        format!("{INCOMING}{name}")
    } else {
        format!("{folder}/{INCOMING}{name}")
    };
    append_entries(archive, &parts, path, &incoming, content).map_err(|error| error.to_string())
}

fn append_entries(
    archive: &mut tar::Builder<Vec<u8>>,
    parts: &[&str],
    path: &str,
    incoming: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let header = |kind, mode, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    for depth in 1..parts.len() {
        let folder = parts.get(..depth).unwrap_or_default().join("/");
        archive.append_data(
            &mut header(tar::EntryType::Directory, 0o755, 0),
            format!("{folder}/"),
            &[][..],
        )?;
    }
    archive.append_data(
        &mut header(tar::EntryType::Regular, 0o644, content.len()),
        incoming,
        content,
    )?;
    archive.append_link(&mut header(tar::EntryType::Link, 0o644, 0), path, incoming)?;
    archive.append_data(&mut header(tar::EntryType::Regular, 0o644, 0), incoming, &[][..])
}
