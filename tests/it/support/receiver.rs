//! Whoever is notified, on 127.0.0.1: keeps each HTTP request and answers as told, or not at all; and a mail server that
//! keeps each letter.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// With this status, and this text.
    Status(u16, &'static str),
    /// With this status, and how many seconds to wait.
    Later(u16, &'static str),
    /// Never, with the connection open.
    Nothing,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Heard {
    /// Its body, which must be JSON and say so.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A service that is told things.
pub(crate) struct Receiver {
    port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    /// Answers the first requests so, and every later one with 200.
    pub(crate) fn saying(first: &[Say]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            heard: Arc::default(),
        };
        let heard = Arc::clone(&receiver.heard);
        let first = first.to_vec();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, first) = (Arc::clone(&heard), first.clone());
                std::thread::spawn(move || serve(stream, &heard, &first));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, heard: &Mutex<Vec<Heard>>, first: &[Say]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut heard = heard.lock().unwrap();
            heard.push(request);
            heard.len() - 1
        };
        let (status, header, body) = match first.get(number).cloned().unwrap_or(Say::Status(200, "ok")) {
            Say::Status(status, body) => (status, String::new(), body),
            Say::Later(status, seconds) => (status, format!("Retry-After: {seconds}\r\n"), ""),
            Say::Nothing => {
                // Until whoever asked goes.
                let _ = reader.read_to_end(&mut Vec::new());
                return;
            }
        };
        let answer = format!(
            "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{header}\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// A mail server without TLS.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    letters: Arc<Mutex<Vec<Letter>>>,
}

/// A letter that was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letter {
    /// `AUTH PLAIN`, decoded by nobody.
    pub(crate) login: Option<String>,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
}

impl MailServer {
    /// Answers the first letters with these, before it takes one; a login with `login`.
    pub(crate) fn start(refusals: &[&'static str], login: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            letters: Arc::default(),
        };
        let letters = Arc::clone(&server.letters);
        let mut refusals: Vec<&'static str> = refusals.iter().rev().copied().collect();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = talk(stream, refusals.pop(), login, &letters);
            }
        });
        server
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }
}

fn talk(
    stream: TcpStream,
    refusal: Option<&str>,
    login: &str,
    letters: &Mutex<Vec<Letter>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes());
    say("220 mail.test ESMTP")?;
    let mut letter = Letter::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say("250-mail.test\r\n250-AUTH PLAIN\r\n250 8BITMIME")?,
            "AUTH" => {
                letter.login = Some(line.to_owned());
                // Some servers tell one what one has said.
                say(&format!("{login} {line}"))?;
            }
            "MAIL" => {
                line.clone_into(&mut letter.from);
                say("250 ok")?;
            }
            "RCPT" => {
                letter.to.push(line.to_owned());
                say("250 ok")?;
            }
            "DATA" => {
                if let Some(refusal) = refusal {
                    say(refusal)?;
                    continue;
                }
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line)?;
                    if line == ".\r\n" {
                        break;
                    }
                    letter.text.push_str(&line);
                }
                letters.lock().unwrap().push(std::mem::take(&mut letter));
                say("250 taken")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
}
