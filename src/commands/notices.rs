//! The notices of one run: beside it when it begins, behind it when it has ended, to all targets at once. Whether anybody
//! got one changes nothing about the run. What is in a notice is `notify`'s business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use super::identity;
use crate::app::deliver::Deliver;
use crate::compose::{EnvironmentValue, Project};
use crate::error::Failure;
use crate::git::{Git, is_work_tree};
use crate::notify::delivery::{Delivered, deliver};
use crate::notify::notice::{Commit, EVIDENCE};
use crate::notify::observed::Seen;
use crate::notify::{Mask, Notice, Target, What};
use crate::pipeline::{Context, Event, Events, Interrupt, Outcome, Settings};
use crate::release::RunId;
use crate::release::changes::Changes;
use crate::secret::Secret;
use crate::steps::check::code::changes;
use crate::steps::check::environment::is_secret;

/// Who is told of a run, and what was found out for it.
pub struct Notices {
    targets: Vec<Arc<Target>>,
    port: Arc<dyn Deliver>,
    mask: Arc<Mask>,
    begun: Mutex<Begun>,
}

/// What is known since the run has begun.
#[derive(Default)]
struct Begun {
    before: Option<String>,
    changes: Vec<(String, String)>,
    commit: Option<Commit>,
    /// Of each target, its notice of the beginning, on its way.
    under_way: BTreeMap<usize, JoinHandle<Delivered>>,
}

/// What a run is about, as far as its files tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Without the images: they are being built meanwhile.
    pub(super) changes: Option<Changes>,
    pub(super) commit: Option<Commit>,
}

impl Found {
    /// Finds it out.
    pub(super) async fn out(settings: &Settings) -> Self {
        Self {
            changes: changes::of_files(settings).await,
            commit: commit(settings).await,
        }
    }
}

/// When a run was what.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) started: OffsetDateTime,
    pub(super) elapsed: Duration,
}

/// How a run has ended.
pub(super) struct End<'a> {
    pub(super) outcome: Outcome,
    pub(super) exit_code: u8,
    pub(super) failure: Option<&'a Failure>,
    pub(super) serves: Option<String>,
    pub(super) seen: Seen,
}

impl Notices {
    /// Of these targets; what is masked is in no notice, nor is anything secret of a target.
    pub fn new(targets: Vec<Target>, port: Arc<dyn Deliver>, mask: Mask) -> Self {
        let mask = targets.iter().fold(mask, |mask, target| mask.and(&target.mask()));
        Self {
            targets: targets.into_iter().map(Arc::new).collect(),
            port,
            mask: Arc::new(mask),
            begun: Mutex::default(),
        }
    }

    /// All of them, or the one of this name.
    pub(super) fn called<'a>(&'a self, only: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Target>> {
        let targets = self.targets.iter();
        targets.filter(move |target| only.is_none_or(|name| target.name == name))
    }

    /// Who would be told.
    pub(super) fn plan(&self, events: &Events) {
        for target in &self.targets {
            events.emit(Event::NoticePlanned {
                target: target.name.clone(),
                place: target.place(),
                moments: target.on.iter().copied().collect(),
            });
        }
    }

    /// The release that serves, as far as is known before the run changes that.
    pub(super) fn serving(&self, settings: &Settings) {
        self.lock().before = settings.current.as_ref().map(|release| release.tag.to_string());
    }

    /// Tells that the run has begun. Whatever takes long of it runs on beside.
    pub(super) async fn begin(&self, context: Context<'_>, command: &str, times: Times, found: Found) {
        let settings = context.settings;
        self.serving(settings);
        {
            let mut begun = self.lock();
            begun.changes = found
                .changes
                .map(|changes| changes.in_words())
                .unwrap_or_default();
            begun.commit = found.commit;
        }
        let notice = self.notice(What::Started, settings, command, context.run, times);
        let notice = Arc::new(notice.told(&self.mask));
        let mut begun = self.lock();
        for (index, target) in self.targets.iter().enumerate() {
            if !target.wants(What::Started) {
                continue;
            }
            let told = self.tell(
                Arc::clone(target),
                &notice,
                context.events.clone(),
                target.timeout,
            );
            begun.under_way.insert(index, tokio::spawn(told));
        }
    }

