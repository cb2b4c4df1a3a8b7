//! Which run a report is about, and where it is written: after a run, and by `report`. What is in it is `report`'s
//! business, what is known the ledger's. A run is as it is whether or not its report could be written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use time::OffsetDateTime;

use crate::account::Account;
use crate::clock::timestamp;
use crate::engine::Engine;
use crate::error::{Failure, FailureKind};
use crate::ledger::{self, KeptChecklist, Memory, PastRun};
use crate::pipeline::{Event, Events, Interrupt};
use crate::release::checklist::Checklist;
use crate::release::{Release, RunId, Tag};
use crate::report::{self, OtherRun, Report, Told};

/// So many other runs are told.
const OTHERS: usize = 20;

/// Where a report is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportPlace {
    /// To this file.
    File(PathBuf),
    /// Into this folder, which is made where it is missing, under a name that the run gives.
    Folder(PathBuf),
}

impl ReportPlace {
    /// As somebody typed it: a folder where there is one, or where it ends like one.
    pub fn typed(path: &Path) -> Self {
        let ends_like_one = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if ends_like_one || path.is_dir() {
            Self::Folder(path.to_owned())
        } else {
            Self::File(path.to_owned())
        }
    }

    /// Writes a page, and returns where it stands. What is no report is not written over.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn put(&self, name: &str, page: &str) -> Result<PathBuf> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Folder(folder) => {
                made(folder).with_context(|| format!("making the folder {}", folder.display()))?;
                folder.join(name)
            }
        };
        replaced(&path, page).with_context(|| format!("writing {}", path.display()))?;
        Ok(std::path::absolute(&path).unwrap_or(path))
    }
}

/// Makes a folder that git is told to leave alone: reports of production are no part of what is deployed.
fn made(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join(".gitignore"), "*\n")
}

