//! Values that were never filled in, and passwords that everybody tries first. Which value it is is not told.

use super::super::registry::At;
use super::super::verdict::{Problem, Verdict};
use super::{Findings, Variable};

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    Placeholder,
    /// Among the first that are tried.
    Default,
}

impl Weakness {
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Placeholder => "a placeholder",
            Self::Default => "one that everybody tries first",
        }
    }
}

pub(super) fn look(at: At<'_>) -> Verdict {
    let services: Vec<_> = at.view.settings.project.services.values().collect();
    let mut findings = Findings::among(services.clone());
    let mut count = 0;
    for service in services {
        for key in service.environment.keys() {
            let Some(variable) = Variable::of(service, key) else {
                continue;
            };
            count += 1;
            if let Some(message) = problem(key, variable.value) {
                let hint = if is_secret(key) || variable.value.contains("://") {
                    format!("write a secret of your own for {key}: openssl rand -base64 36")
                } else {
                    format!("write the value that is meant for {key}, or leave it out")
                };
                findings.about(&variable, Problem::wrong(message).hint(hint));
            }
        }
    }
    findings.verdict(format!("{count} values looked at"))
}

fn problem(key: &str, value: &str) -> Option<String> {
    if key == "POSTGRES_HOST_AUTH_METHOD" && value == "trust" {
        return Some(format!("{key} lets everybody in without a password"));
    }
    if let Some((user, password)) = credentials(value) {
        let password = password?;
        let weakness = weakness(&password).or((password == user).then_some(Weakness::Default))?;
        return Some(format!("the password in {key} is {}", weakness.in_words()));
    }
    let weakness = if is_secret(key) {
        weakness(value)?
    } else {
        is_placeholder(value).then_some(Weakness::Placeholder)?
    };
    Some(format!("{key} is {}", weakness.in_words()))
}

/// User and password of an address, decoded; `None` where it is no address. What cannot be taken apart is for the
/// checks of addresses to tell.
fn credentials(value: &str) -> Option<(String, Option<String>)> {
    let (scheme, rest) = value.split_once("://")?;
    if scheme.is_empty()
        || !scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    Some(match authority.rsplit_once('@') {
        Some((info, _)) => match info.split_once(':') {
            Some((user, password)) => (decoded(user), Some(decoded(password))),
            None => (decoded(info), None),
        },
        None => (String::new(), None),
    })
}

/// Whether what goes by this name is a secret.
pub(crate) fn is_secret(key: &str) -> bool {
    let words: Vec<String> = key.split(['_', '-', '.']).map(str::to_ascii_uppercase).collect();
    let is_about = [
        "FILE",
        "PATH",
        "PREFIX",
        "NAME",
        "TIMEOUT",
        "AGE",
        "DAYS",
        "LENGTH",
        "HEADER",
        "ENABLED",
        "ALGORITHM",
    ];
    if words.last().is_some_and(|last| is_about.contains(&last.as_str()))
        || words.iter().any(|word| word == "PUBLIC")
    {
        return false;
    }
    let secret = [
        "KEY",
        "KEYS",
        "SECRET",
        "SECRETS",
        "PASS",
        "PASSWD",
        "PASSPHRASE",
        "PWD",
        "TOKEN",
        "DSN",
        "CREDENTIALS",
    ];
    words
        .iter()
        .any(|word| secret.contains(&word.as_str()) || word.ends_with("PASSWORD") || word.ends_with("APIKEY"))
        // The working directory of a shell.
        && key != "PWD"
}

/// Of a value that must be secret.
pub(super) fn weakness(value: &str) -> Option<Weakness> {
    if value.trim().is_empty() {
        return None;
    }
    let plain = plain(value);
    const TELLTALE: [&str; 12] = [
        "changeme",
        "change-me",
        "changethis",
        "change-this",
        "example",
        "placeholder",
        "insecure",
        "replace-me",
        "replaceme",
        "your-secret",
        "your-password",
        "dummy",
    ];
    if is_placeholder(value) || TELLTALE.iter().any(|word| plain.contains(word)) {
        return Some(Weakness::Placeholder);
    }
    const TRIED_FIRST: [&str; 24] = [
        "admin",
        "root",
        "postgres",
        "postgresql",
        "test",
        "guest",
        "demo",
        "default",
        "user",
        "django",
        "redis",
        "secret",
        "secretkey",
        "secret-key",
        "password",
        "passwd",
        "pass",
        "letmein",
        "qwerty",
        "azerty",
        "minioadmin",
        "rabbitmq",
        "motdepasse",
        "root-password",
    ];
    let word = plain.trim_end_matches(|last: char| last.is_ascii_digit() || last == '!');
    let is_counting = "01234567890".contains(&plain) || "9876543210".contains(&plain);
    let is_default = TRIED_FIRST.contains(&plain.as_str()) || TRIED_FIRST.contains(&word) || is_counting;
    (is_default || is_one_character(&plain)).then_some(Weakness::Default)
}

fn is_one_character(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    characters.all(|one| Some(one) == first)
}

/// Of whatever value: nobody means it.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    let encloses =
        |open: &str, close: &str| value.len() > 2 && value.starts_with(open) && value.ends_with(close);
    if encloses("<", ">") && !value.contains("</") || encloses("{{", "}}") || encloses("[your", "]") {
        return true;
    }
    let plain = plain(value);
    const NEVER_MEANT: [&str; 18] = [
        "changeme",
        "change-me",
        "change-this",
        "changethis",
        "replaceme",
        "replace-me",
        "replace-this",
        "todo",
        "fixme",
        "tbd",
        "placeholder",
        "example",
        "dummy",
        "fill-me-in",
        "fillme",
        "to-be-defined",
        "a-changer",
        "your-value",
    ];
    let crosses = plain.len() >= 3 && plain.chars().all(|one| one == 'x' || one == '*' || one == '…');
    let yours = (plain.starts_with("your-") || plain.starts_with("my-")) && plain.ends_with("-here");
    NEVER_MEANT.contains(&plain.trim_matches('-')) || crosses || yours || plain.starts_with("put-your-")
}

/// In one spelling: `CHANGE_ME!`, `change me` and `change-me` are the same.
fn plain(value: &str) -> String {
    let lower = value.trim().to_lowercase();
    lower.trim_end_matches(['!', '.']).replace(['_', ' '], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_and_names_about_them_are_not() {
        for key in [
            "SECRET_KEY",
            "POSTGRES_PASSWORD",
            "PGPASSWORD",
            "SENTRY_DSN",
            "API_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "SECRET_KEY_FILE",
            "CACHE_KEY_PREFIX",
            "VAPID_PUBLIC_KEY",
            "PASSWORD_RESET_TIMEOUT",
            "MONKEY",
            "PWD",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn a_value_of_its_own_is_left_in_peace() {
        for value in [
            "geheimes-passwort",
            "x9Qm2_lkd03Zp",
            "https://x.example.com",
            "",
            "true",
            "5c0f",
        ] {
            assert_eq!(problem("API_TOKEN", value), None, "{value}");
        }
        for value in [
            "admin",
            "test",
            "password",
            "1234",
            "smtp.example.com",
            "<3 all of it </3>",
        ] {
            assert_eq!(problem("MODE", value), None, "{value}");
        }
    }
}