    /// Tells how it has ended, and waits until all have got it or their time is up. Who is asked to stop once more stops.
    pub(super) async fn end(
        &self,
        (settings, command, run): (&Settings, &str, &RunId),
        times: Times,
        end: End<'_>,
        events: &Events,
        interrupt: &Interrupt,
    ) {
        let what = match end.outcome {
            Outcome::Succeeded if end.seen.late_warnings > 0 => What::Degraded,
            Outcome::Succeeded => What::Succeeded,
            Outcome::Failed => What::Failed,
            Outcome::RolledBack => What::RolledBack,
            Outcome::Stuck => What::Stuck,
            Outcome::Interrupted => What::Interrupted,
        };
        let mut notice = self.notice(what, settings, command, run, times);
        notice.exit_code = Some(end.exit_code);
        notice.serves = end.serves;
        notice.step = end.seen.failed_step.map(|step| step.as_str().to_owned());
        if !what.is_good() {
            let services = end.seen.failed_services.join(", ");
            notice.service = Some(services).filter(|services| !services.is_empty());
        }
        notice.warnings = end.seen.warnings;
        notice.next = if what == What::Degraded {
            end.seen.hints
        } else {
            Vec::new()
        };
        if let Some(failure) = end.failure {
            notice.error = Some(format!("{:#}", failure.error));
            notice.next = failure.hints.clone();
            notice.evidence = evidence(failure);
        }
        notice.next.truncate(NEXT);
        notice.next.extend(next(what, &notice));
        let notice = Arc::new(notice.told(&self.mask));
        let mut under_way = std::mem::take(&mut self.lock().under_way);
        let again = interrupt.times() + 1;
        let told = self.targets.iter().enumerate().map(|(index, target)| {
            let beginning = under_way.remove(&index);
            let notice = &notice;
            async move {
                let time = target.timeout;
                let waited = tokio::time::Instant::now();
                if let Some(mut beginning) = beginning
                    && tokio::time::timeout(time / 2, &mut beginning).await.is_err()
                {
                    beginning.abort();
                    let why = "the run was over first".to_owned();
                    events.emit(notified(target, What::Started, Some(why), 0, waited.elapsed()));
                }
                if !target.wants(what) {
                    return;
                }
                let left = time.saturating_sub(waited.elapsed());
                tokio::select! {
                    biased;
                    _ = self.tell(Arc::clone(target), notice, events.clone(), left) => {}
                    () = interrupt.asked(again) => {
                        let why = "interrupted".to_owned();
                        events.emit(notified(target, what, Some(why), 0, waited.elapsed()));
                    }
                }
            }
        });
        join_all(told).await;
    }

    /// Tells one target, and says how that went.
    fn tell(
        &self,
        target: Arc<Target>,
        notice: &Arc<Notice>,
        events: Events,
        time: Duration,
    ) -> impl Future<Output = Delivered> + use<> {
        let (port, mask, notice) = (Arc::clone(&self.port), Arc::clone(&self.mask), Arc::clone(notice));
        async move {
            let delivered = deliver(&*port, &target.parcels(&notice), &mask, time).await;
            events.emit(notified(
                &target,
                notice.what,
                delivered.why_not.clone(),
                delivered.tries,
                delivered.took,
            ));
            delivered
        }
    }

    /// Tells nobody anything but that this is a test; who got it, and who not.
    pub(super) async fn test(&self, only: Option<&str>, notice: Notice) -> Vec<(Arc<Target>, Delivered)> {
        let notice = notice.told(&self.mask);
        let tests = self.called(only).map(|target| {
            let parcels = target.parcels(&notice);
            async move {
                let delivered = deliver(&*self.port, &parcels, &self.mask, target.timeout).await;
                (Arc::clone(target), delivered)
            }
        });
        join_all(tests).await
    }

