//! Which containers are the release's, which stood before them, and when the one gave way to the other: all of it told by
//! the containers themselves, so that a watch can be taken up from anywhere, while the run goes on or long after.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::engine::{Container, Inspect, labels};
use crate::error::{Failure, FailureKind};
use crate::release::{RunId, Tag};
use crate::steps::deploy::standing;

/// How much of the time before a deploy the release is held against.
const BEFORE: Duration = Duration::HOUR;

/// The containers of a project, by what they are to a release. Each with its service.
pub(super) struct Sides {
    /// Made for the release.
    pub(super) new: Vec<(String, Container)>,
    /// Of the same services, and made for another one; none once the run is over.
    pub(super) before: Vec<(String, Container)>,
    /// Of services that the release has not touched.
    pub(super) kept: Vec<(String, Container)>,
    /// When the first container of the release was made: what is older, was before it.
    pub(super) began: OffsetDateTime,
}

impl Sides {
    /// Finds them; `None` where no container was made for this release.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn of(inspect: &dyn Inspect, project: &str, tag: &Tag) -> Result<Option<Self>, Failure> {
        let standing = standing(inspect, project).await?;
        let is_of_release = |one: &&Container| one.label(labels::RELEASE) == Some(tag.as_str());
        let (mut new, mut before, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (service, containers) in standing {
            // The same tag may have been deployed twice: what the newest was made from tells them apart.
            let spec = containers
                .iter()
                .rfind(is_of_release)
                .map(|newest| newest.label(labels::SPEC).map(ToOwned::to_owned));
            for container in containers {
                let side = match &spec {
                    None => &mut kept,
                    Some(spec)
                        if is_of_release(&&container) && container.label(labels::SPEC) == spec.as_deref() =>
                    {
                        &mut new
                    }
                    Some(_) => &mut before,
                };
                side.push((service.clone(), container));
            }
        }
        let mut newest: Option<(OffsetDateTime, Option<String>)> = None;
        for (_, container) in &new {
            let at = created(container)?;
            if newest.as_ref().is_none_or(|(before, _)| at > *before) {
                newest = Some((at, container.label(labels::RUN).map(ToOwned::to_owned)));
            }
        }
        let Some((mut began, run)) = newest else {
            return Ok(None);
        };
        for (_, container) in new
            .iter()
            .filter(|(_, one)| one.label(labels::RUN) == run.as_deref())
        {
            began = began.min(created(container)?);
        }
        Ok(Some(Self {
            new,
            before,
            kept,
            began,
        }))
    }

    /// Whether this run has made any of them.
    pub(super) fn are_of(&self, run: &RunId) -> bool {
        let mut new = self.new.iter();
        new.any(|(_, container)| container.label(labels::RUN) == Some(run.0.as_str()))
    }

    /// From when on logs are read.
    pub(super) fn since(&self) -> OffsetDateTime {
        self.began - BEFORE
    }
}

fn created(container: &Container) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::parse(&container.created, &Rfc3339).map_err(|error| {
        Failure::message(
            FailureKind::Failed,
            format!(
                "reading when {} was made: `{}` is not a moment: {error}",
                container.name, container.created
            ),
        )
    })
}
