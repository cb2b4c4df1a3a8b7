//! Mattermost: an incoming webhook with Markdown, 16383 characters at most. Within code nobody is mentioned.

use serde_json::{Value, json};

use super::chat::markdown;
use super::notice::Notice;
use crate::config::Mattermost;

const LIMIT: usize = 16383;

pub(super) fn body(notice: &Notice, settings: &Mattermost) -> Value {
    let title = format!("#### {}\n", notice.title());
    let rest = markdown(notice, LIMIT - title.chars().count());
    let mut body = json!({ "text": format!("{title}{rest}"), "username": "viatique-deploy" });
    if let (Some(channel), Some(fields)) = (&settings.channel, body.as_object_mut()) {
        fields.insert("channel".to_owned(), Value::String(channel.clone()));
    }
    body
}
