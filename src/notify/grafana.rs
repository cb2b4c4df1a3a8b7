//! Grafana: one annotation over the time of the run, made when it is over. Times are milliseconds since 1970.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::notice::Notice;
use crate::config::Grafana;

pub(super) fn body(notice: &Notice, settings: &Grafana) -> Value {
    let moment = if notice.is_test {
        "test"
    } else {
        notice.what.as_str()
    };
    let mut tags = vec!["deploy".to_owned(), notice.project.clone(), moment.to_owned()];
    tags.extend(settings.tags.iter().cloned());
    let mut body = json!({
        "time": milliseconds(notice.started),
        "timeEnd": milliseconds(notice.ended()),
        "tags": tags,
        "text": escaped(&notice.text()),
    });
    if let (Some(dashboard), Some(fields)) = (&settings.dashboard, body.as_object_mut()) {
        fields.insert("dashboardUID".to_owned(), json!(dashboard));
    }
    body
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// An annotation's text is shown as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
