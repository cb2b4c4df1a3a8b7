//! `checklist`, and what a run does about it at its end: whatever the run has seen answers its lines, the rest is asked of
//! a person, after the lock has been given back. It is kept before anybody is asked, and again with each answer, so that
//! neither an interruption nor a closed terminal takes anything with it.
//!
//! Nothing that is answered here undoes anything: the release serves, whatever somebody finds. Whether it is to go back
//! is for them to decide, and a command of its own.

pub mod evidence;

use serde_json::{Value, json};

use super::releases::{no_release, tagged};
use super::session::{Session, ledger_error};
use super::{configuration, identity};
use crate::account::Seen;
use crate::cli::{ChecklistArgs, GlobalOptions};
use crate::clock::{Clock, SystemClock, timestamp};
use crate::engine::Engine;
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::ledger::{Ledger, LedgerError, Memory};
use crate::pipeline::{Event, Events, Interrupt, Question, Reply, Settings};
use crate::release::checklist::{Answer, CHECKLIST_FORMAT, Checklist, ChecklistLine, LineVerdict};
use crate::release::{Release, RunId};
use crate::steps::backup::automatic::{Automatic, automatic};
use crate::steps::backup::sets::Sets;
use crate::ui::{self, OutputFormat, OutputOptions};
use crate::yaml::nearest;

/// What a run has made serve.
#[derive(Clone, Copy)]
pub(super) struct Served<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) clock: &'a dyn Clock,
    pub(super) settings: &'a Settings,
    /// As it is recorded.
    pub(super) release: &'a Release,
    pub(super) run: &'a RunId,
}

impl Served<'_> {
    /// The checklist as the run leaves it, kept; `None`, and said, where it cannot be: nobody is asked then.
    pub(super) async fn begin(
        self,
        seen: &Seen,
        events: &Events,
        interrupt: &Interrupt,
    ) -> Option<Checklist> {
        let fresh = self.answered_by_run(seen).await;
        let kept = async {
            let ledger = Ledger::open(self.engine, &fresh.project).await?;
            let memory = ledger.read().await?;
            let earlier = match memory.checklists.get(&fresh.sequence) {
                Some(earlier) => Some(earlier.read()?),
                None => None,
            };
            let mut checklist = match &earlier {
                Some(earlier) => fresh.after(earlier),
                None => fresh,
            };
            if self.settings.assume_manual {
                checklist.assume(&identity::deployed_by(), &timestamp(self.clock.now()));
            }
            ledger.keep_checklist(&checklist).await?;
            Ok(checklist)
        };
        let again = interrupt.times() + 1;
        let why = tokio::select! {
            biased;
            kept = kept => match kept {
                Ok(checklist) => return Some(checklist),
                Err::<Checklist, LedgerError>(error) => error.to_string(),
            },
            () = interrupt.asked(again) => "interrupted".to_owned(),
        };
        events.emit(Event::Warning {
            message: format!(
                "the checklist of this release could not be kept, and nothing of it is verified: {why}"
            ),
            hint: None,
        });
        None
    }

    async fn answered_by_run(self, seen: &Seen) -> Checklist {
        let settings = self.settings;
        let lines = evidence::lines(&settings.config, seen, &self.backups().await);
        Checklist {
            format: CHECKLIST_FORMAT,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            project: settings.project.name.clone(),
            sequence: self.release.sequence,
            release: self.release.tag.clone(),
            run: self.run.clone(),
            at: timestamp(self.clock.now()),
            lines,
        }
    }

    async fn backups(self) -> Automatic {
        let settings = self.settings;
        let backup = &settings.config.backup;
        if backup.database.is_none() && backup.media.is_none() && backup.repository.is_none() {
            return Automatic::Unknown("deploy.yml has nothing backed up".to_owned());
        }
        let max_age = time::Duration::try_from(backup.max_age.0).unwrap_or(time::Duration::MAX);
        match Sets::read(&settings.backup_directory, &settings.project.name).await {
            Ok(sets) => automatic(&sets, self.clock.now(), max_age),
            Err(failure) => Automatic::Unknown(format!("{:#}", failure.error)),
        }
    }

    /// Asks whoever is there what is open, line by line, until they are through, go, or interrupt.
    pub(super) async fn ask(
        self,
        mut checklist: Checklist,
        events: &Events,
        interrupt: &Interrupt,
    ) -> Checklist {
        if !events.asks() || self.settings.assume_manual {
            return checklist;
        }
        let again = interrupt.times() + 1;
        for line in open(&checklist) {
            let reply = tokio::select! {
                biased;
                () = interrupt.asked(again) => return checklist,
                reply = events.reply(question(&checklist, &line)) => reply,
            };
            let ok = match reply {
                Reply::Yes => true,
                Reply::No => false,
                Reply::Later => continue,
                Reply::Gone => return checklist,
            };
            let answers = [(line.id.clone(), ok)];
            let (who, at) = (identity::deployed_by(), timestamp(self.clock.now()));
            match answered(self.engine, &checklist, &answers, &who, &at).await {
                Ok(kept) => checklist = kept,
                Err(error) => {
                    events.emit(Event::Warning {
                        message: format!("the answer to `{}` could not be kept: {error}", line.id),
                        hint: Some(format!("viatique-deploy checklist {}", checklist.release)),
                    });
                    return checklist;
                }
            }
        }
        checklist
    }
}

