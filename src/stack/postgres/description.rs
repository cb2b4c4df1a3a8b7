//! What a database is, told in its own words beside a dump of it: its settings and rights, which do not follow when
//! another database takes its name, the migrations that stand in it, and how many rows each table has.
//!
//! It is asked in one transaction whose snapshot a dump can share, so that both tell of the same moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DatabaseAccess;
use crate::engine::ExecSpec;

/// A database, as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Description {
    pub properties: Properties,
    /// `app.name` of Django's migrations that stand; none where it is no Django's database.
    pub migrations: Vec<String>,
    /// In the order of their names.
    pub tables: Vec<Table>,
}

/// What belongs to the database and stands in none of its tables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Properties {
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// As `pg_database` has it: `c`, from version 15 also `i` and `b`; `None` before.
    pub provider: Option<String>,
    /// Of the providers `i` and `b`.
    pub locale: Option<String>,
    /// -1 is without limit.
    pub connections: i64,
    pub comment: Option<String>,
    pub settings: Vec<Setting>,
    /// `None` where nobody has ever changed them.
    pub grants: Option<Vec<Grant>>,
}

impl Properties {
    /// These, with what only the others have: settings, and rights and a comment where there are none.
    #[must_use]
    pub fn completed_by(mut self, others: &Self) -> Self {
        for other in &others.settings {
            let same = |own: &Setting| own.role == other.role && own.name == other.name;
            if !self.settings.iter().any(same) {
                self.settings.push(other.clone());
            }
        }
        self.grants = self.grants.or_else(|| others.grants.clone());
        self.comment = self.comment.or_else(|| others.comment.clone());
        self
    }
}

/// `ALTER DATABASE … SET`, or of one role in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// A right on the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `None` is everybody.
    pub to: Option<String>,
    pub right: String,
    pub grantable: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `schema.table`
    pub name: String,
    pub rows: u64,
    /// RFC 3339: the newest time, of all columns that hold one, that is not in the future.
    pub newest: Option<String>,
}

/// One line that the session writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Snapshot(String),
    Properties(Properties),
    Migrations(Vec<String>),
    Table(Table),
}

/// What the script's last line has the session write: everything came before it.
const END: &str = "viatique-deploy:end";

