//! Roles of a server, from what `pg_dumpall --globals-only` wrote: those that another server lacks, and only those. One
//! that it has keeps its password and its rights.

use std::collections::BTreeSet;

use super::DatabaseAccess;
use super::description::session;
use crate::engine::ExecSpec;

/// The roles that a server lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    pub names: Vec<String>,
    /// What makes them. Holds passwords, as the server keeps them.
    pub sql: String,
}

/// Asks for the names of all roles, as JSON.
pub fn names(access: &DatabaseAccess) -> ExecSpec {
    access.ask("SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles")
}

/// A session that does what it reads on its standard input, which passwords may stand in.
pub fn make(access: &DatabaseAccess) -> ExecSpec {
    session(access, "viatique-deploy roles")
}

/// What of this text makes roles that are not among `standing`: a statement a line, as `pg_dumpall` writes them.
pub fn missing(text: &str, standing: &[String]) -> Missing {
    let created: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(identifier(line.strip_prefix("CREATE ROLE ")?)?.0))
        .filter(|name| !standing.contains(name))
        .collect();
    let mut sql = String::new();
    for line in text.lines() {
        let concerns = line
            .strip_prefix("CREATE ROLE ")
            .or_else(|| line.strip_prefix("ALTER ROLE "))
            .or_else(|| granted_to(line))
            .and_then(identifier);
        if concerns.is_some_and(|(name, _)| created.contains(&name)) && line.ends_with(';') {
            sql.push_str(line);
            sql.push('\n');
        }
    }
    Missing {
        names: created.into_iter().collect(),
        sql,
    }
}

/// `GRANT one TO other …`: who gets it.
fn granted_to(line: &str) -> Option<&str> {
    let (_, rest) = identifier(line.strip_prefix("GRANT ")?)?;
    rest.strip_prefix(" TO ")
}

/// The identifier that a text begins with, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))?;
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Some((name, quoted.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roles_that_are_missing_are_made() {
        let text = "\
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
CREATE ROLE \"read only\";
ALTER ROLE \"read only\" WITH NOLOGIN;
ALTER ROLE \"read only\" SET statement_timeout TO '5s';
CREATE ROLE viatique;
ALTER ROLE viatique WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:y';
GRANT \"read only\" TO app WITH INHERIT TRUE GRANTED BY viatique;
GRANT app TO viatique;
-- PostgreSQL database cluster dump complete
";
        let found = missing(text, &["viatique".to_owned(), "postgres".to_owned()]);
        assert_eq!(found.names, ["app", "read only"]);
        assert!(
            !found
                .sql
                .contains("SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:y'")
        );
        assert!(!found.sql.contains("TO viatique"));
        assert_eq!(found.sql.lines().count(), 6);
        assert_eq!(missing(text, &found.names).names, ["viatique"]);
    }
}
