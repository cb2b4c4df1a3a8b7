//! What several checks of one command ask, and is asked once.

/// Asked at most once each.
#[derive(Debug, Default)]
pub(crate) struct Shared {}
