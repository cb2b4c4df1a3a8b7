//! The memory of a project's deploys, kept on the engine itself, so that the operator's terminal, the CI job and the
//! on-call laptop see one truth. A never-started container opens a volume; each release and each journal entry is a
//! file of its own, written once. What a release means is `release`'s business, what a step does is `steps`'.
//!
//! Reading needs no lock and changes nothing. After a crash the files written so far stand, whole.

mod journal;

use std::collections::BTreeMap;

use crate::engine::{ContainerId, Engine, EngineError, EngineErrorKind, Inspect, VolumeSpec, labels};
use crate::release::{RELEASE_FORMAT, Release, RunId, Sequence, Tag};

pub use journal::{
    Entry, EntryKind, IllegalTransition, JOURNAL_FORMAT, Journal, RunHeader, StepState, UnfinishedRun,
};

/// Where the volume of a marker container is mounted (see [`Engine::create_marker`]).
pub const DATA: &str = "/data";

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Written by a newer version of the tool.
    #[error(
        "the ledger's {file} has format {found}, written by viatique-deploy {written_by}; this is {ours}, which reads up to format {supported}"
    )]
    Newer {
        file: String,
        found: u32,
        supported: u32,
        written_by: String,
        ours: &'static str,
    },
    /// Not what this tool writes.
    #[error("the ledger's {file} is damaged: {message}")]
    Damaged { file: String, message: String },
}

/// The releases of a project, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Releases(Vec<Release>);

impl Releases {
    /// The releases in this order.
    pub const fn new(releases: Vec<Release>) -> Self {
        Self(releases)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[Release] {
        &self.0
    }

    /// The one deployed last: what serves now, unless somebody changed it by hand.
    pub fn current(&self) -> Option<&Release> {
        self.0.last()
    }

    /// What `rollback` without an argument returns to.
    pub fn previous(&self) -> Option<&Release> {
        let sequence = self.current()?.previous?;
        self.0.iter().find(|release| release.sequence == sequence)
    }

    /// The latest deployment of a tag.
    pub fn tagged(&self, tag: &Tag) -> Option<&Release> {
        self.0.iter().rev().find(|release| release.tag == *tag)
    }

    /// Every tag once, the latest deployed first.
    pub fn tags(&self) -> Vec<&Tag> {
        let mut tags: Vec<&Tag> = Vec::new();
        for release in self.0.iter().rev() {
            if !tags.contains(&&release.tag) {
                tags.push(&release.tag);
            }
        }
        tags
    }

    /// The number the next one gets.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.current().map_or(1, |release| release.sequence.0 + 1))
    }
}

/// The name of the container that opens the ledger's volume, and of the volume.
pub fn object_name(project: &str) -> String {
    format!("viatique-deploy-ledger-{project}")
}

/// Reads the releases without changing anything. A project that has no ledger yet has none.
///
/// # Errors
/// The engine's, and files that this version cannot read; those are named.
pub async fn read_releases(inspect: &dyn Inspect, project: &str) -> Result<Releases, LedgerError> {
    let Some(container) = inspect.container(&object_name(project)).await? else {
        return Ok(Releases::default());
    };
    releases_from(files(inspect, &container.id, &format!("{DATA}/releases")).await?)
}

/// Whether the ledger's volume stands but nothing opens it: `docker container prune` takes containers that never ran.
/// [`Ledger::open`] opens it again; until then there seem to be no releases.
///
/// # Errors
/// The engine's.
pub async fn is_closed(inspect: &dyn Inspect, project: &str) -> Result<bool, LedgerError> {
    let name = object_name(project);
    Ok(inspect.container(&name).await?.is_none() && inspect.volume(&name).await?.is_some())
}

fn releases_from(files: Vec<(String, Vec<u8>)>) -> Result<Releases, LedgerError> {
    let mut releases = Vec::new();
    for (path, content) in files {
        releases.push(decode::<Release>(
            &format!("releases/{path}"),
            &content,
            RELEASE_FORMAT,
        )?);
    }
    releases.sort_by_key(|release| release.sequence);
    Ok(Releases(releases))
}

/// The newest run that began and did not say how it ended, if any.
///
/// # Errors
/// As [`read_releases`].
pub async fn unfinished_run(
    inspect: &dyn Inspect,
    project: &str,
) -> Result<Option<UnfinishedRun>, LedgerError> {
    let Some(container) = inspect.container(&object_name(project)).await? else {
        return Ok(None);
    };
    unfinished_from(files(inspect, &container.id, &format!("{DATA}/runs")).await?)
}

fn unfinished_from(files: Vec<(String, Vec<u8>)>) -> Result<Option<UnfinishedRun>, LedgerError> {
    let mut runs: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for (path, content) in files {
        if let Some((run, file)) = path.split_once('/') {
            runs.entry(run.to_owned())
                .or_default()
                .push((file.to_owned(), content));
        }
    }
    match runs.into_iter().next_back() {
        Some((run, files)) => UnfinishedRun::from_files(&run, files),
        None => Ok(None),
    }
}

