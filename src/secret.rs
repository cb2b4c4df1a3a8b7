//! A value that must never be seen: it has no `Display`, prints as `[redacted]` in `Debug`, and cannot be
//! serialised. Whoever needs the value says so with [`Secret::reveal`], which is easy to search for.

use std::fmt;

/// Holds a value that must not reach a log, an event, an error, the ledger or a process's arguments.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives the value itself. Only for handing it to the engine or the app.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
