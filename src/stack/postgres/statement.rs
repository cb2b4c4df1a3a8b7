//! A statement of SQL as it may be shown: what it does to which tables, and none of the values in it. Pure.
//!
//! What a value may hide in is left away rather than guessed at: literals of every kind, numbers, comments, and of what is
//! no query all but its first word. A text that was cut off within a literal ends there.

/// As long as a statement may be.
const LONGEST: usize = 160;

/// Statements whose values stand in literals and nowhere else.
const SHOWN: [&str; 26] = [
    "select", "insert", "update", "delete", "merge", "with", "values", "table", "copy", "create", "alter",
    "drop", "truncate", "lock", "vacuum", "analyze", "reindex", "cluster", "refresh", "begin", "start",
    "commit", "rollback", "end", "fetch", "declare",
];

/// Without values, on one line, shortened.
pub fn without_values(sql: &str) -> String {
    let first: String = sql
        .trim_start()
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    // What a role may not read says `<insufficient privilege>`.
    if sql.trim_start().starts_with('<') {
        return "(not shown to this role)".to_owned();
    }
    // `/* … */ SELECT`, `(SELECT …)` begin with no word.
    let is_shown = first.is_empty() || SHOWN.contains(&first.to_ascii_lowercase().as_str());
    if !is_shown {
        return format!("{first} …");
    }
    let mut shown = Shown::default();
    shown.read(sql);
    let text = shown.text.trim_end().to_owned();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST - 1).collect();
    format!("{}…", cut.trim_end())
}

#[derive(Default)]
struct Shown {
    text: String,
}

impl Shown {
    fn read(&mut self, sql: &str) {
        let mut rest = sql;
        while let Some(c) = rest.chars().next() {
            // Nothing behind that would be shown.
            if self.text.len() > 4 * LONGEST {
                return;
            }
            let behind = rest.get(c.len_utf8()..).unwrap_or_default();
            rest = if c.is_whitespace() {
                self.space();
                behind
            } else if let Some(comment) = rest.strip_prefix("--") {
                self.space();
                comment.split_once('\n').map_or("", |(_, rest)| rest)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                self.space();
                end_of_comment(comment)
            } else if c == '\'' {
                self.value();
                end_of_literal(behind, false)
            } else if c == '"' {
                // A name.
                let (name, behind) = behind.split_once('"').unwrap_or(("…", ""));
                self.text.push_str(name);
                behind
            } else if c == '$' {
                match dollar_tag(behind) {
                    Some(tag) => {
                        self.value();
                        let quoted = behind.get(tag.len() + 1..).unwrap_or_default();
                        let end = format!("${tag}$");
                        quoted.split_once(&end).map_or("", |(_, rest)| rest)
                    }
                    None => {
                        // `$1`
                        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
                        let (number, behind) = behind.split_at(end);
                        self.text.push('$');
                        self.text.push_str(number);
                        behind
                    }
                }
            } else if c.is_ascii_digit() {
                self.value();
                end_of_number(rest)
            } else if c.is_alphabetic() || c == '_' {
                let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                match behind.strip_prefix('\'') {
                    // `E'…'`, `B'…'`, `X'…'`, `N'…'`: a literal with a letter before it.
                    Some(literal) if word.len() == 1 => {
                        self.value();
                        end_of_literal(literal, word.eq_ignore_ascii_case("e"))
                    }
                    Some(_) | None => {
                        self.text.push_str(word);
                        behind
                    }
                }
            } else {
                self.text.push(c);
                behind
            };
        }
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    /// In place of a value; a list of them is one. A sign before it stays.
    fn value(&mut self) {
        let before = self.text.trim_end().trim_end_matches(['-', '+']).trim_end();
        let list = before
            .strip_suffix(',')
            .map(str::trim_end)
            .filter(|list| list.ends_with('?'));
        match list {
            Some(list) => self.text.truncate(list.len()),
            None => self.text.push('?'),
        }
    }
}

/// Behind a literal that has begun. A backslash before a quote means one thing or the other, by the server's settings:
/// where it is not known which, nothing behind it is taken for anything but the literal.
fn end_of_literal(mut rest: &str, escapes: bool) -> &str {
    loop {
        let Some(at) = rest.find(['\'', '\\']) else {
            return "";
        };
        let (_, found) = rest.split_at(at);
        let mut behind = found.chars();
        match (behind.next(), behind.clone().next()) {
            (Some('\''), Some('\'')) => rest = found.get(2..).unwrap_or_default(),
            (Some('\''), _) => return behind.as_str(),
            (Some('\\'), Some('\'')) if !escapes => return "",
            (_, Some(_)) if escapes => {
                behind.next();
                rest = behind.as_str();
            }
            (_, _) => rest = behind.as_str(),
        }
    }
}

/// Behind a number: `1.5e-7`, `0xff`, `1_000`.
fn end_of_number(text: &str) -> &str {
    let is_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let mut rest = text;
    loop {
        let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        // The sign of an exponent.
        let exponent = behind.strip_prefix(['-', '+']).filter(|digits| {
            number.ends_with(['e', 'E']) && digits.starts_with(|c: char| c.is_ascii_digit())
        });
        match exponent {
            Some(digits) => rest = digits,
            None => return behind,
        }
    }
}

/// Behind a comment that has begun; comments may stand in comments.
fn end_of_comment(mut rest: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = rest.find(['*', '/']) else {
            return "";
        };
        let (_, found) = rest.split_at(at);
        if let Some(behind) = found.strip_prefix("*/") {
            (depth, rest) = (depth - 1, behind);
        } else if let Some(behind) = found.strip_prefix("/*") {
            (depth, rest) = (depth + 1, behind);
        } else {
            rest = found.get(1..).unwrap_or_default();
        }
    }
    rest
}

