//! Values that leave this machine in no notice, wherever they stand in it. What a service's log says goes to a chat room
//! with it, and logs tell secrets.

use crate::secret::Secret;

/// What stands in its place.
const INSTEAD: &str = "[secret]";

/// A shorter value says nothing, and stands in half of all words.
const SHORTEST: usize = 6;

/// The values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask(Vec<Secret<String>>);

impl Mask {
    /// Of these values; what is written on several lines is looked for line by line.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Secret<String>>) -> Self {
        let mut lines: Vec<Secret<String>> = values
            .into_iter()
            .flat_map(|value| value.reveal().lines())
            .map(str::trim)
            .filter(|line| line.len() >= SHORTEST)
            .map(|line| Secret::new(line.to_owned()))
            .collect();
        // Of two of which one is a part of the other, the longer first.
        lines.sort_by_key(|line| std::cmp::Reverse(line.reveal().len()));
        lines.dedup();
        Self(lines)
    }

    /// These, too.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0))
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for value in &self.0 {
            if hidden.contains(value.reveal()) {
                hidden = hidden.replace(value.reveal(), INSTEAD);
            }
        }
        hidden
    }
}
