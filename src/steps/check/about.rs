//! What a check is for, for people and programs.

use super::registry::{self, Check, Moment};
use super::selection::Named;
use super::verdict::Level;
use crate::error::Failure;
use crate::pipeline::Settings;

/// What is told of a check.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct About {
    pub id: &'static str,
    pub title: &'static str,
    pub protects_from: &'static str,
    /// `block` or `warn`.
    pub level: &'static str,
    pub how: &'static str,
    pub remedy: &'static str,
    /// Whether there is anything to look at here; `None` where no project was read.
    pub applies: Option<bool>,
}

/// Of the check of this id.
///
/// # Errors
/// Where there is none.
pub fn of(id: &str) -> Result<About, Failure> {
    Ok(about(Named::of("--explain", id)?.check(), None))
}

/// Of every check.
pub fn all(settings: &Settings) -> Vec<About> {
    registry::all()
        .map(|check| about(check, Some(settings)))
        .collect()
}

fn about(check: &Check, settings: Option<&Settings>) -> About {
    About {
        id: check.id,
        title: check.title,
        protects_from: check.protects_from,
        level: match check.level {
            Level::Blocks => "block",
            Level::Warns => "warn",
        },
        how: check.how,
        remedy: check.remedy,
        applies: settings.map(|settings| check.is_made(Moment::Alone, settings)),
    }
}
