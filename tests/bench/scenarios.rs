//! What is done under load: deploys by each tool, and with ours rollbacks and releases that fail half-way.

use anyhow::{Result, ensure};

use super::client::Pressure;
use super::options::Options;
use super::process;
use super::progress::Said;
use super::requests::Visitor;
use super::session::{Session, Stand};
use super::stage::Stage;
use super::tools::{Presence, Tool, viatique};

/// Deployed, then rolled back by itself.
const ROLLED_BACK: i32 = 6;

/// What one tool did.
pub(crate) struct Turn {
    pub(crate) tool: Tool,
    pub(crate) presence: Presence,
    /// Deploys, by whether there were uploads.
    pub(crate) sessions: Vec<Session>,
    /// Why it could not be measured to the end, where its stack or the load could not be set up.
    pub(crate) problem: Option<String>,
}

/// What only our tool does.
pub(crate) struct Extra {
    pub(crate) name: &'static str,
    pub(crate) session: Session,
    /// How many ended as they must.
    pub(crate) as_expected: usize,
}

/// Everything measured.
pub(crate) struct Results {
    pub(crate) turns: Vec<Turn>,
    pub(crate) extras: Vec<Extra>,
}

/// Runs what the options ask for, one tool after another, each on a fresh stack of its own making. `keep` gets what
/// there is after each tool.
pub(crate) fn run(
    options: &Options,
    say: &dyn Fn(&str),
    keep: &dyn Fn(&Results) -> Result<()>,
) -> Result<Results> {
    let mut results = Results {
        turns: Vec::new(),
        extras: Vec::new(),
    };
    for tool in &options.tools {
        let presence = tool.presence();
        let mut turn = Turn {
            tool: *tool,
            presence: presence.clone(),
            sessions: Vec::new(),
            problem: None,
        };
        match presence {
            Presence::NotInstalled(what) => say(&format!("{}: not installed ({what})", tool.name())),
            Presence::Installed { compose, .. } => {
                let turn_of = TurnOf {
                    tool: *tool,
                    compose,
                    options,
                    say,
                };
                let played = turn_of.play(&mut turn.sessions, &mut results.extras);
                turn.problem = played
                    .err()
                    .map(|problem| format!("{}: {problem:#}", tool.name()));
            }
        }
        results.turns.push(turn);
        keep(&results)?;
    }
    Ok(results)
}

struct TurnOf<'a> {
    tool: Tool,
    compose: String,
    options: &'a Options,
    say: &'a dyn Fn(&str),
}

impl TurnOf<'_> {
    fn play(&self, sessions: &mut Vec<Session>, extras: &mut Vec<Extra>) -> Result<()> {
        let name = self.tool.name();
        (self.say)(&format!(
            "{name}: bringing the stack up (the first build takes a few minutes)"
        ));
        let stage = Stage::new(self.options.unbuffered)?;
        self.tool.set_up(&stage, &self.compose)?;
        let visitor = Visitor::log_in(stage.port, &stage.seed()?)?;
        let mut number = 1;
        let modes = self.options.uploads.modes();
        for (turn, uploads) in modes.iter().enumerate() {
            let count = if self.tool == Tool::Viatique && turn == 0 {
                self.options.deploys
            } else {
                self.options.others
            };
            (self.say)(&format!("{name}: {count} deploys, {}", described(*uploads)));
            let session = Session::hold(&stage, &visitor, self.pressure(*uploads), |stand| {
                for _ in 0..count {
                    number += 1;
                    self.deploy(stand, &stage, &self.tool.tag(number))?;
                }
                Ok(())
            })?;
            let over = session.cut_short.is_some();
            sessions.push(session);
            if over {
                return Ok(());
            }
        }
        if self.tool == Tool::Viatique {
            self.extras(&stage, &visitor, number, modes[0], extras)?;
        }
        Ok(())
    }

    fn pressure(&self, uploads: bool) -> Pressure {
        Pressure {
            rate: self.options.rate,
            uploads,
        }
    }

    fn deploy(&self, stand: &mut Stand<'_>, stage: &Stage, tag: &str) -> Result<()> {
        let ended = stand.deploy(tag, |said: &mut dyn FnMut(Said)| {
            self.tool.deploy(stage, &self.compose, tag, said)
        })?;
        // That a deploy fails is a result, and what the next one starts from is what it left.
        self.ended_with(&ended, 0, &format!("{} {tag}", self.tool.name()));
        Ok(())
    }

    fn extras(
        &self,
        stage: &Stage,
        visitor: &Visitor,
        number: usize,
        uploads: bool,
        extras: &mut Vec<Extra>,
    ) -> Result<()> {
        let pressure = self.pressure(uploads);
        if self.options.rollbacks > 0 {
            ensure!(
                number > 1,
                "--rollbacks needs --deploys: there is nothing to go back to"
            );
            (self.say)(&format!("{} rollbacks", self.options.rollbacks));
            let mut as_expected = 0;
            let session = Session::hold(stage, visitor, pressure, |stand| {
                for turn in 1..=self.options.rollbacks {
                    // Back, forth, and back again.
                    let tag = self.tool.tag(number - turn % 2);
                    let ended = stand.deploy(&format!("to {tag}"), |said| {
                        viatique(stage, &["rollback", "--to", &tag], said)
                    })?;
                    as_expected += usize::from(self.ended_with(&ended, 0, &tag));
                }
                Ok(())
            })?;
            let over = session.cut_short.is_some();
            extras.push(Extra {
                name: "rollbacks",
                session,
                as_expected,
            });
            if over {
                return Ok(());
            }
        }
        if self.options.failing > 0 {
            (self.say)(&format!("{} releases that fail half-way", self.options.failing));
            let mut as_expected = 0;
            let session = Session::hold(stage, visitor, pressure, |stand| {
                for turn in 1..=self.options.failing {
                    let tag = format!("bad{turn}");
                    break_release(stage, turn)?;
                    let ended = stand.deploy(&tag, |said| viatique(stage, &["run", "--tag", &tag], said))?;
                    as_expected += usize::from(self.ended_with(&ended, ROLLED_BACK, &tag));
                    stage.mend()?;
                }
                Ok(())
            })?;
            extras.push(Extra {
                name: "failing half-way",
                session,
                as_expected,
            });
        }
        Ok(())
    }

    fn ended_with(&self, ended: &process::Ended, code: i32, what: &str) -> bool {
        let well = ended.code == Some(code);
        if !well {
            (self.say)(&format!(
                "{what}: exit code {:?}, {code} expected\n{}",
                ended.code,
                ended.tail()
            ));
        }
        well
    }
}

/// Breaks the sources so that the release fails once other services have been replaced.
fn break_release(stage: &Stage, turn: usize) -> Result<()> {
    if turn.is_multiple_of(2) {
        // Serves every page but the one that its health test asks for.
        stage.replace(
            "frontend/entrypoint.sh",
            ">/tmp/release.json",
            ">/tmp/not-release.json",
        )
    } else {
        stage.replace(
            "backend/viatique/celery.py",
            "app = Celery(\"viatique\")\n",
            "import sys\nif \"worker\" in sys.argv:\n    raise RuntimeError(\"broken on purpose\")\n\
             app = Celery(\"viatique\")\n",
        )
    }
}

const fn described(uploads: bool) -> &'static str {
    if uploads {
        "with slow uploads in flight"
    } else {
        "without uploads"
    }
}
