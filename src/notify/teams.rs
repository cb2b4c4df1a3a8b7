//! Microsoft Teams: a webhook of its Workflows, which takes an adaptive card (1.4; 28 kB at most). Text that others wrote
//! stands in text runs, of which no Markdown is read; without an entity of its own nobody is mentioned.

use serde_json::{Value, json};

use super::notice::{Notice, What};

pub(super) fn body(notice: &Notice) -> Value {
    let mut body = vec![json!({
        "type": "TextBlock",
        "text": notice.title(),
        "size": "Medium",
        "weight": "Bolder",
        "color": color(notice),
        "wrap": true,
    })];
    if let Some(error) = &notice.error {
        body.push(runs("error: ", error, "Default"));
    }
    for line in &notice.next {
        body.push(runs("next: ", line, "Monospace"));
    }
    for (heading, value) in notice.facts() {
        body.push(runs(&format!("{heading}: "), &value, "Default"));
    }
    for (heading, lines) in [
        ("evidence", &notice.evidence),
        ("warnings", &notice.warnings),
        ("changes", &notice.change_lines()),
    ] {
        for (index, line) in lines.iter().enumerate() {
            let heading = if index == 0 {
                format!("{heading}: ")
            } else {
                String::new()
            };
            body.push(runs(&heading, line, "Monospace"));
        }
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
            },
        }],
    })
}

fn runs(heading: &str, text: &str, font: &str) -> Value {
    let mut inlines = Vec::new();
    if !heading.is_empty() {
        inlines.push(json!({ "type": "TextRun", "text": heading, "weight": "Bolder" }));
    }
    inlines.push(json!({ "type": "TextRun", "text": text, "fontType": font }));
    json!({ "type": "RichTextBlock", "spacing": "Small", "inlines": inlines })
}

const fn color(notice: &Notice) -> &'static str {
    match notice.what {
        What::Started => "Accent",
        What::Succeeded => "Good",
        What::Degraded | What::Interrupted => "Warning",
        What::Failed | What::RolledBack | What::Stuck => "Attention",
    }
}
