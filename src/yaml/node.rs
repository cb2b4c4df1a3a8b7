//! The marked tree. Every value knows where it was written, through aliases and merge keys; scalars keep their
//! text, so that nothing is lost before somebody says what type is wanted.

use std::fmt;

use indexmap::IndexMap;

/// Where something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// Which text, in the caller's own numbering.
    pub source: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub mark: Mark,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

/// A scalar's text before any type is given to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
    pub origin: Origin,
}

/// Whether the text may stand for something else than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: `true`, `12` and `null` have their meaning.
    Plain,
    /// In quotes, as a block, tagged `!!str`, or the result of an interpolation: always text.
    Quoted,
}

/// Where the text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Stands in the file.
    Written,
    /// Holds the value of a variable that may be secret: never shown.
    Variable,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Written => write!(f, "{:?} {:?}", self.style, self.text),
            Origin::Variable => f.write_str("[redacted]"),
        }
    }
}

/// Keys in the order they were written; each stands once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    pub entries: IndexMap<String, Entry>,
}

/// One `key: value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key_mark: Mark,
    pub value: Node,
}

impl Node {
    /// A text that stands for itself.
    pub fn text(text: impl Into<String>, mark: Mark) -> Self {
        Self::scalar(text, Style::Quoted, Origin::Written, mark)
    }

    /// The null value.
    pub fn null(mark: Mark) -> Self {
        Self::scalar("", Style::Plain, Origin::Written, mark)
    }

    /// A scalar, all told.
    pub fn scalar(text: impl Into<String>, style: Style, origin: Origin, mark: Mark) -> Self {
        Self {
            value: Value::Scalar(Scalar {
                text: text.into(),
                style,
                origin,
            }),
            mark,
        }
    }

    /// Whether this is the null value: nothing, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.is_null(),
            Value::Sequence(_) | Value::Mapping(_) => false,
        }
    }

    /// The mapping, if this is one.
    pub const fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// What this is, for an error message; a value that may be secret is not shown.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => scalar.describe(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

impl Scalar {
    /// Whether this is the null value.
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The text in backticks, or that it comes from a variable.
    pub fn describe(&self) -> String {
        match self.origin {
            Origin::Written => format!("`{}`", self.text),
            Origin::Variable => "a variable's value (not shown)".to_owned(),
        }
    }
}

impl Mapping {
    /// The value under a key; a null value is a value.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.get(key).map(|entry| &entry.value)
    }
}
