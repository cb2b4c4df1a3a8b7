//! nginx's access log, read line by line: a format as `log_format` writes it, or JSON with the usual keys. Says of each
//! request what a verdict on a release needs, and nothing of who sent it. Judges nothing.

use std::fmt;

/// A request, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// As in `GET`; empty for what was no HTTP.
    pub method: String,
    /// With its query.
    pub path: String,
    pub status: u16,
    /// `$request_time`, in seconds; `None` where the format has none.
    pub seconds: Option<f64>,
}

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormat {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Pieces(Vec<Piece>),
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// Without its `$`.
    Variable(String),
}

/// A format that cannot be read by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormatError(String);

impl fmt::Display for LogFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// nginx's own format of this name. Many write the request's time behind it, which is read too.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

impl LogFormat {
    /// nginx's default.
    pub fn combined() -> Self {
        let mut pieces = pieces(COMBINED);
        pieces.push(Piece::Variable("rest".to_owned()));
        Self {
            kind: Kind::Pieces(pieces),
        }
    }

    /// `combined`, `json`, or a format as nginx's `log_format` has it, its quoted parts put together.
    ///
    /// # Errors
    /// One that tells no status or no path, or in which nobody can say where one variable ends.
    pub fn parse(text: &str) -> Result<Self, LogFormatError> {
        match text {
            "combined" => return Ok(Self::combined()),
            "json" => return Ok(Self { kind: Kind::Json }),
            _ => {}
        }
        let refuse = |why: &str| Err(LogFormatError(why.to_owned()));
        let pieces = pieces(text);
        let has = |wanted: &[&str]| {
            pieces.iter().any(|piece| match piece {
                Piece::Variable(name) => wanted.contains(&name.as_str()),
                Piece::Literal(_) => false,
            })
        };
        if pieces.is_empty() || !text.contains('$') {
            return refuse(
                "neither `combined` nor `json`, and no format with variables, as nginx's `log_format` has it",
            );
        }
        if !has(&["status"]) {
            return refuse("the format has no `$status`");
        }
        if !has(&["request", "request_uri", "uri"]) {
            return refuse("the format has none of `$request`, `$request_uri` and `$uri`");
        }
        let runs_on = pieces.windows(2).any(|two| match two {
            [Piece::Variable(_), Piece::Variable(_)] => true,
            [_, _] | [..] => false,
        });
        if runs_on {
            return refuse("two variables of the format have nothing between them");
        }
        Ok(Self {
            kind: Kind::Pieces(pieces),
        })
    }

    /// What a line says; `None` where it is not of this format.
    pub fn read(&self, line: &str) -> Option<Logged> {
        match &self.kind {
            Kind::Json => read_json(line),
            Kind::Pieces(pieces) => read_pieces(pieces, line),
        }
    }
}

/// `$name` and `${name}`, and what stands between them.
fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        let (braced, inner) = match after.strip_prefix('{') {
            Some(inner) => (true, inner),
            None => (false, after),
        };
        let end = inner
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(inner.len());
        let (name, behind) = inner.split_at(end);
        let behind = if braced {
            behind.strip_prefix('}')
        } else {
            Some(behind)
        };
        match behind {
            Some(behind) if !name.is_empty() => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Variable(name.to_owned()));
                rest = behind;
            }
            Some(_) | None => {
                literal.push('$');
                rest = after;
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

#[derive(Default)]
struct Fields<'a> {
    request: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    seconds: Option<f64>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        match name {
            "request" => self.request = Some(value),
            "request_method" | "method" => self.method = Some(value),
            // The address as it was asked says more than the one it was rewritten to.
            "request_uri" => self.path = Some(value),
            "uri" | "path" | "url" if self.path.is_none() => self.path = Some(value),
            "status" => self.status = value.parse().ok(),
            "request_time" => self.seconds = value.parse().ok(),
            // Behind `combined`: ` 0.012`, ` rt=0.012`, ` "0.012"`.
            "rest" => {
                let value = value.trim().trim_matches('"');
                let value = value.rsplit('=').next().unwrap_or(value);
                self.seconds = value.parse().ok();
            }
            _ => {}
        }
    }

    fn logged(self) -> Option<Logged> {
        let status = self.status.filter(|status| (100..600).contains(status))?;
        let (method, path) = match (self.request, self.path) {
            (_, Some(path)) => {
                let method = self.method.or_else(|| self.request?.split(' ').next());
                (method.unwrap_or("GET"), path)
            }
            (Some(request), None) => {
                let mut words = request.split(' ');
                match (words.next(), words.next()) {
                    (Some(method), Some(path)) if path.starts_with('/') || path == "*" => (method, path),
                    // Noise on the port: nginx answers it 400 by itself.
                    (_, _) => ("", ""),
                }
            }
            (None, None) => return None,
        };
        Some(Logged {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            seconds: self
                .seconds
                .filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
        })
    }
}

