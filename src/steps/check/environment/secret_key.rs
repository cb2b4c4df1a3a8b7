//! Whether the secret key can be guessed: its length, and a rough estimate of what of it does not follow from what
//! stands before. Never says anything of the key but how long it is.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::{Findings, Variable, concerned, is_set, not_known};

pub(super) const KEYS: &[&str] = &["SECRET_KEY", "DJANGO_SECRET_KEY"];

/// As Django's own check (security.W009).
const LEAST_CHARACTERS: usize = 50;
const LEAST_DISTINCT: usize = 5;
const LEAST_BITS: f64 = 128.0;

pub(super) fn look(at: At<'_>) -> Verdict {
    let services = concerned(at.view.settings, KEYS);
    let mut findings = Findings::among(services.clone());
    for service in services {
        let set = Variable::all(service, KEYS);
        if set.is_empty() {
            let file = KEYS.iter().map(|key| format!("{key}_FILE"));
            let file = file.into_iter().find(|key| is_set(service, key));
            let why = match file {
                Some(key) => format!("{key} names a file in the container, which is not read here"),
                None => {
                    "neither SECRET_KEY nor DJANGO_SECRET_KEY is set; the settings may take it from elsewhere"
                        .to_owned()
                }
            };
            findings.without(service, "SECRET_KEY", not_known(why));
        }
        for variable in set {
            if let Some(why) = weakness(variable.value) {
                findings.about(&variable, Problem::wrong(format!("{} {why}", variable.key)));
            }
        }
    }
    findings.verdict("long and random")
}

fn weakness(key: &str) -> Option<String> {
    let length = key.chars().count();
    if key.trim().is_empty() {
        return Some("is empty".to_owned());
    }
    if key.starts_with("django-insecure-") {
        return Some(
            "begins with `django-insecure-`: it is the one that `startproject` wrote into the code"
                .to_owned(),
        );
    }
    if length < LEAST_CHARACTERS {
        return Some(format!(
            "has {length} characters, and needs {LEAST_CHARACTERS} or more"
        ));
    }
    let distinct: std::collections::BTreeSet<char> = key.chars().collect();
    if distinct.len() < LEAST_DISTINCT {
        return Some(format!(
            "is made of {} different characters, and needs {LEAST_DISTINCT} or more",
            distinct.len()
        ));
    }
    (bits(key) < LEAST_BITS).then(|| "can be guessed: it repeats itself, or counts on".to_owned())
}

/// Roughly how many bits an attacker who knows the tricks has to guess. What stood before, and what counts on from the
/// character before, costs next to nothing.
fn bits(text: &str) -> f64 {
    let characters: Vec<char> = text.chars().collect();
    let per_character = alphabet(&characters).log2();
    let mut bits = 0.0;
    let mut index = 0;
    while index < characters.len() {
        let repeated = longest_match(&characters, index);
        if repeated >= 3 {
            bits += per_character;
            index += repeated;
        } else if counts_on(&characters, index) {
            index += 1;
        } else {
            bits += per_character;
            index += 1;
        }
    }
    bits
}

fn alphabet(characters: &[char]) -> f64 {
    let any = |is_of: fn(&char) -> bool| characters.iter().any(is_of);
    let kinds = [
        (any(|one| one.is_lowercase()), 26.0),
        (any(|one| one.is_uppercase()), 26.0),
        (any(|one| one.is_ascii_digit()), 10.0),
        (any(|one| !one.is_alphanumeric()), 32.0),
    ];
    let sizes = kinds.iter().filter(|(is_there, _)| *is_there);
    sizes.map(|(_, size)| size).sum::<f64>().max(2.0)
}

/// How much of what begins here stood before; overlapping itself, as `abcabc` does.
fn longest_match(characters: &[char], index: usize) -> usize {
    let rest = characters.get(index..).unwrap_or_default();
    let at = |start: usize| {
        let earlier = characters.get(start..).unwrap_or_default();
        rest.iter()
            .zip(earlier)
            .take_while(|(one, other)| one == other)
            .count()
    };
    (0..index).map(at).max().unwrap_or(0)
}

/// Whether the step from the character before is the one before that: `abc`, `321`, `aaa`, `ace`.
fn counts_on(characters: &[char], index: usize) -> bool {
    let code = |back: usize| {
        let at = index.checked_sub(back)?;
        characters.get(at).map(|one| i64::from(u32::from(*one)))
    };
    match (code(2), code(1), code(0)) {
        (Some(first), Some(second), Some(third)) => {
            third - second == second - first && (third - second).abs() <= 2
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_what_stood_before_counts_for_nothing() {
        for weak in [
            "abcdef".repeat(10),
            "0123456789".repeat(6),
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".to_owned(),
            "correct-horse".repeat(5),
            "zyxwvutsrqponmlkjihgfedcba9876543210zyxwvutsrqponmlkjihg".to_owned(),
        ] {
            let why = weakness(&weak);
            assert_eq!(
                why.as_deref(),
                Some("can be guessed: it repeats itself, or counts on"),
                "{weak}"
            );
        }
    }

    #[test]
    fn random_characters_are_enough_of_whatever_alphabet() {
        for key in [
            "s1ZmEoLm35EEkrRy0CHrwI2zq8Kc3nRIExP-OQ-deBUXfha6AHoiKTr4w5024r6B",
            "8f3a91c07be2d65420f9ab13ce7845d06b2e91af38d7c5604e",
            "xkqpwmzjtyhbvnrcsgdlfaeouixmqkwpjzytbhnvrcdgslfeoa",
        ] {
            assert_eq!(weakness(key), None);
        }
    }
}
