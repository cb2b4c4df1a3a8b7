//! `status`: what runs and from which release, whether somebody changed it by hand, what the last runs did, whether one
//! is under way or was left half-way, and what to do next.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::backups::Freshness;
use super::drift::drift;
use super::locked;
use super::session::Session;
use super::unfinished::sentence;
use crate::cli::GlobalOptions;
use crate::engine::{Container, ContainerFilter, ContainerState, Health, Inspect, labels};
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::ledger::{Memory, PastRun};
use crate::lock::Life;
use crate::pipeline::Outcome;
use crate::steps::deploy::{Standing, is_serving, standing};
use crate::ui::{self, OutputOptions};

/// How many of the last runs are shown.
const RUNS_SHOWN: usize = 5;

/// Shows what stands.
///
/// # Errors
/// Whatever is wrong with the configuration, the engine or the ledger.
pub(super) async fn status(global: &GlobalOptions, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let session = Session::open(global)?;
    let (engine, project) = (&session.engine, session.project());
    let memory = session.memory(global).await?;
    let standing = standing(engine, project).await?;
    let held = locked::look(engine, project, &memory).await?;
    let held = held.map(|(lock, life)| (locked::who(&lock, &memory), life));
    let seen = Seen {
        project,
        memory: &memory,
        standing: &standing,
        held,
        closed: is_closed(engine, project).await?,
        backups: Freshness::of(&session).await?,
    };
    ui::data(output, &seen.for_people(output.columns), &seen.for_programs());
    Ok(ExitCode::Done)
}

/// Whether a run has closed the site, and none has opened it again.
async fn is_closed(inspect: &dyn Inspect, project: &str) -> Result<bool, Failure> {
    let pages = ContainerFilter::labelled(labels::PROJECT, project)
        .and(labels::ROLE, labels::Role::Maintenance.as_str());
    Ok(!inspect.containers(&pages).await?.is_empty())
}

/// Everything that is shown.
struct Seen<'a> {
    project: &'a str,
    memory: &'a Memory,
    standing: &'a Standing,
    /// Who holds the lock, and whether it lives.
    held: Option<(String, Life)>,
    /// Visitors get the maintenance page.
    closed: bool,
    /// Those of this machine; `None` where `deploy.yml` has nothing backed up.
    backups: Option<Freshness>,
}

