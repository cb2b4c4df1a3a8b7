//! Services that are told to read their configuration again instead of being replaced: nginx before all. Tests the
//! configuration first; a reload counts as done once the new workers serve, not once the signal is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::standing::Standing;
use super::strategy::{Strategy, strategy};
use crate::compose::ServiceName;
use crate::engine::{Captured, Container, ContainerState, Engine, ExecSpec, Inspect};
use crate::error::{Failure, FailureKind};
use crate::pipeline::Settings;
use crate::stack::nginx::{Configuration, Workers};

/// How long new workers may take to appear. nginx itself reloads in tens of milliseconds.
const RELOAD_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);
/// Between two looks at a proxy's old workers, which may live as long as the longest download.
const LEAVING_POLL: Duration = Duration::from_millis(250);

/// A running container that holds other services' addresses.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub service: ServiceName,
    pub container: Container,
    test: Option<Vec<String>>,
    reload: Vec<String>,
}

/// The commands of a service with [`Strategy::Reload`]: (test, reload). nginx's own where `deploy.yml` gives none.
pub(crate) fn commands(
    settings: &Settings,
    service: &ServiceName,
) -> Option<(Option<Vec<String>>, Vec<String>)> {
    settings
        .project
        .services
        .get(service)
        .and_then(|service| settings.config.reload_commands(service))
}

/// Whether any service is reloaded.
pub(crate) fn has_proxies(settings: &Settings) -> bool {
    let mut services = settings.project.services.values();
    services.any(|service| strategy(settings, service) == Strategy::Reload)
}

/// The running containers of all services that are reloaded.
pub(crate) fn proxies(settings: &Settings, standing: &Standing) -> Vec<Proxy> {
    let mut found = Vec::new();
    for (name, service) in &settings.project.services {
        if strategy(settings, service) != Strategy::Reload {
            continue;
        }
        let containers = standing.get(name.as_str()).into_iter().flatten();
        let running = containers.filter(|container| container.state == ContainerState::Running);
        found.extend(running.filter_map(|container| proxy(settings, name, container)));
    }
    found
}

/// A container of a service that is told to read its configuration again; `None` where no command is known for that.
pub(crate) fn proxy(settings: &Settings, service: &ServiceName, container: &Container) -> Option<Proxy> {
    let (test, reload) = commands(settings, service)?;
    Some(Proxy {
        service: service.clone(),
        container: container.clone(),
        test,
        reload,
    })
}

/// Reloads of one proxy, asked for side by side: one that begins after several were asked for serves them all.
#[derive(Default)]
pub(crate) struct Reloads {
    asked: AtomicU64,
    /// How many of those asked for the last finished one has served.
    served: tokio::sync::Mutex<u64>,
}

impl Reloads {
    /// Has the proxy read its configuration, unless it has done so since this was asked for.
    ///
    /// # Errors
    /// As [`Proxy::reload`].
    pub(crate) async fn reload(&self, engine: &dyn Engine, proxy: &Proxy) -> Result<(), Failure> {
        let mine = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut served = self.served.lock().await;
        if *served >= mine {
            return Ok(());
        }
        let serves = self.asked.load(Ordering::Relaxed);
        proxy.reload(engine).await?;
        *served = serves;
        Ok(())
    }
}

impl Proxy {
    /// Has it test its configuration.
    ///
    /// # Errors
    /// Where the configuration does not pass, with what the test wrote.
    pub(crate) async fn test(&self, engine: &dyn Engine) -> Result<(), Failure> {
        match &self.test {
            Some(test) => self.exec(engine, test, "does not accept its configuration").await,
            None => Ok(()),
        }
    }

    /// The configuration that it would load now; `None` where it is no nginx, or does not accept it.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn configuration(&self, engine: &dyn Engine) -> Result<Option<Configuration>, Failure> {
        let Some(program) = self.reload.first().filter(|word| word.ends_with("nginx")) else {
            return Ok(None);
        };
        let spec = ExecSpec::command(&[program, "-T"]);
        let mut output = Captured::default();
        let exit = engine.exec(&self.container.id, &spec, None, &mut output).await?;
        Ok(exit
            .success()
            .then(|| Configuration::parse(&output.stdout_text())))
    }

    /// Waits until no worker of an earlier configuration has anything left to finish, but no longer than `limit`.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn wait_for_old_workers(
        &self,
        inspect: &dyn Inspect,
        limit: Duration,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        while self.leaving(inspect).await? > 0 && began.elapsed() < limit {
            tokio::time::sleep(LEAVING_POLL).await;
        }
        Ok(())
    }

    async fn leaving(&self, inspect: &dyn Inspect) -> Result<usize, Failure> {
        Ok(Workers::leaving(&inspect.processes(&self.container.id).await?).count())
    }

    /// Has it read its configuration again, and waits until its new workers serve.
    ///
    /// # Errors
    /// Where the command fails or no new workers appear.
    pub(crate) async fn reload(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let id = &self.container.id;
        let before = Workers::among(&engine.processes(id).await?);
        self.exec(engine, &self.reload, "could not be reloaded").await?;
        self.wait_for_new_workers(engine, &before).await
    }

    async fn wait_for_new_workers(&self, inspect: &dyn Inspect, before: &Workers) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            if Workers::among(&inspect.processes(&self.container.id).await?).have_replaced(before) {
                return Ok(());
            }
            if began.elapsed() >= RELOAD_LIMIT {
                let log = inspect.logs(&self.container.id, 20).await.unwrap_or_default();
                return Err(Failure::message(
                    FailureKind::Failed,
                    format!(
                        "{} still runs its old workers {} s after a reload",
                        self.service,
                        RELOAD_LIMIT.as_secs()
                    ),
                )
                .evidence(format!("last log lines of {}", self.container.name), log));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn exec(&self, engine: &dyn Engine, command: &[String], what: &str) -> Result<(), Failure> {
        let spec = ExecSpec {
            command: command.to_vec(),
            ..ExecSpec::default()
        };
        let mut output = Captured::default();
        let exit = engine.exec(&self.container.id, &spec, None, &mut output).await?;
        if exit.success() {
            return Ok(());
        }
        let lines = output
            .stdout_text()
            .lines()
            .chain(output.stderr_text().lines())
            .map(ToOwned::to_owned)
            .collect();
        Err(Failure::message(
            FailureKind::Failed,
            format!("{} {what} (exit code {})", self.service, exit.code),
        )
        .evidence(format!("{} in {}", command.join(" "), self.container.name), lines))
    }
}
