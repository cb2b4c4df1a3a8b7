//! Rules about the host: while services are rolled their containers stand twice, and a build needs disk.

use super::facts::{Facts, RolledMemory, with_margin};
use super::{Finding, Rule, Severity};
use crate::steps::backup::size;

/// Below this, not even a log or a small layer can be written.
const LEAST_DISK: u64 = 200 << 20;
/// What a build of a usual application may take: layers, cache and the image itself.
const USUAL_BUILD: u64 = 2 << 30;

/// One service's part of what the roll needs.
struct Need<'a> {
    service: &'a str,
    bytes: u64,
    count: u64,
}

/// What the services that will be rolled use now, as often as they stand twice, must be free. They may all be rolled at
/// once. A service that does not run yet has no known use, and takes no second place.
pub(super) fn memory(facts: &Facts<'_>) -> Vec<Finding> {
    let capacity = &facts.capacity;
    let (used, available) = match (&facts.memory, capacity.memory_available) {
        (RolledMemory::Used(used), Some(available)) => (used, available),
        (RolledMemory::NothingRolled | RolledMemory::Ample, _) => return Vec::new(),
        (RolledMemory::HostUnknown | RolledMemory::Used(_), _) => {
            return vec![Finding::of_the_host(
                Rule::NoRoomInMemory,
                Severity::NotVerified,
                "memory for two of each, because the engine's host cannot be looked into from here"
                    .to_owned(),
                "",
            )];
        }
    };
    let needs: Vec<Need<'_>> = facts
        .services()
        .filter_map(|service| {
            let used = *used.get(&service.name)?;
            Some(Need {
                service: service.name.as_str(),
                bytes: service.limits.memory.map_or(used, |limit| limit.min(used)),
                count: facts.surge(service),
            })
        })
        .collect();
    let total: u64 = needs.iter().map(|need| need.bytes * need.count).sum();
    let Some(largest) = needs.iter().max_by_key(|need| need.bytes * need.count) else {
        return Vec::new();
    };
    let each: Vec<String> = needs
        .iter()
        .map(|need| match need.count {
            1 => format!("{} {}", need.service, size(need.bytes)),
            count => format!("{} {count} × {}", need.service, size(need.bytes)),
        })
        .collect();
    let needed = format!(
        "while services are rolled their containers stand twice, which takes about {}, by what they use now ({}); of \
         the host's {} of memory {} are free",
        size(total),
        each.join(", "),
        size(capacity.memory_total),
        size(available)
    );
    let remedy = format!(
        "free memory, or write `services.{}: {{ max_surge: 0, max_unavailable: 1 }}` in deploy.yml: it is then replaced \
         in its own place, with a gap where it has one replica",
        largest.service
    );
    if available < total {
        vec![Finding::of_the_host(
            Rule::NoRoomInMemory,
            Severity::Refusal,
            format!("{needed}: the kernel would end a process, and it chooses which"),
            remedy,
        )]
    } else if available < with_margin(total) {
        vec![Finding::of_the_host(
            Rule::NoRoomInMemory,
            Severity::Warning,
            format!("{needed}: a release that takes a little more does not fit"),
            remedy,
        )]
    } else {
        Vec::new()
    }
}

/// Only what refuses a deploy: asked again before anything is changed that serves.
pub(super) fn refusals(facts: &Facts<'_>) -> Vec<Finding> {
    let found = [memory(facts), disk(facts)].into_iter().flatten();
    found.filter(|one| one.severity == Severity::Refusal).collect()
}

/// Images to be built have no known size: twice the project's largest is taken for enough.
pub(super) fn disk(facts: &Facts<'_>) -> Vec<Finding> {
    let capacity = &facts.capacity;
    let largest = facts
        .images
        .values()
        .map(|image| image.size)
        .max()
        .unwrap_or_default();
    let Some(available) = capacity.disk_available else {
        return vec![Finding::of_the_host(
            Rule::NoRoomOnDisk,
            Severity::NotVerified,
            format!(
                "free disk in {} on the engine's host, which cannot be looked into from here",
                capacity.data_root
            ),
            "",
        )];
    };
    let wanted = USUAL_BUILD.max(largest.saturating_mul(2));
    let free = format!("{} are free in {}", size(available), capacity.data_root);
    let remedy = "docker image prune, docker builder prune: look first with docker system df";
    if available < LEAST_DISK {
        vec![Finding::of_the_host(
            Rule::NoRoomOnDisk,
            Severity::Refusal,
            format!("only {free}: a build, a backup or the database itself would fail half-way"),
            remedy,
        )]
    } else if available < wanted {
        vec![Finding::of_the_host(
            Rule::NoRoomOnDisk,
            Severity::Warning,
            format!(
                "only {free}, and a build may take {} (the project's largest image twice, at least {})",
                size(wanted),
                size(USUAL_BUILD)
            ),
            remedy,
        )]
    } else {
        Vec::new()
    }
}
