//! A simulated container: what time and looking do to it, and what it then says of itself. What it does to others
//! (names, ports, networks) is the world's affair.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokio::time::Instant;
use viatique_deploy::compose::{Healthcheck, HostPort, RestartPolicy};
use viatique_deploy::engine::{
    ContainerId, ContainerSpec, ContainerState, Exit, Health, HealthProbe, ImageId, NetworkId,
};

use super::behaviour::{HealthScript, ImageBehaviour, Life};

#[derive(Clone)]
pub(super) struct FakeContainer {
    pub(super) id: ContainerId,
    /// `None` for a marker.
    pub(super) spec: Option<ContainerSpec>,
    pub(super) name: String,
    pub(super) image: ImageId,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) state: ContainerState,
    pub(super) log: Vec<(OffsetDateTime, String)>,
    pub(super) volumes: BTreeMap<String, String>,
    /// Outside of volumes, by absolute path.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) behaviour: ImageBehaviour,
    /// Sent to it while it ran.
    pub(super) signals: Vec<String>,
    /// By network; those of its last start.
    pub(super) addresses: BTreeMap<NetworkId, String>,
    pub(super) created: OffsetDateTime,
    pub(super) started: Option<(u64, Instant)>,
    pub(super) started_at: Option<OffsetDateTime>,
    pub(super) looks: u32,
    pub(super) restart_count: u32,
}

impl FakeContainer {
    /// What it writes when it is started.
    pub(super) fn write(&mut self, now: OffsetDateTime) {
        // No two at the same moment.
        let moments = (0..).map(|number| now + std::time::Duration::from_nanos(number));
        self.log.extend(moments.zip(self.behaviour.log.clone()));
    }

    pub(super) fn pass_time(&mut self, now: OffsetDateTime) {
        if !matches!(
            self.state,
            ContainerState::Running | ContainerState::Restarting { .. }
        ) {
            return;
        }
        self.looks += 1;
        if let Life::CrashLoops(code) = self.behaviour.life {
            let policy = self
                .spec
                .as_ref()
                .and_then(|spec| spec.service.restart)
                .unwrap_or_default();
            let again = match policy {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    max_retries.is_none_or(|max| self.restart_count < max)
                }
            };
            if again {
                self.restart_count += 1;
                self.write(now);
                self.state = ContainerState::Restarting { exit_code: code };
            } else {
                self.state = ContainerState::Exited(Exit {
                    code,
                    out_of_memory: self.behaviour.is_killed_for_memory(),
                });
            }
        }
    }

    /// Whether the service brings a test of its own; `None` where it switches the image's off.
    pub(super) fn tested_by_service(&self) -> Option<bool> {
        let service = self.spec.as_ref().map(|spec| &spec.service);
        match service.and_then(|service| service.healthcheck.as_ref()) {
            Some(Healthcheck::Disabled) => None,
            Some(Healthcheck::Test { .. }) => Some(true),
            None => Some(false),
        }
    }

    /// When its health test first has something to say, where that takes nothing but time.
    pub(super) fn health_comes_at(&self) -> Option<Instant> {
        let tested_by_service = self.tested_by_service()?;
        let (_, since) = self.started?;
        match &self.behaviour.health {
            HealthScript::None => tested_by_service.then_some(since),
            HealthScript::AfterInspections(_) => None,
            HealthScript::After(wait) => Some(since + *wait),
            HealthScript::Never(_) => Some(since),
        }
    }

    /// Tells one start of it from another.
    pub(super) fn start_count(&self) -> Option<u64> {
        self.started.map(|(count, _)| count)
    }

    pub(super) fn health(&self) -> Option<Health> {
        let tested_by_service = self.tested_by_service()?;
        let (_, since) = self.started?;
        let starting = Health::Starting { probes: Vec::new() };
        match &self.behaviour.health {
            HealthScript::None => tested_by_service.then_some(Health::Healthy),
            HealthScript::AfterInspections(times) if self.looks < *times => Some(starting),
            HealthScript::After(wait) if since.elapsed() < *wait => Some(starting),
            HealthScript::AfterInspections(_) | HealthScript::After(_) => Some(Health::Healthy),
            HealthScript::Never(output) => Some(Health::Unhealthy {
                probes: vec![HealthProbe {
                    exit_code: 1,
                    output: output.clone(),
                }],
            }),
        }
    }

    pub(super) fn host_ports(&self) -> Vec<(String, u16)> {
        let ports = self.spec.iter().flat_map(|spec| &spec.service.ports);
        ports
            .filter_map(|port| match port.published {
                HostPort::Fixed(number) => Some((
                    port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned()),
                    number,
                )),
                HostPort::Ephemeral | HostPort::Range(..) => None,
            })
            .collect()
    }

    pub(super) fn service(&self) -> String {
        self.spec
            .as_ref()
            .map(|spec| spec.service.name.as_str().to_owned())
            .unwrap_or_default()
    }
}
