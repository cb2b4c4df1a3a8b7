//! A second database beside the one that serves: how it is made, filled and given the other's name. Everything runs in
//! the database's own container, connected to `template1`, since nobody may be connected to what is renamed.
//!
//! The swap is one transaction: there is no moment at which neither has the name. While it holds the lock on the old
//! name, new connections wait; those that stand are ended, for as long as it waits for them (five seconds at most, after
//! which it gives up and nothing has changed).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::description::{Properties, Setting};
use super::{DatabaseAccess, read_back};
use crate::engine::ExecSpec;

/// The longest name that PostgreSQL keeps whole, in bytes.
const LONGEST_NAME: usize = 63;

/// What a database that was replaced carries as its comment: what it is, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mark {
    /// The project.
    #[serde(rename = "viatique-deploy")]
    pub project: String,
    /// Which run replaced it.
    pub run: String,
    /// The name it had.
    pub of: String,
    pub state: State,
    /// RFC 3339, UTC: since when.
    pub at: String,
    /// By what, in words.
    pub by: String,
    /// The comment it had.
    pub comment: Option<String>,
}

/// What the comment of a database with a mark begins with, as [`Mark::written`] writes it.
const BEGINS: &str = "{\"viatique-deploy\":";

impl Mark {
    /// As a comment.
    fn written(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let Self {
            project,
            run,
            of,
            state,
            at,
            by,
            comment,
        } = self;
        // The project first, whatever order a library prefers: by that it is found.
        format!(
            "{BEGINS}{}, \"run\":{}, \"of\":{}, \"state\":{}, \"at\":{}, \"by\":{}, \"comment\":{}}}",
            quoted(project),
            quoted(run),
            quoted(of),
            quoted(state.as_str()),
            quoted(at),
            quoted(by),
            serde_json::json!(comment)
        )
    }
}

/// What became of a database that a project does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is being filled, and has never served.
    Incoming,
    /// A restore has put another one in its place.
    Replaced,
    /// It was restored, and what stood before has been put back.
    TakenBack,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Replaced => "replaced",
            Self::TakenBack => "taken_back",
        }
    }
}

/// A database of the server that carries a [`Mark`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Marked {
    pub name: String,
    pub bytes: u64,
    pub mark: Mark,
}

/// A name of its own for a database beside another, never longer than PostgreSQL keeps it.
pub fn name_beside(database: &str, what: &str, run: &str) -> String {
    let end = format!("_{what}_{}", run.to_lowercase().replace('-', "_"));
    let mut length = LONGEST_NAME.saturating_sub(end.len()).min(database.len());
    while !database.is_char_boundary(length) {
        length -= 1;
    }
    format!("{}{end}", database.get(..length).unwrap_or_default())
}

/// Connected to where nobody is in the way.
fn elsewhere(access: &DatabaseAccess) -> DatabaseAccess {
    DatabaseAccess {
        user: access.user.clone(),
        name: "template1".to_owned(),
    }
}

/// As an identifier of SQL.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As a literal of SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The databases of the server that carry a mark, whatever the project, as JSON; see [`Marked`].
pub fn marked(access: &DatabaseAccess) -> ExecSpec {
    elsewhere(access).ask(&format!(
        "SELECT coalesce(json_agg(json_build_object('name', datname, 'bytes', pg_database_size(oid), \
         'mark', shobj_description(oid, 'pg_database')::json) ORDER BY datname), '[]') FROM pg_database \
         WHERE starts_with(shobj_description(oid, 'pg_database'), {})",
        literal(BEGINS),
    ))
}

