//! Rules about services that could be replaced without a gap, or at all, but for one line.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::compose::Service;
use crate::config;
use crate::steps::deploy::strategy::{GapReason, HoldReason, Strategy};

/// A fixed name or host port keeps the new container from standing beside the old one. Where `deploy.yml` asks for the
/// gap, it is meant.
pub(super) fn name_or_port(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let meant = match facts.settings.config.service(&service.name).strategy {
            None | Some(config::Strategy::Rolling) => false,
            Some(
                config::Strategy::Recreate
                | config::Strategy::Singleton
                | config::Strategy::Reload
                | config::Strategy::Untouched
                | config::Strategy::OneShot,
            ) => true,
        };
        let Strategy::Recreate(reason) = facts.strategy(service) else {
            return None;
        };
        match reason {
            GapReason::ContainerName if !meant => Some(Finding::warning(
                Rule::GapByContainerName,
                &service.name,
                "container_name",
                "two containers cannot share a name, so the old one stops before the new one starts: nobody answers \
                 until it is up",
                "leave `container_name` out; others of its networks find it as `{service}` without it",
            )),
            GapReason::HostPort(port) if !meant && facts.is_behind_a_proxy(service) => {
                Some(Finding::warning(
                    Rule::GapByHostPort,
                    &service.name,
                    "ports",
                    format!(
                        "two containers cannot share host port {port}, so the old one stops before the new one starts: \
                     the proxy in front has nobody to ask until it is up"
                    ),
                    format!(
                        "write `expose: [\"{}\"]` instead of `ports`; the proxy reaches it by its name",
                        service
                            .ports
                            .iter()
                            .find(|one| one.published == crate::compose::HostPort::Fixed(port))
                            .map_or(port, |one| one.target)
                    ),
                ))
            }
            GapReason::ContainerName
            | GapReason::HostPort(_)
            | GapReason::SharedNamespace
            | GapReason::FixedAddress
            | GapReason::NoSurge
            | GapReason::Asked
            | GapReason::AskedOnce => None,
        }
    };
    facts.services().filter_map(judge).collect()
}

/// An application that alone mounts a volume is taken for a database, and no deploy ever changes it.
pub(super) fn app_never_replaced(facts: &Facts<'_>) -> Vec<Finding> {
    let judge = |service: &Service| {
        let held = match facts.strategy(service) {
            Strategy::Untouched(HoldReason::OwnVolume | HoldReason::DataFolder) => true,
            Strategy::Untouched(HoldReason::DataStore | HoldReason::Asked)
            | Strategy::Rolling
            | Strategy::Recreate(_)
            | Strategy::Singleton
            | Strategy::Reload
            | Strategy::OneShot => false,
        };
        let program = facts.program(service).filter(|_| held)?;
        Some(Finding::warning(
            Rule::AppNeverReplaced,
            &service.name,
            "volumes",
            format!(
                "{} runs here, and a service with a volume of its own is left alone: a new release of it is never \
                 deployed",
                program.name()
            ),
            "write in deploy.yml `services.{service}.strategy: rolling` where two containers may write to the volume at \
             once, else `recreate`",
        ))
    };
    facts.services().filter_map(judge).collect()
}
