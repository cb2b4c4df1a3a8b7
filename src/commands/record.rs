//! What a release's record is made of, and whether it says anything new.

use std::collections::BTreeMap;

use crate::compose::ServiceName;
use crate::pipeline::{RunState, Settings};
use crate::release::{Release, ReleasedImage};
use crate::steps::release_reference;

/// The same thing deployed again is no new release.
pub(super) fn is_same(current: &Release, new: &Release) -> bool {
    let migrated_nothing = new
        .migrations
        .as_ref()
        .is_none_or(|record| record.added().is_empty() && record.removed().is_empty());
    current.tag == new.tag
        && current.images == new.images
        && current.compose == new.compose
        && current.project == new.project
        && migrated_nothing
}

/// By the reference that stays with the release.
pub(super) fn kept_references(settings: &Settings, state: &RunState) -> BTreeMap<ServiceName, ReleasedImage> {
    let mut images = state.images.clone();
    for (name, image) in &mut images {
        if let Some(service) = settings
            .project
            .services
            .get(name)
            .filter(|service| service.build.is_some())
        {
            image.reference = release_reference(&settings.project, service, &settings.tag);
        }
    }
    images
}
