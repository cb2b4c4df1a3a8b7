//! What nobody may find in anything that the program says, writes down or labels: the passwords and keys of the example.
//! Every story looks for them in every output, log and object, whatever else it is about.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/viatique");
    let mut secrets = Vec::new();
    for file in [".env.production", ".env.db"] {
        let text = fs::read_to_string(example.join(file)).unwrap();
        let assigned = text.lines().filter_map(|line| line.split_once('='));
        let secret = assigned.filter(|(name, _)| name.contains("PASSWORD") || name.contains("SECRET"));
        secrets.extend(secret.map(|(_, value)| value.to_owned()));
    }
    // Two passwords, which are one here, and Django's key.
    assert!(secrets.len() >= 3, "{secrets:?}");
    secrets
});

/// Fails where one of them stands in the text.
#[track_caller]
pub(super) fn no_secret_in(where_: &str, text: &str) {
    for secret in SECRETS.iter() {
        assert!(
            !text.contains(secret.as_str()),
            "a secret is told in {where_}:\n{text}"
        );
    }
}
