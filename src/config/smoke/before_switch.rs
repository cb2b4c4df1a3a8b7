//! `smoke.before_switch`: which scenarios a new container is tried with while nobody else can reach it yet.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::config::count;

/// Played against the first new container of the Django service, before visitors are led to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BeforeSwitch {
    /// Their names; all of them where `None`. What they need is played too.
    pub scenarios: Option<Vec<String>>,
    /// The port on which the application speaks HTTP in its container; the one that nginx sends requests to where `None`.
    pub port: Option<u16>,
}

/// `true`, `false`, names, or a mapping of names and a port; `None` for `false`.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BeforeSwitch>, D::Error> {
    struct Read;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        scenarios: Option<Names>,
        #[serde(default, deserialize_with = "port")]
        port: Option<u16>,
    }

    struct Names(Vec<String>);

    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            super::at_least_one(deserializer).map(Self)
        }
    }

    impl<'de> Visitor<'de> for Read {
        type Value = Option<BeforeSwitch>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, a list of scenarios, or `{ scenarios: [...], port: 8000 }`")
        }

        fn visit_bool<E: Error>(self, played: bool) -> Result<Self::Value, E> {
            Ok(played.then(BeforeSwitch::default))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = items.next_element()? {
                names.push(name);
            }
            if names.is_empty() {
                return Err(A::Error::custom("at least one is needed"));
            }
            Ok(Some(BeforeSwitch {
                scenarios: Some(names),
                port: None,
            }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let written = Written::deserialize(MapAccessDeserializer::new(map))?;
            Ok(Some(BeforeSwitch {
                scenarios: written.scenarios.map(|names| names.0),
                port: written.port,
            }))
        }
    }

    deserializer.deserialize_any(Read)
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let port = count::from_one_to::<65_535, _>(deserializer)?;
    // It is at most that.
    Ok(u16::try_from(port).ok())
}
