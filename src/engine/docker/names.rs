//! Names and references on their way into a URL. bollard puts them there as they are, so `a/../b` would address
//! another object: what is not a name or a reference is refused here.

use crate::compose::is_engine_name;
use crate::engine::{EngineError, EngineErrorKind, Result};

/// A container's, network's or volume's name or id.
pub(super) fn checked_name<'name>(operation: &'static str, name: &'name str) -> Result<&'name str> {
    if is_engine_name(name) {
        Ok(name)
    } else {
        Err(EngineError::new(
            operation,
            name,
            EngineErrorKind::Invalid,
            "not a name: letters, digits, `_`, `.` and `-`, beginning with a letter or a digit",
        ))
    }
}

/// An image's reference or id.
pub(super) fn checked_reference<'name>(operation: &'static str, reference: &'name str) -> Result<&'name str> {
    let shaped = reference
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-:/@[]".contains(&byte))
        && reference
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if shaped {
        Ok(reference)
    } else {
        Err(EngineError::new(
            operation,
            reference,
            EngineErrorKind::Invalid,
            "not an image reference: registry/name:tag",
        ))
    }
}

/// Name, and tag or digest: `latest` where neither is given, since the engine would take all tags otherwise.
pub(super) fn name_and_tag(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    let last_part = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference.get(last_part..).and_then(|part| part.find(':')) {
        Some(colon) => {
            let (name, tag) = reference.split_at(last_part + colon);
            (name, tag.trim_start_matches(':'))
        }
        None => (reference, "latest"),
    }
}

/// The registry's host and port; `None` for Docker Hub.
pub(super) fn registry(reference: &str) -> Option<&str> {
    let (first, _) = reference.split_once('/')?;
    let is_host = first == "localhost" || first.contains(['.', ':']);
    (is_host && !matches!(first, "docker.io" | "index.docker.io" | "registry-1.docker.io")).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::{checked_name, checked_reference, name_and_tag, registry};

    #[test]
    fn what_would_address_another_object_is_refused() {
        for name in ["foo/../x", "../x", "", ".x", "a b", "a?force=1", "a#b", "a%2fb"] {
            assert!(checked_name("testing", name).is_err(), "{name}");
        }
        assert!(checked_name("testing", "viatique-db-1").is_ok());
        for reference in ["a/../b", "/a", "a//b", "a?x=1", "a b", ""] {
            assert!(checked_reference("testing", reference).is_err(), "{reference}");
        }
    }

    #[test]
    fn a_reference_is_taken_apart_at_the_right_colon() {
        let table = [
            ("busybox", None, "busybox", "latest"),
            ("busybox:1.36", None, "busybox", "1.36"),
            ("team/app:v2", None, "team/app", "v2"),
            (
                "localhost:5000/app",
                Some("localhost:5000"),
                "localhost:5000/app",
                "latest",
            ),
            (
                "reg.example.com:443/a/b:v1",
                Some("reg.example.com:443"),
                "reg.example.com:443/a/b",
                "v1",
            ),
            ("app@sha256:abc", None, "app", "sha256:abc"),
            ("docker.io/library/redis:7", None, "docker.io/library/redis", "7"),
        ];
        for (reference, host, name, tag) in table {
            assert!(checked_reference("testing", reference).is_ok(), "{reference}");
            assert_eq!(registry(reference), host, "{reference}");
            assert_eq!(name_and_tag(reference), (name, tag), "{reference}");
        }
    }
}
