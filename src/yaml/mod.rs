//! YAML with positions: a marked tree for the Compose loader, and a [`serde::Deserializer`] over it for
//! `deploy.yml`. It knows nothing of either file's keys.
//!
//! Why not `serde_yaml` alone: it applies merge keys (`<<`) one level deep and only on a `Value`, which has lost
//! every position and has turned `1.10` into a float; its unknown-key errors are prose, from which no "did you
//! mean" can be made; and it drops tags such as `!reset` in silence. The tests keep it as the oracle for what a
//! scalar or a structure means.

mod deserialize;
mod error;
mod node;
mod parse;
mod scalar;

pub use deserialize::from_node;
pub(crate) use error::HINT_FOLLOWS;
pub use error::{Error, ErrorKind};
pub use node::{Entry, Mapping, Mark, Node, Origin, Scalar, Style, Value};
pub use parse::parse;
pub use scalar::{Resolved, resolve};

/// The known word nearest to `given`, if one is near enough that a person may have meant it.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&given, &word.to_ascii_lowercase()), word))
        .filter(|(likeness, _)| *likeness >= 0.8)
        // The first of equals, so that the suggestion does not depend on the platform's sort.
        .fold(None, |best: Option<(f64, &str)>, candidate| match best {
            Some(best) if best.0 >= candidate.0 => Some(best),
            Some(_) | None => Some(candidate),
        })
        .map(|(_, word)| word)
}
