//! Which images of earlier releases stay on the engine. Those of the newest `release.keep` deployments stay, of what
//! serves and of what `rollback` returns to, and every image that a container or another project's release uses. Backups
//! are left alone: they have a retention of their own.
//!
//! After a crash some references may be gone and others not; the next release that is deployed removes the rest.

use std::collections::BTreeSet;

use crate::engine::{ContainerFilter, ImageId, Inspect, labels};
use crate::error::Failure;
use crate::ledger::{Ledger, Releases};
use crate::pipeline::{Context, StepId, StepResult};
use crate::release::{Release, Tag};
use crate::steps::backup::size;

/// A reference that no kept release needs, and the image that it was given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expendable {
    pub reference: String,
    pub id: ImageId,
    pub tag: Tag,
    /// References by which kept releases call the same image: only a name of it goes then.
    pub kept_as: Vec<String>,
}

/// Removes the images of releases that are not kept.
///
/// # Errors
/// The engine's, and another project's ledger that cannot be read; what is left is removed another time.
pub(crate) async fn prune(context: Context<'_>, releases: &Releases) -> Result<(), Failure> {
    let keep = context.settings.config.release.keep;
    let expendable = expendable(releases, keep);
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
                let same = images().filter(|kept| kept.id == image.id);
                found.insert(Expendable {
                    reference: image.reference.clone(),
                    id: image.id.clone(),
                    tag: release.tag.clone(),
                    kept_as: same.map(|kept| kept.reference.clone()).collect(),
                });
            }
        }
    }
    found.into_iter().collect()
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
        // Opened, where the container is gone that opened it: its releases are kept all the same.
        let memory = async { Ledger::open(context.engine, project).await?.read().await };
        let memory = memory.await.map_err(|error| {
            Failure::from(anyhow::Error::new(error)).context(format!("reading the releases of {project}"))
        })?;
        let images = kept(&memory.releases, keep)
            .into_iter()
            .flat_map(|release| release.images.values().map(|image| image.id.clone()));
        used.extend(images.collect::<Vec<_>>());
    }
    Ok(used)
}
