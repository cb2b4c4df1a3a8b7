//! `smoke`: plays the scenarios of `deploy.yml` through the deployed site, one after the other, and tells every one that
//! fails. What they make is theirs to remove: by their `cleanup`, and by the commands in `after`, which are run whatever
//! happened, after an interruption too. A release that fails this right after its deploy is taken back by the run. Some are
//! played before, by `deploy`: see `before_switch`.
//!
//! Nothing is asked twice, unless a step says `repeat`. No secret is in an event or an error: see `values::Mask`.

pub(crate) mod before_switch;
mod commands;
mod exchange;
mod inside;
mod judge;
mod play;
mod values;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::play::{Play, Problem, Progress, Venue};
use self::values::Mask;
use super::health::with_logs;
use crate::config::{self, SmokeFileContent, SmokeScenario, SmokeStep};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{
    Change, ChangeKind, Context, Fact, Receipt, Settings, Step, StepId, StepResult, Undone, View,
};
use crate::yaml::nearest;

/// The step.
pub struct Smoke {
    /// The names of the scenarios that are played, and of those that they need none; all of them where empty.
    only: Vec<String>,
    /// Kept here, so that what was begun can be ended after an interruption.
    progress: Mutex<Progress>,
}

impl Smoke {
    /// All of them.
    pub fn all() -> Self {
        Self::only(Vec::new())
    }

    /// Those of these names, and what they need.
    pub fn only(only: Vec<String>) -> Self {
        Self {
            only,
            progress: Mutex::default(),
        }
    }

    /// The names that were typed.
    fn known(&self, smoke: &config::Smoke) -> Result<(), Failure> {
        let names = || smoke.scenarios.iter().map(|scenario| scenario.name.as_str());
        let Some(unknown) = self.only.iter().find(|name| names().all(|known| known != *name)) else {
            return Ok(());
        };
        let meant =
            nearest(unknown, names()).map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
        let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        Err(Failure::message(
            FailureKind::Configuration,
            format!("--only: deploy.yml has no scenario `{unknown}`{meant}"),
        )
        .hint(format!("scenarios there: {}", list.join(", "))))
    }
}

/// What the section says.
fn section(settings: &Settings) -> Result<&config::Smoke, Failure> {
    settings.config.smoke.as_ref().ok_or_else(|| {
        Failure::message(
            FailureKind::Configuration,
            format!("{} has no section `smoke`", settings.config.path().display()),
        )
        .hint("write scenarios: deploy.example.yml shows how")
    })
}

#[async_trait]
impl Step for Smoke {
    fn id(&self) -> StepId {
        StepId::Smoke
    }

    fn require(&self, settings: &Settings) -> Result<(), Failure> {
        let smoke = section(settings)?;
        self.known(smoke)?;
        requirements(settings, smoke)
    }

    async fn plan(&self, view: View<'_>) -> Result<Vec<Change>, Failure> {
        let smoke = section(view.settings)?;
        let commands = |commands: &[config::SmokeCommand], when: &str| -> Vec<Change> {
            let change = |command: &config::SmokeCommand| Change {
                kind: ChangeKind::Run,
                target: format!("command {}", command.run.join(" ")),
                detail: format!(
                    "{when} the scenarios, {}",
                    commands::place(view.settings, command)
                ),
            };
            commands.iter().map(change).collect()
        };
        let scenario = |index: usize| {
            let scenario = smoke.scenarios.get(index)?;
            Some(Change {
                kind: ChangeKind::Run,
                target: scenario.name.clone(),
                detail: asked(scenario),
            })
        };
        let mut changes = commands(&smoke.before, "before");
        changes.extend(smoke.chosen(&self.only).into_iter().filter_map(scenario));
        changes.extend(commands(&smoke.after, "after"));
        Ok(changes)
    }

    async fn apply(&self, context: Context<'_>) -> Result<Receipt, Failure> {
        let smoke = section(context.settings)?;
        let mut progress = self.progress.lock().await;
        let chosen = smoke.chosen(&self.only);
        let mut play = Play::begin(context, smoke, Venue::Site, &mut progress)?;
        let problems = play.all(&chosen).await;
        if problems.is_empty() {
            let message = match chosen.len() {
                1 => "1 scenario passed".to_owned(),
                count => format!("{count} scenarios passed"),
            };
            return Ok(Receipt::unchanged(message, Fact::Nothing));
        }
        let failure = told(problems).hint("to play one again: viatique-deploy smoke --only '<scenario>'");
        Err(covered(with_logs(context, failure).await, &progress.mask))
    }

