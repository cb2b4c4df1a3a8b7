//! `build`: how the images are built. What is built is in the Compose files.

use super::count;

/// The `build` section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// Builds every step of every image anew: false by default.
    pub no_cache: bool,
    /// Asks the registry for newer base images: false by default, because it is then asked for those too that exist on
    /// the engine alone.
    pub pull: bool,
    /// How many images are built or pulled at once: 1 to 100, 4 by default.
    #[serde(deserialize_with = "count::from_one_to::<100, _>")]
    pub parallel: u32,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            no_cache: false,
            pull: false,
            parallel: 4,
        }
    }
}
