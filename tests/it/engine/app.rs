//! The app over HTTP, against a server of a few lines.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use viatique_deploy::app::http::HttpApp;
use viatique_deploy::app::{App, Request};

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