/// Replaces a file in one moment, unless it is something else than a report. Only its owner may read it: there are log
/// lines in it.
fn replaced(path: &Path, page: &str) -> Result<()> {
    let name = path.file_name().context("it names no file")?;
    match fs::File::open(path) {
        Ok(file) => {
            let mut beginning = Vec::new();
            file.take(report::BEGINNING.len() as u64)
                .read_to_end(&mut beginning)?;
            if !beginning.is_empty() && beginning != report::BEGINNING.as_bytes() {
                bail!("another file is there, which is no report");
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(unfinished);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&unfinished).and_then(|mut file| {
        file.write_all(page.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    Ok(written?)
}

/// Writes the report of a run that has just ended, and says where. Who asks once more that the run be over gets one without
/// what the ledger knows.
pub(super) async fn write(
    engine: &dyn Engine,
    place: &ReportPlace,
    account: &Account,
    now: OffsetDateTime,
    events: &Events,
    interrupt: &Interrupt,
) {
    let again = interrupt.times() + 1;
    // What this run has done is known without it.
    let memory = tokio::select! {
        biased;
        memory = ledger::read(engine, &account.project) => memory.unwrap_or_default(),
        () = interrupt.asked(again) => Memory::default(),
    };
    let subject = Subject {
        tag: account.release.clone(),
        run: Some(account.run.clone()),
        account: Ok(account.clone()),
        release: release_of(&memory, account),
    };
    let page = subject.page(&account.project, &memory, now);
    let name = format!(
        "report-{}-{}-{}.html",
        account.project, account.release, account.run
    );
    match place.put(&name, &page) {
        Ok(path) => events.emit(Event::Reported {
            file: path.display().to_string(),
        }),
        Err(error) => events.emit(Event::Warning {
            message: format!("the report of this run could not be written: {error:#}"),
            hint: Some(format!("viatique-deploy report --run {}", account.run)),
        }),
    }
}

/// What a report is about.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub tag: Tag,
    /// `None` where not even that is known.
    pub run: Option<RunId>,
    /// What the run did and found; else why that is not known.
    pub account: Result<Account, String>,
    /// The record of the release, where the run made it serve.
    pub release: Option<&'a Release>,
}

impl<'a> Subject<'a> {
    /// The release of this tag, by the run that made it serve, or by the last one that tried; without a tag what serves.
    ///
    /// # Errors
    /// Where neither is known; the known ones are named.
    pub fn of_release(memory: &'a Memory, tag: Option<&Tag>) -> Result<Self, Failure> {
        let releases = &memory.releases;
        let release = match tag {
            Some(tag) => releases.tagged(tag),
            None => releases.current(),
        };
        if let Some(release) = release {
            return Ok(Self {
                tag: release.tag.clone(),
                run: Some(release.run.clone()),
                account: told(memory, &release.run, release.is_rebuilt()),
                release: Some(release),
            });
        }
        let mut runs = memory.runs.iter().rev().filter(|run| run.changed_what_serves());
        let tried = runs.find(|run| tag.is_none() || run.header.release.as_ref() == tag);
        match (tried, tag) {
            (Some(run), _) => Self::of_run(memory, &run.header.run.0),
            (None, Some(tag)) => Err(unknown(format!(
                "there is no release {tag}, and no run of it is remembered; {}",
                releases.known()
            ))),
            (None, None) => Err(unknown("nothing has been deployed yet".to_owned())),
        }
    }

    /// The run of this id, or of which that is the beginning.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn of_run(memory: &'a Memory, id: &str) -> Result<Self, Failure> {
        let tags: BTreeMap<&RunId, Option<&Tag>> = memory
            .accounts
            .keys()
            .map(|run| (run, None))
            .chain(
                memory
                    .releases
                    .all()
                    .iter()
                    .map(|release| (&release.run, Some(&release.tag))),
            )
            .chain(
                memory
                    .runs
                    .iter()
                    .map(|run| (&run.header.run, run.header.release.as_ref())),
            )
            .collect();
        let exact = tags.keys().find(|run| run.0 == id);
        let mut beginning = tags.keys().filter(|run| run.0.starts_with(id));
        let run = match (exact, beginning.next(), beginning.next()) {
            (Some(run), _, _) | (None, Some(run), None) => *run,
            (None, None, _) => {
                let newest: Vec<&str> = tags.keys().rev().take(5).map(|run| run.0.as_str()).collect();
                let known = match newest.as_slice() {
                    [] => "none is remembered".to_owned(),
                    newest => format!("the newest: {}", newest.join(", ")),
                };
                return Err(unknown(format!("there is no run {id}; {known}")));
            }
            (None, Some(one), Some(other)) => {
                return Err(unknown(format!("{id} may be {one} or {other}")));
            }
        };
        let account = told(memory, run, false);
        let tag = match (&account, tags.get(run).copied().flatten()) {
            (Ok(account), _) => account.release.clone(),
            (Err(_), Some(tag)) => tag.clone(),
            (Err(why), None) => return Err(unknown(format!("of run {run} nothing can be told: {why}"))),
        };
        let mut recorded = memory.releases.all().iter();
        Ok(Self {
            tag,
            run: Some(run.clone()),
            release: match &account {
                Ok(account) => release_of(memory, account),
                Err(_) => recorded.find(|release| release.run == *run),
            },
            account,
        })
    }

    /// What is verified of the release, as far as it is kept.
    fn checklist(&self, memory: &Memory) -> Result<Option<Checklist>, String> {
        let kept = self
            .release
            .and_then(|release| memory.checklists.get(&release.sequence));
        kept.map(KeptChecklist::read)
            .transpose()
            .map_err(|error| error.to_string())
    }

    /// The page.
    pub fn page(&self, project: &str, memory: &Memory, now: OffsetDateTime) -> String {
        report::page(&Report {
            project,
            tag: &self.tag,
            run: self.run.as_ref(),
            told: match &self.account {
                Ok(account) => Told::Known(account),
                Err(why) => Told::Unknown(why),
            },
            release: self.release,
            checklist: self.checklist(memory),
            serves: memory.releases.current(),
            others: others(memory, &self.tag, self.run.as_ref()),
            made_at: timestamp(now),
        })
    }
}

/// The record that a run has made; of one that found everything as it should be, the one that stood.
fn release_of<'a>(memory: &'a Memory, account: &Account) -> Option<&'a Release> {
    let releases = &memory.releases;
    let own = releases.all().iter().find(|release| release.run == account.run);
    own.or_else(|| {
        let serves = account.serves.as_deref() == Some(account.release.as_str());
        releases.tagged(&account.release).filter(|_| serves)
    })
}

fn told(memory: &Memory, run: &RunId, is_rebuilt: bool) -> Result<Account, String> {
    match memory.accounts.get(run) {
        Some(kept) => kept.read(run).map_err(|error| error.to_string()),
        None if is_rebuilt => Err(
            "the ledger was lost, and the record was made anew of what containers and images tell".to_owned(),
        ),
        None => Err(
            "the ledger keeps no account of its run: it was forgotten with time, is of an older version of \
             viatique-deploy, or the run was killed before it could be kept"
                .to_owned(),
        ),
    }
}

/// Other runs of the release, and those since.
fn others(memory: &Memory, tag: &Tag, subject: Option<&RunId>) -> Vec<OtherRun> {
    let is_told = |run: &&PastRun| {
        let header = &run.header;
        let is_later = subject.is_some_and(|subject| header.run > *subject);
        run.changed_what_serves()
            && Some(&header.run) != subject
            && (is_later || header.release.as_ref() == Some(tag))
    };
    let runs = memory.runs.iter().rev().filter(is_told).take(OTHERS);
    runs.map(|run| {
        let account = memory.accounts.get(&run.header.run);
        let account = account.and_then(|kept| kept.read(&run.header.run).ok());
        OtherRun {
            run: run.header.run.clone(),
            command: run.header.command.clone(),
            release: run.header.release.clone(),
            started_at: run.header.started_at.clone(),
            started_by: run.header.started_by.clone(),
            outcome: account.as_ref().map(|account| account.outcome).or(run.outcome),
            exit_code: account.as_ref().map(|account| account.exit_code),
            error: run.error.clone(),
        }
    })
    .collect()
}

fn unknown(message: String) -> Failure {
    Failure::message(FailureKind::Configuration, message).hint("viatique-deploy releases")
}