    /// Ends what an interruption has cut off. Test data that stay behind are no reason to leave the release half-way.
    async fn undo(&self, context: Context<'_>) -> Result<Undone, Failure> {
        let smoke = section(context.settings)?;
        let mut progress = self.progress.lock().await;
        if !progress.is_open() {
            return Ok(Undone::NothingToDo);
        }
        let problems = Play::again(context, smoke, Venue::Site, &mut progress)?
            .tidy()
            .await;
        if problems.is_empty() {
            return Ok(Undone::Reverted {
                message: "removed what the scenarios had made".to_owned(),
                restored_previous: false,
            });
        }
        let why = problems
            .into_iter()
            .map(|problem| problem.message)
            .collect::<Vec<_>>()
            .join("; ");
        context.warn(
            format!("smoke may have left something behind: {why}"),
            Some("the commands under smoke.after remove it: viatique-deploy smoke".to_owned()),
        );
        Ok(Undone::LeftInPlace { why })
    }
}

/// Whether the variables and files that the scenarios need are there.
///
/// # Errors
/// The first that is not.
fn requirements(settings: &Settings, smoke: &config::Smoke) -> Result<(), Failure> {
    for (place, name) in smoke.environment() {
        let value = settings.smoke_variables.get(name);
        let wrong = match value.map(|value| value.reveal().is_empty()) {
            Some(false) => continue,
            Some(true) => "is empty",
            None => "is not set",
        };
        let error = settings.config.wrong_smoke(
            &place,
            &format!("{name} {wrong}"),
            Some(format!(
                "set {name} in the environment, in a file of `env_file`, or under `secrets`"
            )),
        );
        return Err(wrong_configuration(error));
    }
    for (place, file) in files(smoke) {
        if let Err(error) = std::fs::metadata(settings.config.directory().join(&file)) {
            let message = format!("{} cannot be read: {error}", file.display());
            return Err(wrong_configuration(
                settings.config.wrong_smoke(&place, &message, None),
            ));
        }
    }
    Ok(())
}

fn wrong_configuration(error: config::ConfigError) -> Failure {
    let hint = error.hint.clone();
    let failure = Failure::new(FailureKind::Configuration, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// All that went wrong, as one.
fn told(problems: Vec<Problem>) -> Failure {
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let message = match messages.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("{} things went wrong: {}", several.len(), several.join("; ")),
    };
    problems.into_iter().filter_map(|problem| problem.evidence).fold(
        Failure::message(FailureKind::Gate, message),
        |failure, evidence| failure.evidence(evidence.title, evidence.lines),
    )
}

/// The failure with no secret in what shows why.
fn covered(mut failure: Failure, mask: &Mask) -> Failure {
    for evidence in &mut failure.evidence {
        for line in &mut evidence.lines {
            *line = mask.cover(line);
        }
    }
    failure
}

/// What a scenario asks, in one line.
fn asked(scenario: &SmokeScenario) -> String {
    let asked = scenario.steps.iter().chain(&scenario.cleanup);
    let asked: Vec<String> = asked
        .map(|step| format!("{} {}", step.method, step.path))
        .collect();
    asked.join(", ")
}

/// Every file that the scenarios send or expect, with its place.
fn files(smoke: &config::Smoke) -> Vec<(Vec<String>, std::path::PathBuf)> {
    let mut files = Vec::new();
    for (index, scenario) in smoke.scenarios.iter().enumerate() {
        for (part, steps) in parts(scenario) {
            for (number, step) in steps.iter().enumerate() {
                let place = |more: &[&str]| -> Vec<String> {
                    let here = ["scenarios", &format!("[{index}]"), part, &format!("[{number}]")];
                    here.iter().chain(more).map(|word| (*word).to_owned()).collect()
                };
                if let config::SmokeBody::Multipart { files: sent, .. } = &step.body {
                    for (field, file) in sent {
                        if let SmokeFileContent::File(path) = &file.content {
                            files.push((place(&["files", field, "file"]), path.clone()));
                        }
                    }
                }
                if let Some(path) = &step.expect.file {
                    files.push((place(&["expect", "file"]), path.clone()));
                }
            }
        }
    }
    files
}

fn parts(scenario: &SmokeScenario) -> [(&'static str, &[SmokeStep]); 2] {
    [("steps", &scenario.steps), ("cleanup", &scenario.cleanup)]
}

/// How a part of the step ended that has nothing to say beyond that.
const DONE: (StepResult, &str) = (StepResult::Succeeded, "done");
