//! Any webhook: the operator's template, with values escaped as its content type wants them, or a JSON document with all
//! there is.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::notice::Notice;
use crate::config::Webhook;

const JSON: &str = "application/json";

/// What it says that it is, and the body itself.
pub(super) fn body(notice: &Notice, settings: &Webhook) -> (String, String) {
    let kind = settings.content_type.clone().unwrap_or_else(|| JSON.to_owned());
    let Some(template) = &settings.body else {
        return (JSON.to_owned(), document(notice).to_string());
    };
    let escape = Escape::of(&kind);
    let body = template.filled(|place| escape.apply(&notice.fill(place)));
    (kind, body)
}

/// How a value must be written to stay one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// Within the quotes of a string.
    Json,
    /// A value of a form.
    Form,
    Xml,
    /// There is no markup to break.
    Nothing,
}

impl Escape {
    fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        if kind == JSON || kind.ends_with("+json") {
            Self::Json
        } else if kind == "application/x-www-form-urlencoded" {
            Self::Form
        } else if kind.ends_with("xml") || kind == "text/html" {
            Self::Xml
        } else {
            Self::Nothing
        }
    }

    fn apply(self, value: &str) -> String {
        match self {
            Self::Json => {
                let quoted = Value::String(value.to_owned()).to_string();
                // Between the quotes that JSON always has.
                quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
            }
            Self::Form => utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
            Self::Xml => value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#39;"),
            Self::Nothing => value.to_owned(),
        }
    }
}

/// All there is; a field without a value is `null`. `schema` is raised as that of `ui::json` is.
fn document(notice: &Notice) -> Value {
    json!({
        "schema": 1,
        "event": "notice",
        "moment": if notice.is_test { "test" } else { notice.what.as_str() },
        "title": notice.title(),
        "project": notice.project,
        "command": notice.command,
        "run": notice.run,
        "release": notice.release,
        "release_before": notice.before,
        "serves": notice.serves,
        "by": notice.by,
        "started": notice.started_at(),
        "seconds": notice.elapsed.as_secs(),
        "exit_code": notice.exit_code,
        "step": notice.step,
        "service": notice.service,
        "error": notice.error,
        "evidence": notice.evidence,
        "warnings": notice.warnings,
        "changes": notice.change_lines(),
        "next": notice.next,
    })
}
