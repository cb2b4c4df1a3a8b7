//! Texts with `${name}` in them, and JSON with such texts. What a name stands for is `steps::smoke`'s business.

use serde::de::{Deserialize, Deserializer, Error};

use crate::config::secrets::is_variable;
use crate::yaml::HINT_FOLLOWS;

/// A text in which `${name}` stands for a value, and `$${` for `${`. Any other `$` is itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<TemplatePart>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads it.
    ///
    /// # Errors
    /// A `${` that does not end, or with something else than a name in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, begun) = rest.split_at(at);
            let begun = begun.strip_prefix("${").unwrap_or_default();
            if let Some(escaped) = before.strip_suffix('$') {
                plain.push_str(escaped);
                plain.push_str("${");
                rest = begun;
                continue;
            }
            plain.push_str(before);
            let Some((name, after)) = begun.split_once('}') else {
                return Err(format!("`${{` does not end in `{text}`{HINT_FOLLOWS}{ESCAPED}"));
            };
            if !is_variable(name) {
                return Err(format!(
                    "`${{{name}}}` is no name: letters, digits and `_`, not beginning with a digit{HINT_FOLLOWS}{ESCAPED}"
                ));
            }
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(TemplatePart::Name(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(plain));
        }
        Ok(Self(parts))
    }

    /// A text without names in it, whatever it looks like.
    pub fn plain(text: String) -> Self {
        Self(vec![TemplatePart::Text(text)])
    }

    /// Its pieces, in their order.
    pub fn parts(&self) -> &[TemplatePart] {
        &self.0
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            TemplatePart::Text(_) => None,
            TemplatePart::Name(name) => Some(name.as_str()),
        })
    }

    /// The name that is all of it: the value keeps its kind in JSON then.
    pub fn sole_name(&self) -> Option<&str> {
        match self.0.as_slice() {
            [TemplatePart::Name(name)] => Some(name),
            [] | [TemplatePart::Text(_)] | [_, _, ..] => None,
        }
    }
}

const ESCAPED: &str = "write `$${` for a `${` that is meant as it stands";

/// As it was written.
impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TemplatePart::Text(text) => f.write_str(text),
            TemplatePart::Name(name) => write!(f, "${{{name}}}"),
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// JSON whose texts are [`Template`]s.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// A number, a truth value or null.
    Plain(serde_json::Value),
}

impl JsonTemplate {
    /// Reads it.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse(value: serde_json::Value) -> Result<Self, String> {
        Ok(match value {
            serde_json::Value::String(text) => Self::Text(Template::parse(&text)?),
            serde_json::Value::Array(items) => {
                Self::List(items.into_iter().map(Self::parse).collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(entries) => {
                let entries = entries
                    .into_iter()
                    .map(|(key, value)| Ok((key, Self::parse(value)?)));
                Self::Object(entries.collect::<Result<_, String>>()?)
            }
            plain @ (serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => {
                Self::Plain(plain)
            }
        })
    }
}

impl<'de> Deserialize<'de> for JsonTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::parse(value).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, TemplatePart};

    fn parts(text: &str) -> Vec<TemplatePart> {
        Template::parse(text).unwrap().parts().to_vec()
    }

    #[test]
    fn names_are_found_between_texts() {
        let text = |text: &str| TemplatePart::Text(text.to_owned());
        let name = |name: &str| TemplatePart::Name(name.to_owned());
        assert_eq!(
            parts("/copies/${copy}/"),
            [text("/copies/"), name("copy"), text("/")]
        );
        assert_eq!(parts("${a}${b}"), [name("a"), name("b")]);
        assert_eq!(parts("5 $ and $${a}"), [text("5 $ and ${a}")]);
        assert_eq!(parts(""), []);
        assert_eq!(Template::parse("${a}").unwrap().sole_name(), Some("a"));
        assert_eq!(Template::parse("${a} ").unwrap().sole_name(), None);
        assert_eq!(Template::parse("x${a}y").unwrap().to_string(), "x${a}y");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["${", "${a", "${}", "${a b}", "${1a}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
