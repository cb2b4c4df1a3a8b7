//! PostgreSQL: how its database is dumped and how a dump is proven readable, inside its own container, so that the
//! programs match the server. Formats and their traps: a custom-format archive is the only one in which damage is
//! found by reading it back; `pg_restore --list` is no proof, since it reads the table of contents alone.

use std::collections::BTreeMap;

use crate::engine::ExecSpec;

/// Which database, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAccess {
    pub user: String,
    pub name: String,
}

/// Writes a custom-format archive of the database to standard output. Never asks for a password.
pub fn dump(access: &DatabaseAccess) -> ExecSpec {
    ExecSpec::command(&[
        "pg_dump",
        "--format=custom",
        "--no-password",
        "--username",
        &access.user,
        "--dbname",
        &access.name,
    ])
}

/// Reads an archive from standard input to its end, restoring nothing. Exit code 0 proves that all of it is readable.
pub fn read_back() -> ExecSpec {
    ExecSpec::command(&["pg_restore", "--file=/dev/null"])
}

/// Prints the server's version number, as in `170002`.
pub fn version(access: &DatabaseAccess) -> ExecSpec {
    ExecSpec {
        environment: BTreeMap::from([("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned())]),
        ..ExecSpec::command(&[
            "psql",
            "--no-psqlrc",
            "--no-password",
            "--tuples-only",
            "--no-align",
            "--username",
            &access.user,
            "--dbname",
            &access.name,
            "--command",
            "SHOW server_version_num",
        ])
    }
}
