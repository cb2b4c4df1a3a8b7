//! The scenarios of `smoke.before_switch`, played against one container alone while visitors are still led to the old ones.
//! When that is, and what becomes of the container, is `deploy`'s business.

use tokio::sync::Mutex;

use super::inside::Inside;
use super::play::{Play, Problem, Progress, Venue};
use super::{covered, requirements, told};
use crate::compose::ServiceName;
use crate::config::{self, BeforeSwitch};
use crate::engine::ContainerId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::{Change, ChangeKind, Context, Settings};
use crate::steps::application::Interpreter;
use crate::steps::health::evidence;

/// Where a new container is asked.
#[derive(Clone)]
pub(crate) struct Door {
    pub container: ContainerId,
    pub name: String,
    /// On which it speaks HTTP.
    pub port: u16,
}

/// What was begun, kept so that it can be ended after an interruption.
#[derive(Default)]
pub(crate) struct PlayedAlone(Mutex<Option<(Door, Progress)>>);

/// What is played in this run.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Whose new container.
    pub service: &'a ServiceName,
    pub before_switch: &'a BeforeSwitch,
    smoke: &'a config::Smoke,
}

impl<'a> Wanted<'a> {
    /// What `deploy.yml` asks for, unless the scenarios are left out of this run.
    pub(crate) fn of(settings: &'a Settings) -> Option<Self> {
        let smoke = settings.config.smoke.as_ref().filter(|_| !settings.skip_smoke)?;
        Some(Self {
            service: &settings.config.django.as_ref()?.service,
            before_switch: smoke.before_switch.as_ref()?,
            smoke,
        })
    }

    /// Whether what they need is there, as far as that can be told from here.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn require(self, settings: &Settings) -> Result<(), Failure> {
        requirements(settings, self.smoke)
    }

    /// What would be asked.
    pub(crate) fn plan(self) -> Vec<Change> {
        let change = |index: usize| {
            let scenario = self.smoke.scenarios.get(index)?;
            Some(Change {
                kind: ChangeKind::Run,
                target: scenario.name.clone(),
                detail: format!(
                    "before the switch, of the new container of {} alone: {}",
                    self.service,
                    super::asked(scenario)
                ),
            })
        };
        self.chosen().into_iter().filter_map(change).collect()
    }

    fn chosen(self) -> Vec<usize> {
        let names = self.before_switch.scenarios.as_deref();
        self.smoke.chosen(names.unwrap_or_default())
    }
}

impl PlayedAlone {
    /// Plays them, and removes what they have made.
    ///
    /// # Errors
    /// What went wrong, all of it.
    pub(crate) async fn play(
        &self,
        context: Context<'_>,
        wanted: Wanted<'_>,
        door: &Door,
    ) -> Result<(), Failure> {
        let mut under_way = self.0.lock().await;
        let (_, progress) = under_way.insert((door.clone(), Progress::default()));
        let inside = inside(context, door)?;
        let alone = Context {
            app: &inside,
            ..context
        };
        let mut play = Play::begin(alone, wanted.smoke, Venue::NewContainer, progress)?;
        let problems = play.all(&wanted.chosen()).await;
        if problems.is_empty() {
            *under_way = None;
            return Ok(());
        }
        let failure = told(problems).with_kind(FailureKind::Failed).hint(format!(
            "they asked {} alone: static files, and downloads that the proxy sends (X-Accel-Redirect), are not there. \
             `smoke.before_switch` in deploy.yml names those that can be played without the proxy",
            door.name
        ));
        let failure = match context.engine.container(&door.container.0).await {
            Ok(Some(container)) => evidence(context.engine, &container, failure).await,
            Ok(None) | Err(_) => failure,
        };
        let failure = covered(failure, &progress.mask);
        *under_way = None;
        Err(failure.context(format!("trying {} before visitors are led to it", door.name)))
    }

    /// Ends what an interruption has cut off, while the container is still there; says what could not be.
    pub(crate) async fn tidy(&self, context: Context<'_>) {
        let Some((door, mut progress)) = self.0.lock().await.take() else {
            return;
        };
        if let Err(failure) = tidied(context, &door, &mut progress).await {
            context.warn(
                format!(
                    "the scenarios before the switch may have left something behind: {:#}",
                    failure.error
                ),
                Some("the commands under smoke.after remove it: viatique-deploy smoke".to_owned()),
            );
        }
    }
}

async fn tidied(context: Context<'_>, door: &Door, progress: &mut Progress) -> Result<(), Failure> {
    let Some(wanted) = Wanted::of(context.settings).filter(|_| progress.is_open()) else {
        return Ok(());
    };
    let inside = inside(context, door)?;
    let alone = Context {
        app: &inside,
        ..context
    };
    let problems: Vec<Problem> = Play::again(alone, wanted.smoke, Venue::NewContainer, progress)?
        .tidy()
        .await;
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
    Err(Failure::message(FailureKind::Failed, messages.join("; ")))
}

/// The application behind this door.
///
/// # Errors
/// Nothing says how its Python is called.
fn inside<'a>(context: Context<'a>, door: &'a Door) -> Result<Inside<'a>, Failure> {
    let interpreter = Interpreter::of(context.settings).ok_or_else(|| {
        Failure::message(
            FailureKind::Configuration,
            crate::steps::application::NO_APPLICATION,
        )
    })?;
    Ok(Inside {
        engine: context.engine,
        container: &door.container,
        port: door.port,
        python: interpreter.python,
    })
}
