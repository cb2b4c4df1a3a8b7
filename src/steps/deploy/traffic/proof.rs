//! Proof that a new container serves: first asked directly from where its proxy stands, before it is given anything,
//! then through the proxy, before the old one is touched. What the application says is judged by `health` later; here
//! it must answer at all, and no worse than before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::callers::Caller;
use super::{Traffic, address};
use crate::compose::ServiceName;
use crate::engine::Container;
use crate::error::{Failure, FailureKind};
use crate::pipeline::Task;
use crate::stack::nginx::Listener;
use crate::stack::sidecar::{Answer, Order, Question, Reply};

/// How long a healthy container may take to answer its proxy.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// Seconds that one answer may take.
const PATIENCE: u64 = 5;
/// Good answers in a row that stand for a proof where connections cannot be counted: names looked up at run time.
const IN_A_ROW: u32 = 3;

/// How a path is asked for.
struct Probe {
    path: String,
    host: Option<String>,
    headers: BTreeMap<String, String>,
    /// Of the application's own health endpoint; other pages may say what they like, short of a server's error.
    strict: bool,
}

/// What a proxy answered before the switch, for comparison.
pub(crate) struct Baseline(Vec<(Arc<Caller>, Option<u16>)>);

impl Traffic<'_> {
    /// Asks a new container directly, from its proxies' places in the network and on the ports they use.
    ///
    /// # Errors
    /// Where it does not answer, or with a server's error where the old one does not; the engine's.
    pub(crate) async fn prove(
        &self,
        service: &ServiceName,
        new: &Container,
        old: Option<&Container>,
        task: &Task,
    ) -> Result<(), Failure> {
        let probe = self.probe(service);
        let callers = self.callers_of(service);
        for caller in callers.iter().filter(|caller| caller.proxy.is_some()) {
            for upstream in caller.calls.get(service).into_iter().flatten() {
                let question = |container: &Container| {
                    let found = caller
                        .container
                        .networks
                        .iter()
                        .find_map(|network| address(container, &network.id))?;
                    Some(Question {
                        address: found,
                        port: upstream.port,
                        path: upstream.http.then(|| probe.path.clone()),
                        host: probe.host.clone(),
                        headers: probe.headers.clone(),
                        tls: false,
                        timeout: PATIENCE,
                    })
                };
                let Some(asked) = question(new) else { continue };
                task.progress(format!("asking it as {} will", caller.service));
                let Err(why) = self.until_good(caller, &asked, &probe).await? else {
                    continue;
                };
                // A page that the old one cannot serve either proves nothing against the new one.
                let before = match old.and_then(question).filter(|_| !probe.strict) {
                    Some(question) => self.ask(caller, &question).await?,
                    None => None,
                };
                if matches!(before, Some(Reply::Answered { status: Some(status), .. }) if status >= 500) {
                    continue;
                }
                return Err(unanswered(caller, new, &asked, &why));
            }
        }
        Ok(())
    }

    /// `Ok(Err(why))` where it has not answered well within the limit.
    async fn until_good(
        &self,
        caller: &Caller,
        question: &Question,
        probe: &Probe,
    ) -> Result<Result<(), String>, Failure> {
        let began = Instant::now();
        let mut good = 0;
        loop {
            let Some(reply) = self.ask(caller, question).await? else {
                return Ok(Ok(()));
            };
            let why = match reply {
                Reply::Failed(why) => why,
                Reply::Answered { status: None, .. } => return Ok(Ok(())),
                Reply::Answered {
                    status: Some(status),
                    body,
                } => {
                    if status < if probe.strict { 400 } else { 500 } {
                        good += 1;
                        // Once more: one that ends when it is first asked is no new replica.
                        if good == 2 {
                            return Ok(Ok(()));
                        }
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    format!("it answers {status}: {}", first_line(&body))
                }
            };
            good = 0;
            if began.elapsed() >= LIMIT {
                return Ok(Err(why));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What each proxy answers for this service now.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn baseline(&self, service: &ServiceName) -> Result<Baseline, Failure> {
        let probe = self.probe(service);
        let mut found = Vec::new();
        for caller in self.callers_of(service) {
            let answer = self.through(&caller, &probe).await?;
            found.push((caller, answer));
        }
        Ok(Baseline(found))
    }

    /// Asks through each proxy until connections have been led to the new container and the answer is no worse than
    /// before; `false` where nothing that was asked for came to this service, so that nothing is proven.
    ///
    /// # Errors
    /// A proxy that answers with a server's error since the switch; the engine's.
    pub(crate) async fn prove_through(
        &self,
        service: &ServiceName,
        new: &Container,
        before: &Baseline,
        task: &Task,
    ) -> Result<bool, Failure> {
        let probe = self.probe(service);
        let mut proven = true;
        for (caller, before) in &before.0 {
            let Some(proxy) = &caller.proxy else { continue };
            task.progress(format!("asking through {}", proxy.service));
            let began = Instant::now();
            let (mut good, mut bad) = (0, 0);
            loop {
                let now = self.through(caller, &probe).await?;
                let worse = matches!(now, Some(500..)) && !matches!(before, Some(500..));
                good = if worse || now.is_none() { 0 } else { good + 1 };
                bad = if worse { bad + 1 } else { 0 };
                let led = good > 0 && self.diverted(caller, service).await? > 0;
                if led || (caller.resolves && good >= IN_A_ROW) {
                    break;
                }
                // Visitors get the same answers: two are enough.
                if bad == 2 || began.elapsed() >= LIMIT {
                    if worse {
                        let status = now.unwrap_or_default();
                        return Err(Failure::message(
                            FailureKind::Failed,
                            format!(
                                "the new container {} is healthy, but {} answers {status} to {} since it is in service",
                                new.name, proxy.service, probe.path
                            ),
                        ));
                    }
                    proven = false;
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(proven)
    }

    async fn through(&self, caller: &Caller, probe: &Probe) -> Result<Option<u16>, Failure> {
        let plain_first = |listener: &&Listener| listener.tls;
        let Some(listener) = caller.listeners.iter().min_by_key(plain_first) else {
            return Ok(None);
        };
        let question = Question {
            address: std::net::Ipv4Addr::LOCALHOST,
            port: listener.port,
            path: Some(probe.path.clone()),
            host: probe.host.clone(),
            headers: probe.headers.clone(),
            tls: listener.tls,
            timeout: PATIENCE,
        };
        Ok(match self.ask(caller, &question).await? {
            Some(Reply::Answered { status, .. }) => status,
            Some(Reply::Failed(_)) | None => None,
        })
    }

    async fn ask(&self, caller: &Caller, question: &Question) -> Result<Option<Reply>, Failure> {
        let answer = self.order(caller, &Order::Ask(question)).await?;
        Ok(answer.map(Answer::into_reply))
    }

    async fn diverted(&self, caller: &Caller, service: &ServiceName) -> Result<u64, Failure> {
        let key = service.as_str();
        let answer = self.order(caller, &Order::Count { key }).await?;
        Ok(answer.map_or(0, |answer| answer.connections()))
    }

    /// What `deploy.yml` names, else the health endpoint for the application and the front page for others.
    fn probe(&self, service: &ServiceName) -> Probe {
        let config = &self.context.settings.config;
        let django = config.django.as_ref().map(|django| &django.service);
        let health = config.health.as_ref();
        let authority = health.and_then(|health| {
            let rest = health.url.split_once("://").map(|(_, rest)| rest)?;
            Some(rest.split_once('/').unwrap_or((rest, "")))
        });
        let own = config.service(service).probe;
        let strict = django == Some(service) && health.is_some() && own.is_none();
        let path = match authority {
            Some((_, path)) if strict => format!("/{path}"),
            Some(_) | None => own.unwrap_or_else(|| "/".to_owned()),
        };
        let host = health
            .and_then(|health| health.host.clone())
            .or_else(|| authority.map(|(host, _)| host.to_owned()));
        let headers = health.map(|health| &health.headers).into_iter().flatten();
        Probe {
            path,
            host,
            headers: headers
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            strict,
        }
    }
}

fn first_line(body: &str) -> String {
    let line = body.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or_default().chars().take(200).collect()
}

fn unanswered(caller: &Caller, new: &Container, asked: &Question, why: &str) -> Failure {
    let Question { address, port, .. } = asked;
    let path = asked.path.as_deref().unwrap_or_default();
    Failure::message(
        FailureKind::Failed,
        format!(
            "the new container {} is healthy, but does not serve {} at {address}:{port}{path}: {why}",
            new.name, caller.service
        ),
    )
    .hint(format!(
        "its health test passes inside of it; {} must reach it from outside, on port {port} of all its addresses \
         (0.0.0.0, not 127.0.0.1), with the Host it passes on",
        caller.service
    ))
}
