//! The releases of a project whose ledger somebody pruned (`docker system prune --volumes` does, with Docker before 23),
//! by what still tells of them: the labels of its containers, and the names of images. How they were made is not known
//! any more: the Compose files of today stand for it, and nothing says which release came before which.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::timestamp;
use crate::engine::{Container, Image, Inspect, labels};
use crate::error::Failure;
use crate::ledger::{Memory, Releases};
use crate::pipeline::Settings;
use crate::release::{REBUILT, RELEASE_FORMAT, Release, ReleasedImage, RunId, Sequence, Tag};
use crate::steps::deploy::{is_serving, standing};
use crate::steps::{kept_reference, release_repository};

/// Settings of a release of this tag, by the files as they stand.
pub type SettingsOf<'a> = dyn Fn(Tag) -> BoxFuture<'a, Result<Settings, Failure>> + Send + Sync + 'a;

/// The releases, the one that serves last; none where the ledger is there, or was never needed.
///
/// # Errors
/// The engine's. Files that cannot be read are none: then only what serves is known, and how it was made is not.
pub async fn rebuilt(
    inspect: &dyn Inspect,
    project: &str,
    memory: &Memory,
    settings_of: &SettingsOf<'_>,
) -> Result<Releases, Failure> {
    // A first deploy that failed has left its journal.
    if !memory.is_blank() {
        return Ok(Releases::default());
    }
    let standing = standing(inspect, project).await?;
    let serving = standing.values().flatten().filter(|one| is_serving(one));
    let released = serving.filter(|one| one.label(labels::RELEASE).is_some());
    let Some(newest) = released.max_by_key(|one| one.created.clone()) else {
        return Ok(Releases::default());
    };
    let Some(tag) = newest.label(labels::RELEASE).and_then(|tag| Tag::new(tag).ok()) else {
        return Ok(Releases::default());
    };
    let mut current = blank(&tag, &newest.created);
    current.run = RunId(newest.label(labels::RUN).unwrap_or_default().to_owned());
    let mut releases = Vec::new();
    if let Ok(settings) = settings_of(tag.clone()).await {
        current.compose = settings.sources.clone();
        for other in tags(inspect, &settings).await? {
            if other != tag
                && let Ok(settings) = settings_of(other).await
            {
                releases.extend(by_images(inspect, &settings).await?);
            }
        }
        for (name, service) in &settings.project.services {
            let mut standing = standing.get(name.as_str()).into_iter().flatten();
            if let Some(container) = standing.rfind(|one| is_serving(one)) {
                let reference = kept_reference(&settings.project, service, &tag);
                current
                    .images
                    .insert(name.clone(), released_image(container, reference));
            }
        }
    }
    releases.sort_by(|one, other| one.deployed_at.cmp(&other.deployed_at));
    releases.push(current);
    for (release, number) in releases.iter_mut().zip(1..) {
        release.sequence = Sequence(number);
    }
    Ok(Releases::new(releases))
}

fn released_image(container: &Container, reference: String) -> ReleasedImage {
    ReleasedImage {
        id: container.image.clone(),
        reference,
    }
}

/// What images of the project's repositories are tagged with: builds name them after their release.
async fn tags(inspect: &dyn Inspect, settings: &Settings) -> Result<BTreeSet<Tag>, Failure> {
    let project = &settings.project;
    let built = project
        .services
        .values()
        .filter(|service| service.build.is_some());
    let repositories: BTreeSet<String> = built
        .map(|service| release_repository(project, service, &settings.tag))
        .collect();
    let mut tags = BTreeSet::new();
    for repository in repositories {
        for reference in inspect.references(&repository).await? {
            let tag = reference.strip_prefix(&format!("{repository}:"));
            tags.extend(tag.and_then(|tag| Tag::new(tag).ok()));
        }
    }
    Ok(tags)
}

/// The release of which every image is there.
async fn by_images(inspect: &dyn Inspect, settings: &Settings) -> Result<Option<Release>, Failure> {
    let mut known: BTreeMap<String, Image> = BTreeMap::new();
    let mut made = String::new();
    let mut images = BTreeMap::new();
    for (name, service) in &settings.project.services {
        let reference = kept_reference(&settings.project, service, &settings.tag);
        let image = match known.get(&reference) {
            Some(image) => image.clone(),
            None => match inspect.image(&reference).await? {
                Some(image) => image,
                None => return Ok(None),
            },
        };
        if service.build.is_some() {
            made = made.max(image.created.clone());
        }
        let id = image.id.clone();
        known.insert(reference.clone(), image);
        images.insert(name.clone(), ReleasedImage { id, reference });
    }
    let mut release = blank(&settings.tag, &made);
    release.compose = settings.sources.clone();
    release.images = images;
    Ok(Some(release))
}

fn blank(tag: &Tag, at: &str) -> Release {
    let moment = OffsetDateTime::parse(at, &Rfc3339);
    Release {
        format: RELEASE_FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: Sequence(0),
        tag: tag.clone(),
        run: RunId(String::new()),
        command: REBUILT.to_owned(),
        deployed_at: moment.map_or_else(|_| at.to_owned(), timestamp),
        deployed_by: "unknown".to_owned(),
        previous: None,
        images: BTreeMap::new(),
        compose: Vec::new(),
        project: serde_json::Value::Null,
        migrations: None,
        rehearsal: None,
        known_errors: None,
        backup: None,
        checks: None,
    }
}
