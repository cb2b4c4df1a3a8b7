//! `checks.tests`: how the tests of the code are run.

use std::fmt;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::one_or_many;
use super::quantity::HumanDuration;
use crate::compose::ServiceName;

/// `checks.tests`: a command, or a command with where and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestsOfTheCode {
    /// The command, word by word: no shell reads it.
    pub run: Vec<String>,
    /// The service in whose new image it is run; on this machine, in the folder of `deploy.yml`, where `None`.
    pub r#in: Option<ServiceName>,
    /// How long it may take: 30m by default.
    pub timeout: HumanDuration,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(deserialize_with = "one_or_many::command")]
    run: Vec<String>,
    r#in: Option<ServiceName>,
    #[serde(default = "timeout")]
    timeout: HumanDuration,
}

const fn timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30 * 60))
}

impl<'de> Deserialize<'de> for TestsOfTheCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = TestsOfTheCode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, word by word, or `run`, `in` and `timeout`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<TestsOfTheCode, A::Error> {
        Ok(TestsOfTheCode {
            run: one_or_many::command(SeqAccessDeserializer::new(words))?,
            r#in: None,
            timeout: timeout(),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<TestsOfTheCode, A::Error> {
        let Written { run, r#in, timeout } = Written::deserialize(MapAccessDeserializer::new(keys))?;
        Ok(TestsOfTheCode { run, r#in, timeout })
    }
}
