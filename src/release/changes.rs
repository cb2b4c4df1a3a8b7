//! What a release to come would change against the one that serves, for whoever has to say yes to it. Values only: who
//! finds them out is `steps::check::code::changes`'s business. What is not known is not in it.

use serde_json::Value;

use super::Tag;
use super::dependencies::DependencyChange;
use super::difference::Difference;

/// So many lines of one kind are told.
const TOLD: usize = 10;
/// So many things of one kind are kept.
const KEPT: usize = 300;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Changes {
    /// The release that serves.
    pub since: Tag,
    pub code: Code,
    /// Between the recorded project and the one to come.
    pub differences: Vec<Difference>,
    pub images: Vec<ImageSize>,
}

/// What git knows of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The project is in no checkout.
    NotAsked,
    /// Why it could not be found out.
    Unknown(String),
    Known(CodeChanges),
}

/// Between two commits, and what stands in the work tree beyond the second.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct CodeChanges {
    /// How many commits come.
    pub commits: u64,
    /// How many commits of what serves are not in what comes.
    pub lost: u64,
    /// The newest, each in a line.
    pub newest: Vec<String>,
    pub migrations_added: Vec<String>,
    pub migrations_removed: Vec<String>,
    pub dependencies: Vec<DependencyChange>,
}

/// How large the image of a service was, and how large it will be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageSize {
    pub service: String,
    /// Bytes; `None` where the image is gone.
    pub old: Option<u64>,
    pub new: u64,
}

impl Changes {
    /// No more of each kind than an account keeps.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.differences.truncate(KEPT);
        self.images.truncate(KEPT);
        if let Code::Known(code) = &mut self.code {
            code.migrations_added.truncate(KEPT);
            code.migrations_removed.truncate(KEPT);
            code.dependencies.truncate(KEPT);
        }
        self
    }

    /// Each line with its heading; lines of one heading follow each other.
    pub fn in_words(&self) -> Vec<(String, String)> {
        let mut lines = Lines::default();
        match &self.code {
            Code::NotAsked => {}
            Code::Unknown(why) => lines.add("commits", vec![format!("not known: {why}")]),
            Code::Known(code) => self.code(code, &mut lines),
        }
        let (environment, compose): (Vec<_>, Vec<_>) = self
            .differences
            .iter()
            .partition(|difference| difference.what.starts_with("environment "));
        lines.add(
            "configuration",
            environment.iter().map(ToString::to_string).collect(),
        );
        lines.add("Compose", compose.iter().map(ToString::to_string).collect());
        let sizes = self.images.iter().map(|image| {
            let old = image.old.map_or_else(|| "none".to_owned(), megabytes);
            format!("{}: {old} → {}", image.service, megabytes(image.new))
        });
        lines.add("image sizes", sizes.collect());
        lines.0
    }

    fn code(&self, code: &CodeChanges, lines: &mut Lines) {
        let since = &self.since;
        let mut commits = vec![match code.commits {
            0 => format!("none since {since}"),
            count => format!("{count} since {since}"),
        }];
        commits.extend(code.newest.iter().cloned());
        if let Some(more) = code
            .commits
            .checked_sub(code.newest.len() as u64)
            .filter(|more| *more > 0)
        {
            commits.push(format!("and {more} more"));
        }
        if code.lost > 0 {
            commits.push(format!(
                "{} of {since} are not in it: is it older, or of another branch?",
                code.lost
            ));
        }
        // They are limited already.
        lines
            .0
            .extend(commits.into_iter().map(|line| ("commits".to_owned(), line)));
        let removed = code
            .migrations_removed
            .iter()
            .map(|path| format!("{path} is gone"));
        lines.add(
            "migrations",
            code.migrations_added.iter().cloned().chain(removed).collect(),
        );
        let dependencies = code
            .dependencies
            .iter()
            .map(|DependencyChange { name, old, new }| match (old, new) {
                (Some(old), Some(new)) => format!("{name} {old} → {new}"),
                (None, Some(new)) => format!("{name} {new} added"),
                (Some(old), None) => format!("{name} {old} removed"),
                (None, None) => name.clone(),
            });
        lines.add("dependencies", dependencies.collect());
    }
}

