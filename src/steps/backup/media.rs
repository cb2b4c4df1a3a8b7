//! The media's part of a backup: a list of the volume, and the contents that no backup has yet. A file that is as it was
//! when the last backup was taken is not read again. The volume is read, and only read, by a script in a container of
//! the application's image; without such an image all of it is archived each time.
//!
//! After a crash: the container is found by its label, and what has come in goes with the folder it came into.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::Path;

use super::database::enough_room;
use super::encryption::Recipients;
use super::file::{on_a_thread, write_known, write_whole};
use super::manifest::{BackupFile, MediaFacts};
use super::media_archive::archive;
use super::media_container::{Access, MediaContainer};
use super::media_list::{self, MEDIA_DIGESTS, MEDIA_LIST, MediaEntry, What};
use super::media_reader::Came;
use super::objects::{Added, Objects, Received};
use super::{at, keep, size};
use crate::error::Failure;
use crate::pipeline::{Context, Task};
use crate::stack::media::{Kind, Listed, MediaPath, ReadFile};

/// The media's files, and what is known of them.
pub(super) struct Saved {
    pub files: Vec<BackupFile>,
    /// `None` for an archive.
    pub facts: Option<MediaFacts>,
}

/// The volume: its key in the Compose files, and its name on the engine.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub key: String,
    pub name: String,
}

/// Saves the volume.
pub(super) async fn save(
    context: Context<'_>,
    volume: &Volume,
    folder: &Path,
    task: &Task,
) -> Result<Saved, Failure> {
    let Some(reader) = MediaContainer::open(context, volume, Access::Reads).await? else {
        return archive(context, volume, folder, task).await;
    };
    let seen = see(context, &reader, folder, task).await;
    // While what was read is written down.
    let closing = context.engine.remove_container(&reader.container);
    let (closed, saved) = match seen {
        Ok(Some(seen)) => {
            let (closed, saved) = tokio::join!(closing, write_down(context, seen, volume, folder, task));
            (closed, saved.map(Some))
        }
        Ok(None) => (closing.await, Ok(None)),
        Err(failure) => (closing.await, Err(failure)),
    };
    let saved = saved?;
    closed?;
    match saved {
        Some(saved) => Ok(saved),
        None => archive(context, volume, folder, task).await,
    }
}

/// The volume as it was seen: what is known of it already, and what came in.
struct Seen {
    compared: Compared,
    objects: Objects,
    came: Option<Came>,
}

/// `None` where there is no such Python in the image.
async fn see(
    context: Context<'_>,
    reader: &MediaContainer<'_>,
    folder: &Path,
    task: &Task,
) -> Result<Option<Seen>, Failure> {
    let objects = Objects::to_add(context.settings);
    let Some(listed) = reader.list().await? else {
        return Ok(None);
    };
    let known = objects.clone();
    let name = reader.volume.name.clone();
    let compared = on_a_thread(move || compare(listed, &name, &known)).await;
    let compared = compared.map_err(|error| at("comparing the volume with the last backup", error))?;
    let bytes: u64 = compared.changed.iter().map(|file| file.state.size).sum();
    enough_room(folder, bytes + bytes / 20, "the new media files")?;
    let came = if compared.changed.is_empty() {
        None
    } else {
        Some(reader.receive(&objects, &compared.changed, task).await?)
    };
    Ok(Some(Seen {
        compared,
        objects,
        came,
    }))
}

