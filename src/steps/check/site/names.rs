//! Where the public names lead, as this machine resolves them.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::{Edge, Seen};
use crate::error::Failure;
use crate::steps::check::registry::Asking;
use crate::steps::check::verdict::{Level, Problem, Verdict};

pub(super) async fn dns(asking: Asking<'_>) -> Result<Verdict, Failure> {
    let edge = match Edge::of(asking) {
        Ok(edge) => edge,
        Err(verdict) => return Ok(verdict),
    };
    let asked = edge.site.all_names().into_iter().map(|name| async {
        let seen = match asking.context.app.addresses(&name).await {
            Ok(found) => match held_against(&name, &found, &edge.site.addresses) {
                // Whoever says where to connect instead knows that DNS leads elsewhere.
                Some(problem) if edge.site.connect.is_some() => Seen::Wrong(problem.level(Level::Warns)),
                Some(problem) => Seen::Wrong(problem),
                None => Seen::Well(format!("{name} is {}", listed(&found))),
            },
            Err(error) => Seen::Unknown(error),
        };
        (name, seen)
    });
    let seen = join_all(asked).await;
    edge.verdict(seen).await
}

fn held_against(name: &str, found: &[IpAddr], wanted: &[IpAddr]) -> Option<Problem> {
    if found.is_empty() {
        return Some(Problem::wrong(format!("{name} has no address")));
    }
    if wanted.is_empty() {
        return None;
    }
    let not_in = |these: &[IpAddr], those: &[IpAddr]| -> Vec<IpAddr> {
        these.iter().filter(|one| !those.contains(one)).copied().collect()
    };
    let (further, missing) = (not_in(found, wanted), not_in(wanted, found));
    let mut words = Vec::new();
    if !further.is_empty() {
        words.push(format!(
            "leads to {}, which is not in checks.site.addresses",
            listed(&further)
        ));
    }
    if !missing.is_empty() {
        words.push(format!("does not lead to {}", listed(&missing)));
    }
    (!words.is_empty()).then(|| Problem::wrong(format!("{name} {}", words.join(", and "))))
}

fn listed(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_held_against_those_that_are_wanted() {
        let read = |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|one| one.parse().unwrap()).collect() };
        for (found, wanted, says) in [
            (&["203.0.113.7"][..], &["203.0.113.7"][..], None),
            (&["203.0.113.7"], &[], None),
            (&[], &[], Some("x has no address")),
            (
                &["203.0.113.7", "2001:db8::1"],
                &["203.0.113.7"],
                Some("x leads to 2001:db8::1, which is not in checks.site.addresses"),
            ),
            (
                &["203.0.113.7"],
                &["203.0.113.7", "203.0.113.8"],
                Some("x does not lead to 203.0.113.8"),
            ),
            (
                &["203.0.113.9"],
                &["203.0.113.7"],
                Some(
                    "x leads to 203.0.113.9, which is not in checks.site.addresses, and does not lead to 203.0.113.7",
                ),
            ),
        ] {
            let problem = held_against("x", &read(found), &read(wanted));
            assert_eq!(problem.map(|problem| problem.message).as_deref(), says);
        }
    }
}
