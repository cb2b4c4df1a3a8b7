//! Slack: an incoming webhook with blocks. Its limits: a header 150 characters, a section 3000, a field 2000, ten fields in
//! a section, fifty blocks. `&`, `<` and `>` are the only characters with which a mention can begin.

use serde_json::{Value, json};

use super::chat::{block, span};
use super::notice::{Notice, cut};

const HEADER: usize = 150;
/// Before `&` becomes `&amp;`, which makes five characters of one.
const FIELD: usize = 100;
const FIELDS: usize = 10;
/// Of a block of lines; more than thirteen thousand characters of all together are refused.
const LINES: usize = 2000;

pub(super) fn body(notice: &Notice) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&notice.title(), HEADER), "emoji": false },
    })];
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    if let Some(error) = &notice.error {
        blocks.push(section(format!("*error:* {}", escaped(&span(error)))));
    }
    for line in &notice.next {
        blocks.push(section(format!("*next:* {}", escaped(&span(line)))));
    }
    let fields: Vec<Value> = notice
        .facts()
        .iter()
        .map(|(heading, value)| {
            let value = escaped(&span(&cut(value, FIELD)));
            json!({ "type": "mrkdwn", "text": format!("*{heading}*\n{value}") })
        })
        .collect();
    for fields in fields.chunks(FIELDS) {
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    for (heading, lines) in [
        ("evidence", &notice.evidence),
        ("warnings", &notice.warnings),
        ("changes", &notice.change_lines()),
    ] {
        if !lines.is_empty() {
            let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
            blocks.push(section(format!("*{heading}*\n{}", block(&lines, LINES))));
        }
    }
    json!({
        // What a phone shows of it.
        "text": escaped(&notice.title()),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
