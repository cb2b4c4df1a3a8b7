//! Problems that somebody answers for until a day: `checks.waivers`. A waiver that has expired waives nothing, and is
//! said to have expired.

use time::Date;

use super::registry::Check;
use super::verdict::Problem;
use crate::config::Waiver;
use crate::release::checks::WaivedBy;

/// What the waivers say of one problem.
pub(crate) enum Waived {
    By(WaivedBy),
    /// The last of those that would have held.
    Expired(WaivedBy),
    Not,
}

/// Holds a problem against the waivers, today.
pub(crate) fn waived(check: &Check, problem: &Problem, waivers: &[Waiver], today: Date) -> Waived {
    let mut expired: Option<&Waiver> = None;
    for waiver in waivers.iter().filter(|waiver| is_of(waiver, check, problem)) {
        if waiver.until.0 >= today {
            return Waived::By(by(waiver));
        }
        if expired.is_none_or(|other| other.until.0 < waiver.until.0) {
            expired = Some(waiver);
        }
    }
    expired.map_or(Waived::Not, |waiver| Waived::Expired(by(waiver)))
}

fn is_of(waiver: &Waiver, check: &Check, problem: &Problem) -> bool {
    let same_problem = match &waiver.problem {
        None => true,
        Some(name) => problem.key == *name || problem.aliases.contains(name),
    };
    waiver.check == check.id && same_problem
}

fn by(waiver: &Waiver) -> WaivedBy {
    WaivedBy {
        owner: waiver.owner.clone(),
        reason: waiver.reason.clone(),
        until: waiver.until.to_string(),
    }
}
