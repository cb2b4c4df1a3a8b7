//! The PostgreSQL server of the stack, as far as the tool asks it: databases by name, what they hold, and their comments.

use std::collections::BTreeMap;

use super::texts::{DUMP, ROLES};
use crate::support::{FakeCommand, FakeOutput};

/// The database that the Compose file names.
pub(crate) const LIVE: &str = "copies";

/// What stands on the server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) databases: BTreeMap<String, FakeDatabase>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FakeDatabase {
    /// Of its tables.
    pub(crate) rows: BTreeMap<String, u64>,
    pub(crate) comment: Option<String>,
    pub(crate) migrations: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        let live = FakeDatabase {
            rows: BTreeMap::from([("public.copies".to_owned(), 3), ("public.pupils".to_owned(), 2)]),
            ..FakeDatabase::default()
        };
        Self {
            databases: BTreeMap::from([(LIVE.to_owned(), live)]),
        }
    }
}

impl Server {
    /// What serves.
    pub(crate) fn live(&mut self) -> &mut FakeDatabase {
        self.databases.get_mut(LIVE).unwrap()
    }

    /// What a program of PostgreSQL does; `None` where it is none.
    pub(super) fn answers(&mut self, command: &FakeCommand) -> Option<FakeOutput> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        let database = words.iter().position(|word| *word == "--dbname");
        let database = database.and_then(|at| words.get(at + 1)).copied().unwrap_or(LIVE);
        Some(match words.as_slice() {
            ["pg_dump", ..] => {
                let dumped = &self.databases[database];
                if *dumped == Self::default().databases[LIVE] {
                    return Some(FakeOutput::stdout(DUMP));
                }
                let what = serde_json::json!([dumped.rows, dumped.migrations]).to_string();
                FakeOutput::stdout([DUMP, what.as_bytes()].concat())
            }
            ["pg_restore", ..] if !command.input.starts_with(DUMP) => FakeOutput::silent()
                .and_stderr("pg_restore: error: could not read from input file\n")
                .exits(1),
            ["pg_restore", "--file=/dev/null"] => FakeOutput::silent(),
            ["pg_restore", ..] => {
                let first = Self::default().databases[LIVE].clone();
                let what = serde_json::from_slice(&command.input[DUMP.len()..]);
                let (rows, migrations) = what.unwrap_or((first.rows, first.migrations));
                let filled = self.databases.get_mut(database).unwrap();
                (filled.rows, filled.migrations) = (rows, migrations);
                FakeOutput::silent()
            }
            ["pg_dumpall", "--globals-only", ..] => FakeOutput::stdout(ROLES),
            // Asked of a new one, which has nothing yet.
            ["pg_isready", "--host", ..] => {
                *self = Self::default();
                *self.live() = FakeDatabase::default();
                FakeOutput::silent()
            }
            ["df", ..] => FakeOutput::stdout(
                "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100000000 1 99999999 1% /\n",
            ),
            ["psql", ..] if words.contains(&"--command") => {
                let orders = words.windows(2).filter(|pair| pair[0] == "--command");
                let answers: Vec<FakeOutput> = orders.map(|pair| self.asked(pair[1], database)).collect();
                answers.into_iter().last().unwrap()
            }
            ["psql", ..] if command.input.starts_with(b"SET lock_timeout") => {
                FakeOutput::stdout(self.described(database))
            }
            ["psql", ..] => FakeOutput::silent(),
            _ => return None,
        })
    }

    fn asked(&mut self, sql: &str, database: &str) -> FakeOutput {
        let named: Vec<&str> = sql.split('"').skip(1).step_by(2).collect();
        if sql.contains("pg_control_system") {
            return FakeOutput::stdout(
                r#"{"version": "170002", "system": "7301846290123456789", "bytes": 8000000}"#,
            );
        }
        match sql.split_whitespace().next() {
            Some("CREATE") => {
                self.databases
                    .insert(named[0].to_owned(), FakeDatabase::default());
            }
            Some("COMMENT") => self.comment(sql),
            Some("DROP") => {
                self.databases.remove(named[0]);
            }
            Some("BEGIN;") => {
                let [live, aside, incoming] = [named[0], named[1], named[2]].map(str::to_owned);
                let before = self.databases.remove(&live).unwrap();
                let after = self.databases.remove(&incoming).unwrap();
                self.databases.insert(aside, before);
                self.databases.insert(live, after);
                for comment in sql.split("; ").filter(|part| part.starts_with("COMMENT")) {
                    self.comment(comment);
                }
            }
            Some("SELECT") if sql.contains("FROM \"copies\"") => {
                return FakeOutput::stdout("\"1.png\"\n\"\u{c9}l\u{e8}ve 2.png\"\n");
            }
            Some("SHOW") => return FakeOutput::stdout("/var/lib/postgresql/data\n"),
            Some("ANALYZE" | "DO") => {}
            _ if sql.contains("'mark'") => return FakeOutput::stdout(self.marked()),
            _ if sql.contains("rolname") => return FakeOutput::stdout(r#"["postgres", "viatique"]"#),
            _ if sql.contains("to_json(shobj_description") => {
                let comment = &self.databases[database].comment;
                return FakeOutput::stdout(serde_json::json!(comment).to_string());
            }
            _ if sql.contains("superuser_reserved_connections") => {
                return FakeOutput::stdout(
                    "12 97\n{\"slow\": 0, \"longest\": [], \"waiting\": 0, \"waits\": []}\n",
                );
            }
            _ if sql.contains("pg_terminate_backend") => return FakeOutput::stdout("1\n"),
            _ => panic!("the server is not asked this: {sql}"),
        }
        FakeOutput::silent()
    }

    fn comment(&mut self, sql: &str) {
        let name = sql.split('"').nth(1).unwrap();
        let (_, text) = sql.split_once(" IS ").unwrap();
        let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        self.databases.get_mut(name).unwrap().comment = text.map(str::to_owned);
    }

    fn marked(&self) -> String {
        let marked = self.databases.iter().filter_map(|(name, database)| {
            let comment = database.comment.as_ref()?;
            let mark: serde_json::Value = serde_json::from_str(comment).ok()?;
            Some(serde_json::json!({"name": name, "bytes": 8_000_000, "mark": mark}))
        });
        serde_json::Value::from_iter(marked).to_string()
    }

    fn described(&self, database: &str) -> String {
        let database = &self.databases[database];
        let mut lines = vec![
            serde_json::json!({"snapshot": "00000003-0000001B-1"}),
            serde_json::json!({"properties": {
                "owner": "viatique", "encoding": "UTF8", "collate": "C.UTF-8", "ctype": "C.UTF-8", "provider": "c",
                "locale": null, "connections": -1, "comment": database.comment, "settings": [], "grants": null,
            }}),
            serde_json::json!({"migrations": database.migrations}),
        ];
        lines.extend(
            database.rows.iter().map(
                |(name, rows)| serde_json::json!({"table": {"name": name, "rows": rows, "newest": null}}),
            ),
        );
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        format!("{}\nviatique-deploy:end\n", lines.join("\n"))
    }
}
