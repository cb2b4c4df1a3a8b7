//! Errors in the log of a Python application, told apart by fingerprint: an exception by its type and the place in the
//! application's own code, a line of level ERROR or CRITICAL (of Django, Celery, gunicorn) by its words without what
//! differs from one time to the next. Whether one matters is not said here. A fingerprint carries no value of a user's:
//! what stands in quotes, numbers and ids are taken out.

/// What was logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedError {
    pub kind: LoggedErrorKind,
    pub fingerprint: String,
    /// A request that no page was made for is refused with it, whatever the release: a scanner's, or one cut off.
    pub by_visitor: bool,
}

/// How it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoggedErrorKind {
    /// With a traceback.
    Exception,
    /// A line that says so.
    Line,
}

/// As long as a fingerprint may be.
const LONGEST: usize = 160;

/// Exceptions by which Django and gunicorn refuse a request, or that say that a visitor has gone.
const BY_VISITOR: [&str; 14] = [
    "BadRequest",
    "BrokenPipeError",
    "ConnectionResetError",
    "DisallowedHost",
    "DisallowedRedirect",
    "InvalidSessionKey",
    "MultiPartParserError",
    "RequestAborted",
    "RequestDataTooBig",
    "SuspiciousFileOperation",
    "SuspiciousOperation",
    "TooManyFieldsSent",
    "TooManyFilesSent",
    "UnreadablePostError",
];

/// Reads one log, line by line. Holds what belongs to one error, and no more.
#[derive(Debug, Default)]
pub struct ErrorReader {
    /// A traceback that has begun.
    open: Option<Traceback>,
    /// Whole, as far as is known: a line may say that it was only the cause of another one.
    held: Option<LoggedError>,
}

#[derive(Debug, Default)]
struct Traceback {
    /// The innermost frame, and whether it is the application's own; an own one is not given up for another's.
    frame: Option<(String, bool)>,
}

/// What Python writes between an exception and one that came of it.
const GOES_ON: [&str; 2] = [
    "During handling of the above exception",
    "The above exception was the direct cause",
];

impl ErrorReader {
    /// Takes the next line; gives an error that is whole now.
    pub fn line(&mut self, text: &str) -> Option<LoggedError> {
        // Of exceptions in a group, each line is drawn into a tree.
        let text = text.trim_start_matches(['|', '+']).trim_end();
        if text
            .trim_start()
            .starts_with("Traceback (most recent call last):")
            || text.trim_start().starts_with("Exception Group Traceback")
        {
            self.open = Some(Traceback::default());
            // `ERROR … Internal Server Error: /copies/` introduces it.
            return self
                .held
                .take()
                .filter(|held| held.kind == LoggedErrorKind::Exception);
        }
        if let Some(open) = &mut self.open {
            if text.is_empty() {
                return None;
            }
            if text.starts_with([' ', '\t']) {
                open.frame(text.trim_start());
                return None;
            }
            let error = open.ended(text);
            self.open = None;
            self.held = Some(error);
            return None;
        }
        if text.is_empty() {
            return None;
        }
        if GOES_ON.iter().any(|words| text.starts_with(words)) {
            self.held = None;
            return None;
        }
        let before = self.held.take();
        self.held = error_line(text);
        before
    }

    /// Gives what is whole as far as is known. For a log in which nothing has come for a while, or that has ended.
    pub fn take(&mut self) -> Option<LoggedError> {
        self.held.take()
    }
}

impl Traceback {
    /// `File "/app/papers/views.py", line 12, in print_copy`
    fn frame(&mut self, text: &str) {
        let Some((path, rest)) = text.strip_prefix("File \"").and_then(|rest| rest.split_once('"')) else {
            return;
        };
        let function = rest.rsplit_once(" in ").map_or("?", |(_, function)| function);
        let is_own = !path.starts_with('<')
            && !["site-packages/", "dist-packages/", "/lib/python"]
                .iter()
                .any(|foreign| path.contains(foreign));
        if is_own || !self.frame.as_ref().is_some_and(|(_, own)| *own) {
            self.frame = Some((format!("{path}:{function}"), is_own));
        }
    }

