//! The memory of a project's deploys, kept on the engine itself, so that the operator's terminal, the CI job and the
//! on-call laptop see one truth. A never-started container opens a volume; each release and each journal entry is a
//! file of its own, written once. What a release means is `release`'s business, what a step does is `steps`'.
//!
//! Reading needs no lock and changes nothing. After a crash the files written so far stand, whole.

mod accounts;
mod checklists;
mod forgetting;
mod journal;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::digest::hexadecimal;
use crate::engine::{ContainerId, Engine, EngineError, EngineErrorKind, Inspect, VolumeSpec, labels};
use crate::release::{RELEASE_FORMAT, Release, RunId, Sequence, Tag};
use crate::secret::Secret;

pub use accounts::KeptAccount;
pub use checklists::KeptChecklist;
pub use forgetting::REMEMBERED;
pub use journal::{
    Entry, EntryKind, IllegalTransition, JOURNAL_FORMAT, Journal, PastRun, RunHeader, StepState,
    UnfinishedRun,
};

/// Where the volume of a marker container is mounted (see [`Engine::create_marker`]).
pub const DATA: &str = "/data";

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine answered, and could not write: its disk is full, or the volume may not be written.
    #[error("the ledger, volume {volume}, could not be written")]
    NotWritten {
        volume: String,
        #[source]
        cause: EngineError,
    },
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

impl LedgerError {
    /// What a person would do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(_) => None,
            Self::NotWritten { .. } => Some(
                "make room where the engine keeps its volumes (docker system df), or let the volume be written; then run \
                 the same again"
                    .to_owned(),
            ),
            Self::Newer { .. } => {
                Some("use that version of viatique-deploy, or a newer one".to_owned())
            }
            Self::Damaged { .. } => Some(
                "what runs is not affected; move the file out of the ledger's volume to go on without it".to_owned(),
            ),
        }
    }
}

/// The releases of a project, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Releases(Vec<Release>);

impl Releases {
    /// The releases in this order.
    pub const fn new(releases: Vec<Release>) -> Self {
        Self(releases)
    }

    /// And this one, unless it is the last of them already.
    #[must_use]
    pub fn with(&self, release: &Release) -> Self {
        let mut releases = self.0.clone();
        if self.current().is_none_or(|current| current.run != release.run) {
            releases.push(release.clone());
        }
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

    /// In words, which can be asked for.
    pub fn known(&self) -> String {
        let known = self.0.iter().rev().filter(|release| !release.is_shortened());
        let mut tags: Vec<&str> = Vec::new();
        for release in known {
            if !tags.contains(&release.tag.as_str()) {
                tags.push(release.tag.as_str());
            }
        }
        if tags.is_empty() {
            "no release is recorded yet".to_owned()
        } else {
            format!("known: {}", tags.join(", "))
        }
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

    /// The number the next one gets.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.current().map_or(1, |release| release.sequence.0 + 1))
    }
}

/// The name of the container that opens the ledger's volume, and of the volume.
pub fn object_name(project: &str) -> String {
    format!("viatique-deploy-ledger-{project}")
}

/// Reads all of it without changing anything. A project that has no ledger yet remembers nothing.
///
/// # Errors
/// The engine's, and files that this version cannot read; those are named.
pub async fn read(inspect: &dyn Inspect, project: &str) -> Result<Memory, LedgerError> {
    match inspect.container(&object_name(project)).await? {
        Some(container) => memory(inspect, &container.id).await,
        None => Ok(Memory::default()),
    }
}

/// What the ledger knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    pub releases: Releases,
    /// The oldest first.
    pub runs: Vec<PastRun>,
    /// What runs that deployed something, or tried to, did and found.
    pub accounts: BTreeMap<RunId, KeptAccount>,
    /// What is known of releases beyond that they serve, by their number.
    pub checklists: BTreeMap<Sequence, KeptChecklist>,
    /// To be finished, forward or back, before anything else is deployed. One that is under way looks the same: it holds
    /// the lock.
    pub unfinished: Option<UnfinishedRun>,
    /// The last sign of life of the run that held the lock last.
    pub sign_of_life: Option<SignOfLife>,
    /// What the fingerprints of secret values are keyed with: nobody can try values out who has a record alone.
    pub key: Option<Key>,
}

/// Random, one for each ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Secret<String>);

/// As it is kept: in the one place where it may be seen.
#[derive(serde::Serialize, serde::Deserialize)]
struct KeyFile {
    /// See [`JOURNAL_FORMAT`].
    format: u32,
    /// In hexadecimal digits.
    key: String,
}

impl Key {
    /// Of these random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Secret::new(hexadecimal(bytes)))
    }

    /// A fingerprint that tells one value from another, and not what it is.
    pub fn fingerprint(&self, value: &str) -> String {
        let digest = Sha256::new()
            .chain_update(self.0.reveal())
            .chain_update([0])
            .chain_update(value)
            .finalize();
        // 64 bits are enough to tell two values apart.
        hexadecimal(digest.get(..8).unwrap_or(&digest))
    }
}

const KEY: &str = "key.json";

impl Memory {
    /// Whether nothing was ever done, or somebody has pruned the ledger.
    pub fn is_blank(&self) -> bool {
        self.runs.is_empty() && self.releases.all().is_empty()
    }

    /// The number that the next run gets.
    pub fn next_run(&self) -> u64 {
        self.runs.last().map_or(1, |run| run.header.number + 1)
    }
}

/// That a run was alive at this moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignOfLife {
    /// See [`JOURNAL_FORMAT`].
    pub format: u32,
    pub run: RunId,
    /// By the engine's clock: the only one that the holder of a lock and who waits for it share.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

