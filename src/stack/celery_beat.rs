//! Celery's beat: what its log tells of what it sends, and which command finds out what it should have sent. It has no
//! door at which it could be asked, and one that is stuck runs on and looks well.

use super::celery;
use crate::engine::LogLine;
use time::OffsetDateTime;

/// See the script.
const OVERDUE: &str = include_str!("celery_beat.py");

/// What beat has written since it was started, both at the level INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Its log tells what it sends.
    pub tells: bool,
    /// When it sent its newest task.
    pub sent: Option<OffsetDateTime>,
}

impl Written {
    /// Takes in one more line.
    pub fn take(&mut self, line: &LogLine) {
        if line.text.contains("Scheduler: Sending due task ") {
            self.tells = true;
            self.sent = Some(line.at);
        } else if line.text.contains("beat: Starting...") {
            self.tells = true;
        }
    }
}

/// What is in the schedule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How many tasks; none where it is kept in a database.
    pub scheduled: usize,
    /// Which of them should have been sent.
    pub overdue: Vec<String>,
}

/// The command that tells what should have been sent between two moments; `None` where the application or Python is not
/// told by the command that beat is started with. [`parse_schedule`] reads what it prints.
pub fn overdue_command(
    command: &[String],
    last: OffsetDateTime,
    until: OffsetDateTime,
) -> Option<Vec<String>> {
    let (python, application) = celery::started_by(command)?;
    let seconds = |moment: OffsetDateTime| moment.unix_timestamp().to_string();
    Some(vec![
        python,
        "-c".to_owned(),
        OVERDUE.to_owned(),
        application,
        seconds(last),
        seconds(until),
    ])
}

/// Reads its answer, the mark taken off.
///
/// # Errors
/// What is not what the script prints.
pub fn parse_schedule(answer: &str) -> Result<Schedule, serde_json::Error> {
    serde_json::from_str(answer)
}