impl Seen<'_> {
    fn drift(&self) -> Vec<String> {
        let release = self.memory.releases.current();
        // While a run is under way, or was left half-way, what runs is not what is recorded.
        let settled = self.held.is_none() && self.memory.unfinished.is_none();
        let release = release.filter(|_| settled);
        release.map_or_else(Vec::new, |release| drift(release, self.standing))
    }

    /// What stopped half-way: not what is under way.
    fn unfinished(&self) -> Option<String> {
        let lives = matches!(&self.held, Some((_, Life::Lives(_))));
        let unfinished = self.memory.unfinished.as_ref().filter(|_| !lives);
        unfinished.map(sentence)
    }

    /// What a person would do next, if anything.
    fn next(&self) -> Vec<String> {
        let mut next = Vec::new();
        if matches!(&self.held, Some((_, Life::Ended | Life::Silent(_)))) {
            next.push("viatique-deploy unlock    takes the lock away from the dead run".to_owned());
        }
        if self.unfinished().is_some() {
            let tag = self
                .memory
                .unfinished
                .as_ref()
                .and_then(|run| run.header.release.as_ref());
            let forward = tag.map_or_else(String::new, |tag| format!(", so that {tag} serves"));
            next.push(format!("viatique-deploy resume    finishes the run{forward}"));
            if let Some(current) = self.memory.releases.current() {
                let tag = &current.tag;
                next.push(format!(
                    "viatique-deploy rollback  takes it back, so that {tag} serves"
                ));
            }
        } else if !self.drift().is_empty()
            && let Some(current) = self.memory.releases.current()
        {
            next.push(format!(
                "viatique-deploy rollback --to {}  puts the release back as it is recorded",
                current.tag
            ));
        }
        if self.backups.as_ref().is_some_and(|backups| !backups.fresh) {
            next.push("viatique-deploy backup    saves the database and the media".to_owned());
        }
        next
    }

    fn for_people(&self, columns: usize) -> String {
        let project = self.project;
        let mut text = match self.memory.releases.current() {
            Some(release) if release.is_rebuilt() => format!(
                "{project}: release {}, running since {}, as its containers tell: the ledger was lost\n",
                release.tag, release.deployed_at
            ),
            Some(release) => format!(
                "{project}: release {}, deployed {} by {}\n",
                release.tag, release.deployed_at, release.deployed_by
            ),
            None => format!("{project}: no release is recorded yet\n"),
        };
        if let Some((who, life)) = &self.held {
            text.push_str(&format!("locked by {who}; {}\n", locked::in_words(*life)));
        }
        if let Some(unfinished) = self.unfinished() {
            text.push_str(&format!("unfinished: {unfinished}\n"));
        }
        if self.closed {
            text.push_str("closed: visitors get the maintenance page (503)\n");
        }
        if let Some(backups) = &self.backups {
            text.push_str(&format!("backups here: {}\n", backups.sentence));
        }
        let rows = self.service_rows();
        if rows.is_empty() {
            text.push_str("nothing runs\n");
        } else {
            let headers = [
                "SERVICE", "RELEASE", "REPLICAS", "STATE", "RESTARTS", "IMAGE", "SINCE",
            ];
            text.push_str(&format!("\n{}", ui::table(&headers, &rows, columns)));
        }
        let drift = self.drift();
        if !drift.is_empty() {
            text.push_str("\nnot as recorded:\n");
            for one in drift {
                text.push_str(&format!("  {one}\n"));
            }
        }
        let runs = self.last_runs();
        if !runs.is_empty() {
            let rows: Vec<Vec<String>> = runs.iter().map(|run| run_row(run)).collect();
            let headers = ["RUN", "RELEASE", "BEGUN", "BY", "ENDED"];
            text.push_str(&format!("\n{}", ui::table(&headers, &rows, columns)));
        }
        let next = self.next();
        if !next.is_empty() {
            text.push_str("\nnext:\n");
            for one in next {
                text.push_str(&format!("  {one}\n"));
            }
        }
        text
    }

    /// A row for what is alike of a service: release, state, image.
    fn service_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (service, containers) in self.standing {
            let mut alike: BTreeMap<(String, String, String), Vec<&Container>> = BTreeMap::new();
            for container in containers {
                let release = container.label(labels::RELEASE).unwrap_or("-").to_owned();
                let image = container.image.short().to_owned();
                let group = alike.entry((release, state(container), image)).or_default();
                group.push(container);
            }
            for ((release, state, image), containers) in alike {
                let restarts: u32 = containers.iter().map(|one| one.restart_count).sum();
                let since = containers.iter().filter_map(|one| one.started.as_deref()).max();
                rows.push(vec![
                    service.clone(),
                    release,
                    containers.len().to_string(),
                    state,
                    restarts.to_string(),
                    image,
                    since.map_or_else(|| "-".to_owned(), seconds),
                ]);
            }
        }
        rows
    }

    /// The newest first. A finished `backup` or `build` is one, too.
    fn last_runs(&self) -> Vec<&PastRun> {
        self.memory.runs.iter().rev().take(RUNS_SHOWN).collect()
    }

    fn for_programs(&self) -> Value {
        let containers: Vec<&Container> = self.standing.values().flatten().collect();
        json!({
            "schema": 1,
            "project": self.project,
            "release": self.memory.releases.current().map(|release| json!({
                "tag": release.tag,
                "deployed_at": release.deployed_at,
                "deployed_by": release.deployed_by,
                "rebuilt": release.is_rebuilt(),
            })),
            "lock": self.held.as_ref().map(|(who, life)| json!({
                "holder": who,
                "lives": matches!(life, Life::Lives(_)),
            })),
            "unfinished_run": self.unfinished(),
            "closed": self.closed,
            "backups": self.backups.as_ref().map(|backups| json!({
                "newest": backups.newest,
                "fresh": backups.fresh,
            })),
            "drift": self.drift(),
            "runs": self.last_runs().iter().map(|run| json!({
                "run": run.header.run,
                "command": run.header.command,
                "release": run.header.release,
                "started_at": run.header.started_at,
                "started_by": run.header.started_by,
                "outcome": run.outcome,
                "last_at": run.last_at,
                "error": run.error,
            })).collect::<Vec<_>>(),
            "next": self.next(),
            "containers": containers.iter().map(|container| json!({
                "service": container.label(labels::COMPOSE_SERVICE),
                "name": container.name,
                "release": container.label(labels::RELEASE),
                "state": state_alone(container),
                "health": health(container),
                "serves": is_serving(container),
                "restarts": container.restart_count,
                "image": container.image_reference,
                "image_id": container.image,
                "started_at": container.started,
            })).collect::<Vec<_>>(),
        })
    }
}

fn run_row(run: &PastRun) -> Vec<String> {
    let ended = match run.outcome {
        Some(Outcome::Succeeded) => "succeeded".to_owned(),
        Some(Outcome::Failed) => "failed".to_owned(),
        Some(Outcome::RolledBack) => "failed, and was taken back".to_owned(),
        Some(Outcome::Interrupted) => "interrupted, and put back".to_owned(),
        Some(Outcome::Stuck) => "stuck".to_owned(),
        None => "did not say".to_owned(),
    };
    let why = run.error.as_deref().map(|error| format!(": {error}"));
    vec![
        run.header.command.clone(),
        run.header
            .release
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string),
        run.header.started_at.clone(),
        run.header.started_by.clone(),
        format!("{ended}{}", why.unwrap_or_default()),
    ]
}

/// `2026-01-01T00:00:00.123456789Z` without what stands behind the second.
fn seconds(moment: &str) -> String {
    match moment.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => moment.to_owned(),
    }
}

/// With its health, where it has a test.
fn state(container: &Container) -> String {
    match (health(container), &container.state) {
        (Some(health), ContainerState::Running) => health.to_owned(),
        (Some(_) | None, _) => state_alone(container),
    }
}

fn state_alone(container: &Container) -> String {
    match &container.state {
        ContainerState::Created => "created".to_owned(),
        ContainerState::Running => "running".to_owned(),
        ContainerState::Paused => "paused".to_owned(),
        ContainerState::Restarting { exit_code } => format!("restarting ({exit_code})"),
        ContainerState::Exited(exit) => format!("exited ({})", exit.code),
        ContainerState::Removing => "removing".to_owned(),
        ContainerState::Dead => "dead".to_owned(),
    }
}

const fn health(container: &Container) -> Option<&'static str> {
    match &container.health {
        None => None,
        Some(Health::Starting { .. }) => Some("starting"),
        Some(Health::Healthy) => Some("healthy"),
        Some(Health::Unhealthy { .. }) => Some("unhealthy"),
    }
}
