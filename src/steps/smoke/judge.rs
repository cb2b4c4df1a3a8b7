//! Whether an answer is as a step expects it, and what a step keeps of it.

use std::path::Path;

use cookie_store::CookieStore;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::exchange::{Answered, read};
use super::values::{Mask, Missing, Values};
use crate::config::{CaptureFrom, Expectation, ExpectedHeader, SmokeStep};
use crate::digest::hexadecimal;

/// How much of an answer is shown.
const LINES: usize = 20;
const LONGEST_LINE: usize = 300;

/// What is not as it is expected, each with what came instead; none where all of it is.
///
/// # Errors
/// What is expected has a name in it that stands for nothing yet.
pub(super) async fn unmet(
    expect: &Expectation,
    answered: &Answered,
    values: &Values,
    folder: &Path,
) -> Result<Vec<String>, Missing> {
    if let Some(wrong) = wrong_status(expect, answered) {
        // The rest is of another page.
        return Ok(vec![wrong]);
    }
    let mut unmet = Vec::new();
    for (name, header) in &expect.headers {
        let came: Vec<&str> = answered.header(name).collect();
        let shown = if came.is_empty() {
            "none".to_owned()
        } else {
            came.join(", ")
        };
        let (holds, what) = match header {
            ExpectedHeader::Equal(value) => {
                let value = values.fill(value)?;
                (came.contains(&value.as_str()), format!("`{value}`"))
            }
            ExpectedHeader::Contains(text) => {
                let text = values.fill(text)?;
                let holds = came.iter().any(|came| came.contains(&text));
                (holds, format!("with `{text}` in it"))
            }
        };
        if !holds {
            unmet.push(format!("expected the header {name} {what}, came {shown}"));
        }
    }
    let body = String::from_utf8_lossy(&answered.body);
    for text in &expect.body.contains {
        let text = values.fill(text)?;
        if !body.contains(&text) {
            unmet.push(format!("expected `{text}` in the body, which has it not"));
        }
    }
    for text in &expect.body.not {
        let text = values.fill(text)?;
        if body.contains(&text) {
            unmet.push(format!("expected no `{text}` in the body, which has it"));
        }
    }
    if !expect.json.is_empty() {
        match serde_json::from_slice::<Value>(&answered.body) {
            Ok(json) => {
                for (path, wanted) in &expect.json {
                    let wanted = values.fill_json(wanted)?;
                    let came = path.find(&json);
                    if came != Some(&wanted) {
                        let came = came.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                        unmet.push(format!("expected {path}: {wanted}, came {came}"));
                    }
                }
            }
            Err(_) => unmet.push("expected JSON, came something else".to_owned()),
        }
    }
    let length = answered.body.len();
    if let Some(file) = &expect.file {
        match read(folder, file).await {
            Ok(content) if content == answered.body => {}
            Ok(content) => unmet.push(format!(
                "expected {} ({} bytes), came something else ({length} bytes)",
                file.display(),
                content.len()
            )),
            Err(why) => unmet.push(why),
        }
    }
    if let Some(size) = expect.size.filter(|size| size.0 != length as u64) {
        unmet.push(format!("expected {} bytes, came {length}", size.0));
    }
    if let Some(wanted) = &expect.sha256 {
        let came = hexadecimal(&Sha256::digest(&answered.body));
        if came != *wanted {
            unmet.push(format!("expected the SHA-256 {wanted}, came {came}"));
        }
    }
    if let Some(within) = expect.within.filter(|within| answered.elapsed > within.0) {
        unmet.push(format!(
            "expected within {} ms, came after {} ms",
            within.0.as_millis(),
            answered.elapsed.as_millis()
        ));
    }
    Ok(unmet)
}

fn wrong_status(expect: &Expectation, answered: &Answered) -> Option<String> {
    let status = answered.status;
    let (holds, wanted) = if expect.status.is_empty() {
        ((200..300).contains(&status), "2xx".to_owned())
    } else {
        let wanted: Vec<String> = expect.status.iter().map(ToString::to_string).collect();
        (expect.status.contains(&status), wanted.join(" or "))
    };
    if holds {
        return None;
    }
    let to = answered
        .header("location")
        .next()
        .map_or_else(String::new, |location| format!(" to {location}"));
    Some(format!("expected status {wanted}, came {status}{to}"))
}

/// What one answer gave, to keep under a name.
pub(super) struct Captured {
    pub name: String,
    pub value: Value,
    pub secret: bool,
}

/// What the step keeps.
///
/// # Errors
/// What is not there, in words.
pub(super) fn captured(
    step: &SmokeStep,
    answered: &Answered,
    cookies: &CookieStore,
) -> Result<Vec<Captured>, String> {
    let json = serde_json::from_slice::<Value>(&answered.body);
    let capture = |(name, capture): (&_, &crate::config::Capture)| {
        let name: &crate::config::VariableName = name;
        let (value, place) = match &capture.from {
            CaptureFrom::Json(path) => {
                let found = json.as_ref().ok().and_then(|json| path.find(json)).cloned();
                (found, format!("{path} in the JSON of the body"))
            }
            CaptureFrom::Header(header) => {
                let found = answered.header(header).next().map(Value::from);
                (found, format!("a header {header}"))
            }
            CaptureFrom::Cookie(cookie) => {
                let mut sent = cookies.get_request_values(&answered.url);
                let found = sent.find(|(name, _)| name == cookie);
                (
                    found.map(|(_, value)| Value::from(value)),
                    format!("a cookie {cookie}"),
                )
            }
            CaptureFrom::Body(expression) => {
                let body = String::from_utf8_lossy(&answered.body);
                let found = expression.captures(&body).and_then(|found| found.get(1));
                let found = found.map(|found| Value::from(found.as_str()));
                (found, format!("`{}` in the body", expression.as_str()))
            }
        };
        let value =
            value.ok_or_else(|| format!("expected {place}, to keep as {}, came none", name.as_str()))?;
        Ok(Captured {
            name: name.as_str().to_owned(),
            value,
            secret: capture.secret,
        })
    };
    step.capture.iter().map(capture).collect()
}

/// The first lines of a body. Secrets are covered before it is cut: half of one is one, too.
pub(super) fn shown(body: &[u8], mask: &Mask) -> Vec<String> {
    let is_text = !body.contains(&0);
    let Some(text) = std::str::from_utf8(body).ok().filter(|_| is_text) else {
        return vec![format!("{} bytes that are no text", body.len())];
    };
    let text = mask.cover(text);
    let mut lines: Vec<String> = text
        .lines()
        .take(LINES)
        .map(|line| line.chars().take(LONGEST_LINE).collect())
        .collect();
    let left = text.lines().count().saturating_sub(LINES);
    if left > 0 {
        lines.push(format!("({left} more lines)"));
    }
    lines
}
