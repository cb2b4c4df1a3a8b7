//! The tree as a [`serde::Deserializer`], so that a derived type with `deny_unknown_fields` yields errors with
//! path and position. Made for `deploy.yml`; the Compose loader reads the tree itself.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::error::{Error, ErrorKind, expectation};
use super::node::{Entry, Mark, Node, Value};
use super::scalar::{Resolved, resolve};

/// Reads a typed value from a tree.
///
/// # Errors
/// The first thing that does not fit, with its path and position.
pub fn from_node<T: de::DeserializeOwned>(node: &Node) -> Result<T, Error> {
    T::deserialize(NodeDeserializer { node })
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'de> {
    node: &'de Node,
}

impl<'de> NodeDeserializer<'de> {
    fn unexpected(self, expected: &dyn de::Expected) -> Error {
        let kind = ErrorKind::Unexpected {
            expected: expectation(expected),
            found: self.node.describe(),
        };
        Error::at(self.node.mark, kind)
    }

    fn collection<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Sequence(items) => visitor.visit_seq(Items {
                items: items.iter(),
                index: 0,
            }),
            Value::Mapping(mapping) => {
                let mut entries = Entries {
                    entries: mapping.entries.iter(),
                    current: None,
                };
                visitor.visit_map(&mut entries)
            }
            Value::Scalar(_) => Err(self.unexpected(&visitor)),
        }
    }
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Sequence(_) | Value::Mapping(_) => self.collection(visitor),
            Value::Scalar(scalar) => match resolve(scalar) {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Bool(value) => visitor.visit_bool(value),
                Resolved::Integer(value) => {
                    if let Ok(value) = u64::try_from(value) {
                        visitor.visit_u64(value)
                    } else if let Ok(value) = i64::try_from(value) {
                        visitor.visit_i64(value)
                    } else {
                        Err(self.unexpected(&visitor))
                    }
                }
                Resolved::Float(value) => visitor.visit_f64(value),
                Resolved::Text(text) => visitor.visit_str(text),
            },
        };
        result.map_err(|error| error.marked(self.node.mark))
    }

    /// Text is wanted: a plain number keeps the text it was written with, so `tag: 1.10` is not `1.1`.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Scalar(scalar) => match resolve(scalar) {
                Resolved::Text(text) => visitor.visit_str(text),
                Resolved::Integer(_) | Resolved::Float(_) => visitor.visit_str(&scalar.text),
                Resolved::Null | Resolved::Bool(_) => Err(self.unexpected(&visitor)),
            },
            Value::Sequence(_) | Value::Mapping(_) => Err(self.unexpected(&visitor)),
        };
        result.map_err(|error| error.marked(self.node.mark))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// A section with nothing under it is a section with every default.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Mapping(_) => self.collection(visitor),
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_map(&mut Entries {
                entries: indexmap::map::Iter::default(),
                current: None,
            }),
            Value::Scalar(_) | Value::Sequence(_) => Err(Error::at(
                self.node.mark,
                ErrorKind::Unexpected {
                    expected: "a mapping".to_owned(),
                    found: self.node.describe(),
                },
            )),
        };
        result.map_err(|error| error.marked(self.node.mark))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Sequence(_) => self.collection(visitor),
            Value::Scalar(_) | Value::Mapping(_) => Err(Error::at(
                self.node.mark,
                ErrorKind::Unexpected {
                    expected: "a list".to_owned(),
                    found: self.node.describe(),
                },
            )),
        };
        result.map_err(|error| error.marked(self.node.mark))
    }

    /// Only enums of plain words: `strategy: reload`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(scalar.text.as_str()))
            }
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => {
                let words: Vec<String> = variants.iter().map(|word| format!("`{word}`")).collect();
                Err(Error::at(
                    self.node.mark,
                    ErrorKind::Unexpected {
                        expected: format!("one of {}", words.join(", ")),
                        found: self.node.describe(),
                    },
                ))
            }
        };
        result.map_err(|error| error.marked(self.node.mark))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.marked(self.node.mark))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let step = format!("[{}]", self.index);
        self.index += 1;
        seed.deserialize(NodeDeserializer { node })
            .map(Some)
            .map_err(|error| error.marked(node.mark).under(&step))
    }
}

struct Entries<'de> {
    entries: indexmap::map::Iter<'de, String, Entry>,
    current: Option<(&'de str, &'de Node)>,
}

impl Entries<'_> {
    /// A key at fault is marked where the key stands; its path is the mapping's.
    fn at_key(mark: Mark) -> impl Fn(Error) -> Error {
        move |error| error.marked(mark)
    }
}

impl<'de> de::MapAccess<'de> for &mut Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, entry)) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some((key, &entry.value));
        let key: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(Entries::at_key(entry.key_mark))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, node)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(NodeDeserializer { node })
            .map_err(|error| error.marked(node.mark).under(key))
    }
}
