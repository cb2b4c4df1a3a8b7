//! One deploy at a time per project, on the engine itself: a container's name is taken by exactly one of any number
//! of racers. The container is never started. Released and stolen by id, never by name, so that nobody can release
//! somebody else's.
//!
//! After a crash the container stands. A holder on this same machine whose process is gone is recognised as dead and
//! the lock is taken over. Any other one is believed to live as long as it gives signs of life, which it does every
//! [`BEAT`]; one that has been silent for [`SILENCE`] is not succeeded by itself either (a machine may have slept, and
//! wake up), but whoever removes its lock needs no force.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::engine::{Container, ContainerId, Engine, EngineError, EngineErrorKind, Inspect, labels};
use crate::ledger::SignOfLife;

const SINCE: &str = "viatique-deploy.lock.since";
const OWNER: &str = "viatique-deploy.lock.owner";
const HOST: &str = "viatique-deploy.lock.host";
const PROCESS: &str = "viatique-deploy.lock.process";
const COMMAND: &str = "viatique-deploy.lock.command";

/// Between two signs of life of a holder.
pub const BEAT: Duration = Duration::from_secs(10);
/// A holder that has given no sign of life for this long is taken for dead: six beats, so that a busy engine is no
/// reason.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How long a name may be taken without a container of that name to be seen, before that is an error.
const CHANGING_HANDS: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The name whose taking is the lock.
pub fn object_name(project: &str) -> String {
    format!("viatique-deploy-lock-{project}")
}

/// Who holds a lock, as the holder said when taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user's name.
    pub owner: String,
    /// Machine id and boot id: equal only on the same machine since its last start.
    pub host: String,
    /// As people call the machine.
    pub host_name: String,
    pub process: u32,
    /// The subcommand.
    pub command: String,
    pub run: String,
    /// RFC 3339, UTC.
    pub since: String,
}

