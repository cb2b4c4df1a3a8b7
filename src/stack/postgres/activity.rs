//! What the sessions of a PostgreSQL server are at: how many there are, which statements go on for long, and who waits for
//! whose lock. One question, asked again and again, which takes no lock that others would wait for. Who blocks is asked
//! for those only that wait.

use std::time::Duration;

use super::DatabaseAccess;
use super::statement::without_values;
use crate::engine::ExecSpec;

/// So many sessions are told of each kind.
const TOLD: usize = 5;
/// And so many that one waits for.
const BLOCKERS: usize = 3;

/// What the sessions of the database are at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatabaseActivity {
    /// Sessions whose statement, or idle transaction, goes on for longer than was asked for.
    pub slow: u64,
    /// Of them, the longest.
    pub longest: Vec<DatabaseSession>,
    /// Sessions that wait for a lock.
    pub waiting: u64,
    /// Of them, those that have waited longest.
    pub waits: Vec<LockWait>,
}

/// A session of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSession {
    /// PostgreSQL's process id, as `pg_terminate_backend` takes it.
    pub pid: u32,
    /// As in `active`, `idle in transaction`.
    pub state: String,
    /// How long its statement goes on, or its transaction has been idle for.
    pub seconds: f64,
    /// What it waits for, as in `Lock transactionid`.
    pub wait: Option<String>,
    /// Without literals, and shortened.
    pub statement: String,
}

/// A session that waits for a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct LockWait {
    pub session: DatabaseSession,
    /// The sessions that it waits for, as far as they are sessions.
    pub blocked_by: Vec<DatabaseSession>,
}

/// Asks how many connections there are, how many there may be (those that are kept for superusers left out), and on a
/// second line, as JSON, for what goes on for longer than this.
pub fn sessions(access: &DatabaseAccess, slow: Duration) -> ExecSpec {
    let slow = slow.as_secs_f64();
    // A statement is cut here already: what is shown of it is far shorter.
    let session = "json_build_object('pid', pid, 'state', state, 'seconds', seconds, 'wait', wait, \
                   'statement', statement)";
    access.ask(&format!(
        "WITH s AS MATERIALIZED (SELECT pid, coalesce(state, '') AS state, wait_event_type, \
         CASE WHEN wait_event_type IS NOT NULL AND state <> 'idle' \
         THEN wait_event_type || ' ' || wait_event END AS wait, \
         greatest(0, extract(epoch FROM clock_timestamp() - CASE WHEN state = 'active' THEN query_start \
         ELSE state_change END))::float8 AS seconds, left(query, 1000) AS statement \
         FROM pg_stat_activity WHERE backend_type = 'client backend'), \
         o AS (SELECT * FROM s WHERE state NOT IN ('', 'idle', 'disabled') AND pid <> pg_backend_pid()), \
         l AS (SELECT * FROM o WHERE seconds >= {slow}), \
         w AS (SELECT * FROM o WHERE wait_event_type = 'Lock' AND state = 'active'), \
         f AS (SELECT w.*, pg_blocking_pids(pid) AS blockers FROM w ORDER BY seconds DESC LIMIT {TOLD}) \
         SELECT (SELECT count(*) FROM s) || ' ' || \
         (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) \
         || E'\\n' || json_build_object('slow', (SELECT count(*) FROM l), \
         'longest', (SELECT coalesce(json_agg({session}), '[]') FROM \
         (SELECT * FROM l ORDER BY seconds DESC LIMIT {TOLD}) AS l), \
         'waiting', (SELECT count(*) FROM w), \
         'waits', (SELECT coalesce(json_agg(json_build_object('session', {session}, 'blocked_by', \
         (SELECT coalesce(json_agg(b.j), '[]') FROM (SELECT {session} AS j FROM s \
         WHERE s.pid = ANY(f.blockers) LIMIT {BLOCKERS}) AS b))), '[]') FROM f))"
    ))
}

/// What [`sessions`] prints behind its first line, without the values that stand in the statements; `None` where it is
/// something else.
pub fn parse(printed: &str) -> Option<DatabaseActivity> {
    #[derive(serde::Deserialize)]
    struct Told {
        slow: u64,
        longest: Vec<Session>,
        waiting: u64,
        waits: Vec<Wait>,
    }
    #[derive(serde::Deserialize)]
    struct Session {
        pid: u32,
        state: String,
        seconds: f64,
        wait: Option<String>,
        statement: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Wait {
        session: Session,
        blocked_by: Vec<Session>,
    }
    fn shown(session: Session) -> DatabaseSession {
        DatabaseSession {
            pid: session.pid,
            state: session.state,
            seconds: session.seconds,
            wait: session.wait,
            statement: without_values(session.statement.as_deref().unwrap_or_default()),
        }
    }
    let (_, json) = printed.trim().split_once('\n')?;
    let told: Told = serde_json::from_str(json).ok()?;
    Some(DatabaseActivity {
        slow: told.slow,
        longest: told.longest.into_iter().map(shown).collect(),
        waiting: told.waiting,
        waits: told
            .waits
            .into_iter()
            .map(|wait| LockWait {
                session: shown(wait.session),
                blocked_by: wait.blocked_by.into_iter().map(shown).collect(),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_prints_is_read_without_values() {
        let session = r#"{"pid": 7, "state": "active", "seconds": 2.5, "wait": "Lock tuple", "statement": "UPDATE a SET b = 'Léa'"}"#;
        let printed = format!(
            "12 97\n{{\"slow\": 1, \"longest\": [{session}], \"waiting\": 1, \"waits\": [{{\"session\": {session}, \
             \"blocked_by\": [{{\"pid\": 8, \"state\": \"idle in transaction\", \"seconds\": 60, \"wait\": null, \
             \"statement\": null}}]}}]}}\n"
        );
        let read = parse(&printed).unwrap();
        assert_eq!((read.slow, read.waiting), (1, 1));
        assert_eq!(read.longest[0].statement, "UPDATE a SET b = ?");
        assert_eq!(read.waits[0].blocked_by[0].pid, 8);
        assert_eq!(parse("12 97\n"), None);
        assert_eq!(parse("12 97\nNOTICE: x\n"), None);
    }
}
