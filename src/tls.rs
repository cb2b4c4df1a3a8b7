//! Which library encrypts connections: ring, for all of them. None is compiled in as a default.

use std::sync::Arc;

/// To be called before the first connection is prepared; whoever is first stays.
pub(crate) fn prepare() {
    let _: Result<(), Arc<_>> = rustls::crypto::ring::default_provider().install_default();
}
