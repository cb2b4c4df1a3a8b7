//! The app over HTTP, against a server of a few lines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use viatique_deploy::app::http::HttpApp;
use viatique_deploy::app::{App, Call, CallBody, Method, Request, SentFile};

/// Answers one connection after the other with these bytes; gives the heads that it was sent.
fn server(answer: Vec<u8>, stay_open: bool) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/health/", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n")
                && head.first() != Some(&0x16)
                && stream.read(&mut byte).unwrap_or(0) == 1
            {
                head.push(byte[0]);
            }
            // The client may have what it wants already, and a client that speaks TLS never ends its head.
            let _ = stream.write_all(&answer);
            if sender.send(String::from_utf8_lossy(&head).into_owned()).is_err() {
                return;
            }
            if stay_open {
                open.push(stream);
            }
        }
    });
    (address, receiver)
}

fn request(url: &str) -> Request {
    Request {
        url: url.to_owned(),
        host: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn any_status_is_an_answer_and_redirects_are_not_followed() {
    let app = HttpApp::new().unwrap();
    for status in [200, 302, 404, 503] {
        let answer = format!("HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nok");
        let (url, heads) = server(answer.into_bytes(), false);
        let answer = app.get(&request(&url)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (status, "ok"));
        heads.recv().unwrap();
        assert!(heads.try_recv().is_err(), "asked once");
    }
}

#[tokio::test]
async fn the_host_and_other_headers_are_sent() {
    let (url, heads) = server(b"HTTP/1.1 204 X\r\n\r\n".to_vec(), false);
    let mut request = request(&url);
    request.host = Some("viatique.example.com".to_owned());
    request.headers = vec![("X-Forwarded-Proto".to_owned(), "https".to_owned())];
    HttpApp::new().unwrap().get(&request).await.unwrap();
    let head = heads.recv().unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /health/ http/1.1"));
    assert!(head.contains("\r\nhost: viatique.example.com\r\n"), "{head}");
    assert_eq!(head.matches("\r\nhost: ").count(), 1);
    assert!(head.contains("x-forwarded-proto: https"));
}

#[tokio::test]
async fn a_long_body_is_cut() {
    // Endless: the client stops reading by itself.
    let mut answer = b"HTTP/1.1 200 X\r\n\r\n".to_vec();
    answer.extend(vec![b'x'; 300_000]);
    let (url, _heads) = server(answer, true);
    let answer = HttpApp::new().unwrap().get(&request(&url)).await.unwrap();
    assert_eq!(answer.body.len(), 64 * 1024);
}

#[tokio::test]
async fn the_time_out_covers_the_whole_exchange() {
    let (url, _heads) = server(b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhalf".to_vec(), true);
    let mut request = request(&url);
    request.timeout = Duration::from_millis(200);
    let before = Instant::now();
    let error = HttpApp::new().unwrap().get(&request).await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(5));
    assert!(error.message.contains("in time"), "{error}");
}

#[tokio::test]
async fn no_answer_says_why_in_one_line() {
    let app = HttpApp::new().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = app
        .get(&request(&format!("http://{free}/")))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused") && !error.contains('\n'), "{error}");
    // A body that breaks off is no answer either.
    let (url, _heads) = server(
        b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nhalf".to_vec(),
        false,
    );
    assert!(app.get(&request(&url)).await.is_err());
    let error = app.get(&request("no address")).await.unwrap_err();
    assert_eq!(error.url, "no address");
}

#[tokio::test]
async fn tls_is_spoken_without_a_panic() {
    // A server that does not: the handshake fails as an error.
    let (url, _heads) = server(b"not tls".to_vec(), false);
    let error = HttpApp::new()
        .unwrap()
        .get(&request(&url.replace("http:", "https:")))
        .await
        .unwrap_err();
    assert!(!error.message.is_empty());
}

/// Answers one request with these bytes; gives all of it, its body too.
fn reading_server(answer: &'static [u8]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/up/?a=b", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if length.map_or(0, |length| length.parse().unwrap()) == body.len() {
                    break;
                }
            }
            let read = stream.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(answer).unwrap();
        sender.send(String::from_utf8(request).unwrap()).unwrap();
    });
    (address, receiver)
}