/// Gives what came in its names, and writes the list.
async fn write_down(
    context: Context<'_>,
    seen: Seen,
    volume: &Volume,
    folder: &Path,
    task: &Task,
) -> Result<Saved, Failure> {
    let Seen {
        mut compared,
        objects,
        came,
    } = seen;
    let added = match came {
        None => Added::default(),
        Some(came) => {
            task.progress("reading the new files back from the disk");
            let (added, came) = settle(objects.clone(), came).await?;
            compared.take(came);
            added
        }
    };
    let mut entries = compared.entries;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut facts = MediaFacts {
        volume: volume.name.clone(),
        objects: objects.space(),
        files: 0,
        bytes: 0,
        added_objects: added.objects,
        added_bytes: added.bytes,
        unstable: 0,
    };
    for entry in &entries {
        match &entry.what {
            What::File { state, unstable, .. } => {
                facts.files += 1;
                facts.bytes += state.size;
                facts.unstable += u64::from(*unstable);
            }
            What::Folder | What::Link { .. } => {}
        }
    }
    if facts.unstable > 0 {
        context.warn(
            format!(
                "{} of the media files were being written all the while: what is saved of them may be no state they \
                 ever had",
                facts.unstable
            ),
            Some("another backup has them whole, once they are: viatique-deploy backup".to_owned()),
        );
    }
    if compared.others > 0 {
        context.warn(
            format!(
                "{} entries of volume {} are neither file, folder nor link, and are not saved",
                compared.others, volume.name
            ),
            None,
        );
    }
    let writing = "writing the list of the media";
    let known = objects.known(&volume.name);
    let encoded = on_a_thread(move || {
        let encoded = media_list::encode(&entries)?;
        write_known(&known, &encoded)?;
        Ok((encoded, media_list::digests(&entries)))
    });
    let (encoded, digests) = encoded.await.map_err(|error| at(writing, error))?;
    let recipients = Recipients::of(&context.settings.config.backup);
    let about = format!(
        "volume {}: {} files, {}; {} new, {}",
        volume.name,
        facts.files,
        size(facts.bytes),
        facts.added_objects,
        size(facts.added_bytes)
    );
    let mut files = Vec::new();
    let files_of_it: [(Option<&Recipients>, &str, Vec<u8>, String); 2] = [
        (recipients.as_ref(), MEDIA_LIST, encoded, about),
        (None, MEDIA_DIGESTS, digests, "which contents it needs".to_owned()),
    ];
    for (recipients, name, content, about) in files_of_it {
        let written = write_whole(recipients, &folder.join(name), &content).await;
        let written = written.map_err(|error| at(writing, error))?;
        files.push(BackupFile {
            about,
            ..keep(written).await?
        });
    }
    Ok(Saved {
        files,
        facts: Some(facts),
    })
}

/// The volume beside the last backup.
pub(super) struct Compared {
    /// What is known already: folders, links, files as they were.
    pub entries: Vec<MediaEntry>,
    /// Files that must be read.
    pub changed: Vec<Listed>,
    /// What is no file, folder or link.
    others: u64,
}

impl Compared {
    /// What was read of the changed ones; those that are gone by now are left out.
    fn take(&mut self, mut came: Digests) {
        for file in std::mem::take(&mut self.changed) {
            if let Some(read) = came.remove(&file.path) {
                self.entries.push(entry(
                    &file,
                    What::File {
                        state: read.state,
                        sha256: read.content,
                        unstable: read.unstable,
                    },
                ));
            }
        }
    }
}

fn entry(listed: &Listed, what: What) -> MediaEntry {
    MediaEntry {
        path: listed.path.clone(),
        mode: listed.mode,
        owner: listed.owner,
        group: listed.group,
        what,
    }
}

/// What was noted of the volume, and cannot be read, is nothing: everything is read again.
pub(super) fn compare(listed: Vec<Listed>, volume: &str, objects: &Objects) -> io::Result<Compared> {
    let kept = objects.digests()?;
    let mut known = HashMap::new();
    let read = File::open(objects.known(volume)).and_then(|list| {
        media_list::read(list, |entry| {
            if let What::File {
                state,
                sha256,
                unstable: false,
            } = entry.what
            {
                known.insert(entry.path, (state, sha256));
            }
            Ok(())
        })
    });
    if let Err(error) = read {
        tracing::debug!(%error, "what is known of the volume cannot be read");
        known.clear();
    }
    let mut compared = Compared {
        entries: Vec::new(),
        changed: Vec::new(),
        others: 0,
    };
    for one in listed {
        match &one.kind {
            Kind::Folder => compared.entries.push(entry(&one, What::Folder)),
            Kind::Link(target) => {
                let target = target.clone();
                compared.entries.push(entry(&one, What::Link { target }));
            }
            Kind::Other => compared.others += 1,
            Kind::File => match known.remove(&one.path) {
                Some((state, sha256)) if state == one.state && kept.contains(&sha256) => {
                    let what = What::File {
                        state,
                        sha256,
                        unstable: false,
                    };
                    compared.entries.push(entry(&one, what));
                }
                Some(_) | None => compared.changed.push(one),
            },
        }
    }
    Ok(compared)
}

/// The digests of the files that came in.
type Digests = BTreeMap<MediaPath, ReadFile<String>>;

/// Gives what came in its names.
async fn settle(objects: Objects, came: Came) -> Result<(Added, Digests), Failure> {
    let settled = on_a_thread(move || {
        let received: Vec<&Received> = came.files.values().map(|file| &file.content).collect();
        let settled = objects.settle(&received, came.incoming)?;
        let files = came.files.into_iter().map(|(path, file)| {
            let read = ReadFile {
                content: file.content.sha256,
                state: file.state,
                unstable: file.unstable,
            };
            (path, read)
        });
        Ok(settled.map(|added| (added, files.collect())))
    });
    match settled.await {
        Ok(Ok(settled)) => Ok(settled),
        Ok(Err(path)) => Err(super::reads_back_differently(&path)),
        Err(error) => Err(at("reading the media files back", error)),
    }
}