    /// `module.Type: message`; the message differs from one time to the next.
    fn ended(&self, text: &str) -> LoggedError {
        let kind = text.split(':').next().unwrap_or(text).trim();
        // What is no name is a line of something else: the traceback was cut off.
        let is_name = !kind.is_empty()
            && kind
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_'));
        let kind = if is_name { kind } else { "an exception" };
        let place = self
            .frame
            .as_ref()
            .map_or_else(String::new, |(frame, _)| format!(" at {frame}"));
        let bare = kind.rsplit('.').next().unwrap_or(kind);
        LoggedError {
            kind: LoggedErrorKind::Exception,
            fingerprint: shortened(&format!("{kind}{place}")),
            by_visitor: BY_VISITOR.contains(&bare),
        }
    }
}

/// A line of level ERROR or CRITICAL; FATAL is another word for the second.
fn error_line(text: &str) -> Option<LoggedError> {
    let message = if text.starts_with('{') {
        json_message(text)?
    } else {
        plain_message(text)?
    };
    Some(LoggedError {
        kind: LoggedErrorKind::Line,
        by_visitor: message.contains("django.security."),
        fingerprint: shortened(&without_values(&message)),
    })
}

const LEVELS: [&str; 3] = ["ERROR", "CRITICAL", "FATAL"];
/// The level stands before so many words, a moment's numbers included.
const BEFORE_LEVEL: usize = 10;

/// `2026-11-29 06:00:00,123 ERROR django.request: …`, `[… +0000] [7] [ERROR] …`, `[…: ERROR/ForkPoolWorker-1] …`
fn plain_message(text: &str) -> Option<String> {
    let is_between = |c: char| c.is_whitespace() || "[]():,/|".contains(c);
    let mut from = 0;
    for _ in 0..BEFORE_LEVEL {
        let rest = text.get(from..)?;
        let start = from + rest.find(|c: char| !is_between(c))?;
        let word = text.get(start..)?;
        let end = start + word.find(is_between).unwrap_or(word.len());
        if LEVELS.contains(&text.get(start..end)?) {
            let behind = text.get(end..)?;
            // The process's name.
            let behind = behind.strip_prefix('/').map_or(behind, |name| {
                name.split_once(']').map_or(name, |(_, message)| message)
            });
            return Some(behind.trim_start_matches([']', ':', ' ', ')', '|']).to_owned());
        }
        from = end;
    }
    None
}

fn json_message(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let text_at = |keys: &[&str]| keys.iter().find_map(|key| value.get(key)?.as_str());
    let level = text_at(&["level", "levelname", "severity", "log.level"])?.to_uppercase();
    if !LEVELS.contains(&level.as_str()) {
        return None;
    }
    let message = text_at(&["message", "msg", "event"]).unwrap_or_default();
    let logger = text_at(&["logger", "name"]).map_or_else(String::new, |name| format!("{name}: "));
    Some(format!("{logger}{message}"))
}

/// Without what stands in quotes, and without words in which there is a digit. In a path each part is a word.
fn without_values(message: &str) -> String {
    let mut without = String::new();
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        if matches!(c, '\'' | '"')
            && let Some((_, behind)) = rest.get(1..).and_then(|inner| inner.split_once(c))
        {
            without.push('…');
            rest = behind;
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '%');
        let end = rest
            .find(|c: char| !is_word(c))
            .unwrap_or(rest.len())
            .max(c.len_utf8());
        let (word, behind) = rest.split_at(end);
        let has_value = word.contains('@') || word.bytes().any(|byte| byte.is_ascii_digit());
        without.push_str(if has_value { "N" } else { word });
        rest = behind;
    }
    without
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(LoggedErrorKind, String)> {
        let mut reader = ErrorReader::default();
        let mut errors: Vec<LoggedError> = text.lines().filter_map(|line| reader.line(line)).collect();
        errors.extend(reader.take());
        errors
            .into_iter()
            .map(|error| (error.kind, error.fingerprint))
            .collect()
    }

    fn one(text: &str) -> String {
        let errors = read(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].1.clone()
    }

    const DJANGO: &str = r#"2026-11-29 06:00:00,123 ERROR django.request: Internal Server Error: /print/3/
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
               ^^^^^^^^^^^^^^^^^^^^^
  File "/app/papers/views.py", line 107, in print_copy
    raise ValueError("copy 3 of léa@example.com")
  File "/usr/lib/python3/dist-packages/django/x.py", line 1, in deeper
    pass