    fn notice(&self, what: What, settings: &Settings, command: &str, run: &RunId, times: Times) -> Notice {
        let begun = self.lock();
        Notice {
            what,
            is_test: false,
            project: settings.project.name.clone(),
            command: command.to_owned(),
            run: run.to_string(),
            release: settings.tag.to_string(),
            before: begun.before.clone(),
            serves: None,
            by: identity::deployed_by(),
            started: times.started,
            elapsed: times.elapsed,
            exit_code: None,
            step: None,
            service: None,
            error: None,
            evidence: Vec::new(),
            warnings: Vec::new(),
            changes: begun.changes.clone(),
            next: match what {
                What::Started => vec!["to follow it: viatique-deploy status".to_owned()],
                What::Succeeded
                | What::Degraded
                | What::Failed
                | What::Interrupted
                | What::RolledBack
                | What::Stuck => Vec::new(),
            },
            commit: begun.commit.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What failed first, first; of each block its heading and its last lines.
fn evidence(failure: &Failure) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for block in &failure.evidence {
        let room = EVIDENCE.saturating_sub(lines.len() + 1);
        if room == 0 {
            break;
        }
        lines.push(block.title.clone());
        let last = block.lines.len().saturating_sub(room);
        lines.extend(block.lines.iter().skip(last).cloned());
    }
    lines
}

/// So many hints of a failure are told, beside the command that always is.
const NEXT: usize = 3;

/// The command to run next, where no hint names one of this tool's.
fn next(what: What, notice: &Notice) -> Option<String> {
    let again = || match notice.command.as_str() {
        "rollback" => format!("viatique-deploy rollback --to {}", notice.release),
        command => format!("viatique-deploy {command} --tag {}", notice.release),
    };
    let command = match what {
        What::Stuck => "viatique-deploy status",
        What::Started
        | What::Succeeded
        | What::Degraded
        | What::Failed
        | What::Interrupted
        | What::RolledBack => "viatique-deploy ",
    };
    if notice.next.iter().any(|line| line.contains(command)) {
        return None;
    }
    match what {
        What::Started => None,
        What::Succeeded if notice.command == "rollback" => Some("to look: viatique-deploy status".to_owned()),
        What::Succeeded => Some("to take it back: viatique-deploy rollback".to_owned()),
        What::Degraded => Some("to see what stands: viatique-deploy status".to_owned()),
        What::Failed | What::RolledBack => Some(format!("once the cause is mended: {}", again())),
        What::Interrupted => Some(format!("to go on with it: {}", again())),
        What::Stuck => Some("to see what stands where: viatique-deploy status".to_owned()),
    }
}

fn notified(target: &Target, what: What, why_not: Option<String>, tries: u32, duration: Duration) -> Event {
    Event::Notified {
        target: target.name.clone(),
        place: target.place(),
        what,
        why_not,
        tries,
        duration,
    }
}

/// Where the checkout is, and where what serves was: what cannot be found out is left out.
async fn commit(settings: &Settings) -> Option<Commit> {
    const LIMIT: Duration = Duration::from_secs(10);
    let folder = settings.config.directory();
    // A recorded release is not made of what is checked out.
    if !settings.images.is_empty() || !is_work_tree(folder) {
        return None;
    }
    let git = Git::at(folder);
    let asked = async {
        let now = git.commit("HEAD").await.ok().flatten()?;
        let before = match &settings.current {
            Some(current) => git.commit(current.tag.as_str()).await.ok().flatten(),
            None => None,
        };
        Some(Commit { now, before })
    };
    tokio::time::timeout(LIMIT, asked).await.ok().flatten()
}

/// What no notice tells: the `secrets` of `deploy.yml`, and of the variables and the services' environment what is one by
/// its name, or is the password of an address.
pub fn mask<'a>(
    project: &Project,
    secrets: impl IntoIterator<Item = &'a Secret<String>>,
    variables: &BTreeMap<String, Secret<String>>,
) -> Mask {
    let mut values: Vec<Secret<String>> = secrets.into_iter().cloned().collect();
    let of_variables = variables.iter().filter(|(name, _)| is_secret(name));
    values.extend(of_variables.map(|(_, value)| value.clone()));
    for service in project.services.values() {
        for (key, value) in &service.environment {
            let value = match value {
                EnvironmentValue::Plain(value) => value,
                EnvironmentValue::Secret(value) => value.reveal(),
                EnvironmentValue::Unset => continue,
            };
            if is_secret(key) {
                values.push(Secret::new(value.clone()));
            } else if let Some(password) = password_of(value) {
                values.push(Secret::new(password.to_owned()));
                values.push(Secret::new(value.clone()));
            }
        }
    }
    Mask::of(&values)
}

/// `postgresql://user:password@db/name`.
fn password_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let (login, _) = rest.split(['/', '?']).next()?.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    Some(password).filter(|password| !password.is_empty())
}