/// The tag of `$tag$` or `$$`; `None` of a parameter.
fn dollar_tag(behind: &str) -> Option<&str> {
    let (tag, _) = behind.split_once('$')?;
    let is_tag = !tag.starts_with(|c: char| c.is_ascii_digit())
        && tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn no_value_is_left() {
        for (sql, expected) in [
            (
                "SELECT \"papers_copy\".\"id\" FROM \"papers_copy\" WHERE \"papers_copy\".\"pupil\" = 'Léa O''Neil' AND id IN (1, 2, 3)",
                "SELECT papers_copy.id FROM papers_copy WHERE papers_copy.pupil = ? AND id IN (?)",
            ),
            ("SELECT E'it\\'s léa', x", "SELECT ?, x"),
            ("SELECT 'a\\' OR léa", "SELECT ?"),
            ("SELECT 'léa is cut o", "SELECT ?"),
            ("select $$léa$$, $t$ $$ léa $t$ , $1", "select ? , $1"),
            (
                "/* léa /* x */ léa */ SELECT 1 -- léa\n  FROM a",
                "SELECT ? FROM a",
            ),
            ("SELECT -1.5e-7, +2, x1, B'01', X'ff', N'léa'", "SELECT -?, x1, ?"),
            (
                "UPDATE t SET a = 0xff WHERE b<>1_000",
                "UPDATE t SET a = ? WHERE b<>?",
            ),
            ("SET app.user = lea", "SET …"),
            ("NOTIFY lea", "NOTIFY …"),
            ("DO $$ lea $$", "DO …"),
            ("<insufficient privilege>", "(not shown to this role)"),
            (
                "INSERT INTO a VALUES (1, 'b'), (2, 'c')",
                "INSERT INTO a VALUES (?), (?)",
            ),
            ("(SELECT 'léa')", "(SELECT ?)"),
            ("", ""),
        ] {
            let shown = without_values(sql);
            assert_eq!(shown, expected, "{sql}");
        }
    }

    #[test]
    fn it_is_short_whatever_comes() {
        for sql in [
            "SELECT ".to_owned() + &"é, ".repeat(5000),
            "é".repeat(5000),
            "SELECT '".to_owned() + &"\\'".repeat(5000),
            "SELECT ".to_owned() + &"$a".repeat(5000),
            "/*".repeat(5000),
            "\"".repeat(5000),
        ] {
            assert!(
                without_values(&sql).chars().count() <= super::LONGEST,
                "{sql:.20}"
            );
        }
    }
}
