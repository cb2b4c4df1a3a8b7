//! A database's schema as `pg_dump` writes it, and what differs between two. Columns may stand in another order, since one
//! that is taken away and put back comes last; everything else is held against the other, statement by statement.

use std::collections::{BTreeMap, BTreeSet};

use super::DatabaseAccess;
use crate::engine::ExecSpec;

/// What stands before the name of each object.
const OBJECT: &str = "-- Name: ";

/// Writes the schema to standard output.
pub fn schema(access: &DatabaseAccess) -> ExecSpec {
    ExecSpec::command(&[
        "pg_dump",
        "--schema-only",
        "--no-password",
        "--username",
        &access.user,
        "--dbname",
        &access.name,
    ])
}

/// The objects that are only in one of them, or are others there: `TABLE papers_copy`.
pub fn differences(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (objects(before), objects(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differ.cloned().collect()
}

/// By kind and name: the lines of what makes it, sorted.
fn objects(schema: &str) -> BTreeMap<String, Vec<String>> {
    let mut objects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in schema.lines() {
        if let Some(described) = line.strip_prefix(OBJECT) {
            let mut parts = described.split("; ");
            let name = parts.next().unwrap_or_default();
            let kind = parts.next().and_then(|part| part.strip_prefix("Type: "));
            current = format!("{} {name}", kind.unwrap_or("OBJECT"));
            // It is there, whatever makes it.
            objects.entry(current.clone()).or_default();
            continue;
        }
        let line = line.trim().trim_end_matches(',');
        // Of newer versions, and another one each time.
        let is_key = line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
        if line.is_empty() || line.starts_with("--") || is_key {
            continue;
        }
        objects.entry(current.clone()).or_default().push(line.to_owned());
    }
    for lines in objects.values_mut() {
        lines.sort_unstable();
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::differences;

    const BEFORE: &str = "--
-- PostgreSQL database dump
--

\\restrict Xk3

SET statement_timeout = 0;

--
-- Name: copy; Type: TABLE; Schema: public; Owner: viatique
--

CREATE TABLE public.copy (
    id bigint NOT NULL,
    mark integer,
    note text
);


ALTER TABLE public.copy OWNER TO viatique;

--
-- Name: copy copy_pkey; Type: CONSTRAINT; Schema: public; Owner: viatique
--

ALTER TABLE ONLY public.copy
    ADD CONSTRAINT copy_pkey PRIMARY KEY (id);

\\unrestrict Xk3
";

    #[test]
    fn a_column_that_has_come_back_may_stand_elsewhere() {
        let after = BEFORE.replace("Xk3", "q9Z").replace(
            "    mark integer,\n    note text\n",
            "    note text,\n    mark integer\n",
        );
        assert_eq!(differences(BEFORE, &after), Vec::<String>::new());
    }

    #[test]
    fn what_is_another_or_is_not_there_is_named() {
        let after = BEFORE.replace("mark integer", "mark bigint");
        assert_eq!(differences(BEFORE, &after), ["TABLE copy"]);
        let (table, _) = BEFORE.split_once("--\n-- Name: copy copy_pkey").unwrap();
        assert_eq!(differences(BEFORE, table), ["CONSTRAINT copy copy_pkey"]);
        assert_eq!(differences(table, BEFORE), ["CONSTRAINT copy copy_pkey"]);
    }
}
