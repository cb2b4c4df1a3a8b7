//! The repositories that pgBackRest, WAL-G and restic keep: how each is asked what is in it, and when the newest backup was
//! complete, by what the tool says and never by a file's date. Nothing is made or removed there.
//!
//! Formats: `pgbackrest info --output=json` 2.45 and `restic snapshots --json` 0.14, as they print them; `wal-g backup-list
//! --detail --json` by its published field names.

use serde::Deserialize;
use time::OffsetDateTime;

use crate::config::BackupTool;

impl BackupTool {
    /// As its makers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pgbackrest => "pgBackRest",
            Self::WalG => "WAL-G",
            Self::Restic => "restic",
        }
    }

    /// Says in JSON what is in the repository.
    pub fn command(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Pgbackrest => &["pgbackrest", "info", "--output=json"],
            Self::WalG => &["wal-g", "backup-list", "--detail", "--json"],
            Self::Restic => &["restic", "snapshots", "--json", "--no-lock"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// When the newest backup was complete that the tool itself calls sound; `None` where there is none.
    ///
    /// # Errors
    /// What is not what the tool prints.
    pub fn newest(self, answer: &str) -> Result<Option<OffsetDateTime>, serde_json::Error> {
        let answer = answer.trim();
        Ok(match self {
            Self::Pgbackrest => {
                let stanzas: Vec<Stanza> = serde_json::from_str(answer)?;
                let backups = stanzas.iter().flat_map(|stanza| &stanza.backup);
                let sound = backups.filter(|backup| backup.error != Some(true));
                let stops = sound
                    .filter_map(|backup| OffsetDateTime::from_unix_timestamp(backup.timestamp.stop).ok());
                stops.max()
            }
            Self::WalG => {
                // It prints `null` where there is none.
                let backups: Option<Vec<WalGBackup>> = serde_json::from_str(answer)?;
                let backups = backups.unwrap_or_default();
                backups.iter().map(|backup| backup.finish_time).max()
            }
            Self::Restic => {
                let snapshots: Option<Vec<Snapshot>> = serde_json::from_str(answer)?;
                let snapshots = snapshots.unwrap_or_default();
                snapshots.iter().map(|snapshot| snapshot.time).max()
            }
        })
    }
}

#[derive(Deserialize)]
struct Stanza {
    #[serde(rename = "name")]
    _name: String,
    backup: Vec<PgbackrestBackup>,
}

#[derive(Deserialize)]
struct PgbackrestBackup {
    /// Whether pages failed their checksums; older versions do not say.
    error: Option<bool>,
    timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Timestamp {
    /// Seconds since 1970.
    stop: i64,
}

#[derive(Deserialize)]
struct WalGBackup {
    #[serde(with = "time::serde::rfc3339")]
    finish_time: OffsetDateTime,
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// What pgBackRest 2.45 printed of a stanza, shortened by what is not read.
    fn pgbackrest(error: &str) -> String {
        format!(
            r#"[{{"backup":[
                {{"error":false,"label":"20261126-185927F","timestamp":{{"start":1795719567,"stop":1795719570}},"type":"full"}},
                {{"error":{error},"label":"20261126-185927F_20261126-190000I","timestamp":{{"start":1795719600,"stop":1795719605}},"type":"incr"}}
            ],"cipher":"none","name":"demo","status":{{"code":0,"lock":{{"backup":{{"held":false}}}},"message":"ok"}}}}]"#
        )
    }

    #[test]
    fn the_newest_that_is_sound_counts() {
        let newest = |answer: &str| BackupTool::Pgbackrest.newest(answer).unwrap();
        assert_eq!(
            newest(&pgbackrest("false")),
            Some(datetime!(2026-11-26 19:00:05 UTC))
        );
        assert_eq!(
            newest(&pgbackrest("true")),
            Some(datetime!(2026-11-26 18:59:30 UTC))
        );
        assert_eq!(newest("[]\n"), None);
        let empty = r#"[{"backup":[],"name":"demo","status":{"code":2,"message":"no valid backups"}}]"#;
        assert_eq!(newest(empty), None);
    }

    #[test]
    fn restic_and_wal_g_say_it_in_words_of_their_own() {
        let snapshots = r#"[{"time":"2026-11-25T18:59:20.896792074Z","hostname":"db","id":"f38b"},
                            {"time":"2026-11-26T18:59:20+01:00","hostname":"db","id":"a1"}]"#;
        assert_eq!(
            BackupTool::Restic.newest(snapshots).unwrap(),
            Some(datetime!(2026-11-26 17:59:20 UTC))
        );
        assert_eq!(BackupTool::Restic.newest("[]").unwrap(), None);
        let backups = r#"[{"backup_name":"base_0","time":"2026-11-26T03:00:00Z","start_time":"2026-11-26T02:00:00Z",
                           "finish_time":"2026-11-26T02:10:00Z","date_fmt":"%Y"}]"#;
        assert_eq!(
            BackupTool::WalG.newest(backups).unwrap(),
            Some(datetime!(2026-11-26 02:10:00 UTC)),
            "not the time of a file"
        );
        assert_eq!(BackupTool::WalG.newest("null").unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error_and_not_no_backup() {
        for tool in [BackupTool::Pgbackrest, BackupTool::WalG, BackupTool::Restic] {
            for answer in ["", "{}", "no backups found", r#"[{"time": 5}]"#] {
                assert!(tool.newest(answer).is_err(), "{tool:?}: {answer}");
            }
        }
    }
}
