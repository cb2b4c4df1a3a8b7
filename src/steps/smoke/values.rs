//! What names stand for while scenarios are played, and what of it must never be shown.

use std::collections::BTreeMap;
use std::io::Read as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::{JsonTemplate, SmokeVariable, Template, TemplatePart};
use crate::secret::Secret;

/// Values by their names.
#[derive(Clone, Default)]
pub(super) struct Values(BTreeMap<String, Value>);

/// A name that stands for nothing yet: what was to be captured was not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub String);

impl Values {
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        let theirs = other.0.iter();
        self.0
            .extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
    }

    fn get(&self, name: &str) -> Result<&Value, Missing> {
        self.0.get(name).ok_or_else(|| Missing(name.to_owned()))
    }

    /// The text with every name replaced.
    ///
    /// # Errors
    /// A name that stands for nothing yet.
    pub(super) fn fill(&self, template: &Template) -> Result<String, Missing> {
        let mut text = String::new();
        for part in template.parts() {
            match part {
                TemplatePart::Text(plain) => text.push_str(plain),
                TemplatePart::Name(name) => text.push_str(&as_text(self.get(name)?)),
            }
        }
        Ok(text)
    }

    /// Each of them, with every name in its text replaced.
    ///
    /// # Errors
    /// As [`Values::fill`].
    pub(super) fn fill_all<'a>(
        &self,
        texts: impl IntoIterator<Item = (&'a String, &'a Template)>,
    ) -> Result<Vec<(String, String)>, Missing> {
        let fill = |(name, text): (&String, &Template)| Ok((name.clone(), self.fill(text)?));
        texts.into_iter().map(fill).collect()
    }

    /// JSON with every name replaced; a text that is one name alone becomes its value, whatever its kind.
    ///
    /// # Errors
    /// As [`Values::fill`].
    pub(super) fn fill_json(&self, template: &JsonTemplate) -> Result<Value, Missing> {
        Ok(match template {
            JsonTemplate::Text(text) => match text.sole_name() {
                Some(name) => self.get(name)?.clone(),
                None => Value::String(self.fill(text)?),
            },
            JsonTemplate::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill_json(item))
                    .collect::<Result<_, _>>()?,
            ),
            JsonTemplate::Object(entries) => {
                let fill = |(key, value): &(String, JsonTemplate)| Ok((key.clone(), self.fill_json(value)?));
                Value::Object(entries.iter().map(fill).collect::<Result<_, _>>()?)
            }
            JsonTemplate::Plain(value) => value.clone(),
        })
    }
}

/// A text is itself; anything else is written as JSON.
fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// What must not be shown, in every way in which it may be written. It only ever grows.
#[derive(Clone, Default)]
pub(super) struct Mask(Vec<String>);

/// What is shown instead.
const MASKED: &str = "***";

impl Mask {
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let quoted = Value::String(secret.to_owned()).to_string();
        let in_json = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let in_html = secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#x27;");
        let in_a_form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let in_a_path = url::Url::parse("http://localhost/").map(|mut url| {
            url.set_path(secret);
            url.path().trim_start_matches('/').to_owned()
        });
        let written = [
            secret.to_owned(),
            in_json.unwrap_or(secret).to_owned(),
            in_html,
            in_a_form,
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            in_a_path.unwrap_or_default(),
        ];
        self.0.extend(written.into_iter().filter(|text| !text.is_empty()));
        // One may be part of another.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        self.0.dedup();
    }

    /// The text without secrets.
    pub(super) fn cover(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, MASKED))
    }
}

/// Gives variables their values. `environment` has those that are asked for.
///
/// # Errors
/// The machine gives no random bytes. A variable of the environment that is not there was refused before.
pub(super) fn take<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a SmokeVariable)>,
    environment: &BTreeMap<String, Secret<String>>,
    values: &mut Values,
    mask: &mut Mask,
) -> std::io::Result<()> {
    for (name, variable) in variables {
        match variable {
            SmokeVariable::Plain(value) => values.set(name, value.clone()),
            SmokeVariable::Environment(key) => {
                if let Some(secret) = environment.get(key) {
                    mask.hide(secret.reveal());
                    values.set(name, Value::String(secret.reveal().clone()));
                }
            }
            SmokeVariable::Random(length) => {
                let secret = random(*length)?;
                mask.hide(&secret);
                values.set(name, Value::String(secret));
            }
        }
    }
    Ok(())
}

/// Letters and digits, each as likely as any other.
pub(super) fn random(length: u32) -> std::io::Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = std::fs::File::open("/dev/urandom")?;
    let mut text = String::new();
    while text.len() < length as usize {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        // 248 is the last multiple of 62: beyond it the first letters would come more often.
        if byte[0] < 248 {
            text.push(char::from(LETTERS[usize::from(byte[0] % 62)]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Mask, Missing, Values, random};
    use crate::config::{JsonTemplate, Template};

    #[test]
    fn names_become_values_and_keep_their_kind_in_json() {
        let mut values = Values::default();
        values.set("id", json!(7));
        values.set("name", json!("Paul"));
        let fill = |text: &str| values.fill(&Template::parse(text).unwrap());
        assert_eq!(
            fill("/copies/${id}/of-${name}"),
            Ok("/copies/7/of-Paul".to_owned())
        );
        assert_eq!(fill("${total}"), Err(Missing("total".to_owned())));
        let json = JsonTemplate::parse(json!({"a": ["${id}", "no. ${id}", 1.5], "b": null})).unwrap();
        assert_eq!(
            values.fill_json(&json),
            Ok(json!({"a": [7, "no. 7", 1.5], "b": null}))
        );
    }

    #[test]
    fn a_secret_is_covered_however_it_is_written() {
        let mut mask = Mask::default();
        mask.hide("a\"b c&d/é");
        mask.hide("");
        for text in [
            "is a\"b c&d/é.",
            r#"is a\"b c&d/é."#,
            "is a&quot;b c&amp;d/é.",
            "is a%22b+c%26d%2F%C3%A9.",
            "is a%22b%20c%26d%2F%C3%A9.",
            "is a%22b%20c&d/%C3%A9.",
        ] {
            assert_eq!(mask.cover(text), "is ***.", "{text}");
        }
    }

    #[test]
    fn a_random_text_is_another_each_time() {
        let (one, other) = (random(24).unwrap(), random(24).unwrap());
        assert_eq!(one.len(), 24);
        assert!(one.chars().all(|letter| letter.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }
}
