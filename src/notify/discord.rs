//! Discord: a webhook with one embed. Its limits: a title 256 characters, a description 4096, 6000 together. Nobody is
//! mentioned, whatever the text says.

use serde_json::{Value, json};

use super::chat::markdown;
use super::notice::{Notice, What, cut};

const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;

pub(super) fn body(notice: &Notice) -> Value {
    json!({
        "username": "viatique-deploy",
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": cut(&notice.title(), TITLE),
            "description": markdown(notice, DESCRIPTION),
            "color": color(notice),
        }],
    })
}

/// Red, green and blue in one number.
const fn color(notice: &Notice) -> u32 {
    match notice.what {
        What::Started => 0x0034_98db,
        What::Succeeded => 0x002e_cc71,
        What::Degraded | What::Interrupted => 0x00e6_7e22,
        What::Failed | What::RolledBack | What::Stuck => 0x00e7_4c3c,
    }
}
