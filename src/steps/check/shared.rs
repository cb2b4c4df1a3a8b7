//! What checks of one command find out that others go on with.

use std::sync::OnceLock;

use tokio::sync::OnceCell;

use super::django::Asked;
use crate::release::Migration;

/// Each is found out at most once.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    nothing_pending: OnceLock<Vec<Migration>>,
    /// What Django says of itself in the release's image.
    pub(super) django: OnceCell<Asked>,
}

impl Shared {
    /// These are applied, and nothing is pending.
    pub(crate) fn nothing_is_pending(&self, applied: Vec<Migration>) {
        self.nothing_pending.get_or_init(|| applied);
    }

    /// What is applied, where it was asked and nothing is pending.
    pub(crate) fn nothing_pending(&self) -> Option<Vec<Migration>> {
        self.nothing_pending.get().cloned()
    }
}
