//! Plays the scenarios: in order, each with its own cookies, each to its own end. What is under way stands in [`Progress`], so
//! that what an interruption cuts off can be tidied up.

use std::collections::BTreeMap;

use cookie_store::CookieStore;
use tokio::time::Instant;

use super::exchange::{Answered, Site, Unasked, ask};
use super::values::{Mask, Missing, Values, take};
use super::{DONE, commands, judge};
use crate::config::{Smoke, SmokeCommand, SmokeScenario, SmokeStep, SmokeTarget};
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Context, Evidence, StepId, StepResult, Task};

/// How far it is.
#[derive(Default)]
pub(super) struct Progress {
    /// What the names of the section stand for.
    values: Values,
    pub(super) mask: Mask,
    /// The commands of `after` have not been run since those of `before` were begun.
    after_is_due: bool,
    open: Option<Open>,
}

impl Progress {
    /// Whether something was begun, and not tidied up.
    pub(super) const fn is_open(&self) -> bool {
        self.after_is_due || self.open.is_some()
    }
}

/// The scenario under way.
struct Open {
    scenario: usize,
    values: Values,
    captured: Values,
    cookies: CookieStore,
    /// How many of its clean-up steps are done.
    cleaned: usize,
}

/// Something that went wrong; without secrets.
pub(super) struct Problem {
    pub message: String,
    pub evidence: Option<Evidence>,
}

/// Where scenarios are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Venue {
    /// As visitors reach the site, once a release serves.
    Site,
    /// In a new container alone, as a part of `deploy`.
    NewContainer,
}

impl Venue {
    pub(super) const fn step(self) -> StepId {
        match self {
            Self::Site => StepId::Smoke,
            Self::NewContainer => StepId::Deploy,
        }
    }

    /// The name of a part of the step: those of `deploy` are services.
    fn task(self, name: &str) -> String {
        match self {
            Self::Site => name.to_owned(),
            Self::NewContainer => format!("trial: {name}"),
        }
    }

    /// What a request went to, where that is not what visitors ask.
    const fn addressee(self) -> &'static str {
        match self {
            Self::Site => "",
            Self::NewContainer => " (of the new container alone)",
        }
    }
}

/// One play.
pub(super) struct Play<'a> {
    context: Context<'a>,
    smoke: &'a Smoke,
    venue: Venue,
    target: SmokeTarget,
    progress: &'a mut Progress,
}

impl<'a> Play<'a> {
    /// From the beginning.
    ///
    /// # Errors
    /// Nothing says where the site is, or there are no random bytes for a secret.
    pub(super) fn begin(
        context: Context<'a>,
        smoke: &'a Smoke,
        venue: Venue,
        progress: &'a mut Progress,
    ) -> Result<Self, Failure> {
        *progress = Progress::default();
        let own = smoke.variables.0.iter();
        take(
            own.map(|(name, variable)| (name.as_str(), variable)),
            &context.settings.smoke_variables,
            &mut progress.values,
            &mut progress.mask,
        )
        .map_err(|error| Failure::from(anyhow::Error::new(error).context("making a secret")))?;
        Self::again(context, smoke, venue, progress)
    }

    /// From where it was left.
    ///
    /// # Errors
    /// Nothing says where the site is.
    pub(super) fn again(
        context: Context<'a>,
        smoke: &'a Smoke,
        venue: Venue,
        progress: &'a mut Progress,
    ) -> Result<Self, Failure> {
        let target = smoke.target(context.settings.config.health.as_ref());
        let target = target.ok_or_else(|| {
            Failure::message(FailureKind::Configuration, "nothing says where the site is asked")
        })?;
        Ok(Self {
            context,
            smoke,
            venue,
            target,
            progress,
        })
    }

    /// Everything: what went wrong.
    pub(super) async fn all(&mut self, chosen: &[usize]) -> Vec<Problem> {
        self.progress.after_is_due = true;
        let mut problems = self.before().await;
        if problems.is_empty() {
            let mut captured = BTreeMap::new();
            for index in chosen {
                if let Some(scenario) = self.smoke.scenarios.get(*index) {
                    problems.extend(self.scenario(*index, scenario, &mut captured).await);
                }
            }
        }
        problems.extend(self.after().await);
        problems
    }

    /// What an interruption has cut off: what went wrong.
    pub(super) async fn tidy(&mut self) -> Vec<Problem> {
        let open = self.progress.open.as_ref().map(|open| open.scenario);
        let mut problems = Vec::new();
        if let Some(scenario) = open.and_then(|index| self.smoke.scenarios.get(index)) {
            let title = format!("tidying up after: {}", scenario.name);
            let task = self.task(&title);
            problems = self.clean_up(scenario, &task).await;
            finish(task, &problems, DONE);
        }
        if self.progress.after_is_due {
            problems.extend(self.after().await);
        }
        problems
    }