#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, heading: &str, mut lines: Vec<String>) {
        let more = lines.len().saturating_sub(TOLD);
        if more > 0 {
            lines.truncate(TOLD);
            lines.push(format!("and {more} more"));
        }
        self.0
            .extend(lines.into_iter().map(|line| (heading.to_owned(), line)));
    }
}

/// `184.2 MB`.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// A recorded project without the fingerprints of its secrets, which say nothing to whoever has not their key.
#[must_use]
pub fn without_fingerprints(project: &Value) -> Value {
    match project {
        Value::Object(object) if object.len() == 1 && object.contains_key("secret") => {
            Value::String("[secret]".to_owned())
        }
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), without_fingerprints(value)))
            .collect(),
        Value::Array(values) => values.iter().map(without_fingerprints).collect(),
        Value::String(text) => Value::String(blurred(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => project.clone(),
    }
}

fn blurred(text: &str) -> String {
    const BEGINNING: &str = "[secret:";
    let mut pieces = text.split(BEGINNING);
    let mut said = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        said.push_str("[secret]");
        said.push_str(piece.split_once(']').map_or("", |(_, rest)| rest));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::difference::Change;

    #[test]
    fn each_kind_has_its_lines_and_no_more_than_fit() {
        let changes = Changes {
            since: Tag::new("v1").unwrap(),
            code: Code::Known(CodeChanges {
                commits: 3,
                lost: 1,
                newest: vec!["abc fix".to_owned()],
                migrations_added: vec!["papers/migrations/0002_x.py".to_owned()],
                migrations_removed: Vec::new(),
                dependencies: (0..12)
                    .map(|number| DependencyChange {
                        name: format!("d{number:02}"),
                        old: Some("1".to_owned()),
                        new: Some("2".to_owned()),
                    })
                    .collect(),
            }),
            differences: vec![Difference {
                of: "backend".to_owned(),
                what: "environment WORKERS".to_owned(),
                change: Change::Added,
            }],
            images: vec![ImageSize {
                service: "backend".to_owned(),
                old: Some(184_240_000),
                new: 1_200_000,
            }],
        };
        let said = changes.in_words();
        let of = |heading: &str| -> Vec<&str> {
            let own = said.iter().filter(|line| line.0 == heading);
            own.map(|line| line.1.as_str()).collect()
        };
        assert_eq!(
            of("commits"),
            [
                "3 since v1",
                "abc fix",
                "and 2 more",
                "1 of v1 are not in it: is it older, or of another branch?"
            ]
        );
        assert_eq!(of("migrations"), ["papers/migrations/0002_x.py"]);
        assert_eq!(
            (of("dependencies").len(), of("dependencies")[0]),
            (11, "d00 1 → 2")
        );
        assert_eq!(of("dependencies")[10], "and 2 more");
        assert_eq!(of("configuration"), ["backend: environment WORKERS added"]);
        assert_eq!(of("image sizes"), ["backend: 184.2 MB → 1.2 MB"]);
        assert!(of("Compose").is_empty());
    }

    #[test]
    fn fingerprints_of_the_same_place_are_the_same_whatever_their_key() {
        let one = |key: &str| {
            serde_json::json!({
                "environment": { "PASSWORD": { "secret": key }, "URL": format!("db://[secret:{key}]@db [secret:{key}]") },
                "command": ["a", format!("[secret:{key}]")],
            })
        };
        assert_eq!(without_fingerprints(&one("")), without_fingerprints(&one("abc")));
        assert_eq!(
            without_fingerprints(&one("a"))["environment"]["URL"],
            "db://[secret]@db [secret]"
        );
    }
}
