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

/// A mail server.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    letters: Arc<Mutex<Vec<Letter>>>,
    heard_in_clear: Arc<Mutex<Vec<String>>>,
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

/// When a mail server speaks TLS.
#[derive(Clone)]
pub(crate) enum Encryption {
    Never,
    /// Once it is asked to.
    Starttls(Arc<rustls::ServerConfig>),
    /// From the first byte.
    Implicit(Arc<rustls::ServerConfig>),
}

impl MailServer {
    /// Answers the first letters with these, before it takes one; a login with `login`. It knows no TLS.
    pub(crate) fn start(refusals: &[&'static str], login: &'static str) -> Self {
        Self::encrypted(Encryption::Never, refusals, login)
    }

    /// The same, with TLS.
    pub(crate) fn encrypted(encryption: Encryption, refusals: &[&'static str], login: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            letters: Arc::default(),
            heard_in_clear: Arc::default(),
        };
        let (letters, heard) = (Arc::clone(&server.letters), Arc::clone(&server.heard_in_clear));
        let mut refusals: Vec<&'static str> = refusals.iter().rev().copied().collect();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = Session {
                    refusal: refusals.pop(),
                    login,
                    letters: &letters,
                };
                // Who refuses the certificate breaks off.
                let _ = session.hold(stream, &encryption, &heard);
            }
        });
        server
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }

    /// The lines that anybody on the way could read.
    pub(crate) fn heard_in_clear(&self) -> Vec<String> {
        self.heard_in_clear.lock().unwrap().clone()
    }
}

/// One connection.
struct Session<'a> {
    refusal: Option<&'static str>,
    login: &'static str,
    letters: &'a Mutex<Vec<Letter>>,
}

impl Session<'_> {
    fn hold(
        &self,
        stream: TcpStream,
        encryption: &Encryption,
        in_clear: &Mutex<Vec<String>>,
    ) -> std::io::Result<()> {
        let heard = |line: &str| in_clear.lock().unwrap().push(line.to_owned());
        let encrypted = |stream: TcpStream, config: &Arc<rustls::ServerConfig>| {
            let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
            rustls::StreamOwned::new(connection, stream)
        };
        match encryption {
            Encryption::Never => self.talk(stream, Some(GREETING), "", &heard).map(|_| ()),
            Encryption::Implicit(config) => {
                let stream = encrypted(stream, config);
                self.talk(stream, Some(GREETING), "", &|_| ()).map(|_| ())
            }
            Encryption::Starttls(config) => {
                match self.talk(stream, Some(GREETING), "250-STARTTLS\r\n", &heard)? {
                    Some(stream) => {
                        let stream = encrypted(stream, config);
                        self.talk(stream, None, "", &|_| ()).map(|_| ())
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Until it is over, or the other one begins to speak TLS.
    fn talk<S: Read + Write>(
        &self,
        stream: S,
        greeting: Option<&str>,
        offers: &str,
        heard: &dyn Fn(&str),
    ) -> std::io::Result<Option<S>> {
        let mut wire = BufReader::new(stream);
        if let Some(greeting) = greeting {
            say(&mut wire, greeting)?;
        }
        let mut letter = Letter::default();
        loop {
            let mut line = String::new();
            if wire.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            heard(line);
            let verb = line
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => say(
                    &mut wire,
                    &format!("250-mail.test\r\n{offers}250-AUTH PLAIN\r\n250 8BITMIME"),
                )?,
                "STARTTLS" if !offers.is_empty() => {
                    say(&mut wire, "220 go on")?;
                    return Ok(Some(wire.into_inner()));
                }
                "AUTH" => {
                    letter.login = Some(line.to_owned());
                    // Some servers tell one what one has said.
                    say(&mut wire, &format!("{} {line}", self.login))?;
                }
                "MAIL" => {
                    line.clone_into(&mut letter.from);
                    say(&mut wire, "250 ok")?;
                }
                "RCPT" => {
                    letter.to.push(line.to_owned());
                    say(&mut wire, "250 ok")?;
                }
                "DATA" => {
                    if let Some(refusal) = self.refusal {
                        say(&mut wire, refusal)?;
                        continue;
                    }
                    say(&mut wire, "354 go on")?;
                    loop {
                        let mut line = String::new();
                        wire.read_line(&mut line)?;
                        if line == ".\r\n" {
                            break;
                        }
                        letter.text.push_str(&line);
                    }
                    self.letters.lock().unwrap().push(std::mem::take(&mut letter));
                    say(&mut wire, "250 taken")?;
                }
                "QUIT" => {
                    say(&mut wire, "221 bye")?;
                    return Ok(None);
                }
                _ => say(&mut wire, "250 ok")?,
            }
        }
    }
}

const GREETING: &str = "220 mail.test ESMTP";

fn say<S: Read + Write>(wire: &mut BufReader<S>, text: &str) -> std::io::Result<()> {
    let stream = wire.get_mut();
    stream.write_all(format!("{text}\r\n").as_bytes())?;
    stream.flush()
}