/// The lines that only a person can answer now. Parts are answered with what they are parts of.
fn open(checklist: &Checklist) -> Vec<ChecklistLine> {
    let lines = checklist.lines.iter();
    let open = lines.filter(|line| line.is_open() && line.part_of.is_none());
    open.cloned().collect()
}

fn question(checklist: &Checklist, line: &ChecklistLine) -> Question {
    let mut lines = Vec::new();
    if !line.seen.is_empty() {
        lines.push((line.id.clone(), line.seen.clone()));
    }
    Question {
        lines,
        question: format!("{}, which serves: {}?", checklist.release, line.title),
    }
}

/// Keeps what a person says, with whatever else was kept meanwhile.
///
/// # Errors
/// The ledger's.
pub async fn answered(
    engine: &dyn Engine,
    checklist: &Checklist,
    answers: &[(String, bool)],
    who: &str,
    at: &str,
) -> Result<Checklist, LedgerError> {
    let ledger = Ledger::open(engine, &checklist.project).await?;
    let memory = ledger.read().await?;
    let mut kept = match memory.checklists.get(&checklist.sequence) {
        Some(kept) => kept.read()?,
        None => checklist.clone(),
    };
    for (id, ok) in answers {
        kept.answer(id, *ok, who, at);
    }
    env!("CARGO_PKG_VERSION").clone_into(&mut kept.written_by);
    ledger.keep_checklist(&kept).await?;
    Ok(kept)
}

/// The checklist of a release: of the one with this tag, else of the one that serves.
///
/// # Errors
/// No such release; none that is kept, with why; one that cannot be read.
pub fn find(memory: &Memory, tag: Option<&str>) -> Result<Checklist, Failure> {
    let releases = &memory.releases;
    let release = match tag {
        Some(tag) => tagged(releases, tag)?,
        None => releases.current().ok_or_else(|| no_release(releases.known()))?,
    };
    match memory.checklists.get(&release.sequence) {
        Some(kept) => kept.read().map_err(ledger_error),
        None => Err(none(release)),
    }
}

fn none(release: &Release) -> Failure {
    let why = if release.is_rebuilt() {
        "the ledger was lost, and with it what was verified"
    } else {
        "only a deploy that asks health makes one (run, rollback), from the version on that has this command"
    };
    Failure::message(
        FailureKind::Gate,
        format!("no checklist of release {} is kept: {why}", release.tag),
    )
    .hint("nothing is verified of it; to look now: viatique-deploy health, smoke and monitor")
}

