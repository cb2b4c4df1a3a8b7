//! `logs`: what the services' containers have written, in the order of its moments, and with `--follow` what they write,
//! those that a deploy brings meanwhile included. Only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{SelectAll, StreamExt as _};
use regex_lite::Regex;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::interval;

use super::session::Session;
use crate::cli::{GlobalOptions, LogsArgs};
use crate::engine::{Container, ContainerId, ContainerState, Inspect, LogLine, LogRange, OutputStream};
use crate::error::{Failure, FailureKind};
use crate::exit_code::ExitCode;
use crate::steps::deploy::standing;
use crate::ui::{self, OutputOptions};

/// Between two looks for containers that were not there before, or were started again.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of these services; of all where there are none.
    pub services: Vec<String>,
    /// Of each container, so many lines of what stands there already.
    pub newest: u32,
    /// Not what was written before.
    pub since: Option<OffsetDateTime>,
    /// Only lines in which this is found.
    pub pattern: Option<Regex>,
    pub follow: bool,
}

/// A line, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLine {
    pub service: String,
    pub container: String,
    pub line: LogLine,
}

/// Shows them.
///
/// # Errors
/// A service that does not stand, a pattern that is none; whatever is wrong with the engine.
pub(super) async fn logs(
    global: &GlobalOptions,
    arguments: &LogsArgs,
    output: &OutputOptions,
) -> Result<ExitCode, Failure> {
    let pattern = arguments.grep.as_deref().map(Regex::new).transpose();
    let pattern = pattern
        .map_err(|error| Failure::message(FailureKind::Usage, format!("--grep is no pattern: {error}")))?;
    let session = Session::open(global)?;
    let since = match arguments.since {
        Some(ago) => Some(session.engine.time().await? - ago),
        None => None,
    };
    let wanted = Wanted {
        services: arguments.services.clone(),
        newest: arguments.tail,
        since,
        pattern,
        follow: arguments.follow,
    };
    let project = session.project();
    read(&session.engine, project, &wanted, &mut |written| {
        show(output, project, arguments.timestamps, written)
    })
    .await?;
    Ok(ExitCode::Done)
}

/// Whether anybody still reads.
fn show(output: &OutputOptions, project: &str, timestamps: bool, written: &WrittenLine) -> bool {
    let moment = written.line.at.format(&Rfc3339).unwrap_or_default();
    let name = written.container.strip_prefix(&format!("{project}-"));
    let name = name.unwrap_or(&written.container);
    let human = if timestamps {
        format!("{moment} {name} | {}", written.line.text)
    } else {
        format!("{name} | {}", written.line.text)
    };
    let stream = match written.line.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let program = json!({
        "time": moment,
        "service": written.service,
        "container": written.container,
        "stream": stream,
        "line": written.line.text,
    });
    ui::data_line(output, &human, &program)
}

/// Hands each line on, until there are no more or nobody wants one.
///
/// # Errors
/// A service of which no container stands; the engine's.
pub async fn read(
    inspect: &dyn Inspect,
    project: &str,
    wanted: &Wanted,
    take: &mut (dyn FnMut(&WrittenLine) -> bool + Send),
) -> Result<(), Failure> {
    let containers = containers(inspect, project, wanted).await?;
    // Whatever is written from here on is followed: nothing twice, and nothing left out.
    let now = inspect.time().await?;
    let mut written = Vec::new();
    for (service, container) in &containers {
        let range = LogRange {
            since: wanted.since.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            newest: wanted.newest,
            follow: false,
        };
        let mut lines = inspect.log_lines(&container.id, &range).await?;
        while let Some(line) = lines.next().await {
            let line = line?;
            if !wanted.follow || line.at < now {
                written.push(of(service, container, line));
            }
        }
    }
    written.sort_by_key(|written| written.line.at);
    if !written.iter().filter(|one| wanted.wants(one)).all(&mut *take) || !wanted.follow {
        return Ok(());
    }
    let known = containers.into_iter().map(|(_, container)| (container.id, now));
    follow(inspect, project, wanted, known.collect(), take).await
}

