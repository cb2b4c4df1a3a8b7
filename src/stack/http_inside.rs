//! One HTTP request to what listens in a container, made by a script from inside of it: how it is handed over, and how
//! the answer comes back. No other way needs nothing but the engine, which may be on another machine, and Python.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// See the script.
const SCRIPT: &str = include_str!("http_inside.py");
/// What its answer begins with.
const MARK: &[u8] = b"viatique-deploy:";

/// What is asked. It may hold secrets, so it cannot be printed; it goes to the script's standard input.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Of 127.0.0.1.
    pub port: u16,
    /// All that are sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// How many bytes of the answer's body are kept.
    pub limit: u64,
}

/// What came of it. It may hold secrets, so it cannot be printed.
#[derive(Clone, PartialEq)]
pub enum Reply {
    Answered(Answered),
    /// Refused, cut off or too late, in the system's words.
    Failed(String),
}

/// An answer.
#[derive(Clone, PartialEq)]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body went on beyond the limit.
    pub is_cut: bool,
    /// From the first byte that was sent to the last that came, without what it took to start the script.
    pub elapsed: Duration,
}

/// The command that asks. It is the same for every question: none is in its arguments.
pub fn command(python: &str) -> Vec<String> {
    super::python::script(python, SCRIPT, &[])
}

impl Question {
    /// What the command reads.
    pub fn written(&self) -> Vec<u8> {
        let head = serde_json::json!({
            "method": self.method,
            "target": self.target,
            "port": self.port,
            "headers": self.headers,
            "length": self.body.len(),
            "timeout": self.timeout.as_secs_f64(),
            "limit": self.limit,
        });
        let mut written = format!("{head}\n").into_bytes();
        written.extend_from_slice(&self.body);
        written
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Head {
    Failed {
        failed: String,
    },
    Answered {
        status: u16,
        headers: Vec<(String, String)>,
        length: usize,
        cut: bool,
        elapsed: f64,
    },
}

/// Reads what the command wrote on its standard output.
///
/// # Errors
/// It is not what the script writes, or not all of it.
pub fn parse(stdout: &[u8]) -> anyhow::Result<Reply> {
    let begins = |at: usize| at == 0 || stdout.get(at - 1) == Some(&b'\n');
    let mut marks = stdout.windows(MARK.len()).enumerate();
    let (at, _) = marks
        .find(|(at, window)| *window == MARK && begins(*at))
        .context("its answer is missing")?;
    let rest = stdout.get(at + MARK.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (head, body) = rest.split_at(end.context("its answer broke off")?);
    let body = body.get(1..).unwrap_or_default();
    match serde_json::from_slice(head).context("reading its answer")? {
        Head::Failed { failed } => Ok(Reply::Failed(failed)),
        Head::Answered {
            status,
            headers,
            length,
            cut,
            elapsed,
        } => {
            ensure!(
                body.len() == length,
                "its answer broke off: {} of {length} bytes came",
                body.len()
            );
            Ok(Reply::Answered(Answered {
                status,
                headers,
                body: body.to_vec(),
                is_cut: cut,
                elapsed: Duration::try_from_secs_f64(elapsed).context("reading its answer")?,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::thread::JoinHandle;

    use super::*;

    fn question(port: u16) -> Question {
        Question {
            method: "POST",
            target: "/é/?q=1".replace('é', "%C3%A9"),
            port,
            headers: vec![
                ("Host".to_owned(), "viatique.example.com".to_owned()),
                ("X-Name".to_owned(), "Zoé".to_owned()),
                ("Content-Length".to_owned(), "4".to_owned()),
            ],
            body: b"a\n\0\xff".to_vec(),
            timeout: Duration::from_secs(20),
            limit: 100,
        }
    }

    /// A server that reads one request, up to the end of its body, and answers so; what it read.
    fn server(answer: Vec<u8>) -> (u16, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            let mut byte = [0];
            while !read.ends_with(b"a\n\0\xff") && connection.read_exact(&mut byte).is_ok() {
                read.push(byte[0]);
            }
            connection.write_all(&answer).unwrap();
            read
        });
        (port, served)
    }

    /// The script itself, by the Python of this machine.
    fn asked(question: &Question) -> Reply {
        let words = command("python3");
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&question.written()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        parse(&output.stdout).unwrap()
    }

    fn answered(reply: Reply) -> Answered {
        match reply {
            Reply::Answered(answered) => answered,
            Reply::Failed(why) => panic!("{why}"),
        }
    }

    fn failed(reply: Reply) -> String {
        match reply {
            Reply::Answered(answered) => panic!("{}", answered.status),
            Reply::Failed(why) => why,
        }
    }

    #[test]
    fn what_is_asked_arrives_as_it_is_and_so_does_the_answer() {
        let answer =
            b"HTTP/1.1 302 Found\r\nLocation: /next/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=\xc3\xa9\r\n\
                       Content-Length: 26\r\n\r\n\nviatique-deploy:{\"a\"}\0\xff\n\n";
        let (port, served) = server(answer.to_vec());
        let got = answered(asked(&question(port)));
        let read = served.join().unwrap();
        assert_eq!(got.status, 302, "and nobody has followed it");
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            got.headers,
            [
                header("Location", "/next/"),
                header("Set-Cookie", "a=1"),
                header("Set-Cookie", "b=é"),
                header("Content-Length", "26"),
            ]
        );
        assert_eq!(got.body, b"\nviatique-deploy:{\"a\"}\0\xff\n\n");
        assert!(!got.is_cut);
        let read = String::from_utf8_lossy(&read).into_owned();
        let (head, body) = read.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head,
            "POST /%C3%A9/?q=1 HTTP/1.1\r\nHost: viatique.example.com\r\nX-Name: Zoé\r\nContent-Length: 4"
        );
        assert_eq!(body, "a\n\0\u{fffd}");
    }

    #[test]
    fn a_long_body_is_cut_and_a_short_one_is_no_answer() {
        let long = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n".to_vec();
        let (port, served) = server([long, vec![b'x'; 101], b"\r\n0\r\n\r\n".to_vec()].concat());
        let got = answered(asked(&question(port)));
        assert_eq!((got.body.len(), got.is_cut), (100, true));
        served.join().unwrap();
        let (port, served) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec());
        let why = failed(asked(&question(port)));
        assert!(why.starts_with("IncompleteRead"), "{why}");
        served.join().unwrap();
    }

    #[test]
    fn who_does_not_answer_is_told_in_the_systems_words() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // Connected by the kernel, and never accepted.
        let patient = Question {
            timeout: Duration::from_millis(300),
            ..question(port)
        };
        assert_eq!(failed(asked(&patient)), "no complete answer in time");
        drop(listener);
        assert_eq!(failed(asked(&question(port))), "Connection refused");
    }

    #[test]
    fn what_broke_off_is_no_answer() {
        let whole =
            b"noise\nviatique-deploy:{\"status\": 200, \"headers\": [], \"length\": 3, \"cut\": false, \
                      \"elapsed\": 0.5}\nabc";
        let got = answered(parse(whole).unwrap());
        assert_eq!(
            (got.body.as_slice(), got.elapsed),
            (&b"abc"[..], Duration::from_millis(500))
        );
        for length in [0, 8, 40, whole.len() - 1] {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(parse(b"Traceback (most recent call last):").is_err());
        assert!(parse(&[whole.as_slice(), b"d"].concat()).is_err());
    }

    #[test]
    fn no_question_is_in_the_commands_words() {
        let words = command("python3");
        assert_eq!(words[..3], ["python3", "-IS", "-c"]);
        assert_eq!(words.len(), 4);
    }
}