/// Makes an empty database like another one, and marks it: in one go, so that whatever becomes of who asks for it, none
/// stands without a mark.
pub fn create(access: &DatabaseAccess, name: &str, like: &Properties, mark: &Mark) -> ExecSpec {
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        identifier(name),
        identifier(&like.owner),
        literal(&like.encoding),
        literal(&like.collate),
        literal(&like.ctype),
    );
    match (like.provider.as_deref(), &like.locale) {
        (Some("i"), Some(locale)) => {
            sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale)));
        }
        (Some("b"), Some(locale)) => sql.push_str(&format!(
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}",
            literal(locale)
        )),
        (Some(_) | None, _) => {}
    }
    sql.push_str(&format!(" CONNECTION LIMIT {}", like.connections));
    let mut order = elsewhere(access).ask(&sql);
    let comment = commented(name, Some(&mark.written()));
    order.command.extend([
        "--command".to_owned(),
        comment,
        "--set=ON_ERROR_STOP=1".to_owned(),
    ]);
    order
}

fn commented(name: &str, comment: Option<&str>) -> String {
    let comment = comment.map_or_else(|| "NULL".to_owned(), literal);
    format!("COMMENT ON DATABASE {} IS {comment}", identifier(name))
}

/// Fills it from an archive on standard input. The server is told to spare nothing on what nobody uses yet.
pub fn fill(access: &DatabaseAccess, name: &str, application: &str) -> ExecSpec {
    let mut spec = read_back();
    spec.command = vec![
        "pg_restore".to_owned(),
        "--exit-on-error".to_owned(),
        "--no-password".to_owned(),
        "--username".to_owned(),
        access.user.clone(),
        "--dbname".to_owned(),
        name.to_owned(),
    ];
    spec.environment = BTreeMap::from([
        ("PGAPPNAME".to_owned(), application.to_owned()),
        (
            "PGOPTIONS".to_owned(),
            "-c maintenance_work_mem=256MB -c synchronous_commit=off".to_owned(),
        ),
    ]);
    spec
}

/// Has the planner learn what is in it; without that the first hours after a restore are slow.
pub fn analyze(access: &DatabaseAccess, name: &str) -> ExecSpec {
    DatabaseAccess {
        user: access.user.clone(),
        name: name.to_owned(),
    }
    .ask("ANALYZE")
}

/// Gives it the settings and rights of another one: a statement each, so that what cannot be set can be told by name.
pub fn dress(access: &DatabaseAccess, name: &str, like: &Properties) -> Vec<(String, ExecSpec)> {
    let database = identifier(name);
    let mut orders = Vec::new();
    for Setting {
        role,
        name: setting,
        value,
    } in &like.settings
    {
        let parts: Vec<String> = setting.split('.').map(identifier).collect();
        let whose = match role {
            Some(role) => format!("ROLE {} IN DATABASE {database}", identifier(role)),
            None => format!("DATABASE {database}"),
        };
        // The server's own way to write a value, lists included.
        let sql = format!(
            "SELECT set_config({}, {}, false); ALTER {whose} SET {} FROM CURRENT",
            literal(setting),
            literal(value),
            parts.join(".")
        );
        orders.push((format!("the setting {setting}"), elsewhere(access).ask(&sql)));
    }
    if let Some(grants) = &like.grants {
        let mut sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC");
        for grant in grants {
            let to = grant
                .to
                .as_ref()
                .map_or_else(|| "PUBLIC".to_owned(), |role| identifier(role));
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            sql.push_str(&format!(
                "; GRANT {} ON DATABASE {database} TO {to}{option}",
                grant.right
            ));
        }
        orders.push(("its rights".to_owned(), elsewhere(access).ask(&sql)));
    }
    orders
}

/// Gives `incoming` the name of `live`, and this comment; `live` is from then on called `aside` and carries this mark.
/// Who is connected to either is in the way: see [`end_sessions`].
pub fn swap(
    access: &DatabaseAccess,
    live: &str,
    (incoming, keeps): (&str, Option<&str>),
    aside: &str,
    mark: &Mark,
) -> ExecSpec {
    let comment = mark.written();
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = 10000; ALTER DATABASE {live} RENAME TO {aside}; \
         ALTER DATABASE {incoming} RENAME TO {live}; {}; {}; COMMIT",
        commented(aside, Some(&comment)),
        commented(live, keeps),
        live = identifier(live),
        incoming = identifier(incoming),
        aside = identifier(aside),
    );
    elsewhere(access).ask(&sql)
}