async fn files(
    inspect: &dyn Inspect,
    container: &ContainerId,
    folder: &str,
) -> Result<Vec<(String, Vec<u8>)>, LedgerError> {
    let mut files = inspect.read_files(container, folder).await?.unwrap_or_default();
    files.retain(|(path, _)| path.ends_with(".json"));
    files.sort();
    Ok(files)
}

#[derive(serde::Deserialize)]
struct Stamp {
    format: u32,
    #[serde(default)]
    written_by: String,
}

/// Reads one file, the format first: a newer one may have fields that mean something else.
fn decode<T: serde::de::DeserializeOwned>(
    file: &str,
    content: &[u8],
    supported: u32,
) -> Result<T, LedgerError> {
    let damaged = |error: serde_json::Error| LedgerError::Damaged {
        file: file.to_owned(),
        message: error.to_string(),
    };
    let stamp: Stamp = serde_json::from_slice(content).map_err(damaged)?;
    if stamp.format > supported {
        return Err(LedgerError::Newer {
            file: file.to_owned(),
            found: stamp.format,
            supported,
            written_by: stamp.written_by,
            ours: env!("CARGO_PKG_VERSION"),
        });
    }
    serde_json::from_slice(content).map_err(damaged)
}

/// The ledger, open for writing. The caller holds the project's lock.
pub struct Ledger<'a> {
    engine: &'a dyn Engine,
    container: ContainerId,
}

impl<'a> Ledger<'a> {
    /// Opens it, making the volume and the container that opens it where they are missing.
    ///
    /// # Errors
    /// The engine's.
    pub async fn open(engine: &'a dyn Engine, project: &str) -> Result<Ledger<'a>, LedgerError> {
        let name = object_name(project);
        if let Some(container) = engine.container(&name).await? {
            return Ok(Self {
                engine,
                container: container.id,
            });
        }
        let marks = BTreeMap::from([
            (labels::PROJECT.to_owned(), project.to_owned()),
            (labels::ROLE.to_owned(), labels::Role::Ledger.as_str().to_owned()),
        ]);
        engine
            .create_volume(&VolumeSpec {
                volume: crate::compose::Volume {
                    key: "ledger".to_owned(),
                    name: name.clone(),
                    external: false,
                    driver: None,
                    driver_opts: BTreeMap::new(),
                    labels: BTreeMap::new(),
                },
                labels: marks.clone(),
            })
            .await?;
        let container = match engine.create_marker(&name, &marks, Some(&name)).await {
            Ok(container) => container,
            // A command without the lock may have opened it in the meantime.
            Err(error) if error.kind == EngineErrorKind::NameTaken => engine
                .container(&name)
                .await?
                .map(|container| container.id)
                .ok_or(error)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { engine, container })
    }

    /// The releases so far, and the newest run if it never said how it ended: all of it in one call of the engine,
    /// each of which takes as long as many files do.
    ///
    /// # Errors
    /// As [`read_releases`].
    pub async fn read(&self) -> Result<(Releases, Option<UnfinishedRun>), LedgerError> {
        let (mut releases, mut runs) = (Vec::new(), Vec::new());
        for (path, content) in files(self.engine, &self.container, DATA).await? {
            if let Some(path) = path.strip_prefix("releases/") {
                releases.push((path.to_owned(), content));
            } else if let Some(path) = path.strip_prefix("runs/") {
                runs.push((path.to_owned(), content));
            }
        }
        Ok((releases_from(releases)?, unfinished_from(runs)?))
    }

    /// Begins the journal of a run; its header is written with the first entry.
    ///
    /// # Errors
    /// A header that cannot be written down.
    pub fn begin(&'a self, header: RunHeader) -> Result<Journal<'a>, LedgerError> {
        Journal::new(self, header)
    }

    /// One call of the engine, in which as many files as there are cost no more than one.
    async fn write(&self, files: &[File]) -> Result<(), LedgerError> {
        Ok(self.engine.write_files(&self.container, DATA, files).await?)
    }
}

/// Path in the ledger, and content.
type File = (String, Vec<u8>);

fn file(path: String, value: &impl serde::Serialize) -> Result<File, LedgerError> {
    match serde_json::to_vec_pretty(value) {
        Ok(content) => Ok((path, content)),
        Err(error) => Err(LedgerError::Damaged {
            file: path,
            message: error.to_string(),
        }),
    }
}

fn release_file(release: &Release) -> Result<File, LedgerError> {
    file(format!("releases/{:06}.json", release.sequence.0), release)
}

/// What a journal's folder is called.
fn run_folder(run: &RunId) -> String {
    format!("runs/{run}")
}