const SIGN_OF_LIFE: &str = "alive.json";

async fn memory(inspect: &dyn Inspect, container: &ContainerId) -> Result<Memory, LedgerError> {
    let (mut releases, mut runs) = (Vec::new(), Vec::new());
    let (mut sign_of_life, mut key) = (None, None);
    let (mut accounts, mut checklists) = (BTreeMap::new(), BTreeMap::new());
    for (path, content) in files(inspect, container, DATA).await? {
        if path == SIGN_OF_LIFE {
            sign_of_life = Some(decode::<SignOfLife>(&path, &content, JOURNAL_FORMAT)?);
        } else if path == KEY {
            let kept = decode::<KeyFile>(&path, &content, JOURNAL_FORMAT)?;
            key = Some(Key(Secret::new(kept.key)));
        } else if let Some(path) = path.strip_prefix("releases/") {
            releases.push((path.to_owned(), content));
        } else if let Some(path) = path.strip_prefix("runs/") {
            runs.push((path.to_owned(), content));
        } else if let Some(name) = path.strip_prefix(accounts::FOLDER)
            && let Some(run) = name.strip_suffix(accounts::ENDING)
        {
            let account = KeptAccount(content);
            if !account.is_forgotten() {
                accounts.insert(RunId(run.to_owned()), account);
            }
        } else if let Some(name) = path.strip_prefix(checklists::FOLDER)
            && let Some(kept) = KeptChecklist::of(name, content)
        {
            checklists.insert(kept.sequence(), kept);
        }
    }
    let runs = runs_from(runs)?;
    let decisive = runs.iter().rev().find(|run| run.changed_what_serves());
    Ok(Memory {
        releases: releases_from(releases)?,
        unfinished: decisive.and_then(PastRun::unfinished),
        runs,
        accounts,
        checklists,
        sign_of_life,
        key,
    })
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

fn runs_from(files: Vec<(String, Vec<u8>)>) -> Result<Vec<PastRun>, LedgerError> {
    let mut by_run: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for (path, content) in files {
        if let Some((run, file)) = path.split_once('/') {
            let files = by_run.entry(run.to_owned()).or_default();
            files.push((file.to_owned(), content));
        }
    }
    let mut runs = Vec::new();
    let newest = by_run.keys().next_back().cloned();
    for (run, files) in by_run {
        match PastRun::from_files(&run, files) {
            Ok(read) => runs.extend(read),
            // Others have ended since: what it says decides nothing any more.
            Err(LedgerError::Damaged { .. }) if newest.as_ref() != Some(&run) => {}
            Err(error) => return Err(error),
        }
    }
    runs.sort_by(|one, other| {
        let key = |run: &PastRun| (run.header.number, run.header.run.clone());
        key(one).cmp(&key(other))
    });
    Ok(runs)
}

async fn files(
    inspect: &dyn Inspect,
    container: &ContainerId,
    folder: &str,
) -> Result<Vec<(String, Vec<u8>)>, LedgerError> {
    let mut files = inspect.read_files(container, folder).await?.unwrap_or_default();
    files.retain(|(path, _)| path.ends_with(".json") || path.ends_with(accounts::ENDING));
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

/// The ledger, open for writing. The caller holds the project's lock, unless what it writes is its run's alone.
pub struct Ledger<'a> {
    engine: &'a dyn Engine,
    container: ContainerId,
    volume: String,
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
                volume: name,
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
        Ok(Self {
            engine,
            container,
            volume: name,
        })
    }

    /// The releases so far, and the run that nobody has finished yet: all of it in one call of the engine, each of which
    /// takes as long as many files do.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn read(&self) -> Result<Memory, LedgerError> {
        memory(self.engine, &self.container).await
    }

    /// Begins the journal of a run; its header is written with the first entry.
    ///
    /// # Errors
    /// A header that cannot be written down.
    pub fn begin(&'a self, header: RunHeader) -> Result<Journal<'a>, LedgerError> {
        Journal::new(self, header)
    }

    /// Keeps the key of a ledger that has none yet.
    ///
    /// # Errors
    /// The engine's.
    pub async fn keep_key(&self, key: &Key) -> Result<(), LedgerError> {
        let kept = KeyFile {
            format: JOURNAL_FORMAT,
            key: key.0.reveal().clone(),
        };
        self.write(&[file(KEY.to_owned(), &kept)?]).await
    }

    /// Records all of these at once, in a ledger that has none.
    ///
    /// # Errors
    /// The engine's.
    pub async fn keep_releases(&self, releases: &Releases) -> Result<(), LedgerError> {
        let files: Result<Vec<File>, LedgerError> = releases.all().iter().map(release_file).collect();
        self.write(&files?).await
    }

    /// Writes down that this run is alive.
    ///
    /// # Errors
    /// The engine's.
    pub async fn beat(&self, run: &RunId) -> Result<(), LedgerError> {
        let sign = SignOfLife {
            format: JOURNAL_FORMAT,
            run: run.clone(),
            at: self.engine.time().await?,
        };
        self.write(&[file(SIGN_OF_LIFE.to_owned(), &sign)?]).await
    }

    /// One call of the engine, in which as many files as there are cost no more than one.
    async fn write(&self, files: &[File]) -> Result<(), LedgerError> {
        match self.engine.write_files(&self.container, DATA, files).await {
            Err(cause) if cause.kind == EngineErrorKind::Other => Err(LedgerError::NotWritten {
                volume: self.volume.clone(),
                cause,
            }),
            outcome => Ok(outcome?),
        }
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
