//! Which image each service runs in a release, and by which reference it is found again. Building and pulling are
//! `build`'s business.

use std::collections::{BTreeMap, BTreeSet};

use super::deploy::{containers_of, standing};
use crate::compose::{Project, Service, ServiceName};
use crate::engine::ImageId;
use crate::error::{Failure, FailureKind};
use crate::pipeline::View;
use crate::release::{ReleasedImage, Tag};

/// The reference a service's containers are made from: as written, or `<project>-<service>:<tag>` for a built one
/// without a name.
pub(crate) fn reference(project: &Project, service: &Service, tag: &Tag) -> String {
    service
        .image
        .clone()
        .unwrap_or_else(|| format!("{}-{}:{tag}", project.name, service.name))
}

/// The reference that keeps a built image for its release, whatever later builds do to the one above: the same
/// repository with the release's tag.
pub fn release_reference(project: &Project, service: &Service, tag: &Tag) -> String {
    format!("{}:{tag}", release_repository(project, service, tag))
}

/// The repository of that reference.
pub(crate) fn release_repository(project: &Project, service: &Service, tag: &Tag) -> String {
    repository(&reference(project, service, tag)).to_owned()
}

/// The reference by which a release keeps a service's image.
pub(crate) fn kept_reference(project: &Project, service: &Service, tag: &Tag) -> String {
    if service.build.is_some() {
        release_reference(project, service, tag)
    } else {
        reference(project, service, tag)
    }
}

/// A reference without its tag or digest. A colon before the last slash belongs to a registry's port.
fn repository(reference: &str) -> &str {
    let reference = reference.split_once('@').map_or(reference, |(before, _)| before);
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference.get(name..).and_then(|last| last.find(':')) {
        Some(colon) => reference.get(..name + colon).unwrap_or(reference),
        None => reference,
    }
}

/// References that a service of the project builds.
pub(crate) fn built_references(project: &Project, tag: &Tag) -> BTreeSet<String> {
    let built = project
        .services
        .values()
        .filter(|service| service.build.is_some());
    built.map(|service| reference(project, service, tag)).collect()
}

/// What is known of the images before or without a build.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub images: BTreeMap<ServiceName, ReleasedImage>,
    /// Services whose image is not on the engine, with its reference.
    pub missing: Vec<(ServiceName, String)>,
}

/// Looks every service's image up: a recorded release's by id, what `build` made, else by reference.
///
/// # Errors
/// The engine's.
pub(crate) async fn find(view: View<'_>) -> Result<Found, Failure> {
    let settings = view.settings;
    let mut found = Found::default();
    // Many services may run one image.
    let mut asked: BTreeMap<String, Option<ImageId>> = BTreeMap::new();
    for (name, service) in &settings.project.services {
        let (wanted, reference) = match (settings.images.get(name), view.state.images.get(name)) {
            // The recorded image itself, by its id: a reference may point elsewhere by now.
            (Some(recorded), _) => (recorded.id.0.clone(), recorded.reference.clone()),
            (None, Some(image)) => {
                found.images.insert(name.clone(), image.clone());
                continue;
            }
            (None, None) => {
                let reference = reference(&settings.project, service, &settings.tag);
                (reference.clone(), reference)
            }
        };
        let id = match asked.get(&wanted) {
            Some(known) => known.clone(),
            None => {
                let id = view.inspect.image(&wanted).await?.map(|image| image.id);
                asked.insert(wanted, id.clone());
                id
            }
        };
        match id {
            Some(id) => {
                found.images.insert(name.clone(), ReleasedImage { id, reference });
            }
            None => found.missing.push((name.clone(), reference)),
        }
    }
    Ok(found)
}

/// What a service runs; where it does not run yet, what it would, if that is on the engine.
///
/// # Errors
/// The engine's.
pub(crate) async fn serving(view: View<'_>, service: &ServiceName) -> Result<Option<ImageId>, Failure> {
    let standing = standing(view.inspect, &view.settings.project.name).await?;
    if let Some(container) = containers_of(&standing, service).first() {
        return Ok(Some(container.image.clone()));
    }
    let found = find(view).await?;
    Ok(found.images.get(service).map(|image| image.id.clone()))
}

/// Every service's image.
///
/// # Errors
/// Names the images that are not on the engine.
pub(crate) async fn require(view: View<'_>) -> Result<BTreeMap<ServiceName, ReleasedImage>, Failure> {
    let found = find(view).await?;
    if found.missing.is_empty() {
        return Ok(found.images);
    }
    let missing: Vec<String> = found
        .missing
        .iter()
        .map(|(service, reference)| format!("{reference} (for {service})"))
        .collect();
    let failure = Failure::message(
        FailureKind::Configuration,
        format!("no such image on the engine: {}", missing.join(", ")),
    );
    Err(if view.settings.images.is_empty() {
        failure.hint(format!("viatique-deploy build --tag {}", view.settings.tag))
    } else {
        failure.hint("a release whose images were removed cannot be returned to; choose another: viatique-deploy releases")
    })
}

#[cfg(test)]
mod tests {
    use super::repository;

    #[test]
    fn the_repository_is_what_stands_before_tag_and_digest() {
        assert_eq!(repository("viatique-backend:v1"), "viatique-backend");
        assert_eq!(repository("viatique-backend"), "viatique-backend");
        assert_eq!(
            repository("registry:5000/viatique/backend"),
            "registry:5000/viatique/backend"
        );
        assert_eq!(
            repository("registry:5000/viatique/backend:v1@sha256:0123"),
            "registry:5000/viatique/backend"
        );
    }
}