impl Holder {
    fn labels(&self, project: &str) -> BTreeMap<String, String> {
        [
            (labels::PROJECT, project.to_owned()),
            (labels::ROLE, labels::Role::Lock.as_str().to_owned()),
            (labels::RUN, self.run.clone()),
            (OWNER, format!("{}@{}", self.owner, self.host_name)),
            (HOST, self.host.clone()),
            (PROCESS, self.process.to_string()),
            (COMMAND, self.command.clone()),
            (SINCE, self.since.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn read(container: &Container) -> Self {
        let label = |name: &str| container.label(name).unwrap_or("unknown").to_owned();
        let owner = label(OWNER);
        let (owner, host_name) = owner.split_once('@').unwrap_or((&owner, "unknown"));
        Self {
            owner: owner.to_owned(),
            host_name: host_name.to_owned(),
            host: label(HOST),
            // 0 is no process: read as "alive", which refuses.
            process: label(PROCESS).parse().unwrap_or(0),
            command: label(COMMAND),
            run: label(labels::RUN),
            since: label(SINCE),
        }
    }

    /// Whether the holder's process is certainly gone: it ran on this machine since its last start, and no process of
    /// that number exists.
    fn is_certainly_dead(&self, here: &Self) -> bool {
        self.host == here.host
            && self.host != "unknown"
            && self.process != 0
            && self.process != here.process
            && !runs(self.process)
            && runs(here.process)
    }
}

/// Whether a process of that number exists and has not ended: one that was killed and that its parent has not taken
/// note of yet (a zombie) does nothing any more.
fn runs(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return false;
    };
    // The state follows the name, which stands in parentheses and may hold any character.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("project {project} is locked by {}@{} ({}, process {}) since {}", .holder.owner, .holder.host_name, .holder.command, .holder.process, .holder.since)]
    Held {
        project: String,
        holder: Box<Holder>,
        /// The container whose removal would release it.
        container: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The lock, held. Not released in `Drop`: what fails there can only be logged.
#[derive(Debug)]
#[must_use = "a lock that is not released stays"]
pub struct Lock {
    container: ContainerId,
    /// A dead holder whose lock was taken over.
    pub taken_over_from: Option<Holder>,
}

impl Lock {
    /// Takes the project's lock.
    ///
    /// # Errors
    /// [`LockError::Held`], naming the holder, and the engine's errors.
    pub async fn acquire(engine: &dyn Engine, project: &str, holder: &Holder) -> Result<Self, LockError> {
        let name = object_name(project);
        let mut taken_over_from = None;
        let began = Instant::now();
        // Bounded: each turn needs another process to take or release the lock between two calls of ours.
        while began.elapsed() < CHANGING_HANDS {
            match engine.create_marker(&name, &holder.labels(project), None).await {
                Ok(container) => {
                    return Ok(Self {
                        container,
                        taken_over_from,
                    });
                }
                Err(error) if error.kind == EngineErrorKind::NameTaken => {}
                // The answer may have been lost on its way, and the lock be ours.
                Err(error) => {
                    return match engine.container(&name).await {
                        Ok(Some(standing)) if Holder::read(&standing).run == holder.run => Ok(Self {
                            container: standing.id,
                            taken_over_from,
                        }),
                        Ok(_) | Err(_) => Err(error.into()),
                    };
                }
            }
            let Some(standing) = engine.container(&name).await? else {
                // The engine reserves a name before it shows the container: on a busy one a while before.
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            let other = Holder::read(&standing);
            if !other.is_certainly_dead(holder) {
                return Err(LockError::Held {
                    project: project.to_owned(),
                    holder: Box::new(other),
                    container: name,
                });
            }
            // By id: if somebody else has taken it over since, theirs has another id and stays.
            engine.remove_container(&standing.id).await?;
            taken_over_from = Some(other);
        }
        Err(EngineError::new(
            "taking the lock",
            name,
            EngineErrorKind::Conflict,
            "it keeps changing hands",
        )
        .into())
    }

    /// Whether it is still this one's: somebody may have taken it away.
    ///
    /// # Errors
    /// The engine's.
    pub async fn is_ours(&self, inspect: &dyn Inspect) -> Result<bool, EngineError> {
        Ok(inspect.container(&self.container.0).await?.is_some())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The engine's; the lock may then still stand.
    pub async fn release(self, engine: &dyn Engine) -> Result<(), EngineError> {
        engine.remove_container(&self.container).await
    }
}

/// A lock that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub holder: Holder,
    container: ContainerId,
    /// By the engine's clock.
    taken: Option<OffsetDateTime>,
}

/// Whether the holder of a lock lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its process on this machine is gone.
    Ended,
    /// The time since its last sign of life: [`SILENCE`] or more.
    Silent(Duration),
    /// The time since its last sign of life.
    Lives(Duration),
}

impl Standing {
    /// Judges by what the holder has last written, and by its process where that would be on this machine.
    pub fn life(&self, here: &Holder, sign: Option<&SignOfLife>, now: OffsetDateTime) -> Life {
        if self.holder.is_certainly_dead(here) {
            return Life::Ended;
        }
        let own = sign.filter(|sign| sign.run.0 == self.holder.run);
        let last = self.taken.max(own.map(|sign| sign.at));
        // Where nothing is known it is believed to live.
        let since = last.map_or(time::Duration::ZERO, |last| now - last);
        let since = Duration::try_from(since).unwrap_or_default();
        if since >= SILENCE {
            Life::Silent(since)
        } else {
            Life::Lives(since)
        }
    }

    /// Takes the lock away from its holder. Somebody else who has it by now keeps it.
    ///
    /// # Errors
    /// The engine's.
    pub async fn remove(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        engine.remove_container(&self.container).await
    }
}

/// The lock, if anybody holds it now.
///
/// # Errors
/// The engine's.
pub async fn standing(inspect: &dyn Inspect, project: &str) -> Result<Option<Standing>, EngineError> {
    let found = inspect.container(&object_name(project)).await?;
    Ok(found.map(|container| Standing {
        holder: Holder::read(&container),
        taken: OffsetDateTime::parse(&container.created, &Rfc3339).ok(),
        container: container.id,
    }))
}

/// Who holds the lock now, if anybody.
///
/// # Errors
/// The engine's.
pub async fn holder(inspect: &dyn Inspect, project: &str) -> Result<Option<Holder>, EngineError> {
    Ok(standing(inspect, project).await?.map(|standing| standing.holder))
}
