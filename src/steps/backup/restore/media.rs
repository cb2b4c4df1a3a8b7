//! The media's part of a restore: files that are missing or have another content are put in their place, each in one
//! step; what gives way, and what the backup does not know, is set aside in the volume. Nothing is removed.

use std::collections::HashMap;
use std::io;

use tokio_util::io::SyncIoBridge;

use super::super::content::Contents;
use super::super::encryption::Keys;
use super::super::file::on_a_thread;
use super::super::media::{Compared, Volume, compare};
use super::super::media_container::{Access, FOLDER, MediaContainer, failed};
use super::super::media_list::{self, MEDIA_LIST, MediaEntry, What};
use super::super::objects::Objects;
use super::super::{Manifest, at, media_volume, size};
use crate::engine::{Captured, ExecSpec};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Task, Unit};
use crate::stack::media::{self, MediaPath, Packing, Put};

/// Bytes that may wait between who reads the contents and who writes them.
const AHEAD: usize = 1 << 20;

/// What is to be done with one path.
enum Order {
    /// It gives way.
    Aside(MediaPath),
    Put(MediaEntry),
}

/// All of it, and how much it is.
#[derive(Default)]
struct Orders {
    list: Vec<Order>,
    files: u64,
    bytes: u64,
    aside: u64,
}

/// Restores the volume. What was done, in words.
pub(super) async fn put(
    context: Context<'_>,
    volume: &Volume,
    manifest: &Manifest,
    contents: &Contents,
    task: &Task,
) -> Result<String, Failure> {
    let what = format!("restoring volume {}", volume.name);
    let Some(list) = manifest.file(MEDIA_LIST) else {
        return Err(Failure::message(
            FailureKind::Failed,
            format!("{what}: the backup has the media as one archive, which is not restored by this program"),
        )
        .hint("tar --extract reads it; without it: backup restore --only database"));
    };
    let keys = contents.keys_for(list)?;
    let list = contents.whole(list).await?;
    let container = open(context, volume).await?;
    let done = async {
        let listed = container.list().await?.ok_or_else(|| no_python(volume))?;
        let known = Objects::to_add(context.settings);
        let name = volume.name.clone();
        let orders = on_a_thread(move || orders(&list, compare(listed, &name, &known)?));
        let orders = orders.await.map_err(|error| at(&what, error))?;
        if orders.list.is_empty() {
            return Ok("every file is as it was".to_owned());
        }
        let done = format!(
            "{} files put in place, {}; {} set aside",
            orders.files,
            size(orders.bytes),
            orders.aside
        );
        let space = manifest.media.as_ref().map(|media| media.objects.as_str());
        let objects = Objects::of(
            &context.settings.backup_directory,
            &manifest.project,
            space.unwrap_or_default(),
        );
        task.amount(0, Some(orders.bytes), Unit::Bytes);
        write(&container, orders, (objects, keys), &what).await?;
        Ok(done)
    };
    let done: Result<String, Failure> = done.await;
    let removed = context.engine.remove_container(&container.container).await;
    let done = done?;
    removed?;
    Ok(done)
}

async fn open<'a>(context: Context<'a>, volume: &'a Volume) -> Result<MediaContainer<'a>, Failure> {
    let container = MediaContainer::open(context, volume, Access::Writes).await?;
    container.ok_or_else(|| no_python(volume))
}

fn no_python(volume: &Volume) -> Failure {
    Failure::message(
        FailureKind::Failed,
        format!(
            "volume {} cannot be restored: there is no image of the application that has Python",
            volume.name
        ),
    )
    .hint("viatique-deploy build makes it; without the media: backup restore --only database")
}

/// What has to be done so that the volume is as it was.
fn orders(list: &[u8], compared: Compared) -> io::Result<Orders> {
    let mut standing: HashMap<MediaPath, Option<What>> = HashMap::new();
    for entry in compared.entries {
        standing.insert(entry.path, Some(entry.what));
    }
    // What is in these was not saved yet: it counts as something else.
    for file in compared.changed {
        standing.insert(file.path, None);
    }
    let mut orders = Orders::default();
    media_list::read(list, |entry| {
        let stands = standing.remove(&entry.path);
        let same = match (&stands, &entry.what) {
            (Some(Some(What::File { sha256: one, .. })), What::File { sha256: other, .. }) => one == other,
            (Some(Some(What::Folder)), What::Folder) => true,
            (Some(Some(What::Link { target: one })), What::Link { target: other }) => one == other,
            (_, _) => false,
        };
        if !same {
            orders.aside += u64::from(stands.is_some());
            if let What::File { state, .. } = &entry.what {
                orders.files += 1;
                orders.bytes += state.size;
            }
            orders.list.push(Order::Put(entry));
        }
        Ok(())
    })?;
    // Folders stay: nothing is in them any more, or what a visitor is just adding.
    let unknown = standing
        .into_iter()
        .filter(|(_, what)| !matches!(what, Some(What::Folder)));
    for (path, _) in unknown {
        orders.aside += 1;
        orders.list.push(Order::Aside(path));
    }
    Ok(orders)
}

