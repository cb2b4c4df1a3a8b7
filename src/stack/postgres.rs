//! PostgreSQL: how its database is dumped and how a dump is proven readable, inside its own container, so that the
//! programs match the server. Formats and their traps: a custom-format archive is the only one in which damage is
//! found by reading it back; `pg_restore --list` is no proof, since it reads the table of contents alone.

pub mod activity;
pub mod beside;
pub mod description;
pub mod roles;
pub mod schema;
pub mod statement;

use std::collections::BTreeMap;

use crate::engine::ExecSpec;

/// Which database, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAccess {
    pub user: String,
    pub name: String,
}

impl DatabaseAccess {
    /// Asks one thing of the database, whose answer is one value. Gives up on a server that does not answer at all.
    pub fn ask(&self, sql: &str) -> ExecSpec {
        ExecSpec {
            environment: BTreeMap::from([("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned())]),
            ..ExecSpec::command(&[
                "psql",
                "--no-psqlrc",
                "--no-password",
                "--tuples-only",
                "--no-align",
                "--username",
                &self.user,
                "--dbname",
                &self.name,
                "--command",
                sql,
            ])
        }
    }
}

/// Writes a custom-format archive of the database to standard output. Never asks for a password; calls itself so that
/// [`end`] finds it. Behind a lock that is not given back within five minutes it gives up, rather than wait for ever.
/// Of the moment of this snapshot, which some session must hold.
pub fn dump(access: &DatabaseAccess, application: &str, snapshot: &str) -> ExecSpec {
    ExecSpec {
        environment: BTreeMap::from([("PGAPPNAME".to_owned(), application.to_owned())]),
        ..ExecSpec::command(&[
            "pg_dump",
            "--format=custom",
            "--no-password",
            "--lock-wait-timeout=300000",
            "--snapshot",
            snapshot,
            "--username",
            &access.user,
            "--dbname",
            &access.name,
        ])
    }
}

/// Ends what calls itself so: a dump whose reader is gone goes on, and its locks stand in a migration's way.
pub fn end(access: &DatabaseAccess, applications: &[String]) -> ExecSpec {
    let names: Vec<String> = applications.iter().map(|name| beside::literal(name)).collect();
    access.ask(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name IN ({})",
        names.join(", ")
    ))
}

/// Reads an archive from standard input to its end, restoring nothing. Exit code 0 proves that all of it is readable.
pub fn read_back() -> ExecSpec {
    ExecSpec::command(&["pg_restore", "--file=/dev/null"])
}

/// Writes what is not in any one database: roles, their passwords as the server keeps them, tablespaces. Without the
/// passwords, for a role that may not read them.
pub fn roles(access: &DatabaseAccess, with_passwords: bool) -> ExecSpec {
    let mut words = vec![
        "pg_dumpall",
        "--globals-only",
        "--no-password",
        "--username",
        &access.user,
        "--database",
        &access.name,
    ];
    if !with_passwords {
        words.push("--no-role-passwords");
    }
    ExecSpec::command(&words)
}

/// Whether all of [`roles()`] is there: it is plain text, which says at its end that it is complete.
pub fn is_complete(roles: &str) -> bool {
    roles
        .lines()
        .any(|line| line == "-- PostgreSQL database cluster dump complete")
}

/// Ends well once the server takes connections, over the network too: while it makes its first database it may take
/// some of its own.
pub fn is_ready() -> ExecSpec {
    ExecSpec::command(&["pg_isready", "--host", "127.0.0.1", "--timeout", "1"])
}

/// Asks how many connections there are, and how many there may be: those that are kept for superusers left out.
pub fn connections(access: &DatabaseAccess) -> ExecSpec {
    access.ask(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') || ' ' || \
         (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)",
    )
}

/// What [`connections`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    pub used: u64,
    pub usable: u64,
}

impl Connected {
    /// Reads it; `None` where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (used, usable) = text.trim().split_once(' ')?;
        let usable = usable.parse().ok().filter(|usable| *usable > 0)?;
        Some(Self {
            used: used.parse().ok()?,
            usable,
        })
    }
}

/// What [`facts`] prints.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Facts {
    /// As in `170002`.
    pub version: String,
    /// The system identifier: what tells this cluster from every other.
    pub system: String,
    /// What the database takes on the server's disk.
    pub bytes: u64,
}

/// Asks what server this is, and how large the database.
pub fn facts(access: &DatabaseAccess) -> ExecSpec {
    access.ask(
        "SELECT json_build_object('version', current_setting('server_version_num'), \
         'system', (SELECT system_identifier::text FROM pg_control_system()), \
         'bytes', pg_database_size(current_database()))",
    )
}