/// A variable ends where the literal behind it begins: nginx escapes quotes in values, so that they end nothing early.
fn read_pieces(pieces: &[Piece], line: &str) -> Option<Logged> {
    let mut fields = Fields::default();
    let mut rest = line;
    let mut pieces = pieces.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
            Piece::Variable(name) => {
                let end = match pieces.peek() {
                    Some(Piece::Literal(literal)) => rest.find(literal.as_str())?,
                    Some(Piece::Variable(_)) => 0,
                    None => rest.len(),
                };
                let (value, behind) = rest.split_at(end);
                fields.take(name, value);
                rest = behind;
            }
        }
    }
    if rest.is_empty() { fields.logged() } else { None }
}

fn read_json(line: &str) -> Option<Logged> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let object = value.as_object()?;
    let texts: Vec<(&str, String)> = object
        .iter()
        .filter_map(|(key, value)| match value {
            serde_json::Value::String(text) => Some((key.as_str(), text.clone())),
            serde_json::Value::Number(number) => Some((key.as_str(), number.to_string())),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        })
        .collect();
    let mut fields = Fields::default();
    for (key, value) in texts.iter().filter(|(key, _)| *key != "rest") {
        fields.take(key, value);
    }
    fields.logged()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(method: &str, path: &str, status: u16, seconds: Option<f64>) -> Option<Logged> {
        Some(Logged {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            seconds,
        })
    }

    #[test]
    fn combined_is_read_with_and_without_a_time_behind_it() {
        let format = LogFormat::parse("combined").unwrap();
        let line = r#"10.0.0.9 - léa [29/Nov/2026:06:00:00 +0000] "GET /copies/7/?a=\x22b HTTP/1.1" 200 12 "-" "curl/8 (x)""#;
        let read = |line: &str| format.read(line);
        assert_eq!(read(line), logged("GET", "/copies/7/?a=\\x22b", 200, None));
        for behind in [" 0.250", " rt=0.250", " \"0.250\""] {
            assert_eq!(
                read(&format!("{line}{behind}")),
                logged("GET", "/copies/7/?a=\\x22b", 200, Some(0.25))
            );
        }
        // Noise on the port is a request that was answered; anything else is none.
        let noise = r#"10.0.0.9 - - [29/Nov/2026:06:00:00 +0000] "\x16\x03\x01" 400 150 "-" "-""#;
        assert_eq!(read(noise), logged("", "", 400, None));
        assert_eq!(
            read("2026/11/29 06:00:00 [notice] 1#1: start worker process 7"),
            None
        );
        assert_eq!(read(""), None);
        assert_eq!(read(&line[..line.len() - 9]), None);
    }

    #[test]
    fn a_format_of_ones_own_is_read_as_nginx_writes_it() {
        let timed = "$remote_addr \"$request\" $status $body_bytes_sent $request_time s \
                     upstream=$upstream_addr $upstream_status $upstream_response_time";
        let format = LogFormat::parse(timed).unwrap();
        let line = "10.0.0.9 \"POST /api/copies/ HTTP/1.1\" 502 0 0.004 s upstream=10.0.0.2:80, 10.0.0.3:80 502, 502 0.0, 0.1";
        assert_eq!(
            format.read(line),
            logged("POST", "/api/copies/", 502, Some(0.004))
        );
        let braced = LogFormat::parse("${request_method}|$uri|$request_uri|$status|$request_time").unwrap();
        assert_eq!(
            braced.read("GET|/index.html|/?q=1|304|-"),
            logged("GET", "/?q=1", 304, None)
        );
        let object = LogFormat::parse(r#"{"s":"$status","r":"$request"}"#).unwrap();
        assert_eq!(
            object.read(r#"{"s":"404","r":"GET /a.css HTTP/2.0"}"#),
            logged("GET", "/a.css", 404, None)
        );
    }

    #[test]
    fn json_is_read_by_the_usual_keys() {
        let format = LogFormat::parse("json").unwrap();
        let line = r#"{"status":"200","request_time":0.5,"request":"GET /a HTTP/1.1","rest":"9","tls":true}"#;
        assert_eq!(format.read(line), logged("GET", "/a", 200, Some(0.5)));
        let line = r#"{"status":500,"method":"PUT","path":"/b"}"#;
        assert_eq!(format.read(line), logged("PUT", "/b", 500, None));
        for line in [
            "{\"status\":200}",
            "{\"request\":\"GET / HTTP/1.1\"}",
            "[1]",
            "started",
        ] {
            assert_eq!(format.read(line), None, "{line}");
        }
    }

    #[test]
    fn a_format_that_says_too_little_is_refused() {
        for (format, why) in [
            ("timed", "neither `combined` nor `json`"),
            ("$request $body_bytes_sent", "no `$status`"),
            ("$status $body_bytes_sent", "none of `$request`"),
            ("$status$request", "nothing between them"),
        ] {
            let refused = LogFormat::parse(format).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