async fn write(
    container: &MediaContainer<'_>,
    orders: Orders,
    (objects, keys): (Objects, Option<Keys>),
    what: &str,
) -> Result<(), Failure> {
    let (to, mut from) = tokio::io::duplex(AHEAD);
    let to = SyncIoBridge::new(to);
    let count = orders.list.len();
    let packing = on_a_thread(move || {
        let mut packing = Packing::new(io::BufWriter::with_capacity(1 << 16, to));
        for order in &orders.list {
            pack(&mut packing, order, &objects, keys.as_ref())?;
        }
        let mut output = packing.finish()?;
        io::Write::flush(&mut output)?;
        output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .shutdown()
    });
    let command = ExecSpec {
        command: media::put(&container.python, FOLDER, &container.context.run.0),
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    let engine = container.context.engine;
    let putting = async {
        let exit = engine
            .exec(&container.container, &command, Some(&mut from), &mut output)
            .await;
        drop(from);
        exit
    };
    let (packed, exit) = tokio::join!(packing, putting);
    // A content that cannot be read is why the script stumbles; that it has stopped reading is why nothing can be written.
    match packed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(at(what, error)),
        Ok(()) | Err(_) => {}
    }
    let exit = exit.map_err(|error| Failure::from(error).context(what.to_owned()))?;
    if !exit.success() {
        return Err(failed(what, exit.code, &output));
    }
    let printed = output.stdout_text();
    let entries = printed
        .trim()
        .strip_prefix("end\t")
        .and_then(|text| text.parse().ok());
    if entries == Some(count) {
        return Ok(());
    }
    Err(Failure::message(
        FailureKind::Failed,
        format!("{what}: the script did not come to its end"),
    ))
}

/// One entry. A content is proven before it is sent: it is put in its place as it comes.
fn pack<W: io::Write>(
    packing: &mut Packing<W>,
    order: &Order,
    objects: &Objects,
    keys: Option<&Keys>,
) -> io::Result<()> {
    let entry = match order {
        Order::Aside(path) => return packing.add(path, (0, 0, 0), Put::Nothing),
        Order::Put(entry) => entry,
    };
    let rights = (entry.mode, entry.owner, entry.group);
    match &entry.what {
        What::Folder => packing.add(&entry.path, rights, Put::Folder),
        What::Link { target } => packing.add(&entry.path, rights, Put::Link { target }),
        What::File { state, sha256, .. } => {
            let size = objects.length_if_whole(sha256, keys)?.ok_or_else(|| {
                let path = objects.path(sha256);
                let what = format!("{}: its content is damaged ({})", entry.path, path.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            let mut content = objects.open(sha256, keys)?;
            packing.add(
                &entry.path,
                rights,
                Put::File {
                    size,
                    modified: state.modified,
                    content: &mut content,
                },
            )
        }
    }
}

/// Puts back what was set aside under one name, and sets aside under the other what gives way; `None` where there is
/// nothing under it.
pub(super) async fn put_back(
    context: Context<'_>,
    volume: &Volume,
    from: &str,
    to: &str,
) -> Result<Option<String>, Failure> {
    let what = format!("putting back what was set aside in volume {}", volume.name);
    if !asides(context, volume).await?.iter().any(|one| one == from) {
        return Ok(None);
    }
    let container = open(context, volume).await?;
    let printed = say(
        &container,
        media::back(&container.python, FOLDER, from, to),
        &what,
    )
    .await;
    let removed = context.engine.remove_container(&container.container).await;
    media::lines(&printed?).map_err(|error| Failure::from(error).context(what))?;
    removed?;
    Ok(Some(format!("the files of volume {} are back", volume.name)))
}

/// Puts back what this run has set aside, if it has.
pub(super) async fn undo(context: Context<'_>) -> Result<Option<String>, Failure> {
    let Some(volume) = media_volume(context.view()) else {
        return Ok(None);
    };
    let undone = format!("{}-undone", context.run);
    put_back(context, &volume, &context.run.0, &undone).await
}

/// Under which names something is set aside, the oldest first; none where the application's image has no Python, since
/// nothing can have been set aside then.
pub(super) async fn asides(context: Context<'_>, volume: &Volume) -> Result<Vec<String>, Failure> {
    if context.engine.volume(&volume.name).await?.is_none() {
        return Ok(Vec::new());
    }
    let Some(container) = MediaContainer::open(context, volume, Access::Reads).await? else {
        return Ok(Vec::new());
    };
    let what = format!("asking what is set aside in volume {}", volume.name);
    let printed = say(&container, media::asides(&container.python, FOLDER), &what).await;
    context.engine.remove_container(&container.container).await?;
    let printed = printed?;
    let lines = media::lines(&printed).map_err(|error| Failure::from(error).context(what))?;
    Ok(lines.into_iter().map(ToOwned::to_owned).collect())
}

async fn say(container: &MediaContainer<'_>, command: Vec<String>, what: &str) -> Result<String, Failure> {
    let command = ExecSpec {
        command,
        ..ExecSpec::default()
    };
    let mut output = Captured::default();
    let engine = container.context.engine;
    let exit = engine
        .exec(&container.container, &command, None, &mut output)
        .await;
    let exit = exit.map_err(|error| Failure::from(error).context(what.to_owned()))?;
    if exit.success() {
        return Ok(output.stdout_text());
    }
    Err(failed(what, exit.code, &output))
}
