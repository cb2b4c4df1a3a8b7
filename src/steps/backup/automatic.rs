//! Whether backups are made by themselves, as far as those show it that stand here. One that a run has made says nothing of
//! a schedule, and one alone is none: a schedule is what has come again. Looks only.

use time::{Duration, OffsetDateTime};

use super::Made;
use super::sets::{Sets, completed};

/// Two that stand closer to each other were made by somebody who tried.
const APART: Duration = Duration::hours(1);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Automatic {
    /// They are, and what shows it.
    Yes(String),
    /// That is not known, and why.
    Unknown(String),
}

/// The newest of those that `backup` has made with nobody there must be younger than `max_age`, and another one must have
/// been made not longer before it than twice that.
pub fn automatic(sets: &Sets, now: OffsetDateTime, max_age: Duration) -> Automatic {
    let unattended = sets
        .backups
        .iter()
        .filter(|one| one.made == Some(Made::Unattended));
    let mut unattended: Vec<(OffsetDateTime, &str)> = unattended
        .filter_map(|one| Some((completed(one)?, one.id.as_str())))
        .collect();
    unattended.sort_unstable();
    let Some((newest, id)) = unattended.pop() else {
        let why = if sets.backups.is_empty() {
            "there is no backup here"
        } else {
            "no backup here was made by `backup` with nobody at a terminal; the one that a run makes is no schedule"
        };
        return Automatic::Unknown(why.to_owned());
    };
    let age = now - newest;
    if age.is_negative() || age > max_age {
        return Automatic::Unknown(format!(
            "the newest that was made with nobody at a terminal, {id}, is older than backup.max_age, or from the future"
        ));
    }
    let before = unattended.iter().rev().find(|(at, _)| newest - *at >= APART);
    match before {
        Some((at, before)) if newest - *at <= max_age * 2 => Automatic::Yes(format!(
            "made with nobody at a terminal: {id}, {} h old, and {before} {} h before it",
            age.whole_hours(),
            (newest - *at).whole_hours()
        )),
        Some(_) | None => Automatic::Unknown(format!(
            "{id} was made with nobody at a terminal, and none at the usual time before it: once is no schedule"
        )),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::{MANIFEST_FORMAT, Manifest};
    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-10 12:00 UTC);

    fn sets(backups: &[(&str, Option<Made>)]) -> Sets {
        let backup = |(at, made): &(&str, Option<Made>)| Manifest {
            format: MANIFEST_FORMAT,
            written_by: String::new(),
            id: format!("of-{at}"),
            project: "viatique".to_owned(),
            release: None,
            taken_before: "v2".to_owned(),
            started_at: None,
            completed_at: (*at).to_owned(),
            files: Vec::new(),
            encrypted_to: Vec::new(),
            database: None,
            media: None,
            made: *made,
        };
        Sets {
            backups: backups.iter().map(backup).collect(),
            ..Sets::default()
        }
    }

    fn is_known(backups: &[(&str, Option<Made>)]) -> bool {
        matches!(
            automatic(&sets(backups), NOW, Duration::hours(24)),
            Automatic::Yes(_)
        )
    }

    #[test]
    fn what_has_come_again_is_a_schedule() {
        let nightly = [
            ("2026-03-09T02:00:05Z", Some(Made::Unattended)),
            ("2026-03-10T02:00:09Z", Some(Made::Unattended)),
            ("2026-03-10T11:59:00Z", Some(Made::ByRun)),
        ];
        assert!(is_known(&nightly));
        let Automatic::Yes(line) = automatic(&sets(&nightly), NOW, Duration::hours(24)) else {
            panic!("no schedule")
        };
        assert!(line.contains("of-2026-03-10T02:00:09Z, 9 h old"), "{line}");
    }

    #[test]
    fn neither_a_run_nor_a_person_nor_one_alone_is() {
        let (night, morning) = ("2026-03-09T12:00:00Z", "2026-03-10T11:00:00Z");
        assert!(!is_known(&[]));
        for made in [None, Some(Made::ByRun), Some(Made::ByHand)] {
            assert!(!is_known(&[(night, made), (morning, made)]), "{made:?}");
            let one = [(night, made), (morning, Some(Made::Unattended))];
            assert!(!is_known(&one), "{made:?}");
        }
        assert!(!is_known(&[(morning, Some(Made::Unattended))]));
        let tried_twice = [
            ("2026-03-10T10:30:00Z", Some(Made::Unattended)),
            (morning, Some(Made::Unattended)),
        ];
        assert!(!is_known(&tried_twice));
    }

    #[test]
    fn nor_one_that_has_stopped_long_ago_or_will_be_made() {
        let at =
            |before, newest| is_known(&[(before, Some(Made::Unattended)), (newest, Some(Made::Unattended))]);
        assert!(at("2026-03-09T02:00:00Z", "2026-03-10T02:00:00Z"));
        assert!(!at("2026-03-07T02:00:00Z", "2026-03-08T02:00:00Z"));
        assert!(!at("2026-03-01T02:00:00Z", "2026-03-10T02:00:00Z"));
        assert!(!at("2026-03-10T02:00:00Z", "2026-03-11T02:00:00Z"));
    }
}
