//! One load with deploys under it: what was done, what was answered meanwhile, and the figures out of both.

use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::client::{Load, Pressure, Recorded};
use super::process::Ended;
use super::progress::{Progress, Said, Stretch};
use super::requests::Visitor;
use super::stage::Stage;
use super::watch::{Start, Watch};

/// How long the stack may take to answer every request again after a deploy.
const SETTLES_WITHIN: Duration = Duration::from_secs(180);

/// One deploy, rollback or broken release. Times are seconds since the load began.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) tag: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) code: Option<i32>,
    pub(crate) steps: Vec<Stretch>,
    pub(crate) tasks: Vec<Stretch>,
    /// Of the containers started in it: the service that took longest from start to healthy, and how long.
    pub(crate) slowest_start: Option<(String, f64)>,
}

impl Deploy {
    pub(crate) fn whole(&self) -> f64 {
        self.to - self.from
    }

    /// How long the step that replaces containers took; None where it was not reached.
    pub(crate) fn phase(&self) -> Option<f64> {
        self.steps
            .iter()
            .find(|step| step.name == "deploy")
            .map(|step| step.to - step.from)
    }
}

/// A load, and all that was done under it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) uploads: bool,
    pub(crate) deploys: Vec<Deploy>,
    pub(crate) recorded: Recorded,
    /// Why it ended before everything was done.
    pub(crate) cut_short: Option<String>,
}

/// Does things while the load goes on.
pub(crate) struct Stand<'a> {
    load: &'a Load,
    deploys: Vec<Deploy>,
}

impl Stand<'_> {
    /// Runs one deploy, and waits until all requests are answered well again.
    pub(crate) fn deploy(
        &mut self,
        tag: &str,
        run: impl FnOnce(&mut dyn FnMut(Said)) -> Result<Ended>,
    ) -> Result<Ended> {
        let mut progress = Progress::default();
        let from = self.load.now();
        let ended = run(&mut |said| progress.take(self.load.now(), said))?;
        let to = self.load.now();
        let (steps, tasks) = progress.finish(to);
        self.deploys.push(Deploy {
            tag: tag.to_owned(),
            from,
            to,
            code: ended.code,
            steps,
            tasks,
            slowest_start: None,
        });
        self.load.settle(2, SETTLES_WITHIN)?;
        Ok(ended)
    }
}

impl Session {
    /// Loads the stage, does what `work` does, and stops once every request has its answer. A stack that no longer
    /// answers cuts it short, which is a result too.
    pub(crate) fn hold(
        stage: &Stage,
        visitor: &Visitor,
        pressure: Pressure,
        work: impl FnOnce(&mut Stand<'_>) -> Result<()>,
    ) -> Result<Self> {
        let watch = Watch::begin(&stage.project)?;
        let load = Load::start(stage.port, visitor.clone(), pressure)?;
        let mut stand = Stand {
            load: &load,
            deploys: Vec::new(),
        };
        let worked = load
            .settle(2, SETTLES_WITHIN)
            .and_then(|()| work(&mut stand))
            .and_then(|()| load.settle(1, SETTLES_WITHIN));
        let mut deploys = stand.deploys;
        let starts = watch.stop();
        let at = |moment: SystemTime| load.at(moment);
        for deploy in &mut deploys {
            deploy.slowest_start = slowest(&starts, deploy, at);
        }
        let recorded = load.stop()?;
        Ok(Self {
            uploads: pressure.uploads,
            deploys,
            recorded,
            cut_short: worked.err().map(|problem| format!("{problem:#}")),
        })
    }
}

fn slowest(starts: &[Start], deploy: &Deploy, at: impl Fn(SystemTime) -> f64) -> Option<(String, f64)> {
    let within = starts.iter().filter_map(|start| {
        let started = at(start.started);
        let healthy = at(start.healthy?);
        let during = started >= deploy.from && started <= deploy.to;
        during.then(|| (start.service.clone(), healthy - started))
    });
    within.max_by(|one, other| one.1.total_cmp(&other.1))
}
