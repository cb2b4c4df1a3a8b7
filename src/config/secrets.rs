//! `secrets`: variables for `${…}` whose values stand in no file beside `deploy.yml`. Where they come from, not how they
//! are read: that is `commands::secrets`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::one_or_many;
use super::quantity::HumanDuration;
use super::{Config, ConfigError};
use crate::yaml::{HINT_FOLLOWS, Node, Value};

/// How long a command may take where nothing is said.
const TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(30));

/// One entry of `secrets`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct SecretEntry {
    /// The variable that gets the content; where `None`, the content is `KEY=value` lines.
    pub name: Option<String>,
    pub from: SecretSource,
}

/// Where the content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// As written, from the folder of `deploy.yml`.
    File(PathBuf),
    /// What a command writes to its output; word by word, no shell reads it.
    Command {
        words: Vec<String>,
        /// It is ended after this: 30s by default.
        timeout: HumanDuration,
    },
    /// A file of systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    file: Option<PathBuf>,
    #[serde(default, deserialize_with = "one_or_many::optional_command")]
    command: Option<Vec<String>>,
    credential: Option<String>,
    timeout: Option<HumanDuration>,
}

impl TryFrom<Written> for SecretEntry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if let Some(name) = &written.name
            && !is_variable(name)
        {
            return Err(format!(
                "`{name}` is no variable's name: letters, digits and `_`, not beginning with a digit"
            ));
        }
        let timeout = written.timeout;
        let from = match (written.file, written.command, written.credential) {
            (Some(file), None, None) if file.as_os_str().is_empty() => {
                return Err("`file` cannot be empty".to_owned());
            }
            (Some(file), None, None) => SecretSource::File(file),
            (None, Some(words), None) => {
                return Ok(Self {
                    name: written.name,
                    from: SecretSource::Command {
                        words,
                        timeout: timeout.unwrap_or(TIMEOUT),
                    },
                });
            }
            (None, None, Some(credential)) if !is_file_name(&credential) => {
                return Err(format!(
                    "`{credential}` is no credential's name: a file of $CREDENTIALS_DIRECTORY, without `/`"
                ));
            }
            (None, None, Some(credential)) => SecretSource::Credential(credential),
            (None, None, None) => {
                return Err(format!(
                    "nothing says where it comes from{HINT_FOLLOWS}write `file`, `command` or `credential`"
                ));
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(format!(
                    "it can come from one place only{HINT_FOLLOWS}write one of `file`, `command` and `credential`"
                ));
            }
        };
        if timeout.is_some() {
            return Err("`timeout` is meant for a `command`".to_owned());
        }
        Ok(Self {
            name: written.name,
            from,
        })
    }
}

/// What `${…}` can name.
pub(super) fn is_variable(name: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars().all(known) && !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty()
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name, "." | "..")
}

/// The entries: a name stands once.
pub(super) fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SecretEntry>, D::Error> {
    deserializer.deserialize_seq(Entries)
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<SecretEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut names, mut entries) = (BTreeSet::new(), Vec::new());
        while let Some(entry) = items.next_element_seed(NotYetNamed(&mut names))? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Refuses a name that stood above, where it stands again.
struct NotYetNamed<'n>(&'n mut BTreeSet<String>);

impl<'de> DeserializeSeed<'de> for NotYetNamed<'_> {
    type Value = SecretEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SecretEntry, D::Error> {
        let entry = SecretEntry::deserialize(deserializer)?;
        match &entry.name {
            Some(name) if !self.0.insert(name.clone()) => {
                Err(D::Error::custom(format_args!("`{name}` stands above already")))
            }
            Some(_) | None => Ok(entry),
        }
    }
}

impl Config {
    /// Something wrong with the content of an entry of `secrets`, where the entry stands.
    pub fn wrong_secret(&self, index: usize, message: &str, hint: Option<String>) -> ConfigError {
        let entry = |root: &Node| match &root.as_mapping()?.get("secrets")?.value {
            Value::Sequence(entries) => entries.get(index).map(|entry| entry.mark),
            Value::Scalar(_) | Value::Mapping(_) => None,
        };
        let mark = self.origin.document.as_ref().and_then(entry).unwrap_or_default();
        let path = format!("secrets[{index}]");
        let name = self.secrets.get(index).and_then(|entry| entry.name.as_ref());
        let of = name.map_or_else(String::new, |name| format!(" ({name})"));
        let message = format!("`{path}`{of}: {message}");
        ConfigError::at(self.path(), mark, path, message, hint)
    }
}