    fn task(&self, title: &str) -> Task {
        let title = self.venue.task(title);
        self.context
            .task(self.venue.step(), title.as_str(), title.as_str())
    }

    async fn before(&mut self) -> Vec<Problem> {
        let smoke = self.smoke;
        for command in &smoke.before {
            match self.command(command, "before").await {
                Ok(captured) => captured
                    .into_iter()
                    .for_each(|(name, value)| self.progress.values.set(&name, value)),
                // The next ones may need what it was to make.
                Err(problem) => return vec![problem],
            }
        }
        Vec::new()
    }

    /// All of them, whatever becomes of those before.
    async fn after(&mut self) -> Vec<Problem> {
        let smoke = self.smoke;
        let mut problems = Vec::new();
        for command in &smoke.after {
            problems.extend(self.command(command, "after").await.err());
        }
        self.progress.after_is_due = false;
        problems
    }

    async fn command(
        &mut self,
        command: &SmokeCommand,
        when: &str,
    ) -> Result<Vec<(String, serde_json::Value)>, Problem> {
        let line = command.run.join(" ");
        let title = format!("{when} the scenarios: {line}");
        let name = self.venue.task(&format!("{when} {line}"));
        let task = self
            .context
            .task(self.venue.step(), name, self.venue.task(&title));
        let (values, mask) = (&self.progress.values, &self.progress.mask);
        let ran = commands::run(self.context, self.venue.step(), command, values, mask, &task).await;
        let ran = ran.map_err(|failure| Problem {
            message: mask.cover(&format!(
                "the command `{line}` {when} the scenarios: {:#}",
                failure.error
            )),
            evidence: failure.evidence.into_iter().next(),
        });
        match &ran {
            Ok(_) => task.finish(DONE.0, DONE.1),
            Err(problem) => task.finish(StepResult::Failed, problem.message.clone()),
        }
        ran
    }

    async fn scenario(
        &mut self,
        index: usize,
        scenario: &SmokeScenario,
        captured_by: &mut BTreeMap<String, Values>,
    ) -> Vec<Problem> {
        let task = self.task(&scenario.name);
        let mut values = self.progress.values.clone();
        let mut captured = Values::default();
        for needed in &scenario.needs {
            let Some(theirs) = captured_by.get(needed) else {
                let why = format!("not played, because `{needed}` did not pass");
                let message = format!("{}: {why}", scenario.name);
                task.finish(StepResult::NotRun, why);
                return vec![Problem {
                    message,
                    evidence: None,
                }];
            };
            captured.extend(theirs);
        }
        values.extend(&captured);
        let own = scenario.variables.0.iter();
        let taken = take(
            own.map(|(name, variable)| (name.as_str(), variable)),
            &self.context.settings.smoke_variables,
            &mut values,
            &mut self.progress.mask,
        );
        if let Err(error) = taken {
            let message = format!("{}: making a secret: {error}", scenario.name);
            task.finish(StepResult::Failed, message.clone());
            return vec![Problem {
                message,
                evidence: None,
            }];
        }
        self.progress.open = Some(Open {
            scenario: index,
            values,
            captured,
            cookies: CookieStore::default(),
            cleaned: 0,
        });
        let mut problems = Vec::new();
        let mut played = 0;
        for (number, step) in scenario.steps.iter().enumerate() {
            let place = place(scenario, "step", number, step);
            match self.step(step, &place, &task).await {
                Ok(()) => played += 1,
                Err(problem) => {
                    problems.push(problem);
                    break;
                }
            }
        }
        problems.extend(self.clean_up(scenario, &task).await);
        let closed = self.progress.open.take();
        if problems.is_empty()
            && let Some(open) = closed
        {
            captured_by.insert(scenario.name.clone(), open.captured);
        }
        let took = task.elapsed().as_millis();
        let message = match played {
            1 => format!("1 step, {took} ms"),
            count => format!("{count} steps, {took} ms"),
        };
        finish(task, &problems, (StepResult::Succeeded, &message));
        problems
    }

    /// The rest of its clean-up, each step whatever becomes of those before.
    async fn clean_up(&mut self, scenario: &SmokeScenario, task: &Task) -> Vec<Problem> {
        let mut problems = Vec::new();
        let done = self.progress.open.as_ref().map_or(0, |open| open.cleaned);
        for (number, step) in scenario.cleanup.iter().enumerate().skip(done) {
            let place = place(scenario, "clean-up", number, step);
            problems.extend(self.step(step, &place, task).await.err());
            if let Some(open) = &mut self.progress.open {
                open.cleaned = number + 1;
            }
        }
        problems
    }

