//! The app as one container has it, asked from inside of that container: past every proxy, and wherever the engine is. What
//! nginx would tell it of the visitor is told here: the name, the scheme, where it came from.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::app::edge::{EdgeError, EdgeErrorKind, Page, Presented, Way};
use crate::app::{Answer, App, AppError, Call, CallBody, Method, Request, Response, SentFile};
use crate::engine::{Captured, ContainerId, Engine, ExecSpec};
use crate::stack::http_inside::{Question, Reply, command, parse};

/// Beyond a request's own time: for the engine, and for Python to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a page is kept where nobody says.
const BODY_LIMIT: u64 = 64 * 1024;
/// The visitor: it is asked from there.
const VISITOR: &str = "127.0.0.1";

/// One container's application.
pub(super) struct Inside<'a> {
    pub engine: &'a dyn Engine,
    pub container: &'a ContainerId,
    /// On which it speaks HTTP.
    pub port: u16,
    pub python: String,
}

impl Inside<'_> {
    async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let spec = ExecSpec {
            command: command(&self.python),
            ..ExecSpec::default()
        };
        let written = question.written();
        let mut input = written.as_slice();
        let mut output = Captured::default();
        let asked = self
            .engine
            .exec(self.container, &spec, Some(&mut input), &mut output);
        let exit = match tokio::time::timeout(question.timeout + PATIENCE, asked).await {
            Ok(asked) => asked.map_err(|error| error.to_string())?,
            Err(_) => return Err("the engine did not come back with an answer in time".to_owned()),
        };
        if !exit.success() {
            let last = output.stderr_text();
            let last = last.lines().rev().find(|line| !line.trim().is_empty());
            return Err(format!(
                "{} in the container could not ask (exit code {}): {}",
                self.python,
                exit.code,
                last.unwrap_or("it wrote nothing")
            ));
        }
        match parse(&output.stdout).map_err(|error| format!("{error:#}"))? {
            Reply::Failed(why) => Err(why),
            Reply::Answered(answered) => Ok(Answer {
                status: answered.status,
                headers: answered.headers,
                body: answered.body,
                is_cut: answered.is_cut,
                elapsed: answered.elapsed,
            }),
        }
    }

    fn question(&self, call: Call) -> Result<Question, String> {
        let url = Url::parse(&call.url).map_err(|error| error.to_string())?;
        let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
        let content = content(call.body)?;
        let mut headers = call.headers;
        if let Some(host) = call.host {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Host"));
            headers.insert(0, ("Host".to_owned(), host));
        }
        let mut unless_given = |name: &str, value: &str| {
            if !headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        };
        unless_given("Host", url.authority());
        unless_given("X-Forwarded-Proto", url.scheme());
        unless_given("X-Forwarded-For", VISITOR);
        unless_given("X-Real-IP", VISITOR);
        unless_given("Accept", "*/*");
        unless_given(
            "User-Agent",
            concat!("viatique-deploy/", env!("CARGO_PKG_VERSION")),
        );
        unless_given("Connection", "close");
        let (kind, body) = content;
        if let Some(kind) = &kind {
            unless_given("Content-Type", kind);
        }
        if kind.is_some() || call.method != Method::Get {
            unless_given("Content-Length", &body.len().to_string());
        }
        Ok(Question {
            method: word(call.method),
            target: format!("{}{query}", url.path()),
            port: self.port,
            headers,
            body,
            timeout: call.timeout,
            limit: call.limit,
        })
    }
}

const fn word(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    }
}

/// Its type, where there is one, and its bytes.
fn content(body: CallBody) -> Result<(Option<String>, Vec<u8>), String> {
    Ok(match body {
        CallBody::None => (None, Vec::new()),
        CallBody::Form(fields) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(fields);
            let kind = "application/x-www-form-urlencoded".to_owned();
            (Some(kind), form.finish().into_bytes())
        }
        CallBody::Json(json) => (Some("application/json".to_owned()), json.into_bytes()),
        CallBody::Multipart { fields, files } => {
            let boundary = boundary().map_err(|error| format!("making a boundary: {error}"))?;
            let kind = format!("multipart/form-data; boundary={boundary}");
            (Some(kind), multipart(&boundary, &fields, &files))
        }
    })
}

/// What no content has in it by chance.
fn boundary() -> std::io::Result<String> {
    super::values::random(32)
}

/// As browsers write it (HTML, "multipart form data").
fn multipart(boundary: &str, fields: &[(String, String)], files: &[SentFile]) -> Vec<u8> {
    let quoted = |text: &str| {
        let text = text.replace('"', "%22");
        text.replace('\r', "%0D").replace('\n', "%0A")
    };
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n",
            quoted(name)
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    for file in files {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            quoted(&file.field),
            quoted(&file.name),
            quoted(&file.kind)
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&file.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// A container has no certificate and no public name.
fn no_edge(target: &str) -> EdgeError {
    EdgeError {
        kind: EdgeErrorKind::Here,
        target: target.to_owned(),
        message: "a container is asked from inside of it, and not by a public name".to_owned(),
    }
}

#[async_trait]
impl App for Inside<'_> {
    async fn get(&self, request: &Request) -> Result<Response, AppError> {
        let call = Call {
            method: Method::Get,
            url: request.url.clone(),
            host: request.host.clone(),
            headers: request.headers.clone(),
            body: CallBody::None,
            timeout: request.timeout,
            limit: BODY_LIMIT,
        };
        let answer = self.call(call).await?;
        Ok(Response {
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
            elapsed: answer.elapsed,
        })
    }

    async fn call(&self, call: Call) -> Result<Answer, AppError> {
        let url = call.url.clone();
        let asked = match self.question(call) {
            Ok(question) => self.ask(&question).await,
            Err(why) => Err(why),
        };
        asked.map_err(|message| AppError { url, message })
    }

    async fn visit(&self, url: &str, _way: &Way) -> Result<Page, EdgeError> {
        Err(no_edge(url))
    }

    async fn certificate(&self, name: &str, _port: u16, _way: &Way) -> Result<Presented, EdgeError> {
        Err(no_edge(name))
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, EdgeError> {
        Err(no_edge(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_with_a_file_is_written_as_browsers_do() {
        let file = SentFile {
            field: "scan".to_owned(),
            name: "a \"b\"\n.pdf".to_owned(),
            kind: "application/pdf".to_owned(),
            content: vec![0, 255],
        };
        let written = multipart("b0", &[("exam".to_owned(), "é".to_owned())], &[file]);
        let head = "--b0\r\nContent-Disposition: form-data; name=\"exam\"\r\n\r\né\r\n--b0\r\nContent-Disposition: \
                    form-data; name=\"scan\"; filename=\"a %22b%22%0A.pdf\"\r\nContent-Type: application/pdf\r\n\r\n";
        assert_eq!(written, [head.as_bytes(), &[0, 255], b"\r\n--b0--\r\n"].concat());
    }
}
