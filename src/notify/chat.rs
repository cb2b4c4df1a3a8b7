//! What the chat services share: text that others wrote stands in code spans and code blocks, where neither markup nor a
//! mention has an effect, and is kept from ending them.

use super::notice::{Notice, cut};

/// A value as `` `code` ``.
pub(super) fn span(value: &str) -> String {
    let value = value.replace('`', "'");
    match value.trim() {
        "" => "-".to_owned(),
        value => format!("`{value}`"),
    }
}

/// Lines as a block of code, the last of them, as many as fit.
pub(super) fn block(lines: &[String], most: usize) -> String {
    const FENCES: usize = "```\n\n```".len();
    let room = most.saturating_sub(FENCES);
    let mut taken: Vec<String> = Vec::new();
    let mut length = 0;
    for line in lines.iter().rev() {
        let line = cut(&line.replace('`', "'"), room);
        length += line.chars().count() + 1;
        if length > room && !taken.is_empty() {
            break;
        }
        taken.push(line);
    }
    taken.reverse();
    format!("```\n{}\n```", taken.join("\n"))
}

/// All of it as Markdown, for services that read the common kind. What comes first matters most: what does not fit is left
/// out from the end, block by block.
pub(super) fn markdown(notice: &Notice, most: usize) -> String {
    let mut text = String::new();
    let mut add = |part: String| {
        if text.chars().count() + part.chars().count() <= most {
            text.push_str(&part);
        }
    };
    if let Some(error) = &notice.error {
        add(format!("**error:** {}\n", span(error)));
    }
    for line in &notice.next {
        add(format!("**next:** {}\n", span(line)));
    }
    let facts: Vec<String> = notice
        .facts()
        .iter()
        .map(|(heading, value)| format!("{heading} {}", span(value)))
        .collect();
    add(format!("{}\n", facts.join(" · ")));
    for (heading, lines) in [
        ("evidence", &notice.evidence),
        ("warnings", &notice.warnings),
        ("changes", &notice.change_lines()),
    ] {
        if !lines.is_empty() {
            add(format!("**{heading}:**\n{}\n", block(lines, 1500)));
        }
    }
    text
}