/// Refuses answers to lines that are not there, or two to one of them.
///
/// # Errors
/// The first that is.
pub fn refuse_unknown(checklist: &Checklist, answers: &[(String, bool)]) -> Result<(), Failure> {
    let known = || checklist.lines.iter().map(|line| line.id.as_str());
    for (index, (id, ok)) in answers.iter().enumerate() {
        if known().all(|one| one != id) {
            let meant =
                nearest(id, known()).map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            let all: Vec<String> = known().map(|one| format!("`{one}`")).collect();
            return Err(configuration(anyhow::anyhow!(
                "--answer: the checklist of {} has no line `{id}`{meant}",
                checklist.release
            ))
            .hint(format!("lines there: {}", all.join(", "))));
        }
        if answers
            .iter()
            .take(index)
            .any(|(other, said)| other == id && said != ok)
        {
            return Err(configuration(anyhow::anyhow!(
                "--answer: `{id}` cannot be both well and not well"
            )));
        }
    }
    Ok(())
}

/// What the shell gets.
pub fn exit_code(checklist: &Checklist) -> ExitCode {
    match checklist.verdict() {
        LineVerdict::Ok => ExitCode::Done,
        LineVerdict::NotOk | LineVerdict::NotVerified => ExitCode::Gate,
    }
}

/// Shows it, and asks what is open where somebody sits at a terminal.
///
/// # Errors
/// As [`find`] and [`refuse_unknown`]; the ledger's.
pub(super) async fn checklist(
    global: &GlobalOptions,
    arguments: &ChecklistArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let memory = session.memory(global).await?;
    let mut checklist = find(&memory, arguments.release.as_deref())?;
    refuse_unknown(&checklist, &arguments.answer)?;
    let who = identity::deployed_by();
    let now = || timestamp(SystemClock.now());
    if !arguments.answer.is_empty() {
        if global.dry_run {
            for (id, ok) in &arguments.answer {
                checklist.answer(id, *ok, &who, &now());
            }
        } else {
            let kept = answered(&session.engine, &checklist, &arguments.answer, &who, &now()).await;
            checklist = kept.map_err(ledger_error)?;
        }
    }
    let asks = output.asks && output.format == OutputFormat::Human && !global.dry_run;
    if asks && arguments.answer.is_empty() {
        let open = open(&checklist);
        if !open.is_empty() {
            ui::data(output, &for_people(&checklist, output.columns), &Value::Null);
        }
        for line in open {
            let asked = question(&checklist, &line);
            let ok = match ui::reply(&asked.question) {
                Reply::Yes => true,
                Reply::No => false,
                Reply::Later => continue,
                Reply::Gone => break,
            };
            let answers = [(line.id, ok)];
            let kept = answered(&session.engine, &checklist, &answers, &who, &now()).await;
            checklist = kept.map_err(ledger_error)?;
        }
    }
    ui::data(
        output,
        &for_people(&checklist, output.columns),
        &json!({
            "schema": 1,
            "project": checklist.project,
            "checklist": for_programs(&checklist),
        }),
    );
    Ok(exit_code(&checklist))
}

/// A heading, and a row for each line.
pub fn for_people(checklist: &Checklist, columns: usize) -> String {
    let rows: Vec<Vec<String>> = checklist.lines.iter().map(ui::checklist_row).collect();
    format!(
        "{}: checklist of release {} (number {}): {}\n{}",
        checklist.project,
        checklist.release,
        checklist.sequence.0,
        checklist.in_words(),
        ui::wrapped_table(&rows, columns)
    )
}

/// The same for programs.
pub fn for_programs(checklist: &Checklist) -> Value {
    let line = |line: &ChecklistLine| {
        let (by, who, at) = match &line.answer {
            Answer::Evidence { .. } => ("evidence", None, None),
            Answer::Person { who, at, .. } => ("person", Some(who), Some(at)),
            Answer::Assumed { who, at } => ("assumed", Some(who), Some(at)),
            Answer::Nobody => ("nobody", None, None),
        };
        json!({
            "id": line.id,
            "title": line.title,
            "part_of": line.part_of,
            "step": line.step,
            "seen": line.seen,
            "verdict": line.verdict(),
            "by": by,
            "who": who,
            "at": at,
        })
    };
    json!({
        "release": checklist.release,
        "sequence": checklist.sequence,
        "run": checklist.run,
        "at": checklist.at,
        "verdict": checklist.verdict(),
        "lines": checklist.lines.iter().map(line).collect::<Vec<_>>(),
    })
}