async fn called(method: Method, body: CallBody) -> String {
    let (url, requests) = reading_server(b"HTTP/1.1 302 X\r\nLocation: /x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 4\r\n\r\n\x00\xffok");
    let call = Call {
        method,
        url,
        host: Some("viatique.example.com".to_owned()),
        headers: vec![("X-CSRFToken".to_owned(), "t".to_owned())],
        body,
        timeout: Duration::from_secs(10),
        limit: 4,
    };
    let answer = HttpApp::new().unwrap().call(call).await.unwrap();
    assert_eq!(answer.status, 302, "redirects are not followed");
    assert_eq!(answer.body, b"\x00\xffok");
    assert!(!answer.is_cut);
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    assert_eq!(cookies.count(), 2);
    requests.recv().unwrap()
}

#[tokio::test]
async fn a_users_request_is_sent_as_a_browser_sends_it() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sent = called(Method::Delete, CallBody::None).await;
    assert!(sent.starts_with("DELETE /up/?a=b HTTP/1.1\r\n"), "{sent}");
    assert!(
        sent.to_ascii_lowercase()
            .contains("\r\nhost: viatique.example.com\r\n"),
        "{sent}"
    );
    assert!(sent.to_ascii_lowercase().contains("x-csrftoken: t"), "{sent}");
    let form = CallBody::Form(vec![pair("a b", "c&d"), pair("e", "é")]);
    let sent = called(Method::Post, form).await;
    assert!(sent.contains("application/x-www-form-urlencoded\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\na+b=c%26d&e=%C3%A9"), "{sent}");
    let sent = called(Method::Patch, CallBody::Json("{\"a\":1}".to_owned())).await;
    assert!(
        sent.starts_with("PATCH ") && sent.contains("application/json\r\n"),
        "{sent}"
    );
    assert!(sent.ends_with("\r\n\r\n{\"a\":1}"), "{sent}");
    let file = SentFile {
        field: "scan".to_owned(),
        name: "copy.pdf".to_owned(),
        kind: "application/pdf".to_owned(),
        content: b"%PDF".to_vec(),
    };
    let body = CallBody::Multipart {
        fields: vec![pair("exam", "3")],
        files: vec![file],
    };
    let sent = called(Method::Put, body).await;
    assert!(sent.contains("multipart/form-data; boundary="), "{sent}");
    assert!(sent.contains("name=\"exam\"\r\n\r\n3\r\n"), "{sent}");
    assert!(
        sent.contains(
            "name=\"scan\"; filename=\"copy.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n"
        ),
        "{sent}"
    );
}

#[tokio::test]
async fn an_answer_that_is_longer_than_allowed_says_so() {
    let (url, _requests) = reading_server(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\nabcde");
    let call = Call {
        method: Method::Get,
        url,
        host: None,
        headers: Vec::new(),
        body: CallBody::None,
        timeout: Duration::from_secs(10),
        limit: 4,
    };
    let answer = HttpApp::new().unwrap().call(call).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.is_cut), (&b"abcd"[..], true));
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_error() {
    let file = SentFile {
        field: "a".to_owned(),
        name: "b".to_owned(),
        kind: "no type".to_owned(),
        content: Vec::new(),
    };
    let call = Call {
        method: Method::Post,
        url: "http://127.0.0.1:1/".to_owned(),
        host: None,
        headers: Vec::new(),
        body: CallBody::Multipart {
            fields: Vec::new(),
            files: vec![file],
        },
        timeout: Duration::from_secs(10),
        limit: 4,
    };
    let answer = HttpApp::new().unwrap().call(call).await;
    assert!(answer.is_err());
}
