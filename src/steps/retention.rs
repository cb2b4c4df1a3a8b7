//! Which images of earlier releases stay on the engine. Those of the newest `release.keep` deployments stay, of what
//! serves and of what `rollback` returns to, and every image that a container or another project's release uses. What was
//! built for a release that never served stays for a second try, until another one serves. Backups are left alone: they
//! have a retention of their own.
//!
//! After a crash some references may be gone and others not; the next release that is deployed removes the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{ContainerFilter, Engine, ImageId, Inspect, labels};
use crate::error::Failure;
use crate::ledger::{self, Ledger, LedgerError, Memory, Releases};
use crate::pipeline::{Context, Outcome, Settings, StepId, StepResult};
use crate::release::{Release, Tag};
use crate::steps::backup::size;
use crate::steps::release_reference;

/// A reference that no kept release needs, and the image that it was given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expendable {
    pub reference: String,
    pub id: ImageId,
    pub tag: Tag,
    /// References by which kept releases call the same image: only a name of it goes then.
    pub kept_as: Vec<String>,
}

/// Removes the images of releases that are not kept, and of those that `memory`, read before this run, tells never
/// served.
///
/// # Errors
/// The engine's, and another project's ledger that cannot be read; what is left is removed another time.
pub(crate) async fn prune(context: Context<'_>, memory: &Memory, releases: &Releases) -> Result<(), Failure> {
    let keep = context.settings.config.release.keep;
    let mut expendable = expendable(releases, keep);
    for (tag, reference) in never_served(context.settings, memory, releases) {
        if let Some(image) = context.engine.image(&reference).await? {
            expendable.push(Expendable {
                kept_as: kept_as(&kept(releases, keep), &image.id),
                reference,
                id: image.id,
                tag,
            });
        }
    }
    if expendable.is_empty() {
        return Ok(());
    }
    let used = used_by_others(context, keep).await?;
    let mut standing = Vec::new();
    for one in expendable {
        let image = context.engine.image(&one.reference).await?;
        // One that points elsewhere by now is not this release's any more.
        let Some(image) = image.filter(|image| image.id == one.id) else {
            continue;
        };
        let goes = if one.kept_as.is_empty() {
            !used.contains(&one.id)
        } else {
            // The last name of an image takes the image along.
            one.kept_as.iter().any(|kept| image.references.contains(kept))
        };
        if goes {
            standing.push(one);
        }
    }
    if standing.is_empty() {
        return Ok(());
    }
    let task = context.task(StepId::Deploy, "retention", "removing images of old releases");
    let before = context.engine.capacity().await?.disk_available;
    let remove = async {
        for one in &standing {
            task.progress(one.reference.clone());
            context.engine.remove_image(&one.reference).await?;
        }
        Ok(context.engine.capacity().await?.disk_available)
    };
    let removed = remove.await;
    let tags: BTreeSet<&str> = standing.iter().map(|one| one.tag.as_str()).collect();
    let tags: Vec<&str> = tags.into_iter().collect();
    task.conclude(removed, |after| {
        let freed = before
            .zip(*after)
            .map(|(before, after)| after.saturating_sub(before));
        let freed = freed.map_or_else(String::new, |bytes| {
            format!("; {} of the disk are free again", size(bytes))
        });
        let what = format!(
            "{} image names of {} removed{freed}",
            standing.len(),
            tags.join(", ")
        );
        (StepResult::Succeeded, what)
    })
    .map(|_| ())
}

/// The references that only releases beyond the newest `keep` deployments have.
pub fn expendable(releases: &Releases, keep: u32) -> Vec<Expendable> {
    let kept: Vec<&Release> = kept(releases, keep);
    let images = || kept.iter().flat_map(|release| release.images.values());
    let mut found = BTreeSet::new();
    for release in releases.all() {
        for image in release.images.values() {
            // A reference with another tag is no release's own: nginx:1.28 may be anybody's.
            let own = image.reference.ends_with(&format!(":{}", release.tag));
            if own && images().all(|kept| kept.reference != image.reference) {
                found.insert(Expendable {
                    reference: image.reference.clone(),
                    id: image.id.clone(),
                    tag: release.tag.clone(),
                    kept_as: kept_as(&kept, &image.id),
                });
            }
        }
    }
    found.into_iter().collect()
}

fn kept_as(kept: &[&Release], id: &ImageId) -> Vec<String> {
    let images = kept.iter().flat_map(|release| release.images.values());
    let same = images.filter(|image| image.id == *id);
    same.map(|image| image.reference.clone()).collect()
}

/// What runs that ended badly may have built for releases that nobody recorded, by tag and reference. What `build` alone
/// made is waited for by its `deploy`, and stays.
fn never_served(settings: &Settings, memory: &Memory, releases: &Releases) -> Vec<(Tag, String)> {
    let mut last = BTreeMap::new();
    for run in &memory.runs {
        if let Some(tag) = &run.header.release {
            last.insert(tag, run);
        }
    }
    let failed = last.into_iter().filter(|(tag, run)| {
        let deploys = matches!(run.header.command.as_str(), "run" | "deploy");
        let recorded = releases.tagged(tag).is_some() || **tag == settings.tag;
        deploys && !recorded && run.outcome != Some(Outcome::Succeeded)
    });
    let project = &settings.project;
    let built = || {
        project
            .services
            .values()
            .filter(|service| service.build.is_some())
    };
    failed
        .flat_map(|(tag, _)| {
            built().map(move |service| (tag.clone(), release_reference(project, service, tag)))
        })
        .collect()
}

/// The releases that can be gone back to for certain.
pub(crate) fn kept(releases: &Releases, keep: u32) -> Vec<&Release> {
    let newest = releases.all().iter().rev().take(keep as usize);
    newest.chain(releases.previous()).collect()
}

/// Images that any container on the engine was made from, or a kept release of another project.
async fn used_by_others(context: Context<'_>, keep: u32) -> Result<BTreeSet<ImageId>, Failure> {
    let inspect: &dyn Inspect = context.engine;
    let own = &context.settings.project.name;
    let mut used = BTreeSet::new();
    let containers = inspect.containers(&ContainerFilter::default()).await?;
    used.extend(containers.into_iter().map(|container| container.image));
    let ledgers = inspect.volumes_labelled(labels::ROLE, labels::Role::Ledger.as_str());
    for volume in ledgers.await? {
        let Some(project) = volume
            .labels
            .get(labels::PROJECT)
            .filter(|project| *project != own)
        else {
            continue;
        };
        let memory = releases_of(context.engine, project).await.map_err(|error| {
            Failure::from(anyhow::Error::new(error)).context(format!("reading the releases of {project}"))
        })?;
        let images = kept(&memory.releases, keep)
            .into_iter()
            .flat_map(|release| release.images.values().map(|image| image.id.clone()));
        used.extend(images.collect::<Vec<_>>());
    }
    Ok(used)
}

/// What another project remembers.
async fn releases_of(engine: &dyn Engine, project: &str) -> Result<Memory, LedgerError> {
    if !ledger::is_closed(engine, project).await? {
        return ledger::read(engine, project).await;
    }
    let of_project = ContainerFilter::labelled(labels::COMPOSE_PROJECT, project);
    if engine.containers(&of_project).await?.is_empty() {
        // It was taken down, and what is left of it may be going just now: opened, its volume could not be removed.
        return Ok(Memory::default());
    }
    // Its releases are kept, though the container is gone that opened their volume.
    Ledger::open(engine, project).await?.read().await
}
