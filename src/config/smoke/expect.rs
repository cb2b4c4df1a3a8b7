//! What an answer must be like.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::{JsonPath, JsonTemplate, Template, TextOr};
use crate::config::quantity::{ByteSize, HumanDuration};

/// `expect` of a step: all of it must hold.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// One of them; any from 200 to 299 where there is none.
    #[serde(default, deserialize_with = "statuses")]
    pub status: Vec<u16>,
    #[serde(default)]
    pub headers: BTreeMap<String, ExpectedHeader>,
    #[serde(default)]
    pub body: ExpectedBody,
    /// What stands where in the JSON of the body; what stands elsewhere does not matter.
    #[serde(default)]
    pub json: BTreeMap<JsonPath, JsonTemplate>,
    /// The body is this file, byte for byte; as written, from the folder of `deploy.yml`.
    pub file: Option<PathBuf>,
    /// How many bytes the body has.
    pub size: Option<ByteSize>,
    /// Of the body, in lower-case hexadecimal digits.
    #[serde(default, deserialize_with = "sha256")]
    pub sha256: Option<String>,
    /// How long the whole answer may take.
    pub within: Option<HumanDuration>,
}

/// What a header must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedHeader {
    Equal(Template),
    Contains(Template),
}

impl From<Template> for ExpectedHeader {
    fn from(text: Template) -> Self {
        Self::Equal(text)
    }
}

impl<'de> Deserialize<'de> for ExpectedHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            contains: Template,
        }

        impl From<Template> for HeaderText {
            fn from(text: Template) -> Self {
                Self(ExpectedHeader::Equal(text))
            }
        }

        struct HeaderText(ExpectedHeader);

        impl<'de> Deserialize<'de> for HeaderText {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let written = Written::deserialize(deserializer)?;
                Ok(Self(ExpectedHeader::Contains(written.contains)))
            }
        }

        let read = TextOr::<HeaderText>(PhantomData, "a value, or `{ contains: text }`");
        deserializer.deserialize_any(read).map(|header| header.0)
    }
}

/// What the body must hold, and must not, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedBody {
    #[serde(default, deserialize_with = "texts")]
    pub contains: Vec<Template>,
    #[serde(default, deserialize_with = "texts")]
    pub not: Vec<Template>,
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Template>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<Template>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Template::parse(text).map(|text| vec![text]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_any(Texts)
}

fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    struct Statuses;

    impl<'de> Visitor<'de> for Statuses {
        type Value = Vec<u16>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a status from 100 to 599, or a list of them")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            let status = u16::try_from(number).ok();
            let status = status.filter(|status| (100..600).contains(status));
            let status = status.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))?;
            Ok(vec![status])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut statuses = Vec::new();
            while let Some(One(status)) = items.next_element()? {
                statuses.extend(status);
            }
            Ok(statuses)
        }
    }

    struct One(Vec<u16>);

    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_u64(Statuses).map(One)
        }
    }

    deserializer.deserialize_any(Statuses)
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digest {
        return Err(D::Error::custom("a SHA-256 has 64 hexadecimal digits"));
    }
    Ok(Some(text.to_ascii_lowercase()))
}