/// A session that does what it reads on its standard input; see [`script`].
pub fn session(access: &DatabaseAccess, application: &str) -> ExecSpec {
    ExecSpec {
        environment: BTreeMap::from([
            ("PGAPPNAME".to_owned(), application.to_owned()),
            ("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned()),
        ]),
        ..ExecSpec::command(&[
            "psql",
            "--no-psqlrc",
            "--no-password",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--username",
            &access.user,
            "--dbname",
            &access.name,
        ])
    }
}

/// Has the database described: first the name of the snapshot, by which a dump can share it for as long as the session
/// stands, which is until its standard input ends. Only what a dump holds the rows of is counted: no extension's own
/// tables, and a partitioned table by its parts.
///
/// Waits for a lock as long as the dump does. A server that ends idle transactions is told not to.
pub fn script() -> String {
    format!(
        r#"SET lock_timeout = 300000;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET TIME ZONE 'UTC';
SET search_path = pg_catalog;
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT json_build_object('snapshot', pg_export_snapshot());
SELECT json_build_object('properties', json_build_object(
  'owner', pg_get_userbyid(d.datdba),
  'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate,
  'ctype', d.datctype,
  'provider', to_jsonb(d) ->> 'datlocprovider',
  'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
  'connections', d.datconnlimit,
  'comment', shobj_description(d.oid, 'pg_database'),
  'settings', (
    SELECT coalesce(json_agg(json_build_object(
      'role', CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
      'name', split_part(one, '=', 1),
      'value', substr(one, strpos(one, '=') + 1)
    )), '[]')
    FROM pg_db_role_setting s, unnest(s.setconfig) one WHERE s.setdatabase = d.oid),
  'grants', CASE WHEN d.datacl IS NOT NULL THEN (
    SELECT coalesce(json_agg(json_build_object(
      'to', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
      'right', a.privilege_type,
      'grantable', a.is_grantable
    )), '[]')
    FROM aclexplode(d.datacl) a) END))
FROM pg_database d WHERE d.datname = current_database();
SELECT format($$SELECT json_build_object('migrations',
  coalesce(json_agg(app || '.' || name ORDER BY app, name), '[]')) FROM %I.%I$$, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'django_migrations' AND c.relkind = 'r' AND n.nspname !~ '^pg_'
ORDER BY n.nspname = 'public' DESC LIMIT 1
\gexec
SELECT format($$SELECT json_build_object('table', json_build_object(
  'name', %L, 'rows', count(*), 'newest', %s)) FROM ONLY %I.%I$$,
  n.nspname || '.' || c.relname,
  coalesce((
    SELECT 'greatest(' || string_agg(
      format('max(%1$I::timestamptz) FILTER (WHERE isfinite(%1$I) AND %1$I::timestamptz <= now())', a.attname),
      ', ') || ')'
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)), 'NULL'),
  n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY 1
\gexec
\echo {END}
"#
    )
}

/// Understands what the session writes, piece by piece as it comes.
#[derive(Debug, Default)]
pub struct Describing {
    description: Description,
    pending: Vec<u8>,
    ended: bool,
}

impl Describing {
    /// Takes a piece. Gives the name of the snapshot when it was in it.
    ///
    /// # Errors
    /// What no session of ours writes.
    pub fn push(&mut self, bytes: &[u8]) -> anyhow::Result<Option<String>> {
        let mut snapshot = None;
        for byte in bytes {
            if *byte != b'\n' {
                self.pending.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.pending);
            if line == END.as_bytes() {
                self.ended = true;
            } else if !line.is_empty() {
                match serde_json::from_slice(&line)? {
                    Line::Snapshot(name) => snapshot = Some(name),
                    Line::Properties(properties) => self.description.properties = properties,
                    Line::Migrations(migrations) => self.description.migrations = migrations,
                    Line::Table(table) => self.description.tables.push(table),
                }
            }
        }
        Ok(snapshot)
    }

    /// All of it.
    ///
    /// # Errors
    /// Where it broke off.
    pub fn finish(mut self) -> anyhow::Result<Description> {
        anyhow::ensure!(self.ended, "what the database tells of itself breaks off");
        self.description
            .tables
            .sort_by(|one, other| one.name.cmp(&other.name));
        Ok(self.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_in_pieces_and_is_whole_or_none() {
        let text = concat!(
            "{\"snapshot\" : \"00000003-0000001B-1\"}\n",
            "{\"properties\" : {\"owner\":\"o\",\"encoding\":\"UTF8\",\"collate\":\"C\",\"ctype\":\"C\",",
            "\"provider\":\"c\",\"locale\":null,\"connections\":-1,\"comment\":null,\"settings\":[],\"grants\":null}}\n",
            "{\"migrations\" : [\"copies.0001_initial\"]}\n",
            "{\"table\" : {\"name\":\"public.b\",\"rows\":2,\"newest\":\"2026-01-01T00:00:00+00:00\"}}\n",
            "{\"table\" : {\"name\":\"public.a\",\"rows\":0,\"newest\":null}}\n",
            "viatique-deploy:end\n",
        );
        let mut describing = Describing::default();
        let mut snapshots = Vec::new();
        for piece in text.as_bytes().chunks(7) {
            snapshots.extend(describing.push(piece).unwrap());
        }
        assert_eq!(snapshots, ["00000003-0000001B-1"]);
        let description = describing.finish().unwrap();
        assert_eq!(description.properties.owner, "o");
        assert_eq!(description.migrations, ["copies.0001_initial"]);
        let names: Vec<&str> = description
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        assert_eq!(names, ["public.a", "public.b"]);
        let mut cut = Describing::default();
        cut.push(&text.as_bytes()[..text.len() - 5]).unwrap();
        assert!(cut.finish().is_err());
        assert!(Describing::default().push(b"ERROR: no\n").is_err());
    }
}