ValueError: copy 3 of léa@example.com
2026-11-29 06:00:01,000 INFO all is well"#;

    #[test]
    fn an_exception_is_its_type_and_the_place_in_the_applications_own_code() {
        assert_eq!(
            read(DJANGO),
            [(
                LoggedErrorKind::Exception,
                "ValueError at /app/papers/views.py:print_copy".to_owned()
            )]
        );
        let moved = DJANGO.replace("line 107", "line 9").replace("copy 3", "copy 4");
        assert_eq!(
            one(&moved),
            one(DJANGO),
            "neither line nor message tells it apart"
        );
        assert_ne!(one(&DJANGO.replace("print_copy", "other")), one(DJANGO));
    }

    #[test]
    fn of_a_chain_the_last_one_counts() {
        let text = r#"Traceback (most recent call last):
  File "/app/a.py", line 1, in a
    x
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/b.py", line 1, in b
    y
psycopg2.OperationalError: connection to server at "db" failed
	Is the server running?"#;
        assert_eq!(one(text), "psycopg2.OperationalError at /app/b.py:b");
    }

    #[test]
    fn two_exceptions_are_two() {
        let errors = read(&format!("{DJANGO}\n{}", DJANGO.replace("ValueError", "KeyError")));
        assert_eq!(errors.len(), 2, "{errors:?}");
        let at_once =
            "Traceback (most recent call last):\n  File \"/a.py\", line 1, in a\nKeyError: 1\n".repeat(2);
        assert_eq!(read(&at_once).len(), 2);
    }

    #[test]
    fn a_line_is_known_by_its_words() {
        for (line, expected) in [
            (
                "2026-11-29 06:00:00,123 ERROR core.views: health check: redis does not answer: Error 111 to 10.0.0.2:6379",
                "core.views: health check: redis does not answer: Error N to N:N",
            ),
            (
                "[2026-11-29 06:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)",
                "WORKER TIMEOUT (pid:N)",
            ),
            (
                "[2026-11-29 06:00:00,123: ERROR/ForkPoolWorker-1] Task core.x[0f8f-d9cb] failed for 'Léa'",
                "Task core.x[N] failed for …",
            ),
            (
                r#"{"level":"error","logger":"app","message":"no mail to lea@example.com"}"#,
                "app: no mail to N",
            ),
        ] {
            assert_eq!(
                read(line),
                [(LoggedErrorKind::Line, expected.to_owned())],
                "{line}"
            );
        }
        for line in [
            "2026-11-29 06:00:00,123 INFO django: there is, as far as one can see, no ERROR here",
            "2026-11-29 06:00:00,123 WARNING django: Not Found: /errors/",
            r#"{"level":"info","message":"ERROR"}"#,
            "",
            "   ",
        ] {
            assert_eq!(read(line), [], "{line}");
        }
    }

    #[test]
    fn what_a_visitor_brings_about_is_marked() {
        let mut reader = ErrorReader::default();
        let text = DJANGO.replace("ValueError", "django.core.exceptions.DisallowedHost");
        let errors: Vec<LoggedError> = text.lines().filter_map(|line| reader.line(line)).collect();
        assert!(errors[0].by_visitor, "{errors:?}");
        reader
            .line("2026-11-29 06:00:00 ERROR django.security.DisallowedHost: Invalid HTTP_HOST header: 'x'");
        assert!(reader.take().unwrap().by_visitor);
    }

    #[test]
    fn a_fingerprint_is_bounded_whatever_comes() {
        let mut reader = ErrorReader::default();
        for line in [
            "Traceback (most recent call last):",
            "  File \"",
            "  File \"/a.py\"",
            &"é".repeat(5000),
            "ERROR \u{1F600}'\u{1F600}",
            &format!("ERROR {}", "é'\"".repeat(5000)),
            "x",
        ] {
            if let Some(error) = reader.line(line) {
                assert!(error.fingerprint.chars().count() <= LONGEST);
            }
        }
    }
}
