//! Where what runs is not what the current release says, because somebody changed it by hand. What cannot be seen from
//! outside (a limit that was updated, a file in a container) is not told.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine::{Container, ContainerState, labels};
use crate::release::Release;
use crate::steps::deploy::Standing;

/// A sentence for each deviation.
pub(super) fn drift(release: &Release, standing: &Standing) -> Vec<String> {
    let mut found = Vec::new();
    if release.project.is_null() {
        // Rebuilt from what runs: there is nothing to hold it against.
        return found;
    }
    for (service, image) in &release.images {
        let name = service.as_str();
        let containers = standing.get(name).map(Vec::as_slice).unwrap_or_default();
        let recorded = &release.project["services"][name];
        // What is never started again may be meant to end.
        let may_end = recorded["restart"] == "no";
        let ends = may_end && containers.iter().any(|one| one.state.has_succeeded());
        // Whether it is well is told beside it; one that is starting was not changed by hand.
        let running = containers
            .iter()
            .filter(|one| one.state == ContainerState::Running)
            .count();
        let replicas = recorded["replicas"].as_u64().unwrap_or(1);
        // One that ran to its end serves by having done so.
        if !ends && u64::try_from(running) != Ok(replicas) {
            found.push(format!(
                "{name}: {running} of {replicas} {}",
                if replicas == 1 { "runs" } else { "run" }
            ));
        }
        for container in containers {
            found.extend(deviation(release, name, container, &image.id.0));
        }
    }
    for (service, containers) in standing {
        let known = release.images.keys().any(|known| known.as_str() == service);
        if !known && !containers.is_empty() {
            found.push(format!("{service}: runs, but is not part of the release"));
        }
    }
    found
}

fn deviation(release: &Release, service: &str, container: &Container, image: &str) -> Option<String> {
    let name = &container.name;
    if container.image.0 != image {
        let short = container.image.short();
        return Some(format!("{service}: {name} runs another image ({short})"));
    }
    // Compose's own carry none; those that were taken over as they were are older than the release.
    let by_hand =
        container.label(labels::SPEC).is_none() && moment(&container.created) > moment(&release.deployed_at);
    by_hand.then(|| format!("{service}: {name} was made since by something else than this tool"))
}

fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
