//! Sentry: the release is made (or found: the call may be repeated), and a deploy of it is noted. A test only asks whether
//! the organization's releases may be read: a release that was made would stay.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::notice::Notice;
use crate::config::Sentry;

/// As the application tells Sentry its release.
fn version(notice: &Notice, settings: &Sentry) -> String {
    match &settings.version {
        None => notice.release.clone(),
        Some(template) => template.filled(|place| notice.fill(place)),
    }
}

/// The way to the organization's releases.
pub(super) fn releases(settings: &Sentry) -> Vec<String> {
    let words = [
        "api",
        "0",
        "organizations",
        &settings.organization,
        "releases",
        "",
    ];
    words.map(str::to_owned).to_vec()
}

/// The way to the deploys of this one.
pub(super) fn deploys(notice: &Notice, settings: &Sentry) -> Vec<String> {
    let mut words = releases(settings);
    words.pop();
    words.extend([version(notice, settings), "deploys".to_owned(), String::new()]);
    words
}

pub(super) fn release(notice: &Notice, settings: &Sentry) -> Value {
    let mut body = json!({
        "version": version(notice, settings),
        "projects": settings.projects,
        "dateReleased": moment(notice.ended()),
    });
    if let (Some(repository), Some(commit), Some(fields)) =
        (&settings.repository, &notice.commit, body.as_object_mut())
    {
        let mut reference = json!({ "repository": repository, "commit": commit.now });
        if let (Some(before), Some(fields)) = (&commit.before, reference.as_object_mut()) {
            fields.insert("previousCommit".to_owned(), json!(before));
        }
        fields.insert("refs".to_owned(), json!([reference]));
    }
    body
}

pub(super) fn deploy(notice: &Notice, settings: &Sentry) -> Value {
    json!({
        "environment": settings.environment,
        "name": notice.run,
        "projects": settings.projects,
        "dateStarted": moment(notice.started),
        "dateFinished": moment(notice.ended()),
    })
}

fn moment(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
