//! Whole numbers with a least and a greatest: how many of something.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Reads a whole number from 1 to `MOST`.
pub(super) fn from_one_to<'de, const MOST: u32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<u32, D::Error> {
    struct Count<const MOST: u32>;
    impl<const MOST: u32> Visitor<'_> for Count<MOST> {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from 1 to {MOST}")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number)
                .ok()
                .filter(|number| (1..=MOST).contains(number))
                .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }
    deserializer.deserialize_u32(Count::<MOST>)
}
