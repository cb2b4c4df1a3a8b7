//! All of the media volume as one archive, by the engine's own call: where there is no Python that could tell what is
//! new.

use std::io;
use std::path::Path;

use tokio_util::io::SyncIoBridge;

use super::encryption::Recipients;
use super::file::{HashedFile, Proven, on_a_thread};
use super::manifest::BackupFile;
use super::media::{Saved, Volume};
use super::media_container::container_name;
use super::{at, keep};
use crate::engine::labels;
use crate::error::Failure;
use crate::pipeline::{Context, Task};
use crate::stack::media;

/// The archive's file name.
pub(crate) const ARCHIVE: &str = "media.tar";
/// Bytes that may wait for their proof.
const AHEAD: usize = 1 << 20;

/// Archives the volume.
pub(super) async fn archive(
    context: Context<'_>,
    volume: &Volume,
    folder: &Path,
    task: &Task,
) -> Result<Saved, Failure> {
    let project = &context.settings.project.name;
    let what = format!("archiving volume {}", volume.name);
    let labels = [
        (labels::PROJECT, project.as_str()),
        (labels::ROLE, labels::Role::Backup.as_str()),
        (labels::RUN, context.run.0.as_str()),
    ];
    let labels = labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Never started: it only opens the volume, and runs no code on it.
    let opener = context
        .engine
        .create_marker(&container_name(context), &labels, Some(&volume.name))
        .await?;
    let path = folder.join(ARCHIVE);
    let recipients = Recipients::of(&context.settings.config.backup);
    let file = HashedFile::create_for(recipients.as_ref(), &path, Some(task), None);
    let file = file.map_err(|error| at(&what, error))?;
    let (pieces, taken) = tokio::io::duplex(AHEAD);
    let taken = SyncIoBridge::new(taken);
    let reading = on_a_thread(move || media::read_back(io::BufReader::with_capacity(1 << 16, taken)));
    let mut sink = Proven {
        file,
        prover: Some(pieces),
    };
    let archived = context
        .engine
        .archive(&opener, crate::ledger::DATA, &mut sink)
        .await;
    let removed = context.engine.remove_container(&opener).await;
    let Proven { file, prover } = sink;
    drop(prover);
    let contents = reading.await;
    archived.map_err(|error| Failure::from(error).context(what.clone()))?;
    removed?;
    let contents = contents.map_err(|error| at("reading the archive back", error))?;
    let written = file.finish().await.map_err(|error| at(&what, error))?;
    task.progress("reading it back from the disk");
    let file = keep(written).await?;
    let about = format!(
        "volume {}: {} files, {} bytes",
        volume.name, contents.files, contents.bytes
    );
    Ok(Saved {
        files: vec![BackupFile { about, ..file }],
        facts: None,
    })
}
