//! As much of HTTP/1.1 as the client needs: to see where an answer ends, and to ask one thing at a time while a stage
//! is set. Reading an answer is pure.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long an answer may take. Above what nginx itself waits for the backend.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The values of a header, in order.
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        headers(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn headers<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// The answer that these bytes are, where they are all of one; `ended` says that no more will come.
pub(crate) fn answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let rest = &bytes[end + 4..];
    let body = if let Some(length) = headers(&head, "content-length").next() {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else if headers(&head, "transfer-encoding").any(|value| value == "chunked") {
        unchunk(rest)?
    } else if ended {
        rest.to_vec()
    } else {
        return None;
    };
    Some(Answer { status, head, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        body.extend(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// Sends one request to this port of 127.0.0.1, and waits for the answer.
pub(crate) fn ask(port: u16, request: &[u8]) -> Result<Answer> {
    let mut connection = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)
        .with_context(|| format!("connecting to 127.0.0.1:{port}"))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(request)?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes)?;
    match answer(&bytes, true) {
        Some(answer) => Ok(answer),
        None => bail!(
            "half an answer from 127.0.0.1:{port}: {}",
            String::from_utf8_lossy(&bytes)
        ),
    }
}
