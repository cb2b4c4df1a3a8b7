//! What can be wrong with a YAML text or with its shape. The position is part of the error; the file's name is
//! added by whoever knows it.

use std::fmt;

use super::node::Mark;

/// A YAML text that cannot be read, or that does not have the shape wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// `None` only while the error travels up to the node that knows.
    pub mark: Option<Mark>,
    /// From the root to the value at fault: `services.backend.ports[0]`; empty at the root.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not YAML at all, in the parser's words.
    Syntax(String),
    /// YAML that this program refuses, such as a second document, and what to do.
    Refused { what: String, hint: Option<String> },
    /// A key that the type does not have.
    UnknownKey { key: String, known: Vec<&'static str> },
    /// A key that must be there.
    MissingKey { key: &'static str },
    /// A word that is not one of the choices.
    UnknownChoice { given: String, known: Vec<&'static str> },
    /// A value of another type, or one that the type refuses.
    Unexpected { expected: String, found: String },
    /// What a type says of its own value, and what to do.
    Invalid { message: String, hint: Option<String> },
}

impl Error {
    /// An error at a known position.
    pub(super) const fn at(mark: Mark, kind: ErrorKind) -> Self {
        Self {
            kind,
            mark: Some(mark),
            path: String::new(),
        }
    }

    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<&str> {
        match &self.kind {
            ErrorKind::Refused { hint, .. } | ErrorKind::Invalid { hint, .. } => hint.as_deref(),
            ErrorKind::Syntax(_)
            | ErrorKind::UnknownKey { .. }
            | ErrorKind::MissingKey { .. }
            | ErrorKind::UnknownChoice { .. }
            | ErrorKind::Unexpected { .. } => None,
        }
    }

    /// Gives the position if none is known yet.
    pub(super) fn marked(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }

    /// Puts one step before the path: a key, or `[3]`.
    pub(super) fn under(mut self, step: &str) -> Self {
        let glue = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{step}{glue}{}", self.path);
        self
    }
}

/// One sentence, without position: `unknown key `migratte` in `django`; did you mean `manage`?`
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", self.path)
        };
        match &self.kind {
            ErrorKind::Syntax(what) => write!(f, "not valid YAML: {what}"),
            ErrorKind::Refused { what, .. } => f.write_str(what),
            ErrorKind::UnknownKey { key, known } => {
                write!(f, "unknown key `{key}`{place}")?;
                suggestion(f, key, known)
            }
            ErrorKind::MissingKey { key } => write!(f, "missing key `{key}`{place}"),
            ErrorKind::UnknownChoice { given, known } => {
                if !self.path.is_empty() {
                    write!(f, "`{}`: ", self.path)?;
                }
                write!(f, "unknown choice `{given}`")?;
                suggestion(f, given, known)
            }
            ErrorKind::Unexpected { expected, found } => {
                if !self.path.is_empty() {
                    write!(f, "`{}`: ", self.path)?;
                }
                write!(f, "expected {expected}, found {found}")
            }
            ErrorKind::Invalid { message, .. } => {
                if !self.path.is_empty() {
                    write!(f, "`{}`: ", self.path)?;
                }
                f.write_str(message)
            }
        }
    }
}

fn suggestion(f: &mut fmt::Formatter<'_>, given: &str, known: &[&'static str]) -> fmt::Result {
    match super::nearest(given, known.iter().copied()) {
        Some(word) => write!(f, "; did you mean `{word}`?"),
        None if known.is_empty() => Ok(()),
        None => {
            let words: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            write!(f, "; known here: {}", words.join(", "))
        }
    }
}

impl std::error::Error for Error {}

/// Parts a message from its hint in [`serde::de::Error::custom`], whose only argument is a text: a type's own
/// `Display` writes `message`, this mark, `hint`. It never reaches a person.
pub(crate) const HINT_FOLLOWS: char = '\u{1f}';

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let (message, hint) = match text.split_once(HINT_FOLLOWS) {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (text, None),
        };
        Self {
            kind: ErrorKind::Invalid { message, hint },
            mark: None,
            path: String::new(),
        }
    }

    fn invalid_type(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self {
            kind: ErrorKind::Unexpected {
                expected: expectation(expected),
                found: found(unexpected),
            },
            mark: None,
            path: String::new(),
        }
    }

    fn invalid_value(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self {
            kind: ErrorKind::UnknownChoice {
                given: variant.to_owned(),
                known: expected.to_vec(),
            },
            mark: None,
            path: String::new(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            kind: ErrorKind::UnknownKey {
                key: field.to_owned(),
                known: expected.to_vec(),
            },
            mark: None,
            path: String::new(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            kind: ErrorKind::MissingKey { key: field },
            mark: None,
            path: String::new(),
        }
    }
}

/// What a visitor waits for; serde's own word for text is a programmer's.
pub(super) fn expectation(expected: &dyn serde::de::Expected) -> String {
    match expected.to_string().as_str() {
        "a string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        other => other.to_owned(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "serde's enum may grow, and its own words serve for the rest"
)]
fn found(unexpected: serde::de::Unexpected<'_>) -> String {
    use serde::de::Unexpected;
    match unexpected {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Char(value) => format!("`{value}`"),
        Unexpected::Str(value) => format!("`{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}