    /// One step of the open scenario, until it is as it is expected or its time is over.
    async fn step(&mut self, step: &SmokeStep, place: &Place, task: &Task) -> Result<(), Problem> {
        let began = Instant::now();
        loop {
            let tried = self.once(step, task).await;
            let Err(unmet) = tried else { return Ok(()) };
            if let Unmet::Missing(name) = &unmet
                && place.is_cleanup
            {
                task.progress(format!("nothing to clean up: {name} was never captured"));
                return Ok(());
            }
            match step.repeat {
                Some(repeat) if began.elapsed() + repeat.every.0 <= repeat.r#for.0 => {
                    tokio::time::sleep(repeat.every.0).await;
                }
                Some(_) | None => return Err(self.problem(step, place, unmet, began)),
            }
        }
    }

    async fn once(&mut self, step: &SmokeStep, task: &Task) -> Result<(), Unmet> {
        let site = Site {
            app: self.context.app,
            smoke: self.smoke,
            target: &self.target,
            folder: self.context.settings.config.directory(),
        };
        let Progress { open, mask, .. } = &mut *self.progress;
        let Some(open) = open else {
            return Err(Unmet::Unanswered("no scenario is open".to_owned()));
        };
        let path = open.values.fill(&step.path)?;
        task.progress(mask.cover(&format!("{} {path}", step.method)));
        let answered = match ask(site, step, &open.values, &mut open.cookies, mask).await {
            Ok(answered) => answered,
            Err(Unasked::Missing(missing)) => return Err(missing.into()),
            Err(Unasked::Because(why)) => return Err(Unmet::Unanswered(why)),
        };
        let unmet = judge::unmet(&step.expect, &answered, &open.values, site.folder).await?;
        if !unmet.is_empty() {
            return Err(Unmet::Otherwise(unmet.join("; "), Box::new(answered)));
        }
        match judge::captured(step, &answered, &open.cookies) {
            Ok(captured) => {
                for one in captured {
                    if one.secret {
                        mask.hide(one.value.as_str().unwrap_or(&one.value.to_string()));
                    }
                    open.captured.set(&one.name, one.value.clone());
                    open.values.set(&one.name, one.value);
                }
                Ok(())
            }
            Err(why) => Err(Unmet::Otherwise(why, Box::new(answered))),
        }
    }

    fn problem(&self, step: &SmokeStep, place: &Place, unmet: Unmet, began: Instant) -> Problem {
        let mask = &self.progress.mask;
        let open = self.progress.open.as_ref();
        let path = open.and_then(|open| open.values.fill(&step.path).ok());
        let path = path.unwrap_or_else(|| step.path.to_string());
        let asked_for = if step.repeat.is_some() {
            format!(", for {} s", began.elapsed().as_secs_f64().round())
        } else {
            String::new()
        };
        let (what, evidence) = match unmet {
            Unmet::Missing(name) => (format!("`${{{name}}}` was never captured"), None),
            Unmet::Unanswered(why) => (why, None),
            Unmet::Otherwise(what, answered) => {
                let told = format!(
                    "{what}; answered {} after {} ms",
                    answered.status,
                    answered.elapsed.as_millis()
                );
                let lines = judge::shown(&answered.body, mask);
                let evidence = (!lines.is_empty()).then(|| Evidence {
                    title: mask.cover(&format!("what was answered to {}", place.title)),
                    lines,
                });
                (told, evidence)
            }
        };
        Problem {
            message: mask.cover(&format!(
                "{}, {} {path}{}: {what}{asked_for}",
                place.title,
                step.method,
                self.venue.addressee()
            )),
            evidence,
        }
    }
}

/// Why a step is not as it should be.
enum Unmet {
    /// Nothing was sent: this name stands for nothing.
    Missing(String),
    /// There was no answer, or none that counts.
    Unanswered(String),
    /// The answer is another than was expected.
    Otherwise(String, Box<Answered>),
}

impl From<Missing> for Unmet {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing.0)
    }
}

/// Which step it is.
struct Place {
    title: String,
    is_cleanup: bool,
}

fn place(scenario: &SmokeScenario, part: &str, number: usize, step: &SmokeStep) -> Place {
    let name = step
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!(" ({name})"));
    Place {
        title: format!("{}: {part} {}{name}", scenario.name, number + 1),
        is_cleanup: part == "clean-up",
    }
}

fn finish(task: Task, problems: &[Problem], well: (StepResult, &str)) {
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    if messages.is_empty() {
        task.finish(well.0, well.1);
    } else {
        task.finish(StepResult::Failed, messages.join("; "));
    }
}