/// Until nobody wants a line any more.
async fn follow(
    inspect: &dyn Inspect,
    project: &str,
    wanted: &Wanted,
    mut from: BTreeMap<ContainerId, OffsetDateTime>,
    take: &mut (dyn FnMut(&WrittenLine) -> bool + Send),
) -> Result<(), Failure> {
    let mut open: BTreeSet<ContainerId> = BTreeSet::new();
    let mut lines = SelectAll::new();
    let mut looks = interval(LOOK);
    loop {
        tokio::select! {
            Some((id, written)) = lines.next(), if !lines.is_empty() => {
                let written: Option<WrittenLine> = written;
                match written {
                    Some(written) => {
                        from.insert(id, written.line.at + time::Duration::NANOSECOND);
                        if wanted.wants(&written) && !take(&written) {
                            return Ok(());
                        }
                    }
                    // Its process has ended, and may be started again.
                    None => {
                        open.remove(&id);
                    }
                }
            }
            _ = looks.tick() => {
                for (service, container) in standing_now(inspect, project, wanted).await? {
                    let id = container.id.clone();
                    if container.state != ContainerState::Running || open.contains(&id) {
                        continue;
                    }
                    let range = LogRange {
                        since: from.get(&id).copied().unwrap_or(OffsetDateTime::UNIX_EPOCH),
                        newest: u32::MAX,
                        follow: true,
                    };
                    let following = match inspect.log_lines(&id, &range).await {
                        Ok(following) => following,
                        // It has gone meanwhile.
                        Err(error) => {
                            tracing::debug!(%error, container = container.name, "its log cannot be followed");
                            continue;
                        }
                    };
                    open.insert(id.clone());
                    let ended = futures_util::stream::once(std::future::ready((id.clone(), None)));
                    let following = following
                        .take_while(|line| std::future::ready(line.is_ok()))
                        .filter_map(|line| std::future::ready(line.ok()))
                        .map(move |line| (id.clone(), Some(of(&service, &container, line))));
                    lines.push(Box::pin(following.chain(ended)));
                }
            }
        }
    }
}

impl Wanted {
    fn wants(&self, written: &WrittenLine) -> bool {
        let pattern = self.pattern.as_ref();
        pattern.is_none_or(|pattern| pattern.is_match(&written.line.text))
    }
}

fn of(service: &str, container: &Container, line: LogLine) -> WrittenLine {
    WrittenLine {
        service: service.to_owned(),
        container: container.name.clone(),
        line,
    }
}

/// The containers that stand, each with its service, in the order of their names.
async fn containers(
    inspect: &dyn Inspect,
    project: &str,
    wanted: &Wanted,
) -> Result<Vec<(String, Container)>, Failure> {
    let standing = standing(inspect, project).await?;
    if let Some(unknown) = wanted
        .services
        .iter()
        .find(|name| !standing.contains_key(name.as_str()))
    {
        let known: Vec<&str> = standing.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "none of any service does".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        return Err(Failure::message(
            FailureKind::Usage,
            format!("no container of service `{unknown}` stands in {project}; {known}"),
        ));
    }
    standing_now(inspect, project, wanted).await
}

async fn standing_now(
    inspect: &dyn Inspect,
    project: &str,
    wanted: &Wanted,
) -> Result<Vec<(String, Container)>, Failure> {
    let is_wanted = |service: &String| wanted.services.is_empty() || wanted.services.contains(service);
    let standing = standing(inspect, project).await?;
    let containers = standing
        .into_iter()
        .filter(|(service, _)| is_wanted(service))
        .flat_map(|(service, containers)| containers.into_iter().map(move |one| (service.clone(), one)));
    Ok(containers.collect())
}
