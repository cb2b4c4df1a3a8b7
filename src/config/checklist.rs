//! `checklist`: lines of one's own, and lines of the workflow that are left out. What answers them is not said here.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::release::checklist::WorkflowLine;
use crate::yaml::{HINT_FOLLOWS, nearest};

/// The section: a mapping of ids to what is to be well, or to `false`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checklist {
    /// In the order in which they are written; only a person can answer them.
    pub own: Vec<OwnLine>,
    pub left_out: BTreeSet<WorkflowLine>,
}

/// A line of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLine {
    pub id: String,
    /// What is to be well.
    pub title: String,
}

impl<'de> Deserialize<'de> for Checklist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Section)
    }
}

struct Section;

impl<'de> Visitor<'de> for Section {
    type Value = Checklist;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checklist, A::Error> {
        let mut checklist = Checklist::default();
        while let Some(LineId(id)) = entries.next_key()? {
            match entries.next_value_seed(Line(id))? {
                Written::Own(line) => checklist.own.push(line),
                Written::LeftOut(line) => {
                    checklist.left_out.insert(line);
                }
            }
        }
        Ok(checklist)
    }
}

#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct LineId(String);

impl TryFrom<String> for LineId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let of = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let starts_well = text.starts_with(|first: char| first.is_ascii_lowercase());
        if starts_well && text.len() <= 40 && text.bytes().all(of) {
            Ok(Self(text))
        } else {
            Err(format!(
                "`{text}` cannot be the id of a line: lower-case letters, digits and `-`, at most 40, beginning with a \
                 letter{HINT_FOLLOWS}write `sheets: the printed sheets look right`"
            ))
        }
    }
}

/// What is written of one line.
enum Written {
    Own(OwnLine),
    LeftOut(WorkflowLine),
}

/// The line of this id.
struct Line(String);

impl<'de> DeserializeSeed<'de> for Line {
    type Value = Written;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Line {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is to be well, or `false`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        if WorkflowLine::called(&self.0).is_some() {
            return Err(E::custom(format_args!(
                "`{}` is a line of the workflow, which has its own words{HINT_FOLLOWS}write `{}: false` to leave it out, \
                 and a line of your own under another id",
                self.0, self.0
            )));
        }
        if text.trim().is_empty() {
            return Err(E::custom("a line says what is to be well"));
        }
        Ok(Written::Own(OwnLine {
            id: self.0,
            title: text.trim().to_owned(),
        }))
    }

    fn visit_bool<E: Error>(self, wanted: bool) -> Result<Written, E> {
        let known = || WorkflowLine::ALL.iter().map(|line| line.id());
        match WorkflowLine::called(&self.0) {
            Some(line) if !wanted => Ok(Written::LeftOut(line)),
            Some(_) => Err(E::custom("it is there without a word; `false` leaves it out")),
            None => {
                let meant = nearest(&self.0, known())
                    .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
                let known: Vec<String> = known().map(|id| format!("`{id}`")).collect();
                Err(E::custom(format_args!(
                    "the workflow has no line `{}`{meant}{HINT_FOLLOWS}lines there: {}",
                    self.0,
                    known.join(", ")
                )))
            }
        }
    }
}