/// Ends every session of these databases, for as long as [`swap`] holds the name and waits for them: not before, so that
/// nobody is refused for longer than it takes, and not after.
pub fn end_sessions(access: &DatabaseAccess, live: &str, incoming: &str) -> ExecSpec {
    let names = format!("{}, {}", literal(live), literal(incoming));
    elsewhere(access).ask(&format!(
        "DO $$ DECLARE was oid := (SELECT oid FROM pg_database WHERE datname = {live}); \
         held boolean; seen boolean := false; BEGIN \
         FOR attempt IN 1..600 LOOP \
         held := EXISTS (SELECT FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass \
         AND objid = was AND mode = 'AccessExclusiveLock' AND granted); \
         EXIT WHEN NOT held AND (seen OR attempt > 250 \
         OR NOT EXISTS (SELECT FROM pg_database WHERE datname = {incoming})); \
         IF held THEN seen := true; PERFORM pg_stat_clear_snapshot(); \
         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({names}); END IF; \
         PERFORM pg_sleep(0.02); END LOOP; END $$",
        live = literal(live),
        incoming = literal(incoming),
    ))
}

/// Asks for the comment of the database, as JSON.
pub fn comment(access: &DatabaseAccess) -> ExecSpec {
    access.ask(
        "SELECT coalesce(to_json(shobj_description(oid, 'pg_database')), 'null'::json) FROM pg_database \
         WHERE datname = current_database()",
    )
}

/// Drops a database, whoever is connected to it, if it stands.
pub fn drop_database(access: &DatabaseAccess, name: &str) -> ExecSpec {
    elsewhere(access).ask(&format!(
        "DROP DATABASE IF EXISTS {} WITH (FORCE)",
        identifier(name)
    ))
}

/// Says how much room the server's disk has: see [`parse_room`].
pub fn room(folder: &str) -> ExecSpec {
    ExecSpec::command(&["df", "-Pk", folder])
}

/// Where the server keeps its data.
pub fn data_directory(access: &DatabaseAccess) -> ExecSpec {
    access.ask("SHOW data_directory")
}

/// Bytes that are free, from what [`room`] prints (POSIX `df -P`: the fourth field of the second line, in kilobytes).
pub fn parse_room(printed: &str) -> Option<u64> {
    let line = printed.lines().nth(1)?;
    let free: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    Some(free.saturating_mul(1024))
}

/// Bytes that are free, and all of them, from the same: the second field is the whole.
pub fn parse_disk(printed: &str) -> Option<(u64, u64)> {
    let line = printed.lines().nth(1)?;
    let total: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((parse_room(printed)?, total.saturating_mul(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_is_never_cut_by_the_server() {
        let run = "20261126T140331Z-ab12cd";
        assert_eq!(
            name_beside("viatique", "before", run),
            "viatique_before_20261126t140331z_ab12cd"
        );
        let long = "é".repeat(40);
        let name = name_beside(&long, "restore", run);
        assert!(
            name.len() <= 63 && name.ends_with("_restore_20261126t140331z_ab12cd"),
            "{name}"
        );
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark {
            project: "viatique".to_owned(),
            run: "r".to_owned(),
            of: "prod".to_owned(),
            state: State::TakenBack,
            at: "2026-01-01T00:00:00Z".to_owned(),
            by: "a \"word\" and 'another'".to_owned(),
            comment: None,
        };
        assert!(mark.written().starts_with(BEGINS));
        assert_eq!(serde_json::from_str::<Mark>(&mark.written()).unwrap(), mark);
    }

    #[test]
    fn room_is_read_from_what_df_prints() {
        let printed = "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 100 40 60 40% /\n";
        assert_eq!(parse_room(printed), Some(60 * 1024));
        assert_eq!(parse_disk(printed), Some((60 * 1024, 100 * 1024)));
        assert_eq!(parse_room("df: no\n"), None);
    }
}
